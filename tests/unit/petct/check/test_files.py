from pathlib import Path

import pytest

from h2aseg_nnunet.petct.check.files import find_cases


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("images/a_0000", "images/a_0001", "images/b_c_0000", "images/b_c_0001", "labels/a", "labels/b_c"):
        file = tmp_path / f"{name}.nii.gz"
        file.parent.mkdir(exist_ok=True)
        file.touch()
    return tmp_path


def check(folder: Path, labels: bool = True):
    found = find_cases(folder / "images", folder / "labels" if labels else None, 2, ".nii.gz")
    return [case.name for case in found.whole], [(f.severity, f.check, Path(f.file).name) for f in found.findings]


def test_files_form_cases_with_channels_in_order(folder):
    (case, other), names, findings = find_cases(folder / "images", folder / "labels", 2, ".nii.gz")

    assert names == ["a", "b_c"] and findings == []
    assert case.images == (folder / "images/a_0000.nii.gz", folder / "images/a_0001.nii.gz")
    assert other.name == "b_c" and other.label == folder / "labels/b_c.nii.gz"


def test_a_missing_channel_is_named_and_the_case_left_out(folder):
    (folder / "images/a_0001.nii.gz").unlink()

    assert check(folder) == (["b_c"], [("error", "missing-file", "a_0001.nii.gz")])


@pytest.mark.parametrize("files", [["images/a_0001"], ["images/a_0000", "images/a_0001"], ["labels/a"]])
def test_dangling_links_are_named_with_their_target_and_the_case_is_counted(folder, files):
    for name in files:
        (folder / f"{name}.nii.gz").unlink()
        (folder / f"{name}.nii.gz").symlink_to(folder / "moved_away.nii.gz")

    found = find_cases(folder / "images", folder / "labels", 2, ".nii.gz")

    assert found.names == ["a", "b_c"]
    assert [f"{Path(f.file).relative_to(folder)}" for f in found.findings] == [f"{name}.nii.gz" for name in files]
    for finding in found.findings:
        assert (finding.severity, finding.check) == ("error", "missing-file")
        assert finding.found == f"a link to {folder / 'moved_away.nii.gz'}, which does not exist"
        assert "git annex get" in finding.remedy or "Add the label" in finding.remedy


def test_a_missing_label_is_named_and_the_images_still_checked(folder):
    (folder / "labels/a.nii.gz").unlink()

    assert check(folder) == (["a", "b_c"], [("error", "missing-file", "a.nii.gz")])


def test_a_surplus_channel_is_an_error(folder):
    (folder / "images/a_0002.nii.gz").touch()

    assert check(folder) == (["a", "b_c"], [("error", "surplus-file", "a_0002.nii.gz")])


def test_a_label_without_images_is_a_warning(folder):
    (folder / "labels/d.nii.gz").touch()

    assert check(folder)[1] == [("warning", "surplus-file", "d.nii.gz")]


@pytest.mark.parametrize(
    ("name", "severity"),
    [("d.nii.gz", "error"), ("d_0000.nii", "warning"), ("d.mha", "warning"), ("d.nhdr", "warning")],
)
def test_images_named_otherwise_are_found(folder, name, severity):
    (folder / "images" / name).touch()

    assert check(folder)[1] == [(severity, "file-name", name)]


def test_other_files_are_nobodys_business(folder):
    (folder / "images/notes.txt").touch()
    (folder / "images/folder_0000.nii.gz").mkdir()

    assert check(folder)[1] == []


def test_a_folder_without_any_image_is_an_error(folder):
    for file in (folder / "images").iterdir():
        file.unlink()

    assert ("error", "missing-file", "images") in check(folder, labels=False)[1]
