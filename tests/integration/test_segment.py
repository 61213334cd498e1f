"""`h2aseg segment` with a small model trained in seconds: DICOM, nnU-Net images and tables to masks and objects."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import highdicom
import numpy as np
import pytest
import SimpleITK
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from pydicom import dcmread

from h2aseg_nnunet.cli import main
from h2aseg_nnunet.modalities import PET
from h2aseg_nnunet.petct.postprocess.rules import Rule
from h2aseg_nnunet.petct.postprocess.rules_file import MADE_BY, identify
from h2aseg_nnunet.petct.segment import run
from tests.models import learn, make_network, make_plans, save_model
from tests.synthetic import write_phantom
from tests.unit.petct.dicom.exports import Export

SHAPE, SPACING_MM = (20, 18, 16), (3.0, 2.0, 2.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A network that marks what is bright in the PET."""
    torch.manual_seed(0)
    plans = make_plans()
    network = make_network(plans)
    learn(network, PET)
    folder = tmp_path_factory.mktemp("results") / "Dataset901_Test" / "nnUNetTrainerH2ASeg__nnUNetPlans__3d_fullres"
    return save_model(folder, network, plans)


def segment(*arguments) -> int:
    return main(["segment", *map(str, arguments), "--disable_tta", "-device", "cpu", "-np", "1"])


def write_study(folder: Path, patient: str, **changes) -> Export:
    """A hot ball to the left, behind and above: nothing of it is symmetric."""
    export = Export(folder, patient)
    z, y, x = np.ogrid[tuple(slice(n) for n in SHAPE)]
    ball = ((z - 14) * 3) ** 2 + ((y - 11) * 2) ** 2 + ((x - 5) * 2) ** 2 < 7**2
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.2, SHAPE)
    geometry = {"Rows": SHAPE[1], "Columns": SHAPE[2], "PixelSpacing": list(SPACING_MM[1:])}
    stored_ct = np.rint(1024 + 40 + 10 * noise)
    activity = (3 * ball + np.abs(noise)) * 5000  # SUV 3 and noise: the factor to SUV is 0.0002
    export.add_ct(stored_ct, description="CT", **geometry)
    export.add_pet(activity, number=2, description="PET", DecayCorrection="ADMIN", **geometry | changes)
    return export


def read(file: Path) -> np.ndarray:
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open() as stream:
        return list(csv.DictReader(stream))


def test_a_folder_of_studies_gives_masks_tables_and_dicom_and_names_what_is_refused(model, tmp_path, capsys):
    for patient in ("A", "B"):
        write_study(tmp_path / "export" / patient, patient)
    write_study(tmp_path / "export" / "C", "C", PatientWeight=None)
    write_study(tmp_path / "export" / "D", "D", CorrectedImage=["DECY"])
    types = ("--output-type", "nifti", "dicom_seg", "dicom_rtstruct", "--preview", "--force")

    assert segment("-i", tmp_path / "export", "-m", model, "-o", tmp_path / "out", *types) == 1

    shown = capsys.readouterr()
    assert "2 of 4 cases were refused: C_20240301, D_20240301" in shown.err
    assert "For research, not for diagnosis" in shown.out
    status = {row["case"]: row for row in rows_of(tmp_path / "out" / "summary.csv")}
    assert [status[f"{name}_20240301"]["status"] for name in "ABCD"] == ["segmented", "segmented", "refused", "refused"]
    assert "PatientWeight (0010,1030) is missing" in status["C_20240301"]["message"]
    assert "not corrected for attenuation" in status["D_20240301"]["message"]
    case = tmp_path / "out" / "cases" / "A_20240301"
    names = {"mask.nii.gz", "seg.dcm", "rtstruct.dcm", "lesions.csv", "preview.png", "case.json"}
    assert {file.name for file in case.iterdir() if not file.name.startswith(".")} == names
    assert not list((tmp_path / "out" / "cases").glob("C*")) + list((tmp_path / "out" / "cases").glob(".*"))
    record = json.loads((case / "case.json").read_text())
    assert record["source"]["suv"]["decay_correction"] == "ADMIN"
    lesions = rows_of(case / "lesions.csv")
    assert record["num_lesions"] == len(lesions) > 0
    assert sum(float(row["volume_ml"]) for row in lesions) == pytest.approx(record["tmtv_ml"], rel=1e-4)


