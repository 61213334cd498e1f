import json
import shutil

import numpy as np
import pytest
import torch

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.own_files import OwnFiles
from h2aseg_nnunet.petct.postprocess.rules import NO_RULE, Condition, Outline, Rule
from h2aseg_nnunet.petct.postprocess.rules_file import MADE_BY, identify
from h2aseg_nnunet.petct.postprocess.run import Sources, postprocess_folder
from tests.synthetic import read_array, write_image

SPACING_MM = 10.0  # a voxel is 1 ml
LABELS = [0, 1, 1, 0, 0, 2, 0, 0]
SUV = [1, 9, 9, 5, 1, 3, 1, 1]
BACKGROUND = [0.9, 0.1, 0.1, 0.6, 0.9, 0.3, 0.6, 0.9]
FIRST = [0.1, 0.9, 0.9, 0.3, 0.1, 0.1, 0.1, 0.1]  # the second class has the rest


def line(values, dtype=np.uint8):
    return np.array(values, dtype).reshape(1, 1, -1)


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "Dataset001_X" / "nnUNetTrainer__P__3d_fullres"
    for fold in range(2):
        (folder / f"fold_{fold}").mkdir(parents=True)
        torch.save({"weights": torch.full((3,), float(fold))}, folder / f"fold_{fold}" / "checkpoint_final.pth")
    (folder / "plans.json").write_text(json.dumps({"plans_name": "P"}))
    labels = {"background": 0, "a": 1, "b": 2}
    content = {"channel_names": {"0": "CT", "1": "PET"}, "labels": labels, "numTraining": 1, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def predictions(model, tmp_path):
    folder = tmp_path / "predictions"
    write_image(folder / "case.nii.gz", line(LABELS), SPACING_MM)
    second = 1 - np.array(BACKGROUND) - np.array(FIRST)
    probabilities = np.array([BACKGROUND, FIRST, second], np.float32).reshape(3, 1, 1, -1)
    np.savez_compressed(folder / "case.npz", probabilities=probabilities)
    write_image(tmp_path / "pet" / "case_0001.nii.gz", line(SUV, np.float32), SPACING_MM)
    for name in ("plans.json", "dataset.json"):
        shutil.copy(model / name, folder / name)
    return folder


@pytest.fixture
def write_rules(model, tmp_path):
    def write(rule):
        file = tmp_path / "rules.json"
        identity = identify(model, ["0", "1"], "checkpoint_final.pth")
        content = {"made_by": MADE_BY, "rule": rule.as_json(), "metric": "autopet", "model": identity}
        file.write_text(json.dumps(content))
        return file

    return write


VOLUME = Rule(conditions=(Condition("volume_ml", 1.5),))


def test_masks_are_written_anew_with_what_the_rule_changed(predictions, write_rules, tmp_path):
    outcome = postprocess_folder(predictions, tmp_path / "out", write_rules(VOLUME))

    assert read_array(tmp_path / "out" / "case.nii.gz").ravel().tolist() == [0, 1, 1, 0, 0, 0, 0, 0]
    assert outcome.cases == {"case": {"removed_lesions": 1, "added_ml": 0.0, "removed_ml": 1.0}}
    assert read_array(predictions / "case.nii.gz").ravel().tolist() == LABELS
    assert json.loads((tmp_path / "out" / "postprocess.json").read_text())["rules"]["metric"] == "autopet"


def test_the_same_run_again_replaces_its_own_files_and_nobody_elses(predictions, write_rules, tmp_path):
    rules = write_rules(VOLUME)
    for _ in range(2):
        postprocess_folder(predictions, tmp_path / "out", rules)
    write_image(tmp_path / "other" / "case.nii.gz", line(LABELS), SPACING_MM)

    with pytest.raises(UserError, match="another program wrote it"):
        postprocess_folder(predictions, tmp_path / "other", rules)
    with pytest.raises(UserError, match="is the folder of the predictions"):
        postprocess_folder(predictions, predictions, rules)


@pytest.mark.parametrize("output", ["predictions/not there/..", "link"])
def test_the_folder_of_predictions_is_known_by_any_name(predictions, write_rules, tmp_path, output):
    (tmp_path / "link").symlink_to(predictions)
    before = {file.name: file.read_bytes() for file in predictions.iterdir()}

    with pytest.raises(UserError, match="is the folder of the predictions"):
        postprocess_folder(predictions, tmp_path / output, write_rules(VOLUME))

    assert {file.name: file.read_bytes() for file in predictions.iterdir()} == before


def test_no_rule_changes_nothing(predictions, write_rules, tmp_path):
    postprocess_folder(predictions, tmp_path / "out", write_rules(NO_RULE))

    assert read_array(tmp_path / "out" / "case.nii.gz").ravel().tolist() == LABELS


def test_new_voxels_get_the_likeliest_class_or_the_nearest(predictions, write_rules, tmp_path):
    """Classes a and b have 0.3 and 0.1 beside the first lesion, 0.1 and 0.3 beside the second; SUV 5 lies beside a."""
    postprocess_folder(predictions, tmp_path / "p", write_rules(Rule(Outline("probability", 0.35))))
    sources = Sources(suv=tmp_path / "pet")
    postprocess_folder(predictions, tmp_path / "s", write_rules(Rule(Outline("suv", 3.0, 10.0))), sources)

    assert read_array(tmp_path / "p" / "case.nii.gz").ravel().tolist() == [0, 1, 1, 1, 0, 2, 2, 0]
    assert read_array(tmp_path / "s" / "case.nii.gz").ravel().tolist() == [0, 1, 1, 1, 0, 2, 0, 0]


def test_what_the_rule_needs_is_asked_for(predictions, write_rules, tmp_path):
    with pytest.raises(UserError, match=r"needs --suv FOLDER"):
        postprocess_folder(predictions, tmp_path / "out", write_rules(Rule(Outline("suv", 3.0, 8.0))))
    (predictions / "case.npz").unlink()
    with pytest.raises(UserError, match=r"case.npz is missing"):
        postprocess_folder(predictions, tmp_path / "out", write_rules(Rule(Outline("probability", 0.3))))


def test_the_liver_is_read_from_organ_maps(predictions, write_rules, tmp_path):
    """Liver at SUV 1 without spread: 1.5 + 0 is PERCIST's threshold, which SUV 3 and more within 10 mm reach."""
    write_image(tmp_path / "organs" / "case.nii.gz", line([5, 0, 0, 0, 5, 0, 5, 5]), SPACING_MM)
    sources = Sources(suv=tmp_path / "pet", organs=tmp_path / "organs")

    postprocess_folder(predictions, tmp_path / "out", write_rules(Rule(Outline("liver", 1.0, 10.0))), sources)

    assert read_array(tmp_path / "out" / "case.nii.gz").ravel().tolist() == [0, 1, 1, 1, 0, 2, 0, 0]


def test_a_model_that_is_named_is_compared_by_its_weights(predictions, model, write_rules, tmp_path):
    rules = write_rules(VOLUME)

    assert postprocess_folder(predictions, tmp_path / "out", rules, model=model).remarks == []
    shutil.rmtree(model / "fold_1")
    postprocess_folder(predictions, tmp_path / "out", rules, model=model)  # one of its folds is enough
    torch.save({"weights": torch.full((3,), 7.0)}, model / "fold_0" / "checkpoint_final.pth")
    with pytest.raises(UserError, match="other weights in fold 0"):
        postprocess_folder(predictions, tmp_path / "out", rules, model=model)
    shutil.rmtree(model / "fold_0")
    with pytest.raises(UserError, match="none of the folds 0, 1"):
        postprocess_folder(predictions, tmp_path / "out", rules, model=model)


def test_predictions_of_other_plans_are_refused(predictions, write_rules, tmp_path):
    rules = write_rules(VOLUME)

    assert "-m compares them" in postprocess_folder(predictions, tmp_path / "out", rules).remarks[0]
    (predictions / "plans.json").write_text(json.dumps({"plans_name": "Q"}))
    with pytest.raises(UserError, match=r"fitted to Dataset001_X/nnUNetTrainer__P__3d_fullres, but .* another model"):
        postprocess_folder(predictions, tmp_path / "out", rules)


def test_predictions_that_do_not_tell_their_model_need_its_folder(predictions, model, write_rules, tmp_path):
    (predictions / "plans.json").unlink()
    rules = write_rules(VOLUME)

    with pytest.raises(UserError, match="name the model's folder with -m"):
        postprocess_folder(predictions, tmp_path / "out", rules)
    postprocess_folder(predictions, tmp_path / "out", rules, model=model)


@pytest.mark.parametrize("content", ["{}", "[1]", '{"made_by": "h2aseg tune", "rule": {}, "model": {}, "metric": ""}'])
def test_a_file_that_is_no_file_of_rules_is_refused(predictions, tmp_path, content):
    file = tmp_path / "other.json"
    file.write_text(content)

    with pytest.raises(UserError, match=r"other\.json"):
        postprocess_folder(predictions, tmp_path / "out", file)


@pytest.mark.parametrize(
    "change",
    [
        {"model": None},
        {"model": {"name": "X"}},
        {"rule": VOLUME.as_json() | {"conditions": [{"feature": "volume_ml", "at_least": "much"}]}},
        {"rule": VOLUME.as_json() | {"outline": {"kind": "probability", "value": None, "reach_mm": 0}}},
        {"rule": VOLUME.as_json() | {"needs_all": "no"}},
        {"rule": []},
    ],
)
def test_a_file_of_rules_that_was_spoiled_by_hand_is_refused(predictions, write_rules, tmp_path, change):
    file = write_rules(VOLUME)
    file.write_text(json.dumps(json.loads(file.read_text()) | change))

    with pytest.raises(UserError, match=r"rules\.json: .* cannot be read"):
        postprocess_folder(predictions, tmp_path / "out", file)


def test_masks_of_an_earlier_rule_do_not_stay_beside_new_ones(predictions, write_rules, tmp_path):
    """A case that is gone, and one that fails, would else be found in the folder as if the new rule had made them."""
    out = tmp_path / "out"
    for name in ("gone", "damaged"):
        shutil.copy(predictions / "case.nii.gz", predictions / f"{name}.nii.gz")
    postprocess_folder(predictions, out, write_rules(VOLUME))
    (predictions / "gone.nii.gz").unlink()
    (predictions / "damaged.nii.gz").write_bytes(b"no image")
    (out / "note.txt").write_text("somebody's")
    OwnFiles(out).claim([out / "model.zip"])  # as another command notes its own
    (out / "model.zip").touch()

    with pytest.raises(UserError, match=r"damaged.nii.gz"):
        postprocess_folder(predictions, out, write_rules(NO_RULE))

    assert sorted(file.name for file in out.glob("[a-z]*")) == ["case.nii.gz", "dataset.json", "model.zip", "note.txt"]
    assert read_array(out / "case.nii.gz").ravel().tolist() == LABELS


@pytest.mark.parametrize(("channels", "pet"), [({"0": "PET", "1": "CT"}, 0), ({"0": "PET"}, 0), ({"0": "CT"}, 0)])
def test_the_pet_is_the_channel_that_dataset_json_says(predictions, write_rules, tmp_path, channels, pet):
    """Where PET comes first, channel 1 is a CT: its HU are no SUV."""
    description = json.loads((predictions / "dataset.json").read_text()) | {"channel_names": channels}
    (predictions / "dataset.json").write_text(json.dumps(description))
    for channel in range(len(channels)):
        values = SUV if channel == pet else [-1000.0] * len(SUV)
        write_image(tmp_path / "images" / f"case_{channel:04d}.nii.gz", line(values, np.float32), SPACING_MM)
    rule = Rule(conditions=(Condition("suv_max", 5.0),))

    postprocess_folder(predictions, tmp_path / "out", write_rules(rule), Sources(suv=tmp_path / "images"))

    assert read_array(tmp_path / "out" / "case.nii.gz").ravel().tolist() == [0, 1, 1, 0, 0, 0, 0, 0]
