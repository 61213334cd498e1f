"""nnU-Net's own commands with H2ASeg on real patients: soft-tissue sarcoma, CT and FDG-PET.

The data (TCIA Soft-tissue-Sarcoma, IBSI's edition) lies beside the repository and is never committed.
"""

import json
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch

from tests.locations import TEST_DATA

STS = TEST_DATA / "sts"
NUM_PATIENTS = 8
TRAINER = "nnUNetTrainerH2ASegDemo"  # 50 iterations

pytestmark = pytest.mark.skipif(not STS.is_dir(), reason=f"real PET/CT is not at {STS}")


class Run:
    """One nnU-Net workspace, and its commands run as a user would."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.raw = folder / "nnUNet_raw" / "Dataset701_STS"
        self.model = folder / "nnUNet_results" / "Dataset701_STS" / f"{TRAINER}__nnUNetPlans__3d_fullres"

    def command(self, command: str, *paths: Path) -> None:
        name, *options = command.split()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("nnUNet_")}
        environment |= {
            name: str(self.folder / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
        }
        environment |= {"nnUNet_def_n_proc": "2", "nnUNet_n_proc_DA": "1"}
        executable = Path(sysconfig.get_path("scripts")) / name
        arguments = [executable, *options, *map(str, paths)]
        subprocess.run(arguments, env=environment, cwd=self.folder, check=True, stderr=subprocess.PIPE, text=True)

    def predict(self, images: Path, output: Path) -> None:
        options = f"-d 701 -c 3d_fullres -f 0 -tr {TRAINER} -device cpu -npp 1 -nps 1"
        self.command(f"nnUNetv2_predict {options}", "-i", images, "-o", output)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Run:
    """Eight patients, planned for patches small enough for a CPU, and trained for 50 iterations."""
    run = Run(tmp_path_factory.mktemp("sts"))
    patients = [file.name.removesuffix(".nii.gz") for file in sorted((STS / "labelsTr").iterdir())][:NUM_PATIENTS]
    for folder in ("imagesTr", "labelsTr"):
        (run.raw / folder).mkdir(parents=True)
        for file in (file for patient in patients for file in (STS / folder).glob(f"{patient}*")):
            shutil.copy(file, run.raw / folder)
    description = json.loads((STS / "dataset.json").read_text()) | {"numTraining": NUM_PATIENTS}
    (run.raw / "dataset.json").write_text(json.dumps(description))
    plan = "nnUNetv2_plan_and_preprocess -d 701 -c 3d_fullres --verify_dataset_integrity -npfp 2 -np 2"
    run.command(f"{plan} -gpu_memory_target 0.2")
    run.command(f"nnUNetv2_train 701 3d_fullres 0 -tr {TRAINER} -device cpu")
    return run


def validation_cases(run: Run) -> list[str]:
    return sorted(file.name.removesuffix(".nii.gz") for file in (run.model / "fold_0" / "validation").glob("*.nii.gz"))


def read_labels(run: Run, case: str) -> np.ndarray:
    image = SimpleITK.ReadImage(str(run.model / "fold_0" / "validation" / f"{case}.nii.gz"))
    return SimpleITK.GetArrayFromImage(image)


def test_the_loss_falls(trained):
    checkpoint = torch.load(trained.model / "fold_0" / "checkpoint_final.pth", weights_only=False)

    losses = checkpoint["logging"]["train_losses"]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0] - 0.1


def test_prediction_from_the_checkpoint_equals_prediction_in_memory(trained, tmp_path):
    """Training ends by predicting the validation cases with the network in memory; nnUNetv2_predict loads it."""
    cases = validation_cases(trained)
    images = tmp_path / "images"
    images.mkdir()
    for file in (trained.raw / "imagesTr").iterdir():
        if file.name.rsplit("_", 1)[0] in cases:
            shutil.copy(file, images)

    trained.predict(images, tmp_path / "predictions")

    for case in cases:
        from_checkpoint = SimpleITK.ReadImage(str(tmp_path / "predictions" / f"{case}.nii.gz"))
        ct = SimpleITK.ReadImage(str(images / f"{case}_0000.nii.gz"))
        labels = SimpleITK.GetArrayFromImage(from_checkpoint)
        np.testing.assert_array_equal(labels, read_labels(trained, case))
        assert set(np.unique(labels)) <= {0, 1}
        assert labels.any(), f"{case}: 50 iterations find at least part of these large tumors"
        assert from_checkpoint.GetSize() == ct.GetSize()
        np.testing.assert_allclose(from_checkpoint.GetSpacing(), ct.GetSpacing())
        np.testing.assert_allclose(from_checkpoint.GetOrigin(), ct.GetOrigin())
        np.testing.assert_allclose(from_checkpoint.GetDirection(), ct.GetDirection())
    assert len(cases) == 2


def test_validation_alone_repeats_the_validation_and_writes_probabilities(trained):
    before = {case: read_labels(trained, case) for case in validation_cases(trained)}

    trained.command(f"nnUNetv2_train 701 3d_fullres 0 -tr {TRAINER} -device cpu --val --npz")

    for case, labels in before.items():
        np.testing.assert_array_equal(read_labels(trained, case), labels)
        with np.load(trained.model / "fold_0" / "validation" / f"{case}.npz") as file:
            np.testing.assert_allclose(file["probabilities"].sum(0), 1, atol=1e-3)


def test_a_case_without_its_pet_is_refused_with_the_cause(trained, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    shutil.copy(next((trained.raw / "imagesTr").glob("*_0000.nii.gz")), images)

    with pytest.raises(subprocess.CalledProcessError) as failure:
        trained.predict(images, tmp_path / "predictions")

    assert "The input has 1 channels, but this H2ASeg was built for 2" in failure.value.stderr
    assert not list((tmp_path / "predictions").glob("*.nii.gz"))
