import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity
from nnunetv2.preprocessing.normalization.default_normalization_schemes import CTNormalization, ZScoreNormalization
from nnunetv2.preprocessing.normalization.map_channel_name_to_normalization import get_normalization_scheme

from h2aseg_nnunet import cli
from h2aseg_nnunet.petct.images.reading import read_image
from tests.unit.petct.convert.synthetic_studies import (
    DIRECTIONS,
    POINT_MM,
    RADIUS_MM,
    ball,
    grid_around,
    points_mm,
    ramp,
    read,
    write,
    write_study,
)

CT_GRID = grid_around(POINT_MM, (20, 22, 18), (2.0, 2.0, 3.0))
PET_GRID = grid_around(POINT_MM + np.array((1.3, -0.7, 0.4)), (14, 15, 13), (4.1, 4.1, 5.0))
WIDE = (40, 40, 40)


def convert(*arguments) -> int:
    return cli.main(["convert", *map(str, arguments), "-np", "1"])


def arrange(layout: str, root: Path, ct_grid, pet_grid, patients=("one",), label_grid=None) -> list:
    """Studies in a collection's own layout; returns the command that converts them and the case names."""
    for patient in patients:
        if layout == "hecktor 2022":
            ct, pet = (root / "imagesTr" / f"{patient}__{modality}.nii.gz" for modality in ("CT", "PT"))
            label = root / "labelsTr" / f"{patient}.nii.gz"
        elif layout == "hecktor 2021":
            ct, pet, label = (root / "hecktor_nii" / f"{patient}_{end}.nii.gz" for end in ("ct", "pt", "gtvt"))
        elif layout == "autopet II":
            ct, pet, label = (root / f"PETCT_{patient}" / "s  1" / f"{name}.nii.gz" for name in ("CTres", "SUV", "SEG"))
        elif layout == "autopet III":
            ct, pet = (root / "imagesTr" / f"fdg_{patient}_s  1_000{channel}.nii.gz" for channel in (0, 1))
            label = root / "labelsTr" / f"fdg_{patient}_s  1.nii.gz"
        else:
            ct, pet, label = (root / patient / f"{name}.nii" for name in ("ct", "pet", "label"))
        write_study(ct, pet, label, ct_grid, pet_grid, label_grid)
    if layout == "pairs":
        rows = [f"{patient},{patient}/ct.nii,{patient}/pet.nii,{patient}/label.nii" for patient in patients]
        (root / "pairs.csv").write_text("\n".join(["case,ct,pet,label", *rows]) + "\n")
        return ["pairs", root / "pairs.csv", "-d", 7]
    return [layout.split()[0], root, "-d", 7]


def dataset(nnunet: Path) -> Path:
    (folder,) = (nnunet / "nnUNet_raw").iterdir()
    return folder


def only_case(nnunet: Path) -> list[Path]:
    """CT, PET and label of a dataset's only case."""
    folder = dataset(nnunet)
    return [*sorted((folder / "imagesTr").iterdir()), *(folder / "labelsTr").iterdir()]


def record(nnunet: Path) -> dict:
    return json.loads((dataset(nnunet) / "conversion.json").read_text())


def check_positions(nnunet: Path) -> None:
    """Every voxel of CT, PET and label lies where its value says."""
    ct, pet, label = (read(file) for file in only_case(nnunet))
    for _, place in (pet, label):
        np.testing.assert_allclose(place, ct[1], atol=2e-4)
    np.testing.assert_allclose(ct[0], ramp(ct[1]) - 500, atol=1e-3)
    np.testing.assert_allclose(pet[0], ramp(pet[1]), atol=1e-3)
    distance_mm = np.linalg.norm(label[1] - POINT_MM, axis=-1)
    half_diagonal_mm = 2.5  # of the label's voxels below
    assert label[0][distance_mm < RADIUS_MM - half_diagonal_mm].all()
    assert not label[0][distance_mm > RADIUS_MM + half_diagonal_mm].any()
    np.testing.assert_allclose(label[1][label[0] > 0].mean(axis=0), POINT_MM, atol=0.7)


# A known point through every conversion


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
@pytest.mark.parametrize("layout", ["autopet II", "autopet III"])
def test_autopet_keeps_every_place(nnunet, layout, direction):
    grid = grid_around(POINT_MM, (20, 22, 18), (2.0, 2.0, 3.0), direction)
    command = arrange(layout, nnunet / "source", grid, grid)

    assert convert(*command) == 0

    check_positions(nnunet)
    for target, source in zip(only_case(nnunet), sources(nnunet), strict=True):
        assert target.read_bytes() == source.read_bytes()