def test_the_mask_the_seg_and_the_contours_lie_on_the_hot_ball(model, tmp_path):
    export = write_study(tmp_path / "export", "A")
    segment(
        *("-i", tmp_path / "export", "-m", model, "-o", tmp_path / "out", "--force"),
        *("--output-type", "nifti", "dicom_seg", "dicom_rtstruct"),
    )
    case = tmp_path / "out" / "cases" / "A_20240301"

    mask = SimpleITK.ReadImage(str(case / "mask.nii.gz"))
    array = SimpleITK.GetArrayFromImage(mask)
    ball_mm = np.array([-10.0, 20.0, 100.0]) + np.array([5, 11, 14]) * np.array(SPACING_MM)[::-1]
    assert array[14, 11, 5] == 1
    assert mask.TransformPhysicalPointToIndex(ball_mm.tolist()) == (5, 11, 14)

    seg = highdicom.seg.segread(case / "seg.dcm")
    assert str(seg.StudyInstanceUID) == export.uid
    assert str(seg.FrameOfReferenceUID) == export.frame_of_reference
    (description,) = seg.SegmentSequence
    assert description.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Neoplasm"
    volume = seg.get_volume(segment_numbers=[1], combine_segments=True)
    marked = {tuple(np.round(volume.map_indices_to_reference(i[None, :3])[0], 2)) for i in np.argwhere(volume.array)}
    expected = {
        tuple(np.round(mask.TransformIndexToPhysicalPoint([int(n) for n in index[::-1]]), 2))
        for index in np.argwhere(array)
    }
    assert marked == expected

    structures = dcmread(case / "rtstruct.dcm")
    (roi,) = structures.ROIContourSequence
    heights = {round(float(contour.ContourData[2]), 2) for contour in roi.ContourSequence}
    assert heights == {round(100 + 3.0 * int(k), 2) for k in np.unique(np.argwhere(array)[:, 0])}


def test_masks_of_nnunet_images_are_nnunets_own_voxel_by_voxel(model, tmp_path):
    write_phantom(tmp_path / "images", PET)

    assert segment("-i", tmp_path / "images", "-m", model, "-o", tmp_path / "out", "--force") == 0

    predictor = nnUNetPredictor(use_mirroring=False, perform_everything_on_device=False, device=torch.device("cpu"))
    predictor.initialize_from_trained_model_folder(str(model), (0,), "checkpoint_final.pth")
    (tmp_path / "stock").mkdir()
    predictor.predict_from_files_sequential(str(tmp_path / "images"), str(tmp_path / "stock"))
    stock = read(tmp_path / "stock" / "case.nii.gz")
    assert stock.any()
    np.testing.assert_array_equal(read(tmp_path / "out" / "cases" / "case" / "mask.nii.gz"), stock)
    np.testing.assert_array_equal(read(tmp_path / "out" / "masks" / "case.nii.gz"), stock)


def test_a_finished_case_is_not_done_again_and_a_changed_one_is(model, tmp_path):
    write_phantom(tmp_path / "images", PET, name="a")
    write_phantom(tmp_path / "images", PET, name="b")
    arguments = ("-i", tmp_path / "images", "-m", model, "-o", tmp_path / "out", "--force")
    segment(*arguments)
    records = {name: tmp_path / "out" / "cases" / name / "case.json" for name in "ab"}
    before = {name: file.stat().st_mtime_ns for name, file in records.items()}

    write_phantom(tmp_path / "images", PET, name="b")
    segment(*arguments)

    assert records["a"].stat().st_mtime_ns == before["a"]
    assert records["b"].stat().st_mtime_ns > before["b"]


def test_a_rule_that_was_fitted_to_the_model_changes_what_is_written(model, tmp_path, capsys):
    write_phantom(tmp_path / "images", PET)
    rules, out = tmp_path / "rules.json", tmp_path / "out"
    content = {"made_by": MADE_BY, "metric": "autopet", "rule": Rule(least_total_ml=1e4).as_json()}
    rules.write_text(json.dumps(content | {"model": identify(model, ["0"], "checkpoint_final.pth")}))
    arguments = ("-i", tmp_path / "images", "-m", model, "-o", out, "--force")

    assert segment(*arguments) == 0
    assert read(out / "cases" / "case" / "mask.nii.gz").any()
    assert segment(*arguments, "--rules", rules) == 0  # a finished case is done again

    assert not read(out / "cases" / "case" / "mask.nii.gz").any()
    assert not read(out / "masks" / "case.nii.gz").any()
    assert rows_of(out / "cases" / "case" / "lesions.csv") == []
    record = json.loads((out / "cases" / "case" / "case.json").read_text())
    assert record["rule"] == "nothing in patients with less than 10000 ml"
    rules.write_text(json.dumps(content | {"model": identify(model, [], "checkpoint_final.pth") | {"plans": "other"}}))
    assert segment(*arguments, "--rules", rules) == 1
    assert "is of another model. Fit rules to this model with h2aseg tune." in capsys.readouterr().err


