"""A known point through every conversion."""

import nibabel
import numpy as np
import pytest
import SimpleITK

from h2aseg_nnunet.petct.images.grids import Grid
from tests.unit.petct.convert.layouts import (
    CT_GRID,
    WIDE,
    arrange,
    check_positions,
    convert,
    only_case,
    record,
    sources,
)
from tests.unit.petct.convert.synthetic_studies import DIRECTIONS, POINT_MM, grid_around, ramp, read


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
@pytest.mark.parametrize("layout", ["autopet II", "autopet III"])
def test_autopet_keeps_every_place(nnunet, layout, direction):
    grid = grid_around(POINT_MM, (20, 22, 18), (2.0, 2.0, 3.0), direction)
    command = arrange(layout, nnunet / "source", grid, grid)

    assert convert(*command) == 0

    check_positions(nnunet)
    for target, source in zip(only_case(nnunet), sources(nnunet), strict=True):
        assert target.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("pet_direction", DIRECTIONS.values(), ids=DIRECTIONS)
@pytest.mark.parametrize(
    "ct_direction", [DIRECTIONS["straight"], DIRECTIONS["oblique and flipped"]], ids=["", "oblique"]
)
@pytest.mark.parametrize("layout", ["hecktor 2022", "pairs"])
def test_pet_is_brought_to_the_ct_by_physical_position(nnunet, layout, ct_direction, pet_direction):
    ct_grid = grid_around(POINT_MM, (20, 22, 18), (2.0, 2.0, 3.0), ct_direction)
    pet_grid = grid_around(POINT_MM, WIDE, (4.1, 3.9, 5.0), pet_direction)
    command = arrange(layout, nnunet / "source", ct_grid, pet_grid)

    assert convert(*command) == 0

    check_positions(nnunet)
    assert read(only_case(nnunet)[0])[0].shape == ct_grid.size


@pytest.mark.parametrize("ct_direction", DIRECTIONS.values(), ids=DIRECTIONS)
@pytest.mark.parametrize("layout", ["hecktor 2021", "pairs"])
def test_a_new_spacing_moves_nothing(nnunet, layout, ct_direction):
    ct_grid = grid_around(POINT_MM, (40, 44, 36), (1.0, 1.0, 1.5), ct_direction)
    pet_grid = grid_around(POINT_MM, WIDE, (4.1, 3.9, 5.0), DIRECTIONS["oblique"])
    command = arrange(layout, nnunet / "source", ct_grid, pet_grid)

    assert convert(*command, "--spacing", 2.2, 2.1, 3.3) == 0

    check_positions(nnunet)
    assert read(only_case(nnunet)[0])[0].shape == (18, 20, 16)


@pytest.mark.parametrize("label_direction", DIRECTIONS.values(), ids=DIRECTIONS)
def test_a_label_on_a_third_grid_is_brought_to_the_ct(nnunet, label_direction):
    label_grid = grid_around(POINT_MM + 0.3, (30, 30, 30), (1.5, 1.7, 1.3), label_direction)
    pet_grid = grid_around(POINT_MM, WIDE, (4.1, 3.9, 5.0))
    command = arrange("pairs", nnunet / "source", CT_GRID, pet_grid, label_grid=label_grid)

    assert convert(*command) == 0

    check_positions(nnunet)


def test_only_the_region_both_cover_is_kept(nnunet):
    """PET covers z from 26 to 74 mm; the CT's slices lie at 30.5, 33.5, ..., 81.5 mm: 15 of 18 remain."""
    ct_grid = grid_around(POINT_MM, (20, 22, 18), (2.0, 2.0, 3.0))
    pet_grid = grid_around(POINT_MM - np.array((0, 0, 6)), (20, 22, 12), (4.0, 4.0, 4.0))
    command = arrange("hecktor 2022", nnunet / "source", ct_grid, pet_grid)

    assert convert(*command) == 0

    ct, pet, label = (read(file) for file in only_case(nnunet))
    assert ct[0].shape == pet[0].shape == label[0].shape == (20, 22, 15)
    np.testing.assert_allclose([ct[1][0, 0, 0, 2], ct[1][0, 0, -1, 2]], (30.5, 72.5))
    np.testing.assert_allclose(ct[0], ramp(ct[1]) - 500, atol=1e-3)
    assert record(nnunet)["cases"]["one"]["files"] == {"ct": "cropped", "pet": "resampled", "label": "cropped"}


def test_bounding_boxes_crop(nnunet):
    command = arrange("hecktor 2021", nnunet / "source", CT_GRID, grid_around(POINT_MM, WIDE, (4.1, 3.9, 5.0)))
    table = nnunet / "boxes.csv"
    table.write_text("PatientID,x1,x2,y1,y2,z1,z2\none,0,24,-46,-22,40,72\n")

    assert convert(*command, "--bounding-boxes", table) == 0

    check_positions(nnunet)
    place = read(only_case(nnunet)[0])[1]
    np.testing.assert_allclose(place[0, 0, 0], (1, -45, 42.5), atol=1e-4)  # CT voxels lie at odd x and y
    np.testing.assert_allclose(place[-1, -1, -1], (23, -23, 69.5), atol=1e-4)


def test_headers_that_differ_by_rounding_are_made_one_without_touching_a_voxel(nnunet):
    """0.02 mm apart: nnU-Net would warn of different origins, and there is nothing to interpolate."""
    pet_grid = CT_GRID._replace(origin_mm=tuple(np.add(CT_GRID.origin_mm, (0.0, 0.0, 0.02)).tolist()))
    command = arrange("autopet II", nnunet / "source", CT_GRID, pet_grid)

    assert convert(*command) == 0

    ct, pet, _ = only_case(nnunet)
    assert record(nnunet)["cases"]["PETCT_one_s  1"]["files"]["pet"] == "rewritten"
    assert SimpleITK.ReadImage(str(pet)).GetOrigin() == SimpleITK.ReadImage(str(ct)).GetOrigin()
    np.testing.assert_array_equal(read(pet)[0], read(sources(nnunet)[1])[0])


def test_a_header_that_nnunet_would_read_a_little_differently_is_rewritten(nnunet):
    """The sform lies 0.09 mm from the qform: within a twentieth of a voxel, but nnU-Net compares headers exactly."""
    command = arrange("hecktor 2022", nnunet / "source", CT_GRID, CT_GRID)
    file = nnunet / "source" / "imagesTr" / "one__CT.nii.gz"
    image = nibabel.load(file)
    moved = image.affine.copy()
    moved[2, 3] += 0.09
    image.set_qform(image.affine, 1)
    image.set_sform(moved, 2)
    nibabel.save(image, nnunet / "ct.nii.gz")
    (nnunet / "ct.nii.gz").rename(file)

    assert convert(*command) == 0

    grids = [Grid.of(SimpleITK.ReadImage(str(file))) for file in only_case(nnunet)]
    assert all(grid.has_header_of(grids[0]) for grid in grids)
