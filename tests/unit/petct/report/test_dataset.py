import json

import pytest

from h2aseg_nnunet.petct.report.dataset import find_dataset_json, read_dataset

CHANNELS = {"0": "CT", "1": "PET"}


def read(tmp_path, **content):
    file = tmp_path / "dataset.json"
    file.write_text(json.dumps({"channel_names": CHANNELS, "labels": {"tumor": 1}, "file_ending": ".nii.gz"} | content))
    return read_dataset(file)


def test_classes_leave_out_background_and_ignore(tmp_path):
    dataset = read(tmp_path, labels={"background": 0, "GTVp": 1, "GTVn": 2, "ignore": 3})
    assert dataset.classes == {"GTVp": (1,), "GTVn": (2,)}
    assert dataset.ignore_label == 3


def test_region_is_all_its_labels(tmp_path):
    assert read(tmp_path, labels={"background": 0, "whole": [1, 2], "core": 2}).classes == {
        "whole": (1, 2),
        "core": (2,),
    }


def test_two_channels_are_ct_and_pet_whatever_their_names(tmp_path):
    assert read(tmp_path, channel_names={"0": "CT", "1": "CT"})[1:3] == (0, 1)


def test_of_more_channels_the_names_tell(tmp_path):
    assert read(tmp_path, channel_names={"0": "PET", "1": "late PET", "2": "CT"})[1:3] == (2, 0)


def test_description_beside_the_predictions_comes_first(tmp_path):
    images, predictions = tmp_path / "dataset" / "imagesTs", tmp_path / "predictions"
    images.mkdir(parents=True)
    predictions.mkdir()
    with pytest.raises(ValueError, match="name the file with --dataset_json"):
        find_dataset_json(predictions, images)
    for folder in (images.parent, predictions):
        (folder / "dataset.json").touch()
        assert find_dataset_json(predictions, images) == folder / "dataset.json"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"labels": {"background": 0}}, "names no class"),
        ({"labels": {"tumor": "hot"}}, "is not a dataset.json of nnU-Net"),
        ({"channel_names": {"0": "PET"}}, "two modalities"),
        ({"channel_names": ["CT", "PET"]}, "is not a dataset.json of nnU-Net"),
    ],
)
def test_a_malformed_description_is_named(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, **content)


def test_missing_key_is_named(tmp_path):
    file = tmp_path / "dataset.json"
    file.write_text('{"channel_names": {"0": "CT", "1": "PET"}, "labels": {"tumor": 1}}')
    with pytest.raises(ValueError, match="file_ending"):
        read_dataset(file)
