"""An exported model segments as the original does, by our command and by nnU-Net's own."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from nnunetv2.model_sharing.model_import import install_model_from_zip_file

from h2aseg_nnunet.cli import main
from h2aseg_nnunet.modalities import PET
from tests.models import learn, make_network, make_plans, save_model
from tests.synthetic import read_array, write_phantom


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    plans = make_plans()
    network = make_network(plans)
    learn(network, PET, 30)
    folder = tmp_path_factory.mktemp("results") / "Dataset901_Test" / "nnUNetTrainerH2ASeg__nnUNetPlans__3d_fullres"
    return save_model(folder, network, plans)


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("exported") / "out"
    assert main(["export", "-m", str(model), "-o", str(output), "--license", "cc-by-4.0"]) == 0
    return output


def segment(images: Path, model: Path, output: Path) -> int:
    options = ("--disable_tta", "-device", "cpu", "-np", "1", "--force", "--output-type", "nifti")
    return main(["segment", "-i", str(images), "-m", str(model), "-o", str(output), *options])


def test_zip_and_folder_segment_as_the_original(model, exported, tmp_path):
    write_phantom(tmp_path / "images", PET)
    (archive,) = exported.glob("*.zip")

    for given, name in ((model, "original"), (exported / "huggingface", "folder"), (archive, "zip")):
        assert segment(tmp_path / "images", given, tmp_path / name) == 0

    original, folder, from_zip = (
        read_array(tmp_path / name / "cases" / "case" / "mask.nii.gz") for name in ("original", "folder", "zip")
    )
    assert original.any()
    np.testing.assert_array_equal(folder, original)
    np.testing.assert_array_equal(from_zip, original)


def test_damaged_zips_and_folders_are_refused_by_the_name_of_the_file(exported, tmp_path, capsys):
    write_phantom(tmp_path / "images", PET)
    folder = shutil.copytree(exported / "huggingface", tmp_path / "folder")
    (folder / "plans.json").write_text((folder / "plans.json").read_text() + " ")
    (archive,) = exported.glob("*.zip")
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(tmp_path / "model.zip", "w") as other:
        for name in source.namelist():
            other.writestr(name, source.read(name)[: -3 if name.endswith(".pth") else None])

    assert segment(tmp_path / "images", folder, tmp_path / "a") == 1
    assert "plans.json is not the file that SHA256SUMS lists" in capsys.readouterr().err
    assert segment(tmp_path / "images", tmp_path / "model.zip", tmp_path / "b") == 1
    assert "checkpoint_final.pth is not the file that SHA256SUMS lists" in capsys.readouterr().err


def test_nnunet_installs_the_zip_under_the_names_of_its_training(exported, tmp_path, monkeypatch):
    (archive,) = exported.glob("*.zip")
    monkeypatch.setattr("nnunetv2.model_sharing.model_import.nnUNet_results", str(tmp_path))

    install_model_from_zip_file(str(archive))

    (plans,) = tmp_path.rglob("plans.json")
    dataset, model = plans.parent.relative_to(tmp_path).parts
    assert dataset.startswith("Dataset") and model == "nnUNetTrainerH2ASeg__nnUNetPlans__3d_fullres"
    assert (plans.parent / "fold_0" / "checkpoint_final.pth").is_file()
