import numpy as np
import pytest
import SimpleITK
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from tests.models import make_network, make_plans, one_thread, registered, save_model  # noqa: F401
from tests.synthetic import write_phantom
from tests.unit.petct.robustness.test_run import read, run


@pytest.mark.parametrize("mirroring", [False, True])
def test_the_intact_prediction_is_nnunets_own(tmp_path, mirroring):
    """Of a network that mirroring changes, and a case that is cropped, resampled and turned."""
    plans = make_plans()
    model = save_model(tmp_path / "model", make_network(plans), plans)
    file = model / "fold_0" / "checkpoint_final.pth"
    torch.save(torch.load(file, weights_only=False) | {"inference_allowed_mirroring_axes": (2,)}, file)  # saves time
    case = write_phantom(tmp_path / "imagesTs")
    mask = SimpleITK.ReadImage(f"{case}_0001.nii.gz") > 1.5
    (tmp_path / "labelsTs").mkdir()
    SimpleITK.WriteImage(mask, str(tmp_path / "labelsTs" / "case.nii.gz"))
    predictor = nnUNetPredictor(1.0, use_mirroring=mirroring, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model), (0,))
    predictor.predict_from_files_sequential(str(tmp_path / "imagesTs"), str(tmp_path))

    options = [] if mirroring else ["--disable_tta"]
    assert run(model, tmp_path, "--shifts", "2", "-step_size", "1", *options) == 0

    predictions = tmp_path / "out" / "predictions"
    intact = read(predictions / "intact" / "case.nii.gz")
    assert 0 < intact.mean() < 1
    np.testing.assert_array_equal(intact, read(tmp_path / "case.nii.gz"))
    altered = [read(folder / "case.nii.gz") for folder in predictions.iterdir() if folder.name != "intact"]
    assert len(altered) == 3 and all((each != intact).any() for each in altered)
