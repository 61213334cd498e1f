"""ITK fills in what is missing of MetaImage, NRRD and GIPL files in some of their many forms."""

import gzip
import zlib

import numpy as np
import pytest
import SimpleITK

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.images.errors import PositionError
from h2aseg_nnunet.petct.images.grids import Grid
from h2aseg_nnunet.petct.images.reading import read_image

VOXELS = np.arange(60, dtype="<i2").reshape(3, 4, 5) + 100
RAW = VOXELS.tobytes()
TEXT = " ".join(map(str, VOXELS.ravel())).encode()
META = b"ObjectType = Image\nNDims = 3\nDimSize = 5 4 3\nElementSpacing = 1 2 3\nElementType = MET_SHORT\n"
NRRD = b"NRRD0005\ntype: short\ndimension: 3\nsizes: 5 4 3\nspacings: 1 2 3\nendian: little\n"
ZIPPED, GZIPPED = zlib.compress(RAW), gzip.compress(RAW, mtime=0)


def zipped_meta(content: bytes) -> bytes:
    size = str(len(content)).encode()
    return META + b"CompressedData = True\nCompressedDataSize = " + size + b"\nElementDataFile = LOCAL\n" + content


def changed(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 0xFF]) + (content[position + 1 :] if position != -1 else b"")


def gipl() -> bytes:
    header = bytearray(256)
    header[0:8] = np.array([5, 4, 3, 1], ">u2").tobytes()
    header[8:10] = np.array(15, ">u2").tobytes()  # short
    header[10:26] = np.array([1, 2, 3, 0], ">f4").tobytes()
    header[252:256] = np.array(4026526128, ">u4").tobytes()
    return bytes(header) + VOXELS.astype(">i2").tobytes()


WHOLE = {
    "raw.mha": META + b"ElementDataFile = LOCAL\n" + RAW,
    "windows.mha": META.replace(b"\n", b"\r\n") + b"ElementDataFile = LOCAL\r\n" + RAW,
    "text.mha": META + b"BinaryData = False\nElementDataFile = LOCAL\n" + TEXT + b"\n",
    "zipped.mha": zipped_meta(ZIPPED),
    "raw.nrrd": NRRD + b"encoding: raw\n\n" + RAW,
    "gzip.nrrd": NRRD + b"encoding: gzip\n\n" + GZIPPED,
    "text.nrrd": NRRD + b"encoding: ascii\n\n" + TEXT,
    "hex.nrrd": NRRD + b"encoding: hex\n\n" + RAW.hex().encode(),
    "raw.gipl": gipl(),
}
"""Forms in which an image is one file."""


@pytest.mark.parametrize("name", WHOLE)
def test_whole_files_are_read(tmp_path, name):
    (tmp_path / name).write_bytes(WHOLE[name])

    image = read_image(tmp_path / name)

    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), VOXELS)
    assert image.GetSpacing() == (1, 2, 3)


@pytest.mark.parametrize("lost_bytes", [2, 9, 40])
@pytest.mark.parametrize("name", WHOLE)
def test_truncated_files_are_refused(tmp_path, name, lost_bytes):
    if name.startswith("text"):
        lost_bytes += 3  # the last digit is no number
    (tmp_path / name).write_bytes(WHOLE[name][:-lost_bytes])

    with pytest.raises(UserError, match=rf"{name} (is incomplete|is damaged|cannot be read)") as error:
        read_image(tmp_path / name)
    assert "Reason:" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("checksum.mha", zipped_meta(changed(ZIPPED, -1))),
        ("inside.mha", zipped_meta(changed(ZIPPED, len(ZIPPED) // 2))),
        ("few.mha", zipped_meta(zlib.compress(RAW[:80]))),
        ("no_size.mha", zipped_meta(ZIPPED).replace(f"CompressedDataSize = {len(ZIPPED)}\n".encode(), b"")),
        ("no_checksum.nrrd", NRRD + b"encoding: gzip\n\n" + GZIPPED[:-1]),
        ("from_the_end.nrrd", NRRD + b"encoding: raw\nbyte skip: -1\n\n" + RAW[:-10]),
        ("from_the_end.mha", META + b"HeaderSize = -1\nElementDataFile = LOCAL\n" + RAW[:-10]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damage_that_itk_passes_over_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(UserError, match=rf"{name} (is incomplete|is damaged|cannot be read|does not state)"):
        read_image(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("one.mhd", META + b"ElementDataFile = whole.raw\n"),
        ("one.nhdr", NRRD + b"encoding: raw\ndata file: whole.raw\n"),
        ("list.mhd", META + b"ElementDataFile = LIST\n0.raw\n1.raw\n2.raw\n"),
        ("pattern.mhd", META + b"ElementDataFile = %d.raw 0 2 1\n"),
        ("pattern.nhdr", NRRD + b"encoding: raw\ndata file: %d.raw 0 2 1\n"),
        ("list.nhdr", NRRD + b"encoding: raw\ndata file: LIST\n0.raw\n1.raw\n2.raw\n"),
        ("gzip.nhdr", NRRD + b"encoding: gzip\ndata file: whole.raw.gz\n"),
    ],
)
def test_voxels_in_files_beside_the_header_are_read_and_their_lack_is_noticed(tmp_path, name, header):
    (tmp_path / name).write_bytes(header)
    (tmp_path / "whole.raw").write_bytes(RAW)
    (tmp_path / "whole.raw.gz").write_bytes(GZIPPED)
    for z in range(3):
        (tmp_path / f"{z}.raw").write_bytes(VOXELS[z].tobytes())
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(read_image(tmp_path / name)), VOXELS)

    for file in ("2.raw", "whole.raw", "whole.raw.gz"):
        (tmp_path / file).write_bytes((tmp_path / file).read_bytes()[:-3])
    with pytest.raises(UserError, match=rf"{name} (is incomplete|cannot be read)"):
        read_image(tmp_path / name)


def test_a_list_with_too_few_files_is_refused(tmp_path):
    (tmp_path / "image.mhd").write_bytes(META + b"ElementDataFile = LIST\n0.raw\n1.raw\n")
    for z in range(2):
        (tmp_path / f"{z}.raw").write_bytes(VOXELS[z].tobytes())

    with pytest.raises(UserError, match=r"image.mhd is incomplete: it holds 80 of 120 bytes"):
        read_image(tmp_path / "image.mhd")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("image.mha", META.replace(b"ElementSpacing = 1 2 3\n", b"") + b"ElementDataFile = LOCAL\n" + RAW),
        ("image.nrrd", NRRD.replace(b"spacings: 1 2 3\n", b"") + b"encoding: raw\n\n" + RAW),
        ("none.nrrd", NRRD.replace(b"spacings: 1 2 3", b"space: left-posterior-superior\n"
                                   b"space directions: (1,0,0) (0,2,0) none") + b"encoding: raw\n\n" + RAW),
    ],
)  # fmt: skip
def test_a_file_without_a_voxel_size_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(UserError, match=rf"{name} (states no voxel size|cannot be read)"):
        read_image(tmp_path / name)


