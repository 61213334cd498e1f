"""`h2aseg challenge` with small models: nnUNetv2_predict's masks where grand-challenge wants them, whatever happens."""

import json
import multiprocessing
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from h2aseg_nnunet.cli import main
from h2aseg_nnunet.modalities import PET
from h2aseg_nnunet.petct.challenge.interfaces import INTERFACES
from h2aseg_nnunet.petct.images.grids import Grid
from tests.models import learn, make_network, make_plans, save_model
from tests.plans import DATASET_JSON
from tests.synthetic import ball, write_image

SHAPE, SPACING_MM, ORIGIN_MM = (20, 18, 16), (2.0, 2.0, 3.0), (-10.0, 20.0, 100.0)
CT_NAME, PET_NAME = "5a1f", "c0de"
TWO_LABELS = DATASET_JSON | {"labels": {"background": 0, "GTVp": 1, "GTVn": 2}}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """Two folds that mark what is bright in the PET, each a little differently."""
    plans = make_plans()
    folder = tmp_path_factory.mktemp("results") / "Dataset901_Test" / "nnUNetTrainerH2ASeg__nnUNetPlans__3d_fullres"
    for fold, iterations in enumerate((40, 25)):
        network = make_network(plans)
        learn(network, PET, iterations)
        made = save_model(folder.with_name(f"{fold}"), network, plans)
        shutil.copytree(made / "fold_0", folder / f"fold_{fold}")
    for name in ("plans.json", "dataset.json"):
        shutil.copy(made / name, folder)
    return folder


def images() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    ct, pet = rng.normal(0, 0.2, (2, *SHAPE)).astype(np.float32)
    return ct, pet + 3 * ball(SHAPE, (12, 9, 5), 4)


@pytest.fixture
def case(tmp_path) -> Path:
    """/input of AutoPET: one grid, uuids that differ."""
    for folder, name, array in zip(("ct", "pet"), (CT_NAME, PET_NAME), images(), strict=True):
        write_image(tmp_path / "input" / "images" / folder / f"{name}.mha", array, SPACING_MM, ORIGIN_MM)
    return tmp_path / "input"


def challenge(case: Path, model: Path, *options: object, challenge: str = "autopet3", output: str = "output") -> int:
    folders = ("--input", case, "--output", case.parent / output)
    given = ("challenge", "--challenge", challenge, *folders, "-m", model, "-device", "cpu", *options)
    return main(list(map(str, given)))


def mask_of(case: Path, challenge: str = "autopet3", output: str = "output") -> SimpleITK.Image:
    """The one mask that was written, where the challenge wants it."""
    interface = INTERFACES[challenge]
    (file,) = (case.parent / output).rglob("*.mha")
    name = CT_NAME if interface.by_uuid else "output"
    assert file == case.parent / output / interface.mask / f"{name}.mha"
    return SimpleITK.ReadImage(str(file))


def predict(folder: Path, model: Path, folds: tuple, mirroring: bool) -> np.ndarray:
    """nnUNetv2_predict's mask of the same images."""
    for name in ("nnunet", "masks"):
        (folder / name).mkdir()
    for channel, array in enumerate(images()):
        write_image(folder / "nnunet" / f"case_{channel:04d}.nii.gz", array, SPACING_MM, ORIGIN_MM)
    predictor = nnUNetPredictor(use_mirroring=mirroring, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model), folds, "checkpoint_final.pth")
    predictor.predict_from_files_sequential(str(folder / "nnunet"), str(folder / "masks"))
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / "masks" / "case.nii.gz")))


@pytest.mark.parametrize(
    ("options", "folds", "mirroring"),
    [((), (0, 1), True), (("-f", "1", "--disable_tta"), (1,), False), (("--time-limit", "3600"), (0, 1), True)],
    ids=["all folds, mirrored", "one fold, plain", "a time that suffices"],
)
def test_the_mask_is_that_of_nnunetv2_predict(case, model, tmp_path, options, folds, mirroring):
    assert challenge(case, model, *options) == 0

    mask = mask_of(case)
    expected = predict(tmp_path, model, folds, mirroring)
    assert expected.any()
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(mask), expected)
    assert Grid.of(mask) == Grid.of(SimpleITK.ReadImage(str(case / "images" / "pet" / f"{PET_NAME}.mha")))
    assert json.loads((case.parent / "output" / "data-centric-model.json").read_text()) is False


def test_a_short_time_leaves_out_mirroring_and_folds_but_not_the_mask(case, model, tmp_path, capsys):
    assert challenge(case, model, "--time-limit", "0.1") == 0

    assert "1 folds without mirroring" in capsys.readouterr().out
    expected = predict(tmp_path, model, (0,), mirroring=False)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(mask_of(case)), expected)


