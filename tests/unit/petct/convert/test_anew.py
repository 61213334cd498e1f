"""`--overwrite`: a dataset is made anew beside the earlier one, and nothing else is removed."""

import json
import os
from pathlib import Path

import pytest

from h2aseg_nnunet.petct.convert import staging
from tests.unit.petct.convert.layouts import (
    CT_GRID,
    LAYOUTS,
    PET_GRID,
    arrange,
    contents,
    convert,
    dataset,
    record,
    spoil,
)
from tests.unit.petct.convert.synthetic_studies import ball, points_mm, write


@pytest.fixture
def command(nnunet) -> list:
    """The command of a finished conversion of two patients."""
    command = arrange("pairs", nnunet / "source", CT_GRID, PET_GRID, ("one", "two"))
    assert convert(*command) == 0
    return command


def images(nnunet) -> dict[str, bytes]:
    return {name: content for name, content in contents(nnunet).items() if name.endswith(".nii.gz")}


def test_other_settings_are_refused_unless_overwriting_is_asked_for(nnunet, command, capsys):
    before = contents(nnunet)

    assert convert(*command, "--spacing", 3) == 1

    assert "with other settings (spacing_mm None, now [3.0, 3.0, 3.0])" in capsys.readouterr().err
    assert contents(nnunet) == before
    assert convert(*command, "--spacing", 3, "--overwrite") == 0
    assert record(nnunet)["cases"]["one"]["spacing_mm"] == [3.0, 3.0, 3.0]
    assert json.loads((dataset(nnunet) / "dataset.json").read_text())["conversion"]["spacing_mm"] == [3.0, 3.0, 3.0]
    assert contents(nnunet).keys() == before.keys()
    assert not (dataset(nnunet) / ".overwriting").exists()


def test_files_that_the_conversion_did_not_write_stay_and_are_named(nnunet, command, capsys):
    folder = dataset(nnunet)
    theirs = {"notes.txt": b"a week", "corrected/one.nii.gz": b"by hand", "labelsTr/three.nii.gz": b"added"}
    for name, content in theirs.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)

    assert convert(*command, "--overwrite", "--spacing", 3) == 0

    assert theirs.items() <= contents(nnunet).items()
    output = capsys.readouterr().out
    assert "did not write them: corrected/one.nii.gz, labelsTr/three.nii.gz, notes.txt" in output


@pytest.mark.parametrize("file", ["labelsTr/one.nii.gz", "imagesTr/two_0000.nii.gz", "dataset.json"])
def test_a_file_that_was_changed_since_is_never_replaced(nnunet, command, capsys, file):
    changed = dataset(nnunet) / file
    if file.endswith(".json"):
        changed.write_text(changed.read_text().replace('"1": "CT"', '"1": "noNorm"'))
    else:
        write(ball(points_mm(CT_GRID)) * 0, CT_GRID, changed)
    before = contents(nnunet)

    assert convert(*command, "--overwrite") == 1

    assert contents(nnunet) == before
    assert f"{changed} would be replaced, but was not written by h2aseg convert or has been" in capsys.readouterr().err
    changed.rename(nnunet / "mine")
    assert convert(*command, "--overwrite") == 0
    assert contents(nnunet).keys() == before.keys()


def test_a_copy_of_the_dataset_with_new_times_is_still_ours(nnunet, command):
    for file in dataset(nnunet).rglob("*.*"):
        os.utime(file, (1, 1))

    assert convert(*command, "--overwrite", "--spacing", 3) == 0


def test_folds_that_a_user_has_made_stay(nnunet, command, capsys):
    folds = '[{"train": ["one", "two"], "val": ["one", "two"]}]'
    (dataset(nnunet) / "splits_final.json").write_text(folds)

    assert convert(*command, "--overwrite") == 0

    assert (dataset(nnunet) / "splits_final.json").read_text() == folds
    assert "splits_final.json holds other folds and was left" in capsys.readouterr().out