def sources(nnunet: Path) -> list[Path]:
    (case,) = record(nnunet)["cases"].values()
    return [Path(case["sources"][role]["file"]) for role in ("ct", "pet", "label")]


@pytest.mark.parametrize("pet_direction", DIRECTIONS.values(), ids=DIRECTIONS)
@pytest.mark.parametrize(
    "ct_direction", [DIRECTIONS["straight"], DIRECTIONS["oblique and flipped"]], ids=["", "oblique"]
)
@pytest.mark.parametrize("layout", ["hecktor 2022", "pairs"])
def test_pet_is_brought_to_the_ct_by_physical_position(nnunet, layout, ct_direction, pet_direction):
    ct_grid = grid_around(POINT_MM, (20, 22, 18), (2.0, 2.0, 3.0), ct_direction)
    pet_grid = grid_around(POINT_MM, WIDE, (4.1, 3.9, 5.0), pet_direction)
    command = arrange(layout, nnunet / "source", ct_grid, pet_grid)

    assert convert(*command) == 0

    check_positions(nnunet)
    assert read(only_case(nnunet)[0])[0].shape == ct_grid.size


@pytest.mark.parametrize("ct_direction", DIRECTIONS.values(), ids=DIRECTIONS)
@pytest.mark.parametrize("layout", ["hecktor 2021", "pairs"])
def test_a_new_spacing_moves_nothing(nnunet, layout, ct_direction):
    ct_grid = grid_around(POINT_MM, (40, 44, 36), (1.0, 1.0, 1.5), ct_direction)
    pet_grid = grid_around(POINT_MM, WIDE, (4.1, 3.9, 5.0), DIRECTIONS["oblique"])
    command = arrange(layout, nnunet / "source", ct_grid, pet_grid)

    assert convert(*command, "--spacing", 2.2, 2.1, 3.3) == 0

    check_positions(nnunet)
    assert read(only_case(nnunet)[0])[0].shape == (18, 20, 16)


@pytest.mark.parametrize("label_direction", DIRECTIONS.values(), ids=DIRECTIONS)
def test_a_label_on_a_third_grid_is_brought_to_the_ct(nnunet, label_direction):
    label_grid = grid_around(POINT_MM + 0.3, (30, 30, 30), (1.5, 1.7, 1.3), label_direction)
    pet_grid = grid_around(POINT_MM, WIDE, (4.1, 3.9, 5.0))
    command = arrange("pairs", nnunet / "source", CT_GRID, pet_grid, label_grid=label_grid)

    assert convert(*command) == 0

    check_positions(nnunet)


def test_only_the_region_both_cover_is_kept(nnunet):
    """PET covers z from 26 to 74 mm; the CT's slices lie at 30.5, 33.5, ..., 81.5 mm: 15 of 18 remain."""
    ct_grid = grid_around(POINT_MM, (20, 22, 18), (2.0, 2.0, 3.0))
    pet_grid = grid_around(POINT_MM - np.array((0, 0, 6)), (20, 22, 12), (4.0, 4.0, 4.0))
    command = arrange("hecktor 2022", nnunet / "source", ct_grid, pet_grid)

    assert convert(*command) == 0

    ct, pet, label = (read(file) for file in only_case(nnunet))
    assert ct[0].shape == pet[0].shape == label[0].shape == (20, 22, 15)
    np.testing.assert_allclose([ct[1][0, 0, 0, 2], ct[1][0, 0, -1, 2]], (30.5, 72.5))
    np.testing.assert_allclose(ct[0], ramp(ct[1]) - 500, atol=1e-3)
    assert record(nnunet)["cases"]["one"]["files"] == {"ct": "cropped", "pet": "resampled", "label": "cropped"}


def test_bounding_boxes_crop(nnunet):
    command = arrange("hecktor 2021", nnunet / "source", CT_GRID, grid_around(POINT_MM, WIDE, (4.1, 3.9, 5.0)))
    table = nnunet / "boxes.csv"
    table.write_text("PatientID,x1,x2,y1,y2,z1,z2\none,0,24,-46,-22,40,72\n")

    assert convert(*command, "--bounding-boxes", table) == 0

    check_positions(nnunet)
    place = read(only_case(nnunet)[0])[1]
    np.testing.assert_allclose(place[0, 0, 0], (1, -45, 42.5), atol=1e-4)  # CT voxels lie at odd x and y
    np.testing.assert_allclose(place[-1, -1, -1], (23, -23, 69.5), atol=1e-4)


