import re

import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.images.masks import MaskValues, find_fault, leave_out_unjudged, read_mask
from h2aseg_nnunet.petct.labels import Declared, Labels

TUMOR = Declared(Labels((0, 1), {"tumor": (1,)}), "dataset.json")
WITH_IGNORE = Declared(Labels((0, 1), {"tumor": (1,)}, ignore=2), "dataset.json")
REGIONS = Declared(Labels((0, 1, 2), {"whole": (1, 2), "core": (2,)}), "dataset.json")


def bar(*values, dtype=np.int16):
    return np.array([[values]], dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_declared_values_of_any_type_are_accepted(dtype):
    assert find_fault(bar(0, 1, dtype=dtype), TUMOR) is None
    assert find_fault(bar(0, 1, 2, dtype=dtype), WITH_IGNORE) is None
    assert find_fault(bar(0, 1, 2, dtype=dtype), REGIONS) is None
    assert find_fault(bar(0, 0, dtype=dtype), TUMOR) is None


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (bar(0, 255, 255), r"holds the value 255 in 2 voxels; .* declares 0, 1\. Store 1 instead of 255 if .* tumor\."),
        (bar(0, 1, 255), "holds the value 255 in 1 voxels; .* Correct the mask, or declare the value"),
        (bar(0, 1, 2, 2), "holds the value 2 in 2 voxels"),
        (bar(0, 1, -1), "holds the value -1 in 1 voxels; .* declares as ignore"),
        (bar(0, 1.0000001, dtype=np.float32), r"holds the value 1\.0000001 in 1 voxels; .* Round the mask"),
        (bar(0, 0.9999999999, dtype=np.float64), r"holds the value 0\.9999999999 in 1 voxels"),
        (bar(0, 0.5, dtype=np.float32), r"holds the value 0\.5 in 1 voxels; .* Threshold it"),
        (bar(0, np.nan, 1, dtype=np.float32), "holds the value nan in 1 voxels"),
        (np.arange(9.0), "holds 7 unexpected values, such as 2, 3, 4, 5, 6 in 7 voxels"),
    ],
)
def test_other_values_are_named_with_a_remedy(mask, words):
    assert re.match(words, str(find_fault(mask, TUMOR)))


def test_a_gap_between_declared_values_is_not_declared():
    hecktor_with_ignore = Declared(Labels((0, 1, 2), {"GTVp": (1,), "GTVn": (2,)}, ignore=5), "HECKTOR")

    assert find_fault(bar(0, 2, 5), hecktor_with_ignore) is None
    assert str(find_fault(bar(0, 2, 4), hecktor_with_ignore)).startswith("holds the value 4 in 1 voxels")


@pytest.mark.parametrize(
    "mask",
    [
        bar(0, 0),
        bar(0, 1, 2, 5),
        bar(0, 255, dtype=np.uint8),  # one mask of tumor, whatever its value
        bar(0, 65535, dtype=np.uint16),
        bar(0, 3, dtype=np.float32),
    ],
)
def test_without_a_declaration_whole_numbers_are_accepted(mask):
    assert find_fault(mask) is None


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (bar(0, 1, -1), "holds the value -1 in 1 voxels; masks hold whole numbers from 0 on. .* as ignore"),
        (bar(0, 0.25, 1, dtype=np.float32), "holds the value 0.25"),
        (bar(0, 1, 255, dtype=np.uint8), "holds the value 255 in 1 voxels; .* as ignore"),  # -1 of 8 bits
        (bar(0, 2, 65535, dtype=np.uint16), "holds the value 65535"),
        (bar(0, -1.0, dtype=np.float32), "holds the value -1 "),
    ],
)
def test_without_a_declaration_marks_of_unjudged_voxels_are_refused(mask, words):
    assert re.match(words, str(find_fault(mask)))


def test_a_mask_that_is_refused_is_named(tmp_path):
    file = tmp_path / "case.nii.gz"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(bar(0, 1, 3)), str(file))

    with pytest.raises(UserError, match=r"case\.nii\.gz holds the value 3 in 1 voxels"):
        read_mask(file, TUMOR)
    assert read_mask(file).GetSize() == (3, 1, 1)


def test_unjudged_voxels_become_background_in_both_masks():
    reference, prediction = bar(1, 1, 2, 2, 0, 0), bar(1, 0, 1, 0, 2, 1)

    unjudged = leave_out_unjudged(reference, prediction, MaskValues(WITH_IGNORE, WITH_IGNORE))

    assert unjudged == 2
    assert reference.tolist() == [[[1, 1, 0, 0, 0, 0]]]
    assert prediction.tolist() == [[[1, 0, 0, 0, 0, 1]]]  # the ignore label is no prediction of tumor


def test_without_an_ignore_label_nothing_is_left_out():
    reference, prediction = bar(1, 2), bar(2, 2)

    assert leave_out_unjudged(reference, prediction, MaskValues(REGIONS, None)) == 0
    assert leave_out_unjudged(reference, prediction, MaskValues()) == 0
    assert (reference.tolist(), prediction.tolist()) == ([[[1, 2]]], [[[2, 2]]])


VALUES = st.sampled_from([0, 1, 2, 3, 5, 255, -1, 0.5, 1.0000001, 1.9999999, 65535])


@given(st.lists(VALUES, min_size=1, max_size=6), st.sampled_from([TUMOR, WITH_IGNORE, REGIONS]))
def test_a_mask_is_accepted_exactly_if_each_value_is_declared(values, declared):
    mask = np.array(values, np.float64)

    assert (find_fault(mask, declared) is None) == (set(mask.tolist()) <= set(declared.known))


@given(
    st.lists(st.integers(-3, 300), min_size=1, max_size=6), st.sampled_from([np.uint8, np.int8, np.uint16, np.int32])
)
def test_integers_of_any_type_are_judged_alike(values, dtype):
    mask = np.array(values).astype(dtype)

    assert find_fault(mask, WITH_IGNORE) == find_fault(mask.astype(np.int64), WITH_IGNORE)