SPACE = b"space: %s\nspace directions: (1,0,0) (0,2,0) (0,0,3)\nspace origin: (5,6,7)\nencoding: raw\n\n"


@pytest.mark.parametrize(
    ("space", "origin", "axes"),
    [
        (b"left-posterior-superior", (5, 6, 7), "LPS"),
        (b"LPS", (5, 6, 7), "LPS"),
        (b"right-anterior-superior", (-5, -6, 7), "RAS"),
        (b"left-anterior-superior", (5, -6, 7), "LAS"),
    ],
)
def test_the_spaces_of_nrrd_with_one_meaning_are_read(tmp_path, space, origin, axes):
    (tmp_path / "image.nrrd").write_bytes(NRRD.replace(b"spacings: 1 2 3\n", b"") + SPACE % space + RAW)

    grid = Grid.of(read_image(tmp_path / "image.nrrd"))

    assert grid.origin_mm == origin and grid.axes == axes


@pytest.mark.parametrize("space", [b"scanner-xyz", b"3D-right-handed"])
def test_other_spaces_of_nrrd_are_refused(tmp_path, space):
    (tmp_path / "image.nrrd").write_bytes(NRRD.replace(b"spacings: 1 2 3\n", b"") + SPACE % space + RAW)

    with pytest.raises(PositionError, match="which programs read differently"):
        read_image(tmp_path / "image.nrrd")


def test_sheared_axes_are_refused_in_every_format(tmp_path):
    sheared = b"TransformMatrix = 1 0 0 0 1 0 0 0.27 0.96\nElementDataFile = LOCAL\n"
    (tmp_path / "image.mha").write_bytes(META + sheared + RAW)

    with pytest.raises(PositionError, match=r"image.mha has axes that are not at right angles, by 16 degrees"):
        read_image(tmp_path / "image.mha")


def test_the_ending_decides_on_the_format(tmp_path):
    """Otherwise a NIfTI file of another name would pass without its checks."""
    image = SimpleITK.GetImageFromArray(VOXELS)
    SimpleITK.WriteImage(image, str(tmp_path / "image.nii"))
    (tmp_path / "image.nii").rename(tmp_path / "image.mha")

    with pytest.raises(UserError, match="cannot be read"):
        read_image(tmp_path / "image.mha")


@pytest.mark.parametrize("name", ["image.tif", "image.dcm", "image.hdr", "image"])
def test_other_formats_are_refused_with_the_remedy(tmp_path, name):
    (tmp_path / name).write_bytes(RAW)

    with pytest.raises(UserError, match=r"is none of .nii.gz, .*Convert it to .nii.gz"):
        read_image(tmp_path / name)


@pytest.mark.parametrize("start", [b"version https://git-lfs.github.com/spec/v1", b"/annex/objects/SHA256E-s1--2"])
def test_a_pointer_to_a_file_says_how_to_fetch_it(tmp_path, start):
    (tmp_path / "image.nii.gz").write_bytes(start)

    with pytest.raises(UserError, match=r"is only a pointer to the image. Fetch it: git (lfs pull|annex get)"):
        read_image(tmp_path / "image.nii.gz")


def test_a_dangling_link_is_named_with_its_target(tmp_path):
    (tmp_path / "image.nii.gz").symlink_to(tmp_path / "moved_away.nii.gz")

    with pytest.raises(UserError, match=r"is a link to \S*moved_away.nii.gz, which does not exist"):
        read_image(tmp_path / "image.nii.gz")
