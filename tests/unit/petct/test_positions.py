"""An image that does not say where it is, is refused by every command that looks at it, and named."""

import json

import numpy as np
import pytest

from h2aseg_nnunet import cli
from tests.unit.petct.check.conftest import make_patient
from tests.unit.petct.images.niftis import AXIAL, write_nifti


def moved(mm):
    affine = AXIAL.copy()
    affine[2, 3] += mm
    return affine


def sheared():
    affine = AXIAL.copy()
    affine[1, 2] += 1
    return affine


HEADERS = {
    "registered by its sform": {"sform": moved(12), "codes": (1, 2)},
    "no position": {"codes": (0, 0)},
    "gantry tilt": {"sform": sheared(), "codes": (1, 1)},
    "gantry tilt, sform alone": {"sform": sheared(), "codes": (0, 1)},
    "no voxel size": {"codes": (1, 0), "pixdim": [1, 4, 4, 0, 0, 0, 0, 0]},
    "meters": {"xyzt_units": 1},
}


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A raw dataset with one case, its prediction and a table."""
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    dataset = {"channel_names": {"0": "CT", "1": "PET"}, "labels": {"background": 0, "tumor": 1}, "numTraining": 1}
    for folder in ("Dataset001_T/imagesTr", "Dataset001_T/labelsTr", "predictions"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "../dataset.json").write_text(json.dumps(dataset | {"file_ending": ".nii"}))
    (tmp_path / "cohort.csv").write_text(f"case,ct,pet,label\ncase,{IMAGES}_0000.nii,{IMAGES}_0001.nii,{LABEL}\n")
    return tmp_path


IMAGES, LABEL, PREDICTION = "Dataset001_T/imagesTr/case", "Dataset001_T/labelsTr/case.nii", "predictions/case.nii"
PET = f"{IMAGES}_0001.nii"
COMMANDS = {
    "check": (["check", "-d", "1", "-np", "1"], (PET, LABEL)),
    "convert": (["convert", "pairs", "cohort.csv", "-d", "2", "-np", "1"], (PET, LABEL)),
    "evaluate": (
        ["evaluate", "-r", "Dataset001_T/labelsTr", "-p", "predictions", "--metrics", "autopet", "-np", "1"],
        (LABEL, PREDICTION),
    ),
    "report": (
        [
            "report",
            "-i",
            "Dataset001_T/imagesTr",
            "-r",
            "Dataset001_T/labelsTr",
            "-p",
            "predictions",
            "-o",
            "report",
            "--dataset-json",
            "Dataset001_T/dataset.json",
            "-np",
            "1",
        ],
        (PET, LABEL, PREDICTION),
    ),
}
CASES = [(command, file) for command, (_, files) in COMMANDS.items() for file in files]


def write(world, wrong="", header=None):
    ct, pet, label = make_patient()
    for name, voxels in ((f"{IMAGES}_0000.nii", ct), (PET, pet), (LABEL, label), (PREDICTION, label)):
        write_nifti(world / name, np.ascontiguousarray(voxels), **(header if name == wrong else {}))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_stated_position_is_taken(world, command):
    write(world)

    assert cli.main(COMMANDS[command][0]) == 0


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize(("command", "wrong"), CASES)
def test_a_position_in_doubt_is_refused_by_name(world, capsys, command, wrong, header):
    write(world, wrong, HEADERS[header])

    assert cli.main(COMMANDS[command][0]) == 1

    said = "".join(capsys.readouterr())
    assert wrong.removeprefix("Dataset001_T/") in said
    assert "Traceback" not in said
