import json
from pathlib import Path

import pytest

from h2aseg_nnunet.petct.check.dataset_json import check_dataset_json, check_num_training, read_dataset_json

FILE = Path("dataset.json")
CONTENT = {
    "channel_names": {"0": "CT", "1": "PET"},
    "labels": {"background": 0, "tumor": 1},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}


def declared(with_labels=True, **changes):
    return check_dataset_json(CONTENT | changes, FILE, with_labels)


@pytest.mark.parametrize("names", [("CT", "PET"), ("CT", "CT"), ("CT", "noNorm"), ("a", "b")])
def test_two_channels_of_any_name_are_ct_and_pet(names):
    result, findings = declared(channel_names=dict(zip("01", names, strict=True)))

    assert findings == []
    assert result.channels.ct == (0,) and result.channels.pet == (1,) and result.num_channels == 2


def test_more_channels_are_assigned_by_name():
    result, _ = declared(channel_names={"0": "PET", "1": "CT", "2": "CT"})

    assert result.channels.ct == (1, 2) and result.channels.pet == (0,)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"channel_names": {"0": "PET", "1": "CT"}}, "PET before CT"),
        ({"channel_names": {"0": "SUV", "1": "ct"}}, "PET before CT"),
        ({"channel_names": {"1": "CT", "2": "PET"}}, "channel_names"),
        ({"channel_names": ["CT", "PET"]}, "channel_names"),
        ({"channel_names": {"0": "CT"}}, "channel_names"),
        ({"file_ending": "nii.gz"}, "file_ending 'nii.gz'"),
        ({"file_ending": ".png"}, "file_ending '.png'"),
    ],
)
def test_what_files_cannot_be_checked_against_is_an_error(changes, part):
    result, (finding,) = declared(**changes)

    assert result is None
    assert finding.severity == "error" and part in finding.found


@pytest.mark.parametrize(
    "labels",
    [
        {"tumor": 1},
        {"background": 1, "tumor": 0},
        {"background": 0, "tumor": "one"},
        {"background": 0, "tumor": 2},
        {"background": 0, "whole": [1, 2], "core": 2},  # regions without regions_class_order
        {"background": 0, "ignore": 1, "tumor": 2},
        [0, 1],
    ],
)
def test_labels_that_nnunet_refuses_are_an_error(labels):
    _, (finding,) = declared(labels=labels)

    assert (finding.severity, finding.check) == ("error", "dataset-json")
    assert "label" in finding.found


def test_regions_and_the_ignore_label_are_resolved():
    labels = {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}

    result, findings = declared(labels=labels, regions_class_order=[1, 2])

    assert findings == []
    assert result.labels == (0, 1, 2) and result.ignore == 3


@pytest.mark.parametrize("key", ["channel_names", "labels", "numTraining", "file_ending"])
def test_a_missing_key_is_an_error(key):
    content = {name: value for name, value in CONTENT.items() if name != key}

    result, (finding,) = check_dataset_json(content, FILE, with_labels=True)

    assert result is None and finding.found == f"no {key}"


def test_inputs_for_prediction_need_no_labels():
    content = {key: CONTENT[key] for key in ("channel_names", "file_ending")}

    result, findings = check_dataset_json(content, FILE, with_labels=False)

    assert findings == [] and result.labels == ()


def test_num_training_is_compared_with_the_cases():
    assert check_num_training(CONTENT, 2, FILE) == []
    (finding,) = check_num_training(CONTENT, 3, FILE)
    assert finding.found == "numTraining is 2" and finding.expected.startswith("3")


@pytest.mark.parametrize(("text", "part"), [(None, "missing"), ("{", "not valid JSON"), ("[]", "holds a list")])
def test_an_unreadable_description_is_named(tmp_path, text, part):
    file = tmp_path / "dataset.json"
    if text is not None:
        file.write_text(text)

    with pytest.raises(ValueError, match=part):
        read_dataset_json(file)


def test_a_readable_description_is_returned(tmp_path):
    (tmp_path / "dataset.json").write_text(json.dumps(CONTENT))

    assert read_dataset_json(tmp_path / "dataset.json") == CONTENT
