import numpy as np
import pytest
import SimpleITK

from h2aseg_nnunet.petct.report.cohort import CaseImages
from h2aseg_nnunet.petct.report.judge import judge
from h2aseg_nnunet.petct.report.patient import see_patient
from tests.unit.petct.report.conftest import MISSED, arrays, image


def seen(change=lambda image: image, **replaced):
    given = {kind: change(image(array)) for kind, array in (arrays() | replaced).items()}
    images = CaseImages(given["ct"], given["pet"], given["prediction"], given["reference"])
    pet, prediction, reference = map(SimpleITK.GetArrayFromImage, (images.pet, images.prediction, images.reference))
    return see_patient(images, [judge(prediction > 0, reference > 0, pet, images.pet)])


def test_lesions_keep_their_voxels():
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
        assert one.lesion.position_mm == pytest.approx(other.lesion.position_mm)


def test_a_lesion_between_the_voxels_of_a_resampled_oblique_image_stays_visible():
    """Of many single voxels, nearest neighbor loses some."""

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
        center = np.add(result.origin_mm, np.multiply(middle, result.spacing_mm))
        assert np.abs(np.subtract(center[::-1], spot.lesion.position_mm)).max() <= max(result.spacing_mm)
        assert spot.mask.any() and (marked.outlines[spot.box] & 8).any()