def test_a_model_may_be_an_exported_zip(model, tmp_path):
    write_phantom(tmp_path / "images", PET)
    shutil.make_archive(str(tmp_path / "model"), "zip", model.parents[1], f"{model.parent.name}/{model.name}")

    assert segment("-i", tmp_path / "images", "-m", tmp_path / "model.zip", "-o", tmp_path / "out", "--force") == 0
    assert (tmp_path / "out" / "cases" / "case" / "mask.nii.gz").is_file()


def test_a_folder_of_another_model_is_refused(model, tmp_path, capsys):
    write_phantom(tmp_path / "images", PET)
    other = shutil.copytree(model, tmp_path / "Dataset902_Other" / model.name)
    arguments = ("-i", tmp_path / "images", "-o", tmp_path / "out", "--force")
    segment(*arguments, "-m", model)

    assert segment(*arguments, "-m", other) == 1
    assert "with other settings" in capsys.readouterr().err


def test_an_error_of_the_check_refuses_a_case_unless_it_is_forced(model, tmp_path, capsys):
    write_phantom(tmp_path / "images", PET)  # no CT in Hounsfield units
    arguments = ("-i", tmp_path / "images", "-m", model, "-o", tmp_path / "out")

    assert segment(*arguments) == 1
    assert "--force" in (tmp_path / "out" / "summary.csv").read_text()
    assert segment(*arguments, "--force") == 0


def test_a_table_of_pairs_is_segmented_on_the_pets_grid(model, tmp_path):
    export = write_study(tmp_path / "export", "A")
    segment("-i", export.folder, "-m", model, "-o", tmp_path / "first", "--force")
    for channel, name in enumerate(("ct", "pet")):
        shutil.copy(tmp_path / "first" / "images" / f"A_20240301_000{channel}.nii.gz", tmp_path / f"{name}.nii.gz")
    (tmp_path / "pairs.csv").write_text("case,ct,pet\nx,ct.nii.gz,pet.nii.gz\n")

    arguments = ("-m", model, "-o", tmp_path / "out", "--force", "--grid", "pet", "-f", "0", "-step_size", "0.5")
    assert segment("-i", tmp_path / "pairs.csv", *arguments, "-chk", "checkpoint_final.pth") == 0

    expected = read(tmp_path / "first" / "cases" / "A_20240301" / "mask.nii.gz")
    np.testing.assert_array_equal(read(tmp_path / "out" / "cases" / "x" / "mask.nii.gz"), expected)


def test_statistics_hold_the_lesions_and_their_totals(model, tmp_path):
    write_study(tmp_path / "export", "A")

    segment("-i", tmp_path / "export", "-m", model, "-o", tmp_path / "out", "--force", "--statistics", "--report")

    case = tmp_path / "out" / "cases" / "A_20240301"
    statistics = json.loads((case / "statistics.json").read_text())
    assert len(statistics["lesions"]) == len(rows_of(case / "lesions.csv")) == statistics["num_lesions"]
    assert statistics["tmtv_ml"] == pytest.approx(sum(row["volume_ml"] for row in statistics["lesions"]))
    assert (tmp_path / "out" / "report" / "index.html").is_file()


def test_a_named_series_counts_in_the_study_that_has_it(model, tmp_path, capsys):
    for patient in ("A", "B"):
        export = write_study(tmp_path / "export" / patient, patient)
        if patient == "A":
            uids = {str(dcmread(file).SeriesInstanceUID) for file in export.folder.iterdir()}
            export.add_ct(np.full(SHAPE, 1000), number=9, Rows=SHAPE[1], Columns=SHAPE[2], PixelSpacing=[2.0, 2.0])
            (chosen,) = {str(dcmread(file).SeriesInstanceUID) for file in export.folder.iterdir()} - uids
    arguments = ("-i", tmp_path / "export", "-m", model, "-o", tmp_path / "out", "--force")

    segment(*arguments, "--ct-series", chosen)
    records = {row["case"]: row for row in rows_of(tmp_path / "out" / "summary.csv")}
    assert records["B_20240301"]["status"] == "segmented"
    assert chosen in (tmp_path / "out" / "summary.json").read_text()

    assert segment(*arguments, "--pet-series", "1.2.3") == 1
    assert "--pet-series 1.2.3: no study has a series of this UID" in capsys.readouterr().err


