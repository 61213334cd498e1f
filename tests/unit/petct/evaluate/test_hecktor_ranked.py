"""What HECKTOR 2025 and 2026 rank by, by hand."""

import numpy as np
import pytest

from h2aseg_nnunet.petct.evaluate.aggregate import aggregate
from h2aseg_nnunet.petct.evaluate.protocols import measure


def case(protocol, reference, prediction):
    return measure(protocol, np.array([[reference]]), np.array([[prediction]]), (1, 1, 1))


PATIENTS = [
    ([1, 1, 0, 2, 2, 2, 0, 2], [1, 0, 0, 2, 0, 0, 0, 2]),  # GTVp 2/3; of two nodes one is found, one at IoU 1/3
    ([0, 0, 0, 2, 2, 2, 2, 0], [0, 0, 0, 2, 0, 0, 0, 0]),  # no GTVp, rightly; a node at IoU 1/4
    ([1, 1, 0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 2, 0, 0]),  # GTVp 1; a node where there is none
]


def test_2025_ranks_mean_dice_of_the_tumor_and_aggregates_of_the_nodes():
    cases = [case("hecktor25", *patient) for patient in PATIENTS]

    figures = aggregate("hecktor25", cases)

    assert [each["patient_dice_GTVp"] for each in cases] == pytest.approx([2 / 3, 1, 1])
    assert np.isnan(cases[1]["dice_GTVp"])
    counts = [
        tuple(each[f"{kind}_GTVn"] for kind in ("true_positives", "false_positives", "false_negatives"))
        for each in cases
    ]
    assert counts == [(2, 0, 0), (0, 1, 1), (0, 1, 0)]
    assert figures["ranked"] == pytest.approx(
        {
            "mean_dice_GTVp": (2 / 3 + 1 + 1) / 3,
            "aggregated_dice_GTVn": 2 * (2 + 1) / (4 + 2 + 4 + 1 + 0 + 1),
            "aggregated_f1_GTVn": 2 * 2 / (2 * 2 + 2 + 1),
        }
    )
    for part, (low, high) in figures["ranked_interval_95"].items():
        assert 0 <= low <= figures["ranked"][part] <= high <= 1


def test_2025_demands_more_than_30_percent_of_a_node():
    ten = [2] * 10

    at, above = (case("hecktor25", ten, [2] * n + [0] * (10 - n)) for n in (3, 4))

    assert (at["true_positives_GTVn"], above["true_positives_GTVn"]) == (0, 1)


def test_2025_matches_one_node_with_one():
    split = case("hecktor25", [2, 2, 2, 2, 2, 2, 2], [2, 2, 2, 0, 2, 2, 2])  # IoU 3/7 each

    assert (split["true_positives_GTVn"], split["false_positives_GTVn"]) == (1, 1)


def test_2025_without_any_node_is_perfect():
    figures = aggregate("hecktor25", [case("hecktor25", [1, 1, 0], [1, 0, 0])])

    assert figures["ranked"]["aggregated_dice_GTVn"] == figures["ranked"]["aggregated_f1_GTVn"] == 1


def test_2026_ranks_the_mean_of_two_mean_dices():
    figures = aggregate("hecktor26", [case("hecktor26", *patient) for patient in PATIENTS])

    tumor, nodes = (2 / 3 + 1 + 1) / 3, (2 * 2 / (4 + 2) + 2 * 1 / (4 + 1) + 0) / 3
    assert figures["ranked"] == pytest.approx(
        {"mean_dice_GTVp": tumor, "mean_dice_GTVn": nodes, "mean": (tumor + nodes) / 2}
    )
    assert figures["ranked_interval_95"]["mean"][0] <= (tumor + nodes) / 2
