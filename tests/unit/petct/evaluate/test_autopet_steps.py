"""AutoPET IV and V: interaction steps, by hand."""

import numpy as np
import pytest

from h2aseg_nnunet.petct.evaluate.aggregate import aggregate
from h2aseg_nnunet.petct.evaluate.protocols import measure
from h2aseg_nnunet.petct.evaluate.protocols.autopet import detection_matching

SPACING_MM = (10, 10, 10)  # voxels of 1 ml
NAN = np.nan


def row(*values):
    return np.array([[values]], np.uint8)


REFERENCE = row(1, 1, 0, 1, 0, 0)
STEPS = (row(0, 0, 0, 0, 0, 1), row(1, 0, 0, 0, 0, 1), row(1, 1, 0, 1, 0, 0))
EMPTY = row(0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("protocol", ["autopet4", "autopet5"])
def test_curves_and_the_areas_under_them(protocol):
    values = measure(protocol, REFERENCE, STEPS, SPACING_MM)

    # of two lesions, of 2 and 1 ml: none is found; one voxel of the first; all
    curves = {
        "dice": (0, 2 / 5, 1),
        "false_positive_volume_ml": (1, 1, 0),
        "false_negative_volume_ml": (3, 1, 0),
        "dmm": (0, 2 / (2 + 1 + 1), 1),
    }
    for name, curve in curves.items():
        assert [values[f"{name}_step_{step}"] for step in range(3)] == pytest.approx(curve)
        assert values[name] == curve[-1]
        assert values[f"auc_{name}"] == pytest.approx(curve[0] / 2 + curve[1] + curve[2] / 2)


@pytest.mark.parametrize(
    ("protocol", "steps", "dice", "area"),
    [
        ("autopet4", (EMPTY, EMPTY), NAN, NAN),
        ("autopet5", (EMPTY, EMPTY), 1, 1),
        ("autopet5", (STEPS[0], EMPTY), 1, 0.5),
        ("autopet5", (STEPS[0], STEPS[0]), 0, 0),
    ],
)
def test_a_patient_without_lesions(protocol, steps, dice, area):
    values = measure(protocol, EMPTY, steps, SPACING_MM)

    assert (values["dice"], values["auc_dice"]) == pytest.approx((dice, area), nan_ok=True)
    assert np.isnan(values["auc_dmm"]) and np.isnan(values["false_negative_volume_ml"])
    assert values["auc_false_positive_volume_ml"] == pytest.approx(
        sum(step.sum() for step in steps) / 2  # every voxel is a false lesion of 1 ml
    )


def test_lesions_match_from_a_tenth_on_and_several_may_match_one():
    reference = row(*[1] * 10, 0, 1)

    assert detection_matching(reference, row(1, *[0] * 11)) == pytest.approx(2 / (2 + 0 + 1))
    assert detection_matching(reference, row(*[0] * 9, 1, 1, 0)) == 0  # one voxel of 11
    assert detection_matching(reference, row(1, 0, 1, *[0] * 8, 1)) == 1  # two lesions match the first


def test_a_cohort_has_an_interval_for_every_step():
    cases = [measure("autopet5", REFERENCE, STEPS, SPACING_MM), measure("autopet5", EMPTY, [EMPTY] * 3, SPACING_MM)]

    figures = aggregate("autopet5", cases)

    assert figures["auc_dice"]["mean"] == pytest.approx((0.9 + 2) / 2)
    assert figures["auc_dmm"]["undefined"] == 1
    assert figures["dice_step_1"]["interval_95"] == pytest.approx([2 / 5, 1])
