import json
import subprocess
import sys

import pytest
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.nnunet.dataset_json import (
    declared_beside,
    find_dataset_json,
    parse,
    pet_channel,
    read_dataset,
    read_dataset_json,
    read_labels,
)

CONTENT = {
    "channel_names": {"0": "CT", "1": "PET"},
    "labels": {"background": 0, "tumor": 1},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}


def declared(with_labels=True, **changes):
    return parse(CONTENT | changes, with_labels)


@pytest.mark.parametrize("names", [("CT", "PET"), ("CT", "CT"), ("CT", "noNorm"), ("a", "b")])
def test_two_channels_of_any_name_are_ct_and_pet(names):
    result, faults = declared(channel_names=dict(zip("01", names, strict=True)))

    assert faults == []
    assert result.channels.ct == (0,) and result.channels.pet == (1,) and result.num_channels == 2


@pytest.mark.parametrize(
    ("names", "channel"),
    [
        (["CT", "PET"], 1),
        (["CT", "CT"], 1),
        (["CT", "noNorm"], 1),
        (["noNorm", "noNorm"], 1),
        (["PET", "CT"], 0),
        (["noNorm", "CT"], 0),
        (["FDG-PET", "low-dose CT"], 0),
        (["PET"], 0),
        (["CT"], 0),
        (["CT", "CT", "SUV"], 2),
        ([], 1),
    ],
)
def test_the_pet_is_known_by_the_channels_names(names, channel):
    assert pet_channel({"channel_names": {str(number): name for number, name in enumerate(names)}}) == channel


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
    result, (fault,) = declared(**changes)

    assert result is None
    assert part in fault.found and fault.expected and fault.remedy


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
    _, (fault,) = declared(labels=labels)

    assert "label" in fault.found


def test_regions_and_the_ignore_label_are_resolved():
    labels = {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}

    result, faults = declared(labels=labels, regions_class_order=[1, 2])

    assert faults == []
    assert result.labels == ((0, 1, 2), {"whole": (1, 2), "core": (2,)}, 3)


@pytest.mark.parametrize("key", ["channel_names", "labels", "file_ending"])
def test_a_missing_key_is_an_error(key):
    content = {name: value for name, value in CONTENT.items() if name != key}

    result, (fault,) = parse(content)

    assert result is None and fault.found == f"no {key}"


def test_inputs_for_prediction_need_no_labels():
    content = {key: CONTENT[key] for key in ("channel_names", "file_ending")}

    result, faults = parse(content, with_labels=False)

    assert faults == [] and result.labels is None


@pytest.mark.parametrize(("text", "part"), [(None, "missing"), ("{", "not valid JSON"), ("[]", "holds a list")])
def test_an_unreadable_description_is_named(tmp_path, text, part):
    file = tmp_path / "dataset.json"
    if text is not None:
        file.write_text(text)

    with pytest.raises(UserError, match=part):
        read_dataset_json(file)


def test_a_readable_description_is_returned(tmp_path):
    (tmp_path / "dataset.json").write_text(json.dumps(CONTENT))

    assert read_dataset_json(tmp_path / "dataset.json") == CONTENT


def test_the_first_fault_is_the_users_error_with_file_and_remedy(tmp_path):
    file = tmp_path / "dataset.json"
    file.write_text(json.dumps(CONTENT | {"file_ending": ".png"}))

    with pytest.raises(UserError, match=r"dataset.json: file_ending '.png'; expected one of .* Correct the ending"):
        read_dataset(file)


def test_labels_are_read_even_where_nothing_else_is_right(tmp_path):
    file = tmp_path / "dataset.json"
    file.write_text(json.dumps({"labels": {"background": 0, "lesion": 1, "ignore": 2}}))

    assert read_labels(file) == ((0, 1), {"lesion": (1,)}, 2)


@pytest.mark.parametrize("content", [{}, {"labels": {"background": 1}}])
def test_missing_or_wrong_labels_are_named(tmp_path, content):
    file = tmp_path / "dataset.json"
    file.write_text(json.dumps(content))

    with pytest.raises(UserError, match=r"dataset.json: (no labels|labels .*); expected .*"):
        read_labels(file)


@pytest.mark.parametrize("folder", ["", "imagesTr", "model/fold_0/validation"])
def test_the_description_of_a_folder_lies_beside_or_above_it(tmp_path, folder):
    images = tmp_path / "there" / folder
    images.mkdir(parents=True)
    assert find_dataset_json(images) is None
    file = (images.parents[1] if folder.endswith("validation") else tmp_path / "there") / "dataset.json"
    file.write_text(json.dumps(CONTENT))

    assert find_dataset_json(images) == file


def test_a_description_of_nnunet_version_1_is_passed_over(tmp_path):
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"0": "background", "1": "tumor"}}))

    assert find_dataset_json(tmp_path) is None


@pytest.mark.parametrize(
    "labels",
    [
        {"background": 0, "tumor": 1},
        {"background": 0, "GTVn": 2, "GTVp": 1},
        {"tumor": 1, "ignore": 2, "background": 0},
        {"background": 0},
    ],
)
def test_plain_labels_are_read_as_nnunet_reads_them(labels):
    manager = LabelManager(labels, None)

    result, faults = declared(labels=labels)

    assert faults == []
    assert result.labels.values == tuple(manager.all_labels)
    assert result.labels.ignore == manager.ignore_label
    assert list(result.labels.classes.items()) == [
        (name, (value,)) for name, value in labels.items() if name not in ("background", "ignore")
    ]


def test_plain_labels_do_not_wait_for_torch(tmp_path):
    file = tmp_path / "dataset.json"
    file.write_text(json.dumps(CONTENT))
    code = (
        "import sys; from pathlib import Path; from h2aseg_nnunet.petct.nnunet.dataset_json import read_labels; "
        f"read_labels(Path({str(file)!r})); assert 'torch' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", code], check=True)


def describe(folder, labels):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))


def test_labels_beside_the_masks_come_before_those_above(tmp_path):
    describe(tmp_path, {"background": 0, "tumor": 1})
    describe(tmp_path / "labelsTr", {"background": 0, "tumor": 1, "ignore": 2})

    assert declared_beside(tmp_path / "labelsTr").labels.ignore == 2


def test_a_link_to_a_folder_of_masks_leads_to_their_description(tmp_path):
    describe(tmp_path / "dataset", {"background": 0, "tumor": 1, "ignore": 2})
    (tmp_path / "dataset" / "labelsTr").mkdir()
    (tmp_path / "references").symlink_to(tmp_path / "dataset" / "labelsTr")

    assert declared_beside(tmp_path / "references").labels.ignore == 2


def test_a_description_that_nnunet_would_refuse_is_named(tmp_path):
    describe(tmp_path, {"background": 0, "tumor": 1, "ignore": -1})

    with pytest.raises(UserError, match=r"dataset\.json: labels .*-1"):
        declared_beside(tmp_path)
