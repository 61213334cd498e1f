import numpy as np
import pytest
import SimpleITK

from h2aseg_nnunet.petct.images.orientation import finite_array, like, to_patient_axes

SPACING_MM = (2.0, 3.0, 5.0)  # x, y, z
SIZE = (9, 7, 6)
ORIGIN_MM = (-40.0, 25.0, 300.0)


def hot_image(index=(7, 1, 4)):
    """One hot voxel, and its place in the scanner."""
    image = SimpleITK.Image(SIZE, SimpleITK.sitkFloat32)
    image.SetSpacing(SPACING_MM)
    image.SetOrigin(ORIGIN_MM)
    image[index] = 8.0
    return image, np.array(image.TransformIndexToPhysicalPoint(index))


def hottest_mm(image):
    index = np.unravel_index(SimpleITK.GetArrayFromImage(image).argmax(), image.GetSize()[::-1])
    return np.array(image.TransformIndexToPhysicalPoint([int(i) for i in index[::-1]]))


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "LAI", "SRA", "PIL", "IPR"])
def test_any_axis_aligned_file_turns_into_the_same_volume(orientation):
    image, point_mm = hot_image()

    turned = to_patient_axes(SimpleITK.DICOMOrient(image, orientation))

    assert turned.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    np.testing.assert_allclose(turned.GetSpacing(), SPACING_MM)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(turned), SimpleITK.GetArrayFromImage(image))
    np.testing.assert_allclose(hottest_mm(turned), point_mm)


@pytest.mark.parametrize("angles", [(0.3, 0.0, 0.0), (0.2, -0.35, 0.5), (0.0, 0.0, 0.7)])
def test_oblique_image_keeps_every_point_at_its_place(angles):
    image, _ = hot_image()
    rotation = SimpleITK.Euler3DTransform((0.0, 0.0, 0.0), *angles)
    image.SetDirection(rotation.GetMatrix())
    point_mm = np.array(image.TransformIndexToPhysicalPoint((7, 1, 4)))

    turned = to_patient_axes(image)

    assert turned.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    assert np.abs(hottest_mm(turned) - point_mm).max() <= max(SPACING_MM) / 2
    for corner in np.ndindex(2, 2, 2):
        index = (np.array(corner) * (np.array(SIZE) - 1)).tolist()
        inside = np.array(turned.TransformPhysicalPointToContinuousIndex(image.TransformIndexToPhysicalPoint(index)))
        assert (inside >= -1e-6).all() and (inside <= np.array(turned.GetSize()) - 1 + 1e-6).all()


def test_oblique_labels_are_not_interpolated_and_air_lies_outside():
    image, _ = hot_image()
    image.SetDirection(SimpleITK.Euler3DTransform((0.0, 0.0, 0.0), 0.3, 0.2, 0.1).GetMatrix())

    assert set(np.unique(SimpleITK.GetArrayFromImage(to_patient_axes(image, labels=True)))) <= {0, 8}
    assert SimpleITK.GetArrayFromImage(to_patient_axes(image, outside=-1024)).min() == -1024


def test_rounded_direction_is_not_resampled():
    image, _ = hot_image()
    image.SetDirection(SimpleITK.Euler3DTransform((0.0, 0.0, 0.0), 0.0, 0.0, 5e-5).GetMatrix())
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(to_patient_axes(image)).max(), 8)
    assert to_patient_axes(image).GetSize() == SIZE


def test_values_that_are_no_number_count_as_zero():
    array = np.array([[[1.0, np.nan, np.inf, -np.inf]]], np.float32)
    assert finite_array(SimpleITK.GetImageFromArray(array)).tolist() == [[[1, 0, 0, 0]]]


def test_array_takes_the_place_of_the_image():
    image, _ = hot_image()
    assert like(np.zeros(SIZE[::-1], np.uint8), image).GetOrigin() == image.GetOrigin()
