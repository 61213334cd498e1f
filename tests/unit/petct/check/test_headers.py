import gzip

import numpy as np
import pytest

from h2aseg_nnunet.petct.check.case import check_case
from h2aseg_nnunet.petct.check.files import Case
from h2aseg_nnunet.petct.check.headers import check_headers
from h2aseg_nnunet.petct.images.grids import Grid
from h2aseg_nnunet.petct.images.reading import read_image
from h2aseg_nnunet.petct.nnunet.dataset_json import PLAIN

VOXELS = np.zeros((4, 5, 6), np.float32)  # z, y, x
SPACING_MM = (2.0, 2.0, 3.0)


def check_files(*files):
    return check_headers({file: Grid.of(read_image(file)) for file in files}, "case_00")


@pytest.fixture
def check(dataset):
    """Check a case whose PET has another header than its CT and label."""

    def run(voxels=VOXELS, spacing_mm=SPACING_MM, **header):
        ct, pet, label = dataset.image(0, 0), dataset.image(0, 1), dataset.label(0)
        dataset.write(ct, VOXELS, SPACING_MM)
        dataset.write(label, VOXELS, SPACING_MM)
        dataset.write(pet, voxels, spacing_mm, **header)
        return check_files(ct, pet, label)

    return run


def test_equal_grids_give_no_finding(check):
    assert check() == []


def test_rounding_within_nnunets_tolerance_gives_no_finding(check):
    assert check(spacing_mm=(2.00001, 2.0, 3.0)) == []


@pytest.mark.parametrize(
    ("header", "part", "expected"),
    [
        ({"voxels": VOXELS[:3]}, "size (6, 5, 3)", "(6, 5, 4)"),
        ({"spacing_mm": (2.0, 2.0, 3.3)}, "spacing (2, 2, 3.3) mm", "(2, 2, 3) mm"),
        (
            {"origin_mm": (0, 0, 6)},
            "origin (0, 0, 6): voxels of equal index lie up to 6 mm (2 voxels) apart",
            "(0, 0, 0)",
        ),
        ({"origin_mm": (0, 0.5, 0)}, "lie up to 0.5 mm (0.25 voxels) apart", "(0, 0, 0)"),
        ({"origin_mm": (0.14, 0, 0)}, "lie up to 0.14 mm (0.07 voxels) apart", "(0, 0, 0)"),
        (
            {"direction": (-1, 0, 0, 0, -1, 0, 0, 0, 1)},
            "axes RAS: voxels of equal index lie up to 25.6 mm (10 voxels) apart",
            "LPS",
        ),
    ],
)
def test_another_grid_is_an_error_that_names_value_and_expectation(check, header, part, expected):
    """The tolerance is that of every command: 0.05 voxel. The far corner is 10, 8 and 9 mm from the first voxel."""
    (finding,) = check(**header)

    assert (finding.severity, finding.check) == ("error", "grid")
    assert finding.file.endswith("_0001.nii.gz") and part in finding.found
    assert finding.expected == f"as in case_00_0000.nii.gz: {expected}"


def test_an_origin_off_by_a_rounded_header_gives_no_finding(check):
    assert check(origin_mm=(0.06, 0.06, 0.06)) == []  # 0.03 voxel


def test_the_labels_grid_is_compared_as_well(dataset):
    dataset.write(dataset.label(0), np.zeros((3, 3, 3), np.uint8))

    (finding,) = check_files(dataset.image(0, 0), dataset.image(0, 1), dataset.label(0))

    assert finding.file == str(dataset.label(0)) and finding.check == "grid"


def test_spacing_in_meters_is_a_warning(dataset):
    for channel in (0, 1):
        dataset.write(dataset.image(0, channel), VOXELS, (0.002, 0.002, 0.003))

    findings = check_files(dataset.image(0, 0), dataset.image(0, 1))

    assert [(finding.severity, finding.check) for finding in findings] == [("warning", "spacing")] * 2


@pytest.mark.parametrize("content", [b"", b"no image at all", b"\x1f\x8b\x08"])
def test_a_file_that_is_no_image_is_unreadable(dataset, content):
    dataset.image(0, 1).write_bytes(content)

    finding, *_ = check_case(Case("case_00", (dataset.image(0, 0), dataset.image(0, 1))), PLAIN).findings

    assert (finding.severity, finding.check) == ("error", "unreadable")
    assert finding.file == str(dataset.image(0, 1))


def test_a_time_series_is_no_volume(dataset):
    dataset.write(dataset.image(0, 1), np.zeros((2, 4, 5, 6), np.float32), 1.0)

    finding, *_ = check_case(Case("case_00", (dataset.image(0, 0), dataset.image(0, 1))), PLAIN).findings

    assert finding.check == "unreadable" and "not one image with three axes" in finding.found


def test_a_header_that_states_no_position_is_an_error_with_the_remedy(dataset):
    file = dataset.image(0, 1)
    content = bytearray(gzip.decompress(file.read_bytes()))
    content[252:256] = bytes(4)  # qform_code and sform_code
    file.write_bytes(gzip.compress(bytes(content)))

    finding, *_ = check_case(Case("case_00", (dataset.image(0, 0), file)), PLAIN).findings

    assert (finding.severity, finding.check, finding.file) == ("error", "position", str(file))
    assert finding.found.startswith("states no position") and "set_sform" in finding.remedy
