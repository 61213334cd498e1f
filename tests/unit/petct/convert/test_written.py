"""What a conversion writes."""

import json
import os

from nnunetv2.preprocessing.normalization.default_normalization_schemes import (
    CTNormalization,
    NoNormalization,
    ZScoreNormalization,
)
from nnunetv2.preprocessing.normalization.map_channel_name_to_normalization import get_normalization_scheme

from tests.unit.petct.convert.layouts import (
    CT_GRID,
    PET_GRID,
    WIDE,
    arrange,
    check_positions,
    convert,
    dataset,
    only_case,
)
from tests.unit.petct.convert.synthetic_studies import POINT_MM, grid_around


def test_dataset_json_tells_where_the_data_comes_from_and_chooses_the_normalization(nnunet):
    command = arrange("hecktor 2022", nnunet / "source", CT_GRID, PET_GRID, patients="abcdef")

    assert convert(*command) == 0

    assert dataset(nnunet).name == "Dataset007_HECKTOR2022"
    description = json.loads((dataset(nnunet) / "dataset.json").read_text())
    assert description["labels"] == {"background": 0, "GTVp": 1, "GTVn": 2}
    assert (description["numTraining"], description["file_ending"]) == (6, ".nii.gz")
    schemes = [get_normalization_scheme(name) for name in description["channel_names"].values()]
    assert schemes == [CTNormalization, CTNormalization]
    assert "a given SUV is the same input in every patient" in description["description"]
    assert description["conversion"]["source"] == str(nnunet / "source")
    assert "h2aseg_nnunet" in description["converted_by"]


def test_pet_may_be_normalized_image_by_image(nnunet):
    command = arrange("hecktor 2022", nnunet / "source", CT_GRID, PET_GRID)

    assert convert(*command, "--pet-channel", "PET") == 0

    description = json.loads((dataset(nnunet) / "dataset.json").read_text())
    assert description["channel_names"] == {"0": "CT", "1": "PET"}
    assert get_normalization_scheme("PET") is ZScoreNormalization


def test_suv_may_be_kept(nnunet):
    command = arrange("hecktor 2022", nnunet / "source", CT_GRID, PET_GRID)

    assert convert(*command, "--pet-channel", "SUV") == 0

    description = json.loads((dataset(nnunet) / "dataset.json").read_text())
    assert description["channel_names"] == {"0": "CT", "1": "noNorm"}
    assert get_normalization_scheme("noNorm") is NoNormalization
    assert "leaves SUV as it is" in description["description"]


def test_folds_lie_where_planning_and_where_training_look(nnunet):
    command = arrange("hecktor 2022", nnunet / "source", CT_GRID, PET_GRID, patients="abcdefg")

    assert convert(*command) == 0

    text = (dataset(nnunet) / "splits_final.json").read_text()
    assert (nnunet / "nnUNet_preprocessed" / dataset(nnunet).name / "splits_final.json").read_text() == text
    assert sorted(case for fold in json.loads(text) for case in fold["val"]) == list("abcdefg")


def test_folds_delivered_with_the_data_are_taken(nnunet):
    command = arrange("autopet III", nnunet / "source", CT_GRID, CT_GRID, patients="abc")
    a, b, c = (f"fdg_{patient}_s  1" for patient in "abc")
    folds = [{"train": [a, b], "val": [c]}, {"train": [c], "val": [b, a]}]
    (nnunet / "source" / "splits_final.json").write_text(json.dumps(folds))

    assert convert(*command) == 0

    assert json.loads((dataset(nnunet) / "splits_final.json").read_text()) == folds


def test_links_where_nothing_changes(nnunet):
    command = arrange("hecktor 2022", nnunet / "source", CT_GRID, grid_around(POINT_MM, WIDE, (4.1, 3.9, 5.0)))

    assert convert(*command, "--link") == 0

    ct, pet, label = only_case(nnunet)
    assert ct.is_symlink() and ct.resolve() == nnunet / "source" / "imagesTr" / "one__CT.nii.gz"
    assert label.is_symlink() and not pet.is_symlink()
    check_positions(nnunet)


def test_other_folds_in_use_are_left_and_told(nnunet, capsys):
    command = arrange("hecktor 2022", nnunet / "source", CT_GRID, PET_GRID, patients=("one", "two"))
    used = nnunet / "nnUNet_preprocessed" / "Dataset007_HECKTOR2022" / "splits_final.json"
    used.parent.mkdir()
    used.write_text('[{"train": ["one"], "val": ["one"]}]')

    assert convert(*command) == 0

    assert used.read_text() == '[{"train": ["one"], "val": ["one"]}]'
    assert f"{used} holds other folds and was left" in capsys.readouterr().out


def test_what_a_user_changes_in_dataset_json_stays(nnunet):
    command = arrange("hecktor 2022", nnunet / "source", CT_GRID, PET_GRID)
    assert convert(*command) == 0
    file = dataset(nnunet) / "dataset.json"
    file.write_text(file.read_text().replace('"1": "CT"', '"1": "noNorm"'))

    assert convert(*command) == 0

    assert json.loads(file.read_text())["channel_names"]["1"] == "noNorm"


def test_a_label_that_never_occurs_is_told(nnunet, capsys):
    command = arrange("hecktor 2022", nnunet / "source", CT_GRID, PET_GRID)

    assert convert(*command) == 0

    assert "note: no case has a voxel of GTVn" in capsys.readouterr().out


def test_rows_without_label_become_test_cases(nnunet):
    command = arrange("pairs", nnunet / "source", CT_GRID, PET_GRID, patients=("one", "two"))
    table = command[1]
    table.write_text(table.read_text().replace("two/label.nii", ""))

    assert convert(*command) == 0

    assert sorted(file.name for file in (dataset(nnunet) / "imagesTs").iterdir()) == [
        "two_0000.nii.gz",
        "two_0001.nii.gz",
    ]
    assert json.loads((dataset(nnunet) / "dataset.json").read_text())["numTraining"] == 1
    assert os.listdir(dataset(nnunet) / "labelsTr") == ["one.nii.gz"]
