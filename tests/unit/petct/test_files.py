import pytest

from h2aseg_nnunet.petct.files import replacing


def test_a_file_appears_whole_and_keeps_its_ending_while_it_is_written(tmp_path):
    with replacing(tmp_path / "new" / "mask.nii.gz") as temporary:
        assert temporary.name.endswith(".nii.gz")
        temporary.write_text("whole")
        assert not (tmp_path / "new" / "mask.nii.gz").exists()

    assert [(file.name, file.read_text()) for file in (tmp_path / "new").iterdir()] == [("mask.nii.gz", "whole")]


def test_a_failure_leaves_the_old_file_and_no_remains(tmp_path):
    file = tmp_path / "table.json"
    file.write_text("old")

    with pytest.raises(ValueError, match="half-way"), replacing(file) as temporary:
        temporary.write_text("ha")
        raise ValueError("half-way")

    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]
