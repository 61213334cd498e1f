"""DEEP-PSMA, by hand."""

import numpy as np
import pytest
import SimpleITK

from h2aseg_nnunet.petct.evaluate.metrics import shared_surface
from h2aseg_nnunet.petct.evaluate.protocols import measure
from h2aseg_nnunet.petct.evaluate.protocols.deeppsma import agreement_percent

SPACING_MM = (10, 10, 10)  # voxels of 1 ml


def cube(first, last, size=9):
    mask = np.zeros((size,) * 3, np.uint8)
    mask[(slice(first, last + 1),) * 3] = 1
    return mask


def test_the_surface_is_every_voxel_with_a_face_to_the_background():
    inner, outer = cube(3, 5), cube(2, 6)  # 3 and 5 voxels wide: 26 of 27, and 98 of 125, are on the surface

    assert shared_surface(inner, inner) == 1
    assert shared_surface(inner, outer) == 0
    moved = np.roll(inner, 1, axis=2)  # shared are the 4 rings and edges in the two columns that both have
    assert shared_surface(inner, moved) == pytest.approx(2 * 16 / (26 + 26))


def test_surfaces_that_are_empty():
    assert np.isnan(shared_surface(cube(9, 9), cube(9, 9)))
    assert shared_surface(cube(3, 5), cube(9, 9)) == 0


def test_the_surface_dice_is_that_of_distance_maps():
    """The challenge counts the reference's surface voxels at a distance of 0 from the prediction's surface."""
    rng = np.random.default_rng(0)
    reference, prediction = (SimpleITK.GetImageFromArray((rng.random((8, 9, 10)) < 0.7).astype(np.uint8)) for _ in "12")
    surfaces = [SimpleITK.LabelContour(mask == 1, False) for mask in (reference, prediction)]
    distance = SimpleITK.Abs(SimpleITK.SignedMaurerDistanceMap(surfaces[1], squaredDistance=False))
    of_reference, of_prediction = map(SimpleITK.GetArrayFromImage, surfaces)
    shared = np.count_nonzero(SimpleITK.GetArrayFromImage(distance)[of_reference == 1] == 0)

    value = shared_surface(*map(SimpleITK.GetArrayFromImage, (reference, prediction)))

    assert value == pytest.approx(2 * shared / (of_reference.sum() + of_prediction.sum()))


def test_agreement_of_biomarkers():
    reference, prediction = np.array([[[1, 1, 0, 0]]]), np.array([[[0, 1, 1, 1]]])
    suv = np.array([[[4.0, 6.0, 5.0, 10.0]]])

    values = measure("deeppsma", reference, prediction, SPACING_MM, suv)

    assert values["dice"] == pytest.approx(2 / 5)
    assert values["volume_agreement_percent"] == pytest.approx(100 * (1 - 1 / 2))
    assert values["suv_mean_agreement_percent"] == pytest.approx(100 * (1 - (7 - 5) / 5))


@pytest.mark.parametrize(
    ("reference", "prediction", "expected"), [(4, 4, 100), (4, 3, 75), (4, 5, 75), (4, 12, -100), (4, 0, 0)]
)
def test_agreement_falls_with_the_difference_to_either_side(reference, prediction, expected):
    assert agreement_percent(reference, prediction) == expected


@pytest.mark.parametrize(("reference", "prediction"), [(0, 0), (0, 3), (np.nan, 1), (4, np.nan)])
def test_agreement_with_nothing_is_undefined(reference, prediction):
    assert np.isnan(agreement_percent(reference, prediction))


def test_a_scan_without_disease_counts_as_in_the_challenges_script():
    empty, some = np.zeros((1, 1, 3)), np.array([[[0, 1, 0]]])

    values = measure("deeppsma", empty, some, SPACING_MM, np.ones((1, 1, 3)))

    assert (values["dice"], values["false_positive_volume_ml"], values["false_negative_volume_ml"]) == (0, 1, 0)
    assert np.isnan(measure("deeppsma", empty, empty, SPACING_MM, np.ones((1, 1, 3)))["dice"])
