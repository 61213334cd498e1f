import os
from copy import deepcopy
from pathlib import Path

import pytest

from tests.locations import TEST_DATA
from tests.plans import DATASET_JSON, PLANS


def pytest_report_header() -> str:
    if not TEST_DATA.is_dir():
        return f"real PET/CT: none, as {TEST_DATA} is not a folder; H2ASEG_TEST_DATA may name one"
    return f"real PET/CT: {sum(1 for _ in TEST_DATA.rglob('*.nii.gz'))} files in {TEST_DATA}"


def pytest_configure() -> None:
    """Let the workers of `-n` share the cores; threads of all on every core would wait for each other."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    if workers > 1:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))


@pytest.fixture
def nnunet(tmp_path, monkeypatch) -> Path:
    """The folder that holds nnU-Net's folders."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    return tmp_path


@pytest.fixture
def plans():
    return deepcopy(PLANS)


@pytest.fixture
def make_trainer(plans, tmp_path, monkeypatch):
    """Makes trainers of `plans`, which a test may change first."""
    import torch  # here, because most tests need none of it

    from h2aseg_nnunet.trainer import nnUNetTrainerH2ASeg

    for folder in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(folder, str(tmp_path / folder))

    def make(cls=nnUNetTrainerH2ASeg, dataset=DATASET_JSON, configuration="3d_fullres", device="cpu"):
        identifier = plans["configurations"][configuration]["data_identifier"]
        preprocessed = tmp_path / "nnUNet_preprocessed" / plans["dataset_name"] / identifier
        preprocessed.mkdir(parents=True, exist_ok=True)
        (preprocessed / "case.b2nd").touch()  # tells nnU-Net which storage the dataset has
        settings = deepcopy(plans) | {"continue_training": False}
        return cls(settings, configuration, 0, dataset, device=torch.device(device))

    return make


@pytest.fixture
def make_batch():
    """Noise, with the tumor where CT and PET together are bright; targets as nnU-Net's augmentation makes them."""
    import torch
    from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform

    def make(trainer) -> dict:
        image = torch.randn(1, 2, *trainer.configuration_manager.patch_size)
        downsample = DownsampleSegForDSTransform(ds_scales=trainer._get_deep_supervision_scales())
        targets = downsample(segmentation=(image[0].sum(0, keepdim=True) > 1.5).float())["segmentation"]
        return {"data": image, "target": [target[None] for target in targets]}

    return make
