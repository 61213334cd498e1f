import pytest

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct import dicom


def test_a_missing_library_names_the_extra(monkeypatch):
    monkeypatch.setattr(dicom, "find_spec", lambda name: None if name == "highdicom" else object())

    with pytest.raises(UserError, match=r"highdicom not installed: pip install 'h2aseg_nnunet\[dicom\]'"):
        dicom.require_dicom()
