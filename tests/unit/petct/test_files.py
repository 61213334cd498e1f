import pytest

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.files import OutputFolder, replacing


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


REPORT = {"mark": "report.json", "kind": "a report", "keys": ("cases",)}


def test_a_folder_of_hidden_files_counts_as_empty_and_is_claimed(tmp_path):
    (tmp_path / ".DS_Store").write_text("")

    OutputFolder(tmp_path, **REPORT).claim({"cases": 1})

    assert OutputFolder(tmp_path, **REPORT).settings() == {"cases": 1}


@pytest.mark.parametrize("name", ["notes.txt", "report.json"])
def test_a_folder_with_somebody_elses_file_is_refused_with_the_remedy(tmp_path, name):
    (tmp_path / name).write_text('{"theirs": 1}')

    with pytest.raises(UserError, match=r"exists and is not a report: give another -o\.$"):
        OutputFolder(tmp_path, **REPORT, remedy="give another -o").claim({"cases": 1})

    assert (tmp_path / name).read_text() == '{"theirs": 1}'


def test_other_settings_than_those_of_the_earlier_run_are_named(tmp_path):
    folder = OutputFolder(tmp_path, **REPORT)
    folder.claim({"cases": (1, 2), "suv": 10})
    folder.claim({"cases": [1, 2], "suv": 10})

    with pytest.raises(UserError, match=r"holds a report with other settings \(suv 10, now 12\): choose another"):
        folder.claim({"cases": [1, 2], "suv": 12})
