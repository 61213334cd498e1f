import numpy as np
import pytest
import SimpleITK

from h2aseg_nnunet.petct.images.orientation import CaseImages
from h2aseg_nnunet.petct.report.findings import analyse
from h2aseg_nnunet.petct.report.patient import body_box, patient
from tests.unit.petct.report.conftest import MISSED, arrays, image

SPACING_MM = (5.0, 5.0, 5.0)
SHAPE = (60, 60, 60)
BODY = (slice(20, 40), slice(22, 42), slice(15, 45))
MARGIN = 3  # 15 mm


def air_and_body():
    ct = np.full(SHAPE, -1000.0)
    ct[BODY] = 0
    return ct, np.zeros(SHAPE)


def test_air_around_the_body_is_cut_off():
    ct, pet = air_and_body()
    box = body_box(ct, pet, SPACING_MM)

    for part, body in zip(box, BODY, strict=True):
        assert body.start - MARGIN - 2 <= part.start <= body.start - MARGIN
        assert body.stop + MARGIN <= part.stop <= body.stop + MARGIN + 2


def test_scanner_table_does_not_count_as_body():
    ct, pet = air_and_body()
    without = body_box(ct, pet, SPACING_MM)
    ct[:, 55, :] = 100

    assert body_box(ct, pet, SPACING_MM) == without


def test_arm_outside_the_field_of_view_of_ct_is_kept():
    ct, pet = air_and_body()
    pet[20:40, 28:32, 2:8] = 3

    assert body_box(ct, pet, SPACING_MM)[2].start == 0


def test_noise_in_the_air_is_not():
    ct, pet = air_and_body()
    without = body_box(ct, pet, SPACING_MM)
    pet[2, 2, 2] = 3

    assert body_box(ct, pet, SPACING_MM) == without


def test_a_false_lesion_in_the_air_is_kept():
    ct, pet = air_and_body()
    assert body_box(ct, pet, SPACING_MM, [(slice(50, 51), slice(30, 31), slice(30, 31))])[0].stop == 51 + MARGIN


def test_without_a_body_everything_is_shown():
    nothing = np.full(SHAPE, -1000.0), np.zeros(SHAPE)
    assert body_box(*nothing, SPACING_MM) == (slice(0, 60),) * 3


def seen(change=lambda image: image, **replaced):
    given = {kind: change(image(array)) for kind, array in (arrays() | replaced).items()}
    images = CaseImages(given["ct"], given["pet"], given["prediction"], given["reference"])
    pet, prediction, reference = map(SimpleITK.GetArrayFromImage, (images.pet, images.prediction, images.reference))
    return patient(images, [analyse(prediction > 0, reference > 0, pet, images.pet)])


def test_findings_keep_their_voxels():
    result = seen()
    (marked,) = result.classes

    uptake = [result.suv[spot.box][spot.mask] for spot in marked.spots]
    assert [(len(values), values.min(), values.max()) for values in uptake] == [(24, 8, 8), (1, 6, 6), (2, 4, 4)]
    assert [np.count_nonzero(marked.outlines & bit) for bit in (1, 2, 4, 8)] == [24, 1, 12, 2]


def test_origin_is_that_of_the_first_voxel_shown():
    result = seen()
    lesion = result.classes[0].spots[1].box

    place_mm = [o + part.start * s for o, part, s in zip(result.origin_mm, lesion, result.spacing_mm, strict=True)]
    expected = image(arrays()["pet"]).TransformIndexToPhysicalPoint(MISSED[::-1])
    assert place_mm == pytest.approx(expected[::-1])


@pytest.mark.parametrize("orientation", ["RAS", "LPI", "SRP", "AIL"])
def test_flipped_and_permuted_files_show_the_same_patient(orientation):
    straight, turned = seen(), seen(lambda image: SimpleITK.DICOMOrient(image, orientation))

    np.testing.assert_array_equal(turned.suv, straight.suv)
    np.testing.assert_array_equal(turned.ct_hu, straight.ct_hu)
    np.testing.assert_array_equal(turned.classes[0].outlines, straight.classes[0].outlines)
    assert turned.spacing_mm == pytest.approx(straight.spacing_mm)
    assert turned.origin_mm == pytest.approx(straight.origin_mm)
    for one, other in zip(turned.classes[0].spots, straight.classes[0].spots, strict=True):
        assert one.box == other.box
        assert one.finding.position_mm == pytest.approx(other.finding.position_mm)


def test_a_lesion_between_the_voxels_of_a_resampled_oblique_image_stays_visible():
    """Of many single voxels, nearest neighbour loses some."""

    def oblique(image):
        image.SetDirection(SimpleITK.Euler3DTransform((0.0, 0.0, 0.0), 0.4, 0.3, 0.5).GetMatrix())
        return image

    dots = np.zeros(arrays()["pet"].shape, np.uint8)
    dots[1::3, 1::3, 1::3] = 1
    result = seen(oblique, prediction=dots, reference=np.zeros_like(dots))
    (marked,) = result.classes

    assert len(marked.spots) == np.count_nonzero(dots)
    for spot in marked.spots:
        middle = [(part.start + part.stop - 1) / 2 for part in spot.box]
        centre = np.add(result.origin_mm, np.multiply(middle, result.spacing_mm))
        assert np.abs(np.subtract(centre[::-1], spot.finding.position_mm)).max() <= max(result.spacing_mm)
        assert spot.mask.any() and (marked.outlines[spot.box] & 8).any()
