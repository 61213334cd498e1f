import sys

import numpy as np
import pytest
import SimpleITK

from studies.operating_points import main

SPACING_MM = (10.0, 10.0, 10.0)  # a voxel has 1 ml


@pytest.fixture
def folders(tmp_path):
    """Lesions of 1 and 2 ml. `bold` marks both and 3 ml beside; `shy` has 0.35 at the larger, 0.15 at 1 ml beside."""
    label = np.zeros((1, 1, 12))
    label[..., 0], label[..., 2:4] = 1, 1
    bold, shy = label * 0.9, np.zeros_like(label)
    bold[..., 6:9] = 0.9
    shy[..., 0], shy[..., 2:4], shy[..., 6] = 0.9, 0.35, 0.15
    image = SimpleITK.GetImageFromArray(label)
    image.SetSpacing(SPACING_MM)
    (tmp_path / "labels").mkdir()
    SimpleITK.WriteImage(image, str(tmp_path / "labels" / "case.nii.gz"))
    for name, tumor in (("bold", bold), ("shy", shy)):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "case.npz", probabilities=np.stack([1 - tumor, tumor]))
    return tmp_path


def test_networks_are_compared_where_they_miss_as_little(folders, monkeypatch, capsys):
    models = [f"{name}={folders / name}" for name in ("bold", "shy")]
    arguments = ["operating_points", folders / "labels", *models]
    monkeypatch.setattr(sys, "argv", list(map(str, arguments)))
    main()
    printed = capsys.readouterr().out

    assert "| 0.5 | 0.667 / 3.0 / 0.0 | 0.500 / 0.0 / 2.0 |" in printed
    assert "| 0.3 | 0.667 / 3.0 / 0.0 | 1.000 / 0.0 / 0.0 |" in printed
    assert "| 0.1 | 0.667 / 3.0 / 0.0 | 0.857 / 1.0 / 0.0 |" in printed
    assert "| shy | 0.3 | false_positive_volume_ml | 0.000 | -3.000 [-3.000, -3.000] | 1 |" in printed
