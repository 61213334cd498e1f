import json
import math

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from h2aseg_nnunet.petct.evaluate import PROTOCOLS
from h2aseg_nnunet.petct.evaluate.aggregate import aggregate
from h2aseg_nnunet.petct.evaluate.detection import Detection
from h2aseg_nnunet.petct.evaluate.protocol import CaseArrays
from h2aseg_nnunet.petct.evaluate.protocols import BY_NAME, measure

SPACING_MM = (10, 10, 10)  # voxels of 1 ml
EMPTY, ONE = np.zeros((1, 1, 3), np.uint8), np.array([[[0, 0, 1]]], np.uint8)
NAN = np.nan

# (protocol, reference, prediction): dice, false-positive and false-negative volume
EDGE_CASES = [
    ("autopet", EMPTY, EMPTY, (NAN, 0, NAN)),
    ("autopet", EMPTY, ONE, (NAN, 1, NAN)),
    ("autopet", ONE, EMPTY, (0, 0, 1)),
    ("autopet", ONE, ONE, (1, 0, 0)),
    ("autopet2", EMPTY, EMPTY, (NAN, 0, 0)),
    ("autopet2", EMPTY, ONE, (0, 1, 0)),
    ("autopet2", ONE, EMPTY, (0, 0, 1)),
    ("autopet2", ONE, ONE, (1, 0, 0)),
]


@pytest.mark.parametrize(("protocol", "reference", "prediction", "expected"), EDGE_CASES)
def test_empty_masks(protocol, reference, prediction, expected):
    values = measure(protocol, reference, prediction, SPACING_MM)

    assert list(values) == ["dice", "false_positive_volume_ml", "false_negative_volume_ml"]
    assert tuple(values.values()) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("case", [f"case_{i:02d}" for i in range(8)])
def test_autopet_reference_values(reference_data, case):
    reference, prediction = (
        SimpleITK.ReadImage(str(reference_data / "autopet" / side / f"{case}.nii.gz")) for side in ("gt", "pred")
    )
    arrays = map(SimpleITK.GetArrayFromImage, (reference, prediction))

    values = measure("autopet", *arrays, reference.GetSpacing()[::-1])

    expected = json.loads((reference_data / "expected.json").read_text())["autopet"][case]
    expected = {name: NAN if value is None else value for name, value in expected.items()}
    assert values == pytest.approx(expected, rel=1e-6, nan_ok=True)


@pytest.mark.parametrize("protocol", ["autopet", "autopet2", "lesion"])
def test_several_classes_are_one_mask_of_tumor(protocol):
    classes, binary = np.array([[[0, 1, 2, 0, 3]]]), np.array([[[0, 1, 1, 0, 1]]])

    assert measure(protocol, classes, binary, SPACING_MM) == measure(protocol, binary, binary, SPACING_MM)


def test_hecktor_keeps_its_labels_apart():
    reference, prediction = np.array([[[1, 1, 2, 0]]]), np.array([[[1, 2, 2, 2]]])

    values = measure("hecktor22", reference, prediction, (1, 1, 2))

    assert values == pytest.approx(
        {
            "dice_GTVp": 2 * 1 / (2 + 1),
            "dice_GTVn": 2 * 1 / (1 + 3),
            "true_positive_mm3_GTVp": 2,
            "reference_mm3_GTVp": 4,
            "prediction_mm3_GTVp": 2,
            "true_positive_mm3_GTVn": 2,
            "reference_mm3_GTVn": 2,
            "prediction_mm3_GTVn": 6,
        }
    )
    pairs = BY_NAME["hecktor22"].mask_pairs(CaseArrays(reference, (prediction,), (1, 1, 2)))
    assert [masks.suffix for masks in pairs] == ["_GTVp", "_GTVn"]


def test_lesion_gives_scores_and_counts():
    values = measure("lesion", ONE, ONE, SPACING_MM)

    assert values == {
        "sensitivity": 1,
        "precision": 1,
        "F1": 1,
        "reference_lesions": 1,
        "found_lesions": 1,
        "predicted_lesions": 1,
        "true_lesions": 1,
    }


def test_every_protocol_that_can_be_chosen_is_there():
    assert set(PROTOCOLS) == BY_NAME.keys()


def test_an_unknown_protocol_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=", ".join(BY_NAME)):
        measure("autopet9", ONE, ONE, SPACING_MM)


def hecktor_case(reference, prediction):
    return measure("hecktor22", np.array([[reference]]), np.array([[prediction]]), (1, 1, 1))


HECKTOR_CASES = [
    hecktor_case([1, 1, 2], [1, 1, 2]),
    hecktor_case([1, 1, 1], [1, 0, 2]),
    hecktor_case([0, 0, 0], [0, 0, 1]),
]


@settings(deadline=None)
@given(st.permutations(HECKTOR_CASES))
def test_the_order_of_cases_does_not_change_what_is_pooled(cases):
    np.testing.assert_equal(aggregate("hecktor22", cases), aggregate("hecktor22", HECKTOR_CASES))


def test_aggregated_dice_of_three_patients():
    figures = aggregate("hecktor22", HECKTOR_CASES)

    # GTVp: 2 and 1 voxels shared, 2 + 3 in references, 2 + 1 + 1 in predictions; GTVn: 1 shared, 1 and 2
    assert figures["aggregated_dice"] == pytest.approx({"GTVp": 6 / 9, "GTVn": 2 / 3, "mean": 2 / 3})
    assert figures["dice_GTVp"]["undefined"] == 1
    for part, (low, high) in figures["aggregated_dice_interval_95"].items():
        assert 0 <= low <= figures["aggregated_dice"][part] <= high <= 1


def test_a_label_that_is_absent_everywhere_is_undefined_in_2022_and_perfect_in_2025():
    cases = [hecktor_case([1, 0], [1, 0]), hecktor_case([1, 0], [1, 1])]

    before, after = (aggregate(protocol, cases) for protocol in ("hecktor22", "hecktor25"))

    assert math.isnan(before["aggregated_dice"]["GTVn"]) and math.isnan(before["aggregated_dice"]["mean"])
    assert after["aggregated_dice"] == pytest.approx({"GTVp": 4 / 5, "GTVn": 1, "mean": 0.9})
    assert after["aggregated_dice_interval_95"]["GTVn"] == [1, 1]


def test_pooled_lesions_count_as_if_they_were_of_one_case():
    detections = [Detection(4, 3, 3, 3), Detection(0, 0, 3, 0)]
    cases = [detection._asdict() for detection in detections]

    pooled = aggregate("lesion", cases)["pooled"]

    assert pooled == pytest.approx({"sensitivity": 3 / 4, "precision": 3 / 6, "F1": 0.6})


def test_autopet_pools_nothing():
    assert set(aggregate("autopet", [{"dice": 1.0}])) == {"dice"}
