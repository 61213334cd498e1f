from pathlib import Path

import pytest


@pytest.fixture
def nnunet(tmp_path, monkeypatch) -> Path:
    """The folder that holds nnU-Net's folders."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    return tmp_path