@pytest.mark.parametrize("lost", ["one file", "everything"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_is_removed_when_a_source_cannot_be_reached(nnunet, capsys, layout, lost):
    command = arrange(layout, nnunet / "source", CT_GRID, CT_GRID, ("one", "two"))
    assert convert(*command) == 0
    before = contents(nnunet)
    files = [Path(source["file"]) for case in record(nnunet)["cases"].values() for source in case["sources"].values()]
    for file in files[: 1 if lost == "one file" else None]:
        file.rename(nnunet / file.name)

    assert convert(*command, "--overwrite", "--pet-channel", "PET") == 1

    assert contents(nnunet) == before
    if lost == "one file":
        assert f"{dataset(nnunet)} is left as it is:" in capsys.readouterr().err


def test_training_cases_do_not_become_test_cases_because_no_label_can_be_reached(nnunet):
    """HECKTOR 2021 and 2025 tell test data by the lack of labels."""
    command = arrange("hecktor 2021", nnunet / "source", CT_GRID, CT_GRID, ("one", "two"))
    assert convert(*command) == 0
    before = contents(nnunet)
    for label in (nnunet / "source").rglob("*_gtvt.nii.gz"):
        label.rename(nnunet / label.name)

    assert convert(*command, "--overwrite") == 1

    assert contents(nnunet) == before


def test_nothing_is_removed_when_the_new_plan_cannot_be(nnunet, command):
    before = contents(nnunet)
    command[1].write_text("case,ct\n")

    assert convert(*command, "--overwrite") == 1

    assert contents(nnunet) == before


@pytest.mark.parametrize("how", ["truncated", "empty", "moved far away"])
def test_the_earlier_dataset_stays_until_the_new_one_is_whole(nnunet, command, capsys, how):
    """The second run goes on where the first one ended: the case that was whole is not done again."""
    before = contents(nnunet)
    pet = nnunet / "source" / "one" / "pet.nii"
    whole = pet.read_bytes()
    spoil(pet, how)

    assert convert(*command, "--overwrite", "--spacing", 3) == 1

    assert contents(nnunet) == before
    assert f"{dataset(nnunet)} is left as it is: one would be lost" in capsys.readouterr().err
    begun = dataset(nnunet) / ".overwriting" / "imagesTr" / "two_0001.nii.gz"
    time = begun.stat().st_mtime_ns
    pet.write_bytes(whole)
    assert convert(*command, "--overwrite", "--spacing", 3) == 0
    assert (dataset(nnunet) / "imagesTr" / "two_0001.nii.gz").stat().st_mtime_ns == time
    assert {case["spacing_mm"][0] for case in record(nnunet)["cases"].values()} == {3.0}


def test_an_abandoned_new_dataset_is_forgotten_when_the_earlier_conversion_goes_on(nnunet, command):
    before = images(nnunet)
    pet = nnunet / "source" / "one" / "pet.nii"
    whole = pet.read_bytes()
    spoil(pet, "truncated")
    assert convert(*command, "--overwrite", "--spacing", 3) == 1
    pet.write_bytes(whole)

    assert convert(*command) == 0

    assert images(nnunet) == before
    assert not (dataset(nnunet) / ".overwriting").exists()


def test_a_row_that_left_the_table_leaves_the_dataset(nnunet, command):
    command[1].write_text(command[1].read_text().replace("one,one/ct.nii,one/pet.nii,one/label.nii\n", ""))

    assert convert(*command, "--overwrite") == 0

    assert sorted(images(nnunet)) == ["imagesTr/two_0000.nii.gz", "imagesTr/two_0001.nii.gz", "labelsTr/two.nii.gz"]
    assert list(record(nnunet)["cases"]) == ["two"]
    assert json.loads((dataset(nnunet) / "dataset.json").read_text())["numTraining"] == 1


@pytest.mark.parametrize("moved", range(7))
def test_a_kill_while_the_new_dataset_takes_its_place_is_made_good(nnunet, command, monkeypatch, moved):
    """Two cases of three files each; the first row leaves the table, a third comes."""
    arrange("pairs", nnunet / "source", CT_GRID, PET_GRID, ("two", "new"))
    moves = iter(range(moved))
    replace = os.replace

    class Killed(BaseException):
        pass

    def replace_or_die(source, target):
        if ".overwriting" in str(source) and ".overwriting" not in str(target) and next(moves, None) is None:
            raise Killed
        replace(source, target)

    with monkeypatch.context() as context:
        context.setattr(staging.os, "replace", replace_or_die)
        if moved < 6:
            with pytest.raises(Killed):
                convert(*command, "--overwrite", "--spacing", 3)
        else:
            assert convert(*command, "--overwrite", "--spacing", 3) == 0

    assert convert(*command, "--spacing", 3) == 0

    assert sorted(record(nnunet)["cases"]) == ["new", "two"]
    assert {case["spacing_mm"][0] for case in record(nnunet)["cases"].values()} == {3.0}
    assert sorted(images(nnunet)) == [
        *(f"imagesTr/{name}_000{channel}.nii.gz" for name in ("new", "two") for channel in (0, 1)),
        *("labelsTr/new.nii.gz", "labelsTr/two.nii.gz"),
    ]
    assert json.loads((dataset(nnunet) / "dataset.json").read_text())["numTraining"] == 2


def test_the_sources_are_never_touched(nnunet, command):
    for options in (["--link"], []):
        before = {file: file.read_bytes() for file in (nnunet / "source").rglob("*.nii")}

        assert convert(*command, "--overwrite", *options) == 0

        assert {file: file.read_bytes() for file in (nnunet / "source").rglob("*.nii")} == before
