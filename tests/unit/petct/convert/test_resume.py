"""Repeating a conversion: what is finished stays, whatever has become of its source."""

import json
import signal
from pathlib import Path

import numpy as np
import pytest

from h2aseg_nnunet.petct.convert.raw_dataset import RawFolder
from h2aseg_nnunet.petct.files import exclusively
from tests.unit.petct.convert.layouts import (
    CT_GRID,
    PET_GRID,
    arrange,
    contents,
    convert,
    dataset,
    only_case,
    record,
    sources,
    spoil,
)
from tests.unit.petct.convert.synthetic_studies import (
    POINT_MM,
    ball,
    grid_around,
    points_mm,
    ramp,
    read,
    write,
    write_study,
)


def test_a_mended_case_is_taken_up_and_the_others_stay(nnunet):
    command = arrange("hecktor 2022", nnunet / "source", CT_GRID, PET_GRID, patients=("one", "two", "six"))
    label = nnunet / "source" / "labelsTr" / "one.nii.gz"
    label.rename(nnunet / "elsewhere")
    assert convert(*command) == 1
    times = {file: file.stat().st_mtime_ns for file in (dataset(nnunet) / "imagesTr").iterdir()}
    (nnunet / "elsewhere").rename(label)

    assert convert(*command) == 0

    assert len(times) == 4
    assert {file: file.stat().st_mtime_ns for file in times} == times
    assert json.loads((dataset(nnunet) / "dataset.json").read_text())["numTraining"] == 3
    for file in dataset(nnunet), nnunet / "nnUNet_preprocessed" / dataset(nnunet).name:
        splits = json.loads((file / "splits_final.json").read_text())
        assert sorted(case for fold in splits for case in fold["val"]) == ["one", "six", "two"]


def test_a_finished_case_is_not_done_again(nnunet):
    command = arrange("hecktor 2022", nnunet / "source", CT_GRID, PET_GRID, patients=("one", "two"))
    assert convert(*command) == 0
    files = [file for file in dataset(nnunet).rglob("*.nii.gz")]
    times = [file.stat().st_mtime_ns for file in files]

    assert convert(*command) == 0

    assert [file.stat().st_mtime_ns for file in files] == times


@pytest.mark.parametrize("what", ["source changed", "target lost"])
def test_a_finished_case_is_done_again_if(nnunet, what):
    command = arrange("hecktor 2022", nnunet / "source", CT_GRID, PET_GRID)
    assert convert(*command) == 0
    if what == "target lost":
        only_case(nnunet)[1].unlink()
    else:
        write(2 * ramp(points_mm(PET_GRID)).astype(np.float32), PET_GRID, sources(nnunet)[1])

    assert convert(*command) == 0

    pet, place = read(only_case(nnunet)[1])
    inner = (slice(3, -3),) * 3  # beyond the outermost PET voxels' centers
    factor = 2 if what == "source changed" else 1
    np.testing.assert_allclose(pet[inner], factor * ramp(place[inner]), rtol=1e-5)


LAYOUTS = ["hecktor 2022", "hecktor 2021", "autopet II", "autopet III", "pairs"]
PATIENTS = ("one", "two")


def converted(nnunet, layout: str, *options: str) -> list:
    """Convert two patients; returns the command."""
    command = [*arrange(layout, nnunet / "source", CT_GRID, CT_GRID, PATIENTS), *options]
    assert convert(*command) == 0
    return command


def images_of(contents: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in contents.items() if name.endswith(".nii.gz")}


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


def find_source(nnunet, patient: str, role: str) -> list[Path]:
    (case,) = (case for name, case in record(nnunet)["cases"].items() if patient in name)
    roles = {"CT": "ct", "PET": "pet", "label": "label"}
    return [Path(source["file"]) for key, source in case["sources"].items() if role == "all" or key == roles[role]]


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


def test_a_file_that_was_corrected_by_hand_is_never_replaced(nnunet, capsys):
    command = converted(nnunet, "hecktor 2022")
    label = dataset(nnunet) / "labelsTr" / "one.nii.gz"
    corrected = ball(points_mm(CT_GRID)) * 2
    write(corrected, CT_GRID, label)
    before = contents(nnunet)
    (pet,) = find_source(nnunet, "one", "PET")
    write(2 * ramp(points_mm(CT_GRID)).astype(np.float32), CT_GRID, pet)
    capsys.readouterr()

    assert convert(*command) == 1

    assert images_of(contents(nnunet)) == images_of(before)
    output = capsys.readouterr().out
    assert f"{label} would be replaced, but was not written by h2aseg convert or has been changed since" in output
    label.rename(nnunet / "corrected.nii.gz")
    assert convert(*command) == 0
    assert len(images_of(contents(nnunet))) == 6


def test_a_file_of_somebody_else_under_the_name_of_a_new_case_is_never_replaced(nnunet, capsys):
    command = converted(nnunet, "hecktor 2022")
    theirs = dataset(nnunet) / "imagesTr" / "new_0001.nii.gz"
    theirs.write_bytes(b"theirs")
    arrange("hecktor 2022", nnunet / "source", CT_GRID, CT_GRID, ["new"])

    assert convert(*command) == 1

    assert theirs.read_bytes() == b"theirs"
    assert not (theirs.parent / "new_0000.nii.gz").exists()
    assert f"{theirs} would be replaced" in capsys.readouterr().out


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


