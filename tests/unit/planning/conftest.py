import json
from pathlib import Path

import pytest

DATASET = "Dataset930_Planned"


@pytest.fixture
def dataset(tmp_path, monkeypatch) -> Path:
    """nnU-Net's folders with a dataset as planning sees it: names, labels, extents and spacings, no image."""
    for folder in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(folder, str(tmp_path / folder))
    raw, preprocessed = tmp_path / "nnUNet_raw" / DATASET, tmp_path / "nnUNet_preprocessed" / DATASET
    for file in ("imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz"):
        (raw / file).parent.mkdir(parents=True, exist_ok=True)
        (raw / file).touch()
    description = {
        "channel_names": {"0": "CT", "1": "PET"},
        "labels": {"background": 0, "tumor": 1},
        "numTraining": 500,
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "SimpleITKIO",  # else nnU-Net tries to read an image
    }
    (raw / "dataset.json").write_text(json.dumps(description))
    preprocessed.mkdir(parents=True)
    fingerprint = {
        "spacings": [[3.0, 2.04, 2.04]],
        "shapes_after_crop": [[326, 400, 400]],
        "foreground_intensity_properties_per_channel": {},
        "median_relative_size_after_cropping": 1.0,
    }
    (preprocessed / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
    return preprocessed