def test_what_cannot_be_read_is_refused_by_name(model, tmp_path, capsys):
    write_study(tmp_path / "export" / "A", "A")
    (tmp_path / "export" / "B").mkdir()
    (tmp_path / "export" / "B" / "cut_off").write_bytes(bytes(128) + b"DICM")

    assert segment("-i", tmp_path / "export", "-m", model, "-o", tmp_path / "out", "--force") == 1

    rows = {row["case"]: row for row in rows_of(tmp_path / "out" / "summary.csv")}
    assert rows["A_20240301"]["status"] == "segmented"
    (refused,) = (row for name, row in rows.items() if name.endswith("export/B"))
    assert refused["status"] == "refused" and "cut_off" in refused["message"]


def test_a_model_of_more_channels_is_refused_for_studies(model, tmp_path, capsys):
    write_study(tmp_path / "export", "A")
    other = shutil.copytree(model, tmp_path / "other")
    dataset = json.loads((other / "dataset.json").read_text())
    (other / "dataset.json").write_text(
        json.dumps(dataset | {"channel_names": {"0": "CT", "1": "PET", "2": "PET late"}})
    )

    assert segment("-i", tmp_path / "export", "-m", other, "-o", tmp_path / "out", "--force") == 1
    assert "reads 3 images; a study gives two, CT and PET" in capsys.readouterr().err


def test_case_by_case_nothing_of_a_case_is_left_when_the_next_one_begins(model, tmp_path, monkeypatch):
    for patient in "ABC":
        write_study(tmp_path / "export" / patient, patient)
    made: list[weakref.ref] = []
    alive = []
    prepare, predict = run.prepare_images, run._predict

    def prepare_counted(*arguments):
        alive.append(sum(each() is not None for each in made))
        prepared, images = prepare(*arguments)
        made.extend(weakref.ref(image) for image in images)
        return prepared, images

    def predict_counted(*arguments):
        predicted = predict(*arguments)
        made.append(weakref.ref(predicted.logits.values))
        return predicted

    monkeypatch.setattr(run, "prepare_images", prepare_counted)
    monkeypatch.setattr(run, "_predict", predict_counted)
    command = ["-i", tmp_path / "export", "-m", model, "-o", tmp_path / "out", "--force", "--low-memory", "-np", "4"]
    assert main(["segment", *map(str, command), "--disable_tta", "-device", "cpu"]) == 0

    assert alive == [0, 0, 0] and len(made) == 9


def test_a_killed_run_leaves_whole_files_and_is_taken_up_again(model, tmp_path):
    for number in range(4):
        write_study(tmp_path / "export" / str(number), f"P{number}")
    out = tmp_path / "out"
    arguments = ["segment", "-i", tmp_path / "export", "-m", model, "-o", out, "--force", "--preview", "--disable_tta"]
    arguments = [*map(str, arguments), "-device", "cpu", "-np", "2"]
    program = f"from h2aseg_nnunet.cli import main\n\nif __name__ == '__main__':\n    main({arguments!r})\n"
    (tmp_path / "program.py").write_text(program)
    running = subprocess.Popen([sys.executable, tmp_path / "program.py"], start_new_session=True)
    while not (done := sorted((out / "cases").glob("[!.]*/case.json"))):
        assert running.poll() is None
        time.sleep(0.005)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    time.sleep(0.5)  # its workers end by themselves
    done = sorted((out / "cases").glob("[!.]*/case.json"))
    before = {file: file.stat().st_mtime_ns for file in done}
    assert 0 < len(done) < 4
    for file in [*out.glob("cases/[!.]*/mask.nii.gz"), *out.glob("masks/[!.]*"), *out.glob("images/[!.]*")]:
        SimpleITK.ReadImage(str(file))
    for file in out.glob("cases/[!.]*/seg.dcm"):
        highdicom.seg.segread(file)

    assert main([*arguments[:-1], "1"]) == 0

    assert {file: file.stat().st_mtime_ns for file in done} == before
    assert len(list((out / "cases").glob("[!.]*/case.json"))) == 4
    left = [file for file in out.rglob("*") if "partial" in file.name]
    assert not left
