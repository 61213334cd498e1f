import json

import numpy as np
import pytest
import SimpleITK

from h2aseg_nnunet.petct.evaluate.protocols import PROTOCOLS, mask_pairs, measure

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
def test_several_classes_are_one_mask_of_tumour(protocol):
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
    assert [masks.suffix for masks in mask_pairs("hecktor22", reference, prediction)] == ["_GTVp", "_GTVn"]


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


def test_an_unknown_protocol_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=", ".join(PROTOCOLS)):
        measure("autopet5", ONE, ONE, SPACING_MM)
