import json

import numpy as np
import pytest
import SimpleITK

from h2aseg_nnunet.petct.check.training_axes import axes_of_training_set, turns_images


def write(file, axes):
    file.parent.mkdir(parents=True, exist_ok=True)
    image = SimpleITK.GetImageFromArray(np.zeros((3, 4, 5), np.uint8))
    SimpleITK.WriteImage(SimpleITK.DICOMOrient(image, axes), str(file))
    return file


def test_a_raw_dataset_has_the_axes_of_most_training_images(tmp_path):
    for name, axes in (("a", "LSP"), ("b", "RAS"), ("c", "RAS")):
        write(tmp_path / "imagesTr" / f"{name}_0000.nii.gz", axes)

    assert axes_of_training_set(tmp_path / "dataset.json") == "RAS"


def test_a_model_has_the_axes_of_its_validation_cases(tmp_path):
    write(tmp_path / "fold_0" / "validation" / "a.nii.gz", "LSP")
    (tmp_path / "fold_0" / "validation" / "summary.json").write_text("{}")

    assert axes_of_training_set(tmp_path / "dataset.json") == "LSP"


def test_a_model_without_validation_has_the_axes_of_its_raw_dataset(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    write(tmp_path / "Dataset007_Bonds" / "imagesTr" / "a_0000.nii.gz", "RAS")
    model = tmp_path / "model"
    model.mkdir()
    (model / "plans.json").write_text(json.dumps({"dataset_name": "Dataset007_Bonds"}))

    assert axes_of_training_set(model / "dataset.json") == "RAS"


def test_where_nothing_tells_the_axes_there_are_none(tmp_path):
    assert axes_of_training_set(tmp_path / "dataset.json") is None


@pytest.mark.parametrize(
    ("file", "key"), [("dataset.json", "overwrite_image_reader_writer"), ("plans.json", "image_reader_writer")]
)
@pytest.mark.parametrize(("reader", "turns"), [("NibabelIOWithReorient", True), ("SimpleITKIO", False)])
def test_a_reader_that_turns_images_is_known(tmp_path, file, key, reader, turns):
    (tmp_path / file).write_text(json.dumps({key: reader}))

    assert turns_images(tmp_path / "dataset.json") is turns