def test_headers_that_differ_by_rounding_are_made_one_without_touching_a_voxel(nnunet):
    """0.02 mm apart: nnU-Net would warn of different origins, and there is nothing to interpolate."""
    pet_grid = CT_GRID._replace(origin_mm=tuple(np.add(CT_GRID.origin_mm, (0.0, 0.0, 0.02)).tolist()))
    command = arrange("autopet II", nnunet / "source", CT_GRID, pet_grid)

    assert convert(*command) == 0

    ct, pet, _ = only_case(nnunet)
    assert record(nnunet)["cases"]["PETCT_one_s  1"]["files"]["pet"] == "rewritten"
    assert SimpleITK.ReadImage(str(pet)).GetOrigin() == SimpleITK.ReadImage(str(ct)).GetOrigin()
    np.testing.assert_array_equal(read(pet)[0], read(sources(nnunet)[1])[0])


# What is written


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


def test_nnunet_finds_no_fault(nnunet, capsys):
    command = arrange("pairs", nnunet / "source", CT_GRID, PET_GRID, patients=("a", "b"))
    assert convert(*command) == 0
    capsys.readouterr()

    verify_dataset_integrity(str(dataset(nnunet)), num_processes=1)

    output = capsys.readouterr().out
    assert "verify_dataset_integrity Done" in output
    assert "mismatch" not in output.lower() and "WARNING" not in output


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


# What is refused


def spoil(file: Path, how: str) -> None:
    image = SimpleITK.ReadImage(str(file))
    if how == "truncated":
        file.write_bytes(file.read_bytes()[:-100])
    elif how == "empty":
        file.write_bytes(b"")
    elif how == "missing":
        file.unlink()
    elif how == "moved far away":
        image.SetOrigin(np.add(image.GetOrigin(), 1000).tolist())
        SimpleITK.WriteImage(image, str(file))
    elif how == "not finite":
        values = SimpleITK.GetArrayFromImage(image).astype(np.float32)
        values[0, 0, 0] = np.nan
        write(values, CT_GRID if file.name != "one__PT.nii.gz" else PET_GRID, file)
    elif how == "other values":
        SimpleITK.WriteImage(image * 255, str(file))