def test_a_row_that_left_the_table_is_told(nnunet, capsys):
    command = converted(nnunet, "pairs")
    before = contents(nnunet)
    command[1].write_text("case,ct,pet,label\ntwo,two/ct.nii,two/pet.nii,two/label.nii\n")

    assert convert(*command) == 1

    assert "has one, which" in capsys.readouterr().err
    assert images_of(contents(nnunet)) == images_of(before)


def test_a_case_that_becomes_a_test_case_moves(nnunet):
    command = converted(nnunet, "pairs")
    command[1].write_text(command[1].read_text().replace("two/label.nii", ""))

    assert convert(*command) == 0

    assert sorted(images_of(contents(nnunet))) == [
        *("imagesTr/one_0000.nii.gz", "imagesTr/one_0001.nii.gz"),
        *("imagesTs/two_0000.nii.gz", "imagesTs/two_0001.nii.gz", "labelsTr/one.nii.gz"),
    ]


def test_sources_that_moved_with_their_table_are_taken_up(nnunet):
    command = converted(nnunet, "pairs", "--link")
    (nnunet / "source" / "one").rename(nnunet / "source" / "elsewhere")
    command[1].write_text(command[1].read_text().replace(",one/", ",elsewhere/"))

    assert convert(*command) == 0

    assert all(file.exists() for file in dataset(nnunet).rglob("*.nii.gz"))


@pytest.mark.parametrize("moved", range(4))
def test_a_case_that_was_whole_when_the_run_was_killed_is_put_into_its_place(nnunet, moved):
    """Killed after `moved` of its three files had been moved; the earlier version of the case is the other half."""
    command = converted(nnunet, "hecktor 2022")
    (pet,) = find_source(nnunet, "one", "PET")
    write(2 * ramp(points_mm(CT_GRID)).astype(np.float32), CT_GRID, pet)
    assert convert(*command) == 0
    whole, state = contents(nnunet), record(nnunet)
    folder = dataset(nnunet)
    write(ramp(points_mm(CT_GRID)).astype(np.float32), CT_GRID, pet)
    assert convert(*command) == 0
    earlier = contents(nnunet)
    write(2 * ramp(points_mm(CT_GRID)).astype(np.float32), CT_GRID, pet)
    names = ["imagesTr/one_0000.nii.gz", "imagesTr/one_0001.nii.gz", "labelsTr/one.nii.gz"]
    journal = state["cases"]["one"]
    journal["sources"]["pet"]["modified_ns"] = pet.stat().st_mtime_ns
    for name in names[:moved]:
        (folder / name).write_bytes(whole[name])
    for name in names[moved:]:
        (folder / ".converting" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / ".converting" / name).write_bytes(whole[name])
    (folder / ".converting").mkdir(exist_ok=True)
    (folder / ".converting" / "one.json").write_text(json.dumps(journal))
    (folder / ".converting" / "half.nii.gz").write_bytes(b"half")

    assert convert(*command) == 0

    assert images_of(contents(nnunet)) == images_of(whole) != images_of(earlier)
    assert not (folder / ".converting").exists()


def test_a_second_conversion_into_the_same_dataset_is_refused_and_the_first_goes_on(nnunet, capsys):
    command = converted(nnunet, "pairs")
    before = contents(nnunet)

    with exclusively(RawFolder(dataset(nnunet)).lock):
        assert convert(*command) == 1
        assert convert(*command, "--overwrite") == 1

    assert f"another process works in {dataset(nnunet)} at the moment" in capsys.readouterr().err
    assert contents(nnunet) == before
    assert convert(*command) == 0


def test_a_case_that_left_the_folder_of_the_challenge_stays_and_is_told(nnunet, capsys):
    command = arrange("hecktor 2022", nnunet / "source", CT_GRID, PET_GRID, patients=("one", "two"))
    assert convert(*command) == 0
    for file in (nnunet / "source").rglob("one*"):
        file.unlink()

    assert convert(*command) == 0

    assert "kept as converted earlier: one" in capsys.readouterr().out
    assert len(list(dataset(nnunet).rglob("*.nii.gz"))) == 6


def test_a_full_disk_ends_the_conversion_and_leaves_no_part_of_a_file(nnunet, capsys):
    """ITK itself does not notice. A limit on the size of files stands for the disk's."""
    resource = pytest.importorskip("resource")  # not on Windows
    noise = np.random.default_rng(0).normal(size=(40, 40, 40)).astype(np.float32)
    grid = grid_around(POINT_MM, (40, 40, 40), (2.0, 2.0, 2.0))
    command = arrange("hecktor 2022", nnunet / "source", grid, PET_GRID)
    write(noise, grid, nnunet / "source" / "imagesTr" / "one__CT.nii.gz")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        assert convert(*command, "--spacing", 1.5) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)

    assert "could not be written completely; is the disk full?" in capsys.readouterr().err
    assert not list(dataset(nnunet).rglob("*.nii.gz"))
