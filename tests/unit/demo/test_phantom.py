import json

import numpy as np
import pytest
import SimpleITK
from scipy.ndimage import binary_dilation, binary_erosion, label

from h2aseg_nnunet.demo import phantom as phantom_module
from h2aseg_nnunet.demo.baseline import best_suv_threshold
from h2aseg_nnunet.demo.phantom import SHAPE, SPACING_MM, phantom, write_dataset
from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.evaluate.metrics import dice

SUV_THRESHOLDS = np.arange(0.5, 20, 0.5)


def draw(seed):
    return phantom(np.random.default_rng(seed))


@pytest.fixture(scope="module")
def patients():
    return [draw((0, index)) for index in range(20)]


def lesions_of(patients):
    """CT, PET and the mask of one lesion, for every lesion."""
    for ct, pet, lesions in patients:
        components, count = label(lesions)
        for component in range(1, count + 1):
            yield ct, pet, components == component


def is_nodule(ct):
    return (ct > 65) & (ct < 150)


def test_arrays_share_shape_and_have_small_types(patients):
    ct, pet, lesions = patients[0]
    assert ct.shape == pet.shape == lesions.shape == SHAPE
    assert (ct.dtype, pet.dtype, lesions.dtype) == (np.float32, np.float32, np.uint8)
    assert set(np.unique(lesions)) == {0, 1}
    assert pet.min() >= 0


def test_a_seed_makes_one_patient():
    first, again, other = draw(1), draw(1), draw(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_patients_have_two_to_six_lesions_of_12_to_32_mm(patients):
    voxel_mm3 = np.prod(SPACING_MM)
    smallest, largest = (4 / 3 * np.pi * radius**3 / voxel_mm3 for radius in (12, 32))
    assert all(2 <= label(lesions)[1] <= 6 for _, _, lesions in patients)
    assert all(smallest <= lesion.sum() <= largest for _, _, lesion in lesions_of(patients))


def test_lesions_are_hot_nodules(patients):
    for ct, pet, lesion in lesions_of(patients):
        assert 60 < np.median(ct[lesion]) < 100  # blur lowers the smallest in the lungs
        assert np.median(pet[lesion]) > 3


def test_lesions_are_denser_and_hotter_than_their_surroundings(patients):
    for ct, pet, lesion in lesions_of(patients):
        around = binary_dilation(lesion, iterations=2) & ~binary_dilation(lesion)
        assert np.median(ct[lesion]) > np.median(ct[around]) + 20
        assert np.median(pet[lesion]) > 2 * np.median(pet[around])


def test_healthy_voxels_are_hotter_than_the_median_lesion_and_most_are_not_nodules(patients):
    for ct, pet, lesions in patients:
        hotter = (pet > np.median(pet[lesions == 1])) & (lesions == 0)
        assert hotter.sum() > 0
        assert is_nodule(ct)[hotter].mean() < 0.1


def test_fat_is_hot_in_places(patients):
    hot_fat = [((ct < -50) & (ct > -150) & (pet > 3)).sum() for ct, pet, _ in patients]
    assert min(hot_fat) > 8


def test_cold_nodules_look_like_lesions_in_ct(patients):
    for ct, pet, lesions in patients:
        cold_cores = binary_erosion(is_nodule(ct) & (pet < 2) & (lesions == 0))
        assert cold_cores.any()
        assert np.median(ct[cold_cores]) == pytest.approx(np.median(ct[binary_erosion(lesions)]), abs=10)


def test_no_suv_threshold_finds_the_lesions_but_with_density_one_does(patients):
    def best_dice(cases):
        threshold = best_suv_threshold(cases, SUV_THRESHOLDS)
        return np.mean([dice(lesions, pet >= threshold) for pet, lesions in cases])

    pet_alone = [(pet, lesions) for _, pet, lesions in patients]
    pet_in_nodules = [(pet * is_nodule(ct), lesions) for ct, pet, lesions in patients]

    assert best_dice(pet_alone) < 0.3
    assert best_dice(pet_in_nodules) > 0.9


def test_density_alone_does_not_find_the_lesions(patients):
    # As many nodules are cold: even all nodules and nothing else would only reach 2 / (1 + 2).
    assert np.mean([dice(lesions, is_nodule(ct)) for ct, _, lesions in patients]) < 0.5


def test_head_is_up_and_the_liver_on_the_right(patients):
    uptake = np.median([pet for _, pet, _ in patients], axis=0)  # leaves out what only single patients have
    assert uptake.mean(axis=(1, 2)).argmax() > 0.8 * SHAPE[0]  # brain
    right, left = uptake[40:46, :, :24], uptake[40:46, :, -24:]  # x grows towards the patient's left
    assert right.mean() > 1.2 * left.mean()


def files_under(folder):
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def test_dataset_has_nnunet_layout(tmp_path):
    write_dataset(tmp_path, num_training=2, num_test=1, seed=5)

    assert files_under(tmp_path) == [
        "dataset.json",
        "imagesTr/phantom_000_0000.nii.gz",
        "imagesTr/phantom_000_0001.nii.gz",
        "imagesTr/phantom_001_0000.nii.gz",
        "imagesTr/phantom_001_0001.nii.gz",
        "imagesTs/phantom_002_0000.nii.gz",
        "imagesTs/phantom_002_0001.nii.gz",
        "labelsTr/phantom_000.nii.gz",
        "labelsTr/phantom_001.nii.gz",
        "labelsTs/phantom_002.nii.gz",
    ]
    assert json.loads((tmp_path / "dataset.json").read_text()) == {
        "channel_names": {"0": "CT", "1": "PET"},
        "labels": {"background": 0, "tumor": 1},
        "numTraining": 2,
        "file_ending": ".nii.gz",
    }


def test_dataset_holds_the_phantoms_with_their_geometry(tmp_path):
    write_dataset(tmp_path, num_training=0, num_test=1, seed=5)

    expected = draw((5, 0))
    names = "imagesTs/phantom_000_0000", "imagesTs/phantom_000_0001", "labelsTs/phantom_000"
    for volume, name in zip(expected, names, strict=True):
        image = SimpleITK.ReadImage(str(tmp_path / f"{name}.nii.gz"))
        assert image.GetSpacing() == SPACING_MM[::-1]
        assert image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
        stored = SimpleITK.GetArrayFromImage(image)
        assert stored.dtype == volume.dtype
        np.testing.assert_array_equal(stored, volume)


def test_interrupted_writing_resumes_to_the_same_dataset(tmp_path, monkeypatch):
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    write_dataset(whole, num_training=2, num_test=1, seed=5)

    write_image = SimpleITK.WriteImage

    def fail_half_way(image, file):
        write_image(image, file)
        if "phantom_001_0001" in file:
            raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(SimpleITK, "WriteImage", fail_half_way)
        with pytest.raises(UserError, match=r"phantom_001_0001\.nii\.gz cannot be written: disk full"):
            write_dataset(resumed, num_training=2, num_test=1, seed=5)
    assert files_under(resumed) == [
        "imagesTr/phantom_000_0000.nii.gz",
        "imagesTr/phantom_000_0001.nii.gz",
        "imagesTr/phantom_001_0000.nii.gz",
        "labelsTr/phantom_000.nii.gz",
    ]

    drawn = []
    monkeypatch.setattr(phantom_module, "phantom", lambda rng: drawn.append(rng) or phantom(rng))
    write_dataset(resumed, num_training=2, num_test=1, seed=5)

    assert len(drawn) == 2  # case 0 was complete
    assert files_under(resumed) == files_under(whole)
    for name in files_under(whole):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes()
