"""Cases and commands that are refused."""

import json

import numpy as np
import pytest

from tests.unit.petct.convert.layouts import CT_GRID, PET_GRID, arrange, convert, dataset, record, spoil
from tests.unit.petct.convert.synthetic_studies import POINT_MM, ball, grid_around, points_mm, write


@pytest.mark.parametrize(
    ("file", "how", "words"),
    [
        ("imagesTr/one__CT.nii.gz", "truncated", "one__CT.nii.gz is damaged"),
        ("imagesTr/one__PT.nii.gz", "empty", "one__PT.nii.gz is empty"),
        ("imagesTr/one__PT.nii.gz", "missing", "There is no"),
        ("imagesTr/one__PT.nii.gz", "not finite", "not finite"),
        ("imagesTr/one__PT.nii.gz", "moved far away", "do not overlap"),
        ("labelsTr/one.nii.gz", "moved far away", "ml of the label lie outside the region converted"),
        ("labelsTr/one.nii.gz", "other values", "holds the value 255 in"),
        ("labelsTr/one.nii.gz", "missing", "There is no"),
    ],
)
def test_a_case_that_cannot_be_used_does_not_stop_the_others(nnunet, capsys, file, how, words):
    command = arrange("hecktor 2022", nnunet / "source", CT_GRID, PET_GRID, patients=("one", "two", "six"))
    spoil(nnunet / "source" / file, how)

    assert convert(*command) == 1

    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1] == "h2aseg convert: 1 of 3 cases were refused, as listed above."
    (refusal,) = (line for line in captured.out.splitlines() if "REFUSED" in line)
    assert refusal.startswith("  one REFUSED") and words in refusal
    assert words in record(nnunet)["cases"]["one"]["refused"]
    folder = dataset(nnunet)
    assert [file.name for file in sorted((folder / "labelsTr").iterdir())] == ["six.nii.gz", "two.nii.gz"]
    assert not list((folder / "imagesTr").glob("*one*"))
    assert json.loads((folder / "dataset.json").read_text())["numTraining"] == 2
    splits = json.loads((folder / "splits_final.json").read_text())
    assert sorted(case for fold in splits for case in fold["val"]) == ["six", "two"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (255, "holds the value 255 in 1 voxels; --labels declares 0, 1. Store 1 instead of 255 if it marks tumor."),
        (1.0000001, "holds the value 1.0000001 in 1 voxels; --labels declares 0, 1. Round the mask to whole numbers"),
        (0.7, "holds the value 0.7 in 1 voxels; --labels declares 0, 1. Threshold it"),
        (-1, "Where nobody judged, store the label that --labels declares as ignore."),
    ],
)
def test_values_that_no_label_has_are_refused_with_the_remedy(nnunet, capsys, value, words):
    command = arrange("pairs", nnunet / "source", CT_GRID, CT_GRID)
    values = np.zeros(CT_GRID.size[::-1], np.float64)
    values[9, 9, 9] = value
    write(values, CT_GRID, nnunet / "source" / "one" / "label.nii")

    assert convert(*command) == 1

    assert words in capsys.readouterr().out


def test_a_value_without_a_name_may_be_named(nnunet, capsys):
    command = arrange("pairs", nnunet / "source", CT_GRID, CT_GRID)
    values = ball(points_mm(CT_GRID))
    values[0, 0, 0] = 2
    write(values, CT_GRID, nnunet / "source" / "one" / "label.nii")

    assert convert(*command) == 1

    assert "Correct the mask, or name the label with --labels." in capsys.readouterr().out
    assert convert(*command, "--labels", "tumor", "ignore", "--overwrite") == 0
    assert record(nnunet)["cases"]["one"]["lesions"].keys() == {"tumor"}


def test_autopet_refuses_a_study_whose_pet_is_on_another_grid(nnunet, capsys):
    command = arrange("autopet II", nnunet / "source", CT_GRID, PET_GRID)

    assert convert(*command) == 1

    assert "SUV.nii.gz is not on the grid of" in capsys.readouterr().out
    assert not (dataset(nnunet) / "dataset.json").exists()


def test_lesions_lost_at_the_border_or_in_a_coarse_grid_are_told(nnunet, capsys):
    """The PET ends 3 mm beside the center of the lesion; the second label is one voxel between the new ones."""
    pet_grid = grid_around(POINT_MM + np.array((63, 0, 0)), (30, 30, 30), (4.0, 4.0, 4.0))
    pet_grid = pet_grid._replace(origin_mm=tuple(np.subtract(pet_grid.origin_mm, (6.0, 0.0, 0.0)).tolist()))
    command = arrange("hecktor 2022", nnunet / "source", CT_GRID, pet_grid)
    label = ball(points_mm(CT_GRID))
    label[0, 0, -1] = 2
    write(label, CT_GRID, nnunet / "source" / "labelsTr" / "one.nii.gz")

    assert convert(*command, "--spacing", 3, 3, 4) == 0

    output = capsys.readouterr().out
    assert "ml of the label lie outside the region converted" in output
    assert "one: 0.01 ml of GTVn are lost on the new grid" in output
    volumes = record(nnunet)["cases"]["one"]["lesion_ml"]
    assert volumes["GTVn"] == {"source": 0.012, "converted": 0.0}
    assert 0 < volumes["GTVp"]["converted"] < volumes["GTVp"]["source"]


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]], ids=["", "overwrite"])
def test_a_folder_made_by_others_is_never_touched(nnunet, capsys, overwrite):
    theirs = nnunet / "nnUNet_raw" / "Dataset007_HECKTOR2022" / "dataset.json"
    theirs.parent.mkdir()
    theirs.write_text("theirs")
    command = arrange("hecktor 2022", nnunet / "source", CT_GRID, PET_GRID)

    assert convert(*command, *overwrite) == 1

    assert "exists and is not a dataset of h2aseg convert: choose another -d" in capsys.readouterr().err
    assert [file.name for file in theirs.parent.iterdir()] == ["dataset.json"]


def test_a_number_that_nnunet_knows_under_another_name_is_refused(nnunet, capsys):
    (nnunet / "nnUNet_results" / "Dataset007_Liver").mkdir()
    command = arrange("hecktor 2022", nnunet / "source", CT_GRID, PET_GRID)

    assert convert(*command) == 1

    assert "nnU-Net already has Dataset007_Liver" in capsys.readouterr().err
    assert not list((nnunet / "nnUNet_raw").iterdir())


def test_without_nnunet_raw_there_is_one_clear_sentence(nnunet, capsys, monkeypatch):
    monkeypatch.delenv("nnUNet_raw")
    command = arrange("hecktor 2022", nnunet / "source", CT_GRID, PET_GRID)

    assert convert(*command) == 1

    assert capsys.readouterr().err.splitlines() == [
        "h2aseg convert: nnUNet_raw is not set. Name nnU-Net's folder of raw datasets: export nnUNet_raw=/path/to/it"
    ]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (["--spacing", "-1"], "one or three positive numbers"),
        (["--spacing", "1", "2"], "one or three positive numbers"),
        (["--spacing", "nan"], "one or three positive numbers"),
        (["--spacing", "1", "1", "inf"], "one or three positive numbers"),
        (["-d", "1000"], "between 1 and 999"),
        (["--name", "my data"], "letters, digits, _ and -"),
    ],
)
def test_options_that_cannot_be_are_told(nnunet, capsys, option, words):
    command = arrange("hecktor 2022", nnunet / "source", CT_GRID, PET_GRID)

    assert convert(*command, *option) == 1

    assert words in capsys.readouterr().err
    assert not list((nnunet / "nnUNet_raw").iterdir())
