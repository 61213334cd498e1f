import pytest

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.own_files import OwnFiles


@pytest.fixture
def own(tmp_path) -> OwnFiles:
    return OwnFiles(tmp_path / "out")


def write(own: OwnFiles, name: str, text: str = "") -> None:
    file = own.folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_what_was_noted_is_removed_and_the_rest_stays(own):
    own.claim([own.folder / "maps" / "a.nii.gz", own.folder / "maps" / "b.nii.gz", own.folder / "never_written.png"])
    write(own, "maps/a.nii.gz")
    write(own, "maps/b.nii.gz")
    write(own, "maps/notes.txt", "mine")

    own.remove(keep=[own.folder / "maps" / "b.nii.gz"])

    assert sorted(file.name for file in (own.folder / "maps").iterdir()) == ["b.nii.gz", "notes.txt"]
    assert own.names == ["maps/b.nii.gz"]
    assert own.others() == [own.folder / "maps" / "notes.txt"]


def test_folders_that_become_empty_are_removed_too(own):
    own.claim([own.folder / "predictions" / "intact" / "case.nii.gz"])
    write(own, "predictions/intact/case.nii.gz")

    own.remove()

    assert not (own.folder / "predictions").exists()
    assert own.folder.exists()


def test_a_file_that_somebody_else_wrote_is_named_and_nothing_is_noted(own):
    write(own, "case.nii.gz", "mine")

    with pytest.raises(UserError, match=r"case\.nii\.gz would be replaced, but another program wrote it"):
        own.claim([own.folder / "other.nii.gz", own.folder / "case.nii.gz"])

    assert own.names == []


def test_own_files_may_be_claimed_again(own):
    own.claim([own.folder / "case.nii.gz"])
    write(own, "case.nii.gz")
    own.claim([own.folder / "case.nii.gz"])

    assert own.names == ["case.nii.gz"]


def test_files_of_an_earlier_version_are_adopted_by_their_patterns(own):
    write(own, "tamw/stage1_CT.nii.gz")
    write(own, "tamw/notes.txt")

    own.adopt(["tamw/stage*.nii.gz", "*.png"])

    assert own.names == ["tamw/stage1_CT.nii.gz"]


def test_files_of_a_finished_folder_take_their_places_and_earlier_ones_go(tmp_path):
    own = OwnFiles(tmp_path / "case")
    for number, names in enumerate(
        (["a.txt", "maps/old.txt", "record.json"], ["a.txt", "maps/new.txt", "record.json"])
    ):
        for name in names:
            (tmp_path / "partial" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "partial" / name).write_text(str(number))
        own.take(tmp_path / "partial", last="record.json")
        (tmp_path / "case" / "maps" / "notes.txt").write_text("mine")

    files = {file.relative_to(own.folder).as_posix(): file.read_text() for file in own.folder.rglob("*.*")}
    assert files.items() >= {"a.txt": "1", "maps/new.txt": "1", "record.json": "1", "maps/notes.txt": "mine"}.items()
    assert "maps/old.txt" not in files


def test_a_foreign_file_in_the_way_is_left_with_all_that_was_there(tmp_path):
    own = OwnFiles(tmp_path / "case")
    own.folder.mkdir()
    (own.folder / "a.txt").write_text("mine")
    (tmp_path / "partial").mkdir()
    (tmp_path / "partial" / "a.txt").write_text("new")

    with pytest.raises(UserError, match=r"a\.txt would be replaced"):
        own.take(tmp_path / "partial", last="a.txt")

    assert (own.folder / "a.txt").read_text() == "mine"