@pytest.mark.parametrize(
    ("file", "how", "words"),
    [
        ("imagesTr/one__CT.nii.gz", "truncated", "one__CT.nii.gz is damaged"),
        ("imagesTr/one__PT.nii.gz", "empty", "one__PT.nii.gz is damaged or no NIfTI"),
        ("imagesTr/one__PT.nii.gz", "missing", "There is no"),
        ("imagesTr/one__PT.nii.gz", "not finite", "1 values that are not finite"),
        ("imagesTr/one__PT.nii.gz", "moved far away", "do not overlap"),
        ("labelsTr/one.nii.gz", "moved far away", "ml of the label lie outside the region converted"),
        ("labelsTr/one.nii.gz", "other values", "label 255; expected are whole numbers from 0 to 2"),
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


# Going on, and leaving others' files alone


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


def test_remains_of_an_unfinished_case_disappear(nnunet):
    """Killed between two files of a case, and within one; the temporary name may be a link to the source."""
    command = arrange("hecktor 2022", nnunet / "source", CT_GRID, PET_GRID, patients=("one", "two"))
    source = nnunet / "source" / "imagesTr" / "one__CT.nii.gz"
    content = source.read_bytes()
    assert convert(*command) == 0
    state = record(nnunet)
    del state["cases"]["one"]
    (dataset(nnunet) / "conversion.json").write_text(json.dumps(state | {"finished": False}))
    images = dataset(nnunet) / "imagesTr"
    (images / "one_0001.nii.gz").unlink()
    (images / ".one_0000.nii.gz").symlink_to(source)
    (images / ".one_0001.nii.gz").write_bytes(b"half")

    assert convert(*command) == 0

    assert sorted(file.name for file in images.iterdir()) == [
        f"{case}_{channel}.nii.gz" for case in ("one", "two") for channel in ("0000", "0001")
    ]
    assert source.read_bytes() == content


def test_a_killed_conversion_goes_on_where_it_ended(nnunet):
    patients = [f"p{number}" for number in range(6)]
    ct_grid = grid_around(POINT_MM, (90, 90, 60), (1.0, 1.0, 1.0))
    command = arrange("hecktor 2022", nnunet / "source", ct_grid, PET_GRID, patients=patients)
    arguments = [sys.executable, "-m", "h2aseg_nnunet.cli", "convert", *map(str, command), "-np", "2"]
    folder = nnunet / "nnUNet_raw" / "Dataset007_HECKTOR2022"

    process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    workers = []
    while len(done := finished_cases(folder)) < 2:
        assert process.poll() is None, "the conversion was over before it could be killed"
        workers = children(process.pid) or workers
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()

    await_end_of(workers)
    done = finished_cases(folder)
    assert 2 <= len(done) < 6
    assert not (folder / "dataset.json").exists()
    for file in folder.glob("[il]*/[!.]*"):
        read_image(file)  # whole, whether or not its case was finished
    times = {file: file.stat().st_mtime_ns for case in done for file in folder.glob(f"*Tr/{case}*")}

    assert convert(*command) == 0

    assert len(times) == 3 * len(done)
    assert {file: file.stat().st_mtime_ns for file in times} == times
    assert json.loads((folder / "dataset.json").read_text())["numTraining"] == 6
    assert len(list(folder.rglob("*.nii.gz"))) == 18
    interrupted = {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*.nii.gz")}
    shutil.rmtree(folder)
    assert convert(*command) == 0
    assert {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*.nii.gz")} == interrupted


def finished_cases(folder: Path) -> list[str]:
    state = folder / "conversion.json"
    return list(json.loads(state.read_text())["cases"]) if state.exists() else []


def children(pid: int) -> list[int]:
    file = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in file.read_text().split()] if file.exists() else []


def await_end_of(processes: list[int]) -> None:
    """Workers end with the process that started them."""
    for _ in range(1000):
        if not any(Path(f"/proc/{process}/cmdline").exists() for process in processes):
            return
        time.sleep(0.01)
    raise AssertionError(f"workers {processes} outlive the command")


def test_a_full_disk_ends_the_conversion_and_leaves_no_part_of_a_file(nnunet, capsys):
    """ITK itself does not notice. A limit on the size of files stands for the disk's."""
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


def test_another_conversion_into_the_same_folder_is_refused_unless_overwriting_is_asked_for(nnunet, capsys):
    command = arrange("hecktor 2022", nnunet / "source", CT_GRID, PET_GRID)
    assert convert(*command) == 0
    before = {file: file.read_bytes() for file in dataset(nnunet).rglob("*.*")}

    assert convert(*command, "--spacing", 3) == 1

    assert "with other settings (spacing_mm None, now [3.0, 3.0, 3.0])" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in dataset(nnunet).rglob("*.*")} == before
    assert convert(*command, "--spacing", 3, "--overwrite") == 0
    assert record(nnunet)["cases"]["one"]["spacing_mm"] == [3.0, 3.0, 3.0]


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]], ids=["", "overwrite"])
def test_a_folder_made_by_others_is_never_touched(nnunet, capsys, overwrite):
    theirs = nnunet / "nnUNet_raw" / "Dataset007_HECKTOR2022" / "dataset.json"
    theirs.parent.mkdir()
    theirs.write_text("theirs")
    command = arrange("hecktor 2022", nnunet / "source", CT_GRID, PET_GRID)

    assert convert(*command, *overwrite) == 1

    assert "exists and is not a dataset of h2aseg convert: choose another number" in capsys.readouterr().err
    assert [file.name for file in theirs.parent.iterdir()] == ["dataset.json"]


def test_a_number_that_nnunet_knows_under_another_name_is_refused(nnunet, capsys):
    (nnunet / "nnUNet_results" / "Dataset007_Liver").mkdir()
    command = arrange("hecktor 2022", nnunet / "source", CT_GRID, PET_GRID)

    assert convert(*command) == 1

    assert "nnU-Net already has Dataset007_Liver" in capsys.readouterr().err
    assert not list((nnunet / "nnUNet_raw").iterdir())


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


def test_a_case_that_left_the_source_is_told(nnunet, capsys):
    command = arrange("hecktor 2022", nnunet / "source", CT_GRID, PET_GRID, patients=("one", "two"))
    assert convert(*command) == 0
    for file in (nnunet / "source").rglob("one*"):
        file.unlink()

    assert convert(*command) == 1

    assert "has one, which" in capsys.readouterr().err


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
        (["-d", "1000"], "between 1 and 999"),
        (["--name", "my data"], "letters, digits, _ and -"),
    ],
)
def test_options_that_cannot_be_are_told(nnunet, capsys, option, words):
    command = arrange("hecktor 2022", nnunet / "source", CT_GRID, PET_GRID)

    assert convert(*command, *option) == 1

    assert words in capsys.readouterr().err
    assert not list((nnunet / "nnUNet_raw").iterdir())


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
