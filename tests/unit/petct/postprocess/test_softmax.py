import numpy as np
import pytest

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.postprocess.softmax import (
    classes_if_tumor,
    has_regions,
    read_probabilities,
    read_tumor_probability,
    require_of_mask,
)

CLASSES = {"labels": {"background": 0, "a": 1, "b": 2}}
REGIONS = {"labels": {"background": 0, "whole": [1, 2], "core": [2]}, "regions_class_order": [1, 2]}


def save(folder, probabilities, compress=np.savez_compressed):
    file = folder / "case.npz"
    compress(file, probabilities=np.asarray(probabilities, np.float32).reshape(len(probabilities), 1, 1, -1))
    return file


@pytest.mark.parametrize("compress", [np.savez, np.savez_compressed])
def test_tumor_is_all_that_is_not_background(tmp_path, compress):
    file = save(tmp_path, [[0.5, 0.1, 1.0], [0.25, 0.6, 0.0], [0.25, 0.3, 0.0]], compress)

    assert read_tumor_probability(file, regions=False).ravel() == pytest.approx([0.5, 0.9, 0.0])


def test_of_regions_the_likeliest_counts(tmp_path):
    file = save(tmp_path, [[0.5, 0.1], [0.25, 0.6]])

    assert read_tumor_probability(file, regions=True).ravel() == pytest.approx([0.5, 0.6])


def test_arrays_in_columns_are_read_as_well(tmp_path):
    file = tmp_path / "case.npz"
    values = np.random.default_rng(0).random((2, 3, 4, 5)).astype(np.float32)
    np.savez(file, probabilities=np.asfortranarray(values))

    assert np.allclose(read_tumor_probability(file, regions=False), 1 - values[0])


def test_the_class_of_a_voxel_should_it_be_tumor_is_the_likeliest_but_background(tmp_path):
    file = save(tmp_path, [[0.8, 0.8], [0.15, 0.05], [0.05, 0.15]])

    assert classes_if_tumor(read_probabilities(file), CLASSES, 0.1).ravel().tolist() == [1, 2]


def test_regions_are_laid_over_each_other_in_their_order(tmp_path):
    file = save(tmp_path, [[0.6, 0.6, 0.2], [0.1, 0.5, 0.2]])

    assert classes_if_tumor(read_probabilities(file), REGIONS, 0.4).ravel().tolist() == [1, 2, 0]
    assert has_regions(REGIONS) and not has_regions(CLASSES)


def test_missing_damaged_and_other_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"case.npz is missing.*--save_probabilities"):
        read_tumor_probability(tmp_path / "case.npz", regions=False)
    damaged = save(tmp_path, np.random.default_rng(0).random((2, 1000)))
    damaged.write_bytes(damaged.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"case.npz is damaged"):
        read_tumor_probability(damaged, regions=False)
    np.savez(damaged, softmax=np.zeros(3))
    with pytest.raises(UserError, match=r"case.npz is damaged, or holds no probabilities"):
        read_probabilities(damaged)


def test_probabilities_that_a_mask_contradicts_are_refused(tmp_path):
    mask = np.array([True, False])

    require_of_mask(np.array([0.5, 0.9]), mask, tmp_path, tmp_path)  # of three classes, 0.9 may be tumor and not marked
    with pytest.raises(UserError, match=r"probability of 0\.3 there"):
        require_of_mask(np.array([0.3, 0.9]), mask, tmp_path, tmp_path)
    with pytest.raises(UserError, match="voxels"):
        require_of_mask(np.zeros(3), mask, tmp_path, tmp_path)


def test_a_file_whose_voxels_are_damaged_is_named(tmp_path):
    damaged = save(tmp_path, np.random.default_rng(0).random((2, 1000)))
    content = bytearray(damaged.read_bytes())
    content[60:90] = bytes(30)
    damaged.write_bytes(content)

    for read in (read_probabilities, lambda file: read_tumor_probability(file, regions=False)):
        with pytest.raises(UserError, match=r"case.npz is damaged"):
            read(damaged)


def test_probabilities_that_are_no_numbers_are_refused(tmp_path):
    with pytest.raises(UserError, match="probability of nan there"):
        require_of_mask(np.array([0.9, np.nan]), np.array([True, True]), tmp_path, tmp_path)