def test_no_process_is_started(case, model, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a process was started")

    monkeypatch.setattr(multiprocessing.Process, "start", refuse)
    monkeypatch.setattr(multiprocessing.context.SpawnProcess, "start", refuse)
    monkeypatch.setattr("subprocess.Popen.__init__", refuse)

    assert challenge(case, model, "--strict", "--disable_tta", "-f", "0") == 0


def test_clicks_may_be_there_or_not(case, model):
    fast = ("--strict", "--disable_tta", "-f", "0")
    assert challenge(case, model, *fast, challenge="autopet4") == 0
    (case / "lesion-clicks.json").write_text('{"points": []}')
    assert challenge(case, model, *fast, challenge="autopet4", output="again") == 0

    without, with_clicks = (
        SimpleITK.GetArrayFromImage(mask_of(case, "autopet4", output)) for output in ("output", "again")
    )
    np.testing.assert_array_equal(without, with_clicks)


@pytest.fixture(scope="module")
def model_of_two_labels(tmp_path_factory) -> Path:
    plans = make_plans()
    network = make_network(plans, TWO_LABELS)
    learn(network, PET)
    return save_model(tmp_path_factory.mktemp("two_labels") / "model", network, plans, TWO_LABELS)


@pytest.fixture
def head_and_neck(tmp_path) -> Path:
    """/input of HECKTOR: a fine CT and a coarse PET."""
    ct, pet = (SimpleITK.GetImageFromArray(array) for array in images())
    for image in (ct, pet):
        image.SetSpacing(SPACING_MM)
        image.SetOrigin(ORIGIN_MM)
    to_pet = (8, 9, 11), SimpleITK.Transform(), SimpleITK.sitkLinear, ORIGIN_MM, (4.0, 4.0, 5.0)
    coarse = SimpleITK.Resample(pet, *to_pet)
    for folder, image in (("ct", ct), ("pet", coarse)):
        (tmp_path / "input" / "images" / folder).mkdir(parents=True)
        name = CT_NAME if folder == "ct" else PET_NAME
        SimpleITK.WriteImage(image, str(tmp_path / "input" / "images" / folder / f"{name}.mha"))
    return tmp_path / "input"


@pytest.mark.parametrize("name", ["hecktor25", "hecktor26"])
def test_hecktors_mask_lies_on_the_ct_although_the_pet_is_coarser(head_and_neck, model_of_two_labels, name):
    case = head_and_neck

    assert challenge(case, model_of_two_labels, "--strict", "--disable_tta", challenge=name) == 0

    mask = mask_of(case, name)
    assert Grid.of(mask) == Grid.of(SimpleITK.ReadImage(str(case / "images" / "ct" / f"{CT_NAME}.mha")))
    hot = ball(SHAPE, (12, 9, 5), 4)
    found = SimpleITK.GetArrayFromImage(mask) == 1
    assert 2 * np.count_nonzero(found & hot) / (np.count_nonzero(found) + np.count_nonzero(hot)) > 0.7
    for file, content in INTERFACES[name].others.items():
        assert json.loads((case.parent / "output" / file).read_text()) == content


def no_pet(case):
    (case / "images" / "pet" / f"{PET_NAME}.mha").unlink()


def truncated_ct(case):
    file = case / "images" / "ct" / f"{CT_NAME}.mha"
    file.write_bytes(file.read_bytes()[:400])


def pet_without_values(case):
    write_image(case / "images" / "pet" / f"{PET_NAME}.mha", np.full(SHAPE, np.nan, np.float32), SPACING_MM, ORIGIN_MM)


def nothing(case):
    shutil.rmtree(case)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (no_pet, "pet holds 0 images"),
        (truncated_ct, "incomplete or damaged"),
        (pet_without_values, "no number|not finite|NaN"),
        (nothing, "ct holds 0 images"),
    ],
)
def test_after_a_failure_there_is_one_empty_mask_and_success_unless_a_test_asks(case, model, capsys, damage, words):
    damage(case)

    assert challenge(case, model) == 0
    assert challenge(case, model, "--strict", output="strict") == 1

    message = capsys.readouterr().err
    assert "is empty." in message
    assert re.search(words, message)
    (file,) = (case.parent / "output").rglob("*.mha")
    mask = SimpleITK.ReadImage(str(file))
    assert not SimpleITK.GetArrayFromImage(mask).any()
    assert mask.GetSize() == ((1, 1, 1) if damage is nothing else SHAPE[::-1])


def test_a_fault_of_the_program_leaves_an_empty_mask_too(case, model, monkeypatch, capsys):
    def fail(*args):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr("h2aseg_nnunet.petct.challenge.run.predict_case", fail)

    assert challenge(case, model) == 0
    assert "RuntimeError: CUDA out of memory" in capsys.readouterr().err
    assert not SimpleITK.GetArrayFromImage(mask_of(case)).any()


def test_a_model_that_is_missing_is_a_failure_like_others(case, tmp_path, capsys):
    assert challenge(case, tmp_path / "nowhere") == 0

    assert "no model lies in" in capsys.readouterr().err
    assert not SimpleITK.GetArrayFromImage(mask_of(case)).any()


def test_the_empty_mask_is_there_before_anything_is_predicted(case, model, monkeypatch):
    """A job that is killed for its time or memory leaves it."""
    seen = []

    def fail(*args):
        seen.append(mask_of(case))
        raise MemoryError

    monkeypatch.setattr("h2aseg_nnunet.petct.challenge.run.predict_case", fail)

    challenge(case, model)

    assert len(seen) == 1
