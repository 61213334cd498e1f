import numpy as np
import pytest
import SimpleITK

from h2aseg_nnunet.petct.images.axes import most_common, read_axes


def write(file, axes):
    file.parent.mkdir(parents=True, exist_ok=True)
    image = SimpleITK.GetImageFromArray(np.zeros((3, 4, 5), np.uint8))
    SimpleITK.WriteImage(SimpleITK.DICOMOrient(image, axes), str(file))
    return file


@pytest.mark.parametrize("axes", ["LPS", "RAS", "LSP"])
def test_axes_are_read_from_a_header(tmp_path, axes):
    assert read_axes(write(tmp_path / "image.nii.gz", axes)) == axes


def test_what_is_no_image_has_no_axes(tmp_path):
    (tmp_path / "image.nii.gz").write_bytes(b"none")

    assert read_axes(tmp_path / "image.nii.gz") is None


@pytest.mark.parametrize(
    ("axes", "common"),
    [(["RAS", "LPS", "RAS"], "RAS"), (["RAS", "LPS"], "LPS"), (["RAS", "LAS"], "LAS"), ([], None)],
)
def test_the_most_common_axes_count_and_lps_where_two_are(axes, common):
    assert most_common(axes) == common
