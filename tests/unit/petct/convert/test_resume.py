"""Repeating a conversion, and leaving other files alone."""

import json
import signal

import numpy as np
import pytest

from h2aseg_nnunet.petct.convert.ledger import Ledger
from h2aseg_nnunet.petct.convert.raw_dataset import RawFolder
from h2aseg_nnunet.petct.files import exclusively
from tests.unit.petct.convert.layouts import (
    CT_GRID,
    PATIENTS,
    PET_GRID,
    arrange,
    contents,
    convert,
    converted,
    dataset,
    find_source,
    images_of,
    only_case,
    record,
    sources,
)
from tests.unit.petct.convert.synthetic_studies import (
    POINT_MM,
    ball,
    grid_around,
    points_mm,
    ramp,
    read,
    write,
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
    (folder / ".converting" / ".two.json").write_text("{}")

    assert convert(*command) == 0

    assert images_of(contents(nnunet)) == images_of(whole) != images_of(earlier)
    assert not (folder / ".converting").exists()
    assert record(nnunet)["cases"].keys() == state["cases"].keys()


def test_finished_cases_whose_record_was_not_yet_written_are_not_done_again(nnunet, monkeypatch):
    """With thousands of cases conversion.json is written now and then only; then the process is killed."""
    command = arrange("hecktor 2022", nnunet / "source", CT_GRID, CT_GRID, PATIENTS)
    save, saves = Ledger.save, iter(range(1))

    class Killed(BaseException):
        pass

    def save_once(ledger):
        if next(saves, None) is None:
            raise Killed
        save(ledger)

    with monkeypatch.context() as context:
        context.setattr(Ledger, "save", save_once)
        context.setattr(Ledger, "save_now_and_then", lambda ledger: None)
        with pytest.raises(Killed):
            convert(*command)
    assert "one" not in record(nnunet)["cases"]
    times = {file: file.stat().st_mtime_ns for file in dataset(nnunet).glob("*Tr/*")}

    assert convert(*command) == 0

    assert len(times) == 6
    assert {file: file.stat().st_mtime_ns for file in times} == times
    assert sorted(record(nnunet)["cases"]) == sorted(PATIENTS)


def test_a_second_conversion_into_the_same_dataset_is_refused_and_the_first_goes_on(nnunet, capsys):
    command = converted(nnunet, "pairs")
    before = contents(nnunet)

    with exclusively(RawFolder(dataset(nnunet)).lock):
        assert convert(*command) == 1
        assert convert(*command, "--overwrite") == 1

    assert f"another process works in {dataset(nnunet)} at the moment" in capsys.readouterr().err
    assert contents(nnunet) == before
    assert convert(*command) == 0


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
