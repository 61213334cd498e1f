"""Axes as they are stored: found, told and, if asked for, made one."""

import json

import numpy as np
import pytest
import SimpleITK

from h2aseg_nnunet.petct.convert import pairs
from h2aseg_nnunet.petct.convert.axes import most_common_axes
from h2aseg_nnunet.petct.images.axes import read_axes
from h2aseg_nnunet.petct.images.grids import Grid
from tests.unit.petct.convert.layouts import (
    CT_GRID,
    PET_GRID,
    arrange,
    check_positions,
    convert,
    dataset,
    only_case,
    record,
)
from tests.unit.petct.convert.synthetic_studies import DIRECTIONS, POINT_MM, grid_around, ramp, read

AXES = {
    "straight": "LPS",
    "flipped": "RAS",
    "left-handed": "LAS",
    "axes exchanged": "PSL",
    "oblique": "LPS",
    "oblique and flipped": "LPI",
}


def turn(file, axes: str) -> None:
    """Store the same image with other axes."""
    SimpleITK.WriteImage(SimpleITK.DICOMOrient(SimpleITK.ReadImage(str(file)), axes), str(file), True)


def cohort(nnunet, *axes: str, pet_grid=CT_GRID) -> list:
    """Studies c0, c1, ... of which CT, PET and label have these axes; returns the command."""
    names = [f"c{number}" for number in range(len(axes))]
    command = arrange("hecktor 2022", nnunet / "source", CT_GRID, pet_grid, names)
    for name, code in zip(names, axes, strict=True):
        for file in (nnunet / "source").rglob(f"{name}*"):
            turn(file, code)
    return command


def axes_of(file) -> str:
    return Grid.of(SimpleITK.ReadImage(str(file))).axes


@pytest.mark.parametrize("name", DIRECTIONS)
def test_axes_are_read_from_the_header(tmp_path, name):
    grid = grid_around(POINT_MM, (4, 5, 6), (1.0, 2.0, 3.0), DIRECTIONS[name])
    image = SimpleITK.GetImageFromArray(np.zeros((6, 5, 4), np.float32))
    image.SetDirection(grid.direction)
    SimpleITK.WriteImage(image, str(tmp_path / "ct.nii.gz"))

    assert read_axes(tmp_path / "ct.nii.gz") == AXES[name]


def test_files_without_axes_have_none(tmp_path):
    (tmp_path / "text.nii.gz").write_text("text")
    SimpleITK.WriteImage(SimpleITK.Image(3, 3, SimpleITK.sitkUInt8), str(tmp_path / "plane.mha"))

    assert [read_axes(tmp_path / name) for name in ("text.nii.gz", "none.nii.gz", "plane.mha")] == [None] * 3


@pytest.mark.parametrize(
    ("axes", "labels", "common"),
    [
        (("LSP", "LPS", "LPS"), "yyy", "LPS"),
        (("LSP", "LSP", "LPS"), "yyy", "LSP"),
        (("RAS", "LPS"), "yy", "LPS"),
        (("RAS", "LAS"), "yy", "LAS"),
        (("RAS", "LPS", "LPS"), "ynn", "RAS"),
        (("RAS", "RAS", "LPS"), "nnn", "RAS"),
    ],
    ids=["most", "not LPS", "equally many: LPS", "equally many: alphabet", "training cases decide", "test cases only"],
)
def test_the_most_common_axes_of_training_cases(tmp_path, axes, labels, common):
    lines = ["case,ct,pet,label"]
    for number, (code, label) in enumerate(zip(axes, labels, strict=True)):
        image = SimpleITK.DICOMOrient(SimpleITK.Image(4, 5, 6, SimpleITK.sitkInt16), code)
        SimpleITK.WriteImage(image, str(tmp_path / f"ct{number}.nii.gz"))
        lines.append(f"c{number},ct{number}.nii.gz,pet.nii.gz," + ("label.nii.gz" if label == "y" else ""))
    (tmp_path / "cohort.csv").write_text("\n".join(lines))

    assert most_common_axes(pairs.plan(tmp_path / "cohort.csv")) == common


