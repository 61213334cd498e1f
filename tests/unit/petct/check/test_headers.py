import numpy as np
import pytest

from h2aseg_nnunet.petct.check.files import Case
from h2aseg_nnunet.petct.check.headers import check_headers

VOXELS = np.zeros((4, 5, 6), np.float32)  # z, y, x
SPACING_MM = (2.0, 2.0, 3.0)


@pytest.fixture
def check(dataset):
    """Check a case whose PET has another header than its CT and label."""

    def run(voxels=VOXELS, spacing_mm=SPACING_MM, **header):
        ct, pet, label = dataset.image(0, 0), dataset.image(0, 1), dataset.label(0)
        dataset.write(ct, VOXELS, SPACING_MM)
        dataset.write(label, VOXELS, SPACING_MM)
        dataset.write(pet, voxels, spacing_mm, **header)
        return check_headers(Case("case_00", (ct, pet), label))

    return run


def test_equal_grids_give_no_finding(check):
    assert check() == []


def test_rounding_within_nnunets_tolerance_gives_no_finding(check):
    assert check(spacing_mm=(2.00001, 2.0, 3.0)) == []


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ({"voxels": VOXELS[:3]}, "size (6, 5, 3)"),
        ({"spacing_mm": (2.0, 2.0, 3.3)}, "spacing (2, 2, 3.3) mm"),
        ({"origin": (0, 0, 5)}, "origin (0, 0, 5): voxels of equal index lie up to 5 mm apart"),
        ({"direction": (-1, 0, 0, 0, -1, 0, 0, 0, 1)}, "direction (-1, 0, 0, 0, -1, 0, 0, 0, 1)"),
    ],
)
def test_another_grid_is_an_error_that_names_value_and_expectation(check, header, part):
    (finding,) = check(**header)

    assert (finding.severity, finding.check) == ("error", "grid")
    assert finding.file.endswith("_0001.nii.gz") and part in finding.found
    assert "as in case_00_0000.nii.gz" in finding.expected


def test_an_origin_off_by_less_than_half_a_voxel_is_a_warning(check):
    (finding,) = check(origin=(0, 0.5, 0))

    assert (finding.severity, finding.check) == ("warning", "grid")
    assert "0.5 mm apart" in finding.found


def test_the_labels_grid_is_compared_as_well(dataset):
    dataset.write(dataset.label(0), np.zeros((3, 3, 3), np.uint8))

    (finding,) = check_headers(Case("case_00", (dataset.image(0, 0), dataset.image(0, 1)), dataset.label(0)))

    assert finding.file == str(dataset.label(0)) and finding.check == "grid"


def test_spacing_in_metres_is_a_warning(dataset):
    for channel in (0, 1):
        dataset.write(dataset.image(0, channel), VOXELS, (0.002, 0.002, 0.003))

    findings = check_headers(Case("case_00", (dataset.image(0, 0), dataset.image(0, 1))))

    assert [(finding.severity, finding.check) for finding in findings] == [("warning", "spacing")] * 2


@pytest.mark.parametrize("content", [b"", b"no image at all", b"\x1f\x8b\x08"])
def test_a_file_that_is_no_image_is_unreadable(dataset, content):
    dataset.image(0, 1).write_bytes(content)

    (finding,) = check_headers(Case("case_00", (dataset.image(0, 0), dataset.image(0, 1)), dataset.label(0)))

    assert (finding.severity, finding.check) == ("error", "unreadable")
    assert finding.file == str(dataset.image(0, 1))


def test_a_time_series_is_no_volume(dataset):
    dataset.write(dataset.image(0, 1), np.zeros((2, 4, 5, 6), np.float32), (1.0, 1.0, 1.0, 1.0), (0,) * 4)

    (finding,) = check_headers(Case("case_00", (dataset.image(0, 0), dataset.image(0, 1))))

    assert finding.check == "unreadable" and "not one volume" in finding.found
