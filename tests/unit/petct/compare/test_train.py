import json

import numpy as np
import SimpleITK

from h2aseg_nnunet.petct.compare.train import evaluate


def write_mask(file, *voxels: int) -> None:
    """A row of voxels of 1 ml each."""
    image = SimpleITK.GetImageFromArray(np.array(voxels, np.uint8)[None, None])
    image.SetSpacing((10.0, 10.0, 10.0))
    file.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(image, str(file))


def test_voxels_that_nobody_judged_are_left_out(runs, tmp_path, monkeypatch):
    """Of the judged voxels, one is tumor in both, one in the reference only: Dice 2 * 1 / (2 + 1)."""
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    (run,) = runs(("A",), folds=(0,))
    write_mask(tmp_path / run.dataset / "gt_segmentations" / "case.nii.gz", 1, 1, 2, 2, 2, 0)
    labels = {"labels": {"background": 0, "tumor": 1, "ignore": 2}}
    (tmp_path / run.dataset / "dataset.json").write_text(json.dumps(labels))
    write_mask(run.fold_folder / "validation" / "case.nii.gz", 1, 0, 1, 1, 1, 0)

    evaluate(run)

    values = json.loads(run.evaluation.read_text())["cases"]["case"]
    assert values["dice"] == 2 / 3
    assert values["false_positive_volume_ml"] == 0
