"""What is finished stays, whatever has become of its source."""

import json

import pytest

from tests.unit.petct.convert.layouts import (
    CT_GRID,
    LAYOUTS,
    PATIENTS,
    PET_GRID,
    arrange,
    contents,
    convert,
    converted,
    dataset,
    find_source,
    images_of,
    record,
    spoil,
)
from tests.unit.petct.convert.synthetic_studies import (
    write_study,
)


@pytest.mark.parametrize("lost", ["CT", "PET", "label", "all"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_finished_case_stays_when_its_source_cannot_be_reached(nnunet, capsys, layout, lost):
    command = converted(nnunet, layout)
    before = contents(nnunet)
    for file in find_source(nnunet, "one", lost):
        file.rename(nnunet / file.name)
    capsys.readouterr()

    assert convert(*command) == 0

    after = contents(nnunet)
    assert images_of(after) == images_of(before) and len(images_of(after)) == 6
    assert after["dataset.json"] == before["dataset.json"] and after["splits_final.json"] == before["splits_final.json"]
    output = capsys.readouterr().out
    assert "2 training and 0 test cases" in output
    (warning,) = (line for line in output.splitlines() if "kept as converted earlier" in line)
    assert "one" in warning and "two" not in warning


@pytest.mark.parametrize("layout", ["hecktor 2021", "autopet III", "pairs"])
def test_links_whose_target_cannot_be_reached_stay(nnunet, layout):
    """HECKTOR 2021 without any label at all would be test data: the finished training cases stay such."""
    command = converted(nnunet, layout, "--link")
    before = contents(nnunet)
    for patient in PATIENTS:
        for file in find_source(nnunet, patient, "label"):
            file.rename(nnunet / f"{patient}.nii.gz")

    assert convert(*command) == 0

    assert contents(nnunet).keys() == before.keys()
    assert images_of(contents(nnunet)) == images_of(before)


@pytest.mark.parametrize("options", [[], ["--overwrite"]], ids=["", "overwrite"])
def test_a_training_case_is_not_replaced_by_its_double_without_label(nnunet, options):
    """HECKTOR 2025: without its CT in Task 1, the patient is found in Task 2 alone."""
    source = nnunet / "source"
    for task in ("Task 1", "Task 2"):
        for patient in PATIENTS:
            folder = source / task / patient
            label = folder / f"{patient}.nii.gz" if task == "Task 1" else None
            write_study(folder / f"{patient}__CT.nii.gz", folder / f"{patient}__PT.nii.gz", label, CT_GRID, CT_GRID)
    command = ["hecktor", source, "-d", 7]
    assert convert(*command) == 0
    before = contents(nnunet)
    (source / "Task 1" / "one" / "one__CT.nii.gz").rename(nnunet / "ct.nii.gz")

    assert convert(*command, *options) == (1 if options else 0)

    assert images_of(contents(nnunet)) == images_of(before)
    assert json.loads((dataset(nnunet) / "dataset.json").read_text())["numTraining"] == 2


def test_patients_named_later_are_taken_up_while_the_originals_are_archived(nnunet):
    command = converted(nnunet, "pairs")
    (nnunet / "source" / "one").rename(nnunet / "archive")
    text = command[1].read_text().replace("label\n", "label,patient\n").replace("label.nii\n", "label.nii,P\n")
    command[1].write_text(text)

    assert convert(*command) == 0

    assert {case["patient"] for case in record(nnunet)["cases"].values()} == {"P"}
    assert not list(nnunet.rglob("splits_final.json")), "folds of one patient would have him on both sides"


def test_new_rows_are_converted_while_the_originals_of_others_are_archived(nnunet):
    command = converted(nnunet, "pairs")
    before = images_of(contents(nnunet))
    (nnunet / "source" / "one").rename(nnunet / "archive")
    arrange("pairs", nnunet / "source", CT_GRID, CT_GRID, ["new"])
    rows = [f"{name},{name}/ct.nii,{name}/pet.nii,{name}/label.nii" for name in ("one", "two", "new")]
    command[1].write_text("\n".join(["case,ct,pet,label", *rows]))

    assert convert(*command) == 0

    after = images_of(contents(nnunet))
    assert before.items() <= after.items() and len(after) == 9
    assert json.loads((dataset(nnunet) / "dataset.json").read_text())["numTraining"] == 3
    folds = json.loads((dataset(nnunet) / "splits_final.json").read_text())
    assert sorted(case for fold in folds for case in fold["val"]) == ["new", "one", "two"]


@pytest.mark.parametrize("how", ["truncated", "empty", "not finite", "moved far away"])
@pytest.mark.parametrize("layout", ["hecktor 2022", "autopet III"])
def test_a_source_that_became_unusable_leaves_the_finished_case_and_is_told(nnunet, capsys, layout, how):
    command = converted(nnunet, layout)
    before = contents(nnunet)
    (pet,) = find_source(nnunet, "one", "PET")
    spoil(pet, how)
    capsys.readouterr()

    for _ in range(2):
        assert convert(*command) == 1

        assert images_of(contents(nnunet)) == images_of(before)
        assert contents(nnunet)["splits_final.json"] == before["splits_final.json"]
        captured = capsys.readouterr()
        assert "The version converted earlier stays." in captured.out and "2 training" in captured.out
        assert "1 of 2 cases were refused" in captured.err


def test_what_is_neither_in_the_dataset_nor_in_the_source_is_refused_and_the_rest_left(nnunet, capsys):
    command = converted(nnunet, "pairs")
    (dataset(nnunet) / "imagesTr" / "one_0001.nii.gz").unlink()
    (nnunet / "source" / "one").rename(nnunet / "archive")
    before = images_of(contents(nnunet))

    assert convert(*command) == 1

    assert images_of(contents(nnunet)) == before and len(before) == 5
    assert "one_0001.nii.gz, which cannot be made again" in capsys.readouterr().out
    (nnunet / "archive").rename(nnunet / "source" / "one")
    assert convert(*command) == 0
    assert len(images_of(contents(nnunet))) == 6


def test_a_case_that_left_the_folder_of_the_challenge_stays_and_is_told(nnunet, capsys):
    command = arrange("hecktor 2022", nnunet / "source", CT_GRID, PET_GRID, patients=("one", "two"))
    assert convert(*command) == 0
    for file in (nnunet / "source").rglob("one*"):
        file.unlink()

    assert convert(*command) == 0

    assert "kept as converted earlier: one" in capsys.readouterr().out
    assert len(list(dataset(nnunet).rglob("*.nii.gz"))) == 6


def test_a_row_that_left_the_table_is_told(nnunet, capsys):
    command = converted(nnunet, "pairs")
    before = contents(nnunet)
    command[1].write_text("case,ct,pet,label\ntwo,two/ct.nii,two/pet.nii,two/label.nii\n")

    assert convert(*command) == 1

    assert "has one, which" in capsys.readouterr().err
    assert images_of(contents(nnunet)) == images_of(before)


def test_sources_that_moved_with_their_table_are_taken_up(nnunet):
    command = converted(nnunet, "pairs", "--link")
    (nnunet / "source" / "one").rename(nnunet / "source" / "elsewhere")
    command[1].write_text(command[1].read_text().replace(",one/", ",elsewhere/"))

    assert convert(*command) == 0

    assert all(file.exists() for file in dataset(nnunet).rglob("*.nii.gz"))


def test_a_case_that_becomes_a_test_case_moves(nnunet):
    command = converted(nnunet, "pairs")
    command[1].write_text(command[1].read_text().replace("two/label.nii", ""))

    assert convert(*command) == 0

    assert sorted(images_of(contents(nnunet))) == [
        *("imagesTr/one_0000.nii.gz", "imagesTr/one_0001.nii.gz"),
        *("imagesTs/two_0000.nii.gz", "imagesTs/two_0001.nii.gz", "labelsTr/one.nii.gz"),
    ]