def test_other_axes_are_told_with_the_remedy(nnunet, capsys):
    command = cohort(nnunet, "LPS", "LPS", "LSP")

    assert convert(*command) == 0

    output = capsys.readouterr().out
    assert "WARNING: most cases are stored with axes LPS, others are not (LSP: c2)" in output
    assert "Convert anew with --reorient --overwrite" in output
    assert convert(*command, "--reorient", "--overwrite") == 0
    assert "most cases are stored" not in capsys.readouterr().out
    assert {axes_of(file) for file in dataset(nnunet).rglob("*.nii.gz")} == {"LPS"}


def test_reorient_exchanges_voxels_and_changes_no_value(nnunet):
    command = cohort(nnunet, "LPS", "LPS", "PIR")

    assert convert(*command, "--reorient") == 0

    state = record(nnunet)
    assert state["axes"] == "LPS" and state["cases"]["c2"]["axes"] == "LPS"
    assert state["cases"]["c2"]["files"] == {"ct": "reoriented", "pet": "reoriented", "label": "reoriented"}
    assert state["cases"]["c0"]["files"] == {"ct": "copied", "pet": "copied", "label": "copied"}
    images = dataset(nnunet) / "imagesTr"
    for channel in ("0000", "0001"):
        (turned, place), (straight, _) = (read(images / f"{case}_{channel}.nii.gz") for case in ("c2", "c0"))
        np.testing.assert_array_equal(turned, straight)
        np.testing.assert_allclose(turned, ramp(place) - (500 if channel == "0000" else 0), atol=1e-3)


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
def test_reorient_keeps_every_place(nnunet, direction):
    ct_grid = grid_around(POINT_MM, (40, 44, 36), (1.0, 1.0, 1.5), direction)
    pet_grid = grid_around(POINT_MM, (40, 40, 40), (4.1, 3.9, 5.0), DIRECTIONS["flipped"])
    command = arrange("hecktor 2022", nnunet / "source", ct_grid, pet_grid)

    assert convert(*command, "--reorient", "--spacing", 2.1) == 0

    check_positions(nnunet)


def test_reorient_turns_ct_pet_and_label_of_one_case_that_differ_among_themselves(nnunet):
    """Turned first, they share a grid, so that nothing is interpolated."""
    command = arrange("hecktor 2022", nnunet / "source", CT_GRID, CT_GRID)
    turn(nnunet / "source" / "imagesTr" / "one__PT.nii.gz", "RAS")
    turn(nnunet / "source" / "labelsTr" / "one.nii.gz", "ASL")

    assert convert(*command, "--reorient") == 0

    assert record(nnunet)["cases"]["one"]["files"] == {"ct": "copied", "pet": "reoriented", "label": "reoriented"}
    assert {axes_of(file) for file in only_case(nnunet)} == {"LPS"}
    check_positions(nnunet)


def test_autopet_studies_are_turned_too(nnunet):
    grids = [grid_around(POINT_MM, (20, 22, 18), (2.0, 2.0, 3.0), DIRECTIONS[name]) for name in ("flipped", "straight")]
    for patient, grid in zip("ab", grids, strict=True):
        command = arrange("autopet III", nnunet / "source", grid, grid, [patient])
    arrange("autopet III", nnunet / "source", grids[0], grids[0], ["c"])

    assert convert(*command, "--reorient") == 0

    assert {axes_of(file) for file in dataset(nnunet).rglob("*.nii.gz")} == {"RAS"}


def test_the_axes_of_the_first_run_hold_when_cases_are_added(nnunet):
    command = cohort(nnunet, "LPS")
    assert convert(*command, "--reorient") == 0
    for name in ("new", "newer"):
        arrange("hecktor 2022", nnunet / "source", CT_GRID, PET_GRID, [name])
        for file in (nnunet / "source").rglob(f"{name}*"):
            turn(file, "LSP")

    assert convert(*command, "--reorient") == 0

    assert {axes_of(file) for file in dataset(nnunet).rglob("*.nii.gz")} == {"LPS"}
    assert json.loads((dataset(nnunet) / "dataset.json").read_text())["numTraining"] == 3


def test_with_and_without_reorient_are_other_settings(nnunet, capsys):
    command = cohort(nnunet, "LPS")
    assert convert(*command, "--reorient") == 0

    assert convert(*command) == 1

    assert "with other settings (reorient True, now None)" in capsys.readouterr().err
