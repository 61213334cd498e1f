import json
import zipfile

import pytest

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.nnunet.exported import (
    MANIFEST,
    checksum,
    grid_of_training,
    model_folder,
    name_of,
    require_whole,
)


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text("{}")
    (folder / "dataset.json").write_text("{}")
    (folder / "fold_0" / "checkpoint_final.pth").write_bytes(b"weights")
    names = ("plans.json", "fold_0/checkpoint_final.pth")
    (folder / MANIFEST).write_text("".join(f"{checksum(folder / name)}  {name}\n" for name in names))
    return folder


def test_the_checksum_is_that_of_sha256sum(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")

    assert checksum(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_whole_model_and_one_without_a_manifest_are_taken(model):
    require_whole(model)
    (model / MANIFEST).unlink()
    (model / "plans.json").write_text("changed")
    require_whole(model)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"weightz", r"checkpoint_final\.pth is not the file .*damaged: copy it again"),
        (b"weight", "damaged"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
def test_a_changed_file_is_named(model, content, words):
    (model / "fold_0" / "checkpoint_final.pth").write_bytes(content)

    with pytest.raises(UserError, match=words):
        require_whole(model)


def test_a_missing_file_is_named(model):
    (model / "plans.json").unlink()

    with pytest.raises(UserError, match=r"plans\.json is missing, but SHA256SUMS lists it"):
        require_whole(model)


def pack(model, archive):
    with zipfile.ZipFile(archive, "w") as stream:
        for file in sorted(model.rglob("*")):
            stream.write(file, f"Dataset1_A/T__P__C/{file.relative_to(model)}")
    return archive


def test_a_zip_is_unpacked_to_the_model_in_it(model, tmp_path):
    found = model_folder(pack(model, tmp_path / "a.zip"), tmp_path / "unpacked")

    assert found == tmp_path / "unpacked" / "Dataset1_A" / "T__P__C"
    require_whole(found)
    assert name_of(found) == "Dataset1_A/T__P__C"
    assert model_folder(model, tmp_path) == model


def test_a_damaged_zip_and_another_file_are_refused(model, tmp_path):
    archive = pack(model, tmp_path / "a.zip")
    content = bytearray(archive.read_bytes())
    content[content.index(b"weights")] ^= 1
    archive.write_bytes(content)

    with pytest.raises(UserError, match=r"a\.zip is damaged: .*CRC"):
        model_folder(archive, tmp_path / "unpacked")
    with pytest.raises(UserError, match="neither a model folder nor a zip"):
        model_folder(model / "plans.json", tmp_path)


def test_a_zip_of_several_models_or_none_is_refused(model, tmp_path):
    empty = tmp_path / "empty.zip"
    zipfile.ZipFile(empty, "w").close()

    with pytest.raises(UserError, match="should hold one model, but holds none"):
        model_folder(empty, tmp_path / "unpacked")


@pytest.mark.parametrize(
    ("content", "grid"),
    [
        ({}, "pet"),
        ({"conversion": {"layout": "AutoPET"}}, "pet"),
        ({"conversion": {"layout": "HECKTOR"}}, "ct"),
        ({"conversion": {"layout": "HECKTOR", "spacing_mm": [2.0, 2.0, 2.0]}}, "2"),
    ],
)
def test_the_grid_is_that_of_the_conversion(tmp_path, content, grid):
    (tmp_path / "dataset.json").write_text(json.dumps(content))

    assert grid_of_training(tmp_path) == grid
