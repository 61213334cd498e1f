"""The same figures as panoptica and grand-challenge-metrics give, where they measure the same."""

import json
from functools import cache

import numpy as np
import pytest

from h2aseg_nnunet.petct.evaluate.detection import detect
from h2aseg_nnunet.petct.evaluate.metrics import dice
from tests.locations import DATA
from tests.synthetic import ball

EXPECTED = DATA / "metrics" / "other_libraries.json"
"""What panoptica 2.1.7 and grand-challenge-metrics 0.6.0 gave; the last two tests compute it anew."""

SEEDS = (0, 1, 2, 3, 5, 6, 7, 9, 10, 11, 12, 14)
"""In these no lesions touch by a corner only, which panoptica counts as one lesion and we as two."""

IOUS = (0.1, 0.3, 0.5)
SHAPE = (24, 24, 24)


def lesions(rng, count):
    return np.any([ball(SHAPE, rng.uniform(3, 21, 3), rng.uniform(1.5, 4)) for _ in range(count)], axis=0)


def masks(seed):
    """A reference and a prediction of it that is exact, moved, moved with false lesions, or moved with holes."""
    rng = np.random.default_rng(seed)
    reference = lesions(rng, rng.integers(2, 8))
    prediction = np.roll(reference, rng.integers(-1, 2, 3) if seed % 4 else 0, axis=(0, 1, 2))
    if seed % 4 == 2:
        prediction |= lesions(rng, 3)
    if seed % 4 == 3:
        prediction &= ~lesions(rng, 9)
    return reference, prediction


@cache
def expected():
    return json.loads(EXPECTED.read_text())


@pytest.mark.parametrize("iou", IOUS)
@pytest.mark.parametrize("seed", SEEDS)
def test_lesions_matched_one_to_one_are_those_of_panoptica(seed, iou):
    detection = detect(*masks(seed), iou, one_to_one=True)

    counts = expected()["panoptica"][str(seed)][str(iou)]
    assert detection.found_lesions == detection.true_lesions == counts["tp"]
    assert detection.predicted_lesions - detection.true_lesions == counts["fp"]
    assert detection.reference_lesions - detection.found_lesions == counts["fn"]
    assert detection.f1 == pytest.approx(counts["rq"])


@pytest.mark.parametrize("seed", SEEDS)
def test_dice_is_that_of_both(seed):
    value = dice(*masks(seed))

    assert value == pytest.approx(expected()["panoptica"][str(seed)]["dice"])
    assert value == pytest.approx(expected()["grand_challenge_metrics"][str(seed)]["dice"])


@pytest.mark.parametrize("seed", SEEDS)
def test_panoptica_gives_what_is_recorded(seed):
    panoptica = pytest.importorskip("panoptica")
    from panoptica.utils.constants import CCABackend

    for iou in IOUS:
        evaluator = panoptica.Panoptica_Evaluator(
            expected_input=panoptica.InputType.SEMANTIC,
            instance_approximator=panoptica.ConnectedComponentsInstanceApproximator(cca_backend=CCABackend.cc3d),
            instance_matcher=panoptica.NaiveThresholdMatching(
                matching_metric=panoptica.Metric.IOU, matching_threshold=iou
            ),
            instance_metrics=[panoptica.Metric.DSC],
            global_metrics=[panoptica.Metric.DSC],
        )
        reference, prediction = (mask.astype(np.uint8) for mask in masks(seed))
        result = evaluator.evaluate(prediction, reference, verbose=False)["ungrouped"]
        found = {"tp": result.tp, "fp": result.fp, "fn": result.fn, "rq": pytest.approx(result.rq)}
        assert expected()["panoptica"][str(seed)][str(iou)] == found
        assert expected()["panoptica"][str(seed)]["dice"] == pytest.approx(result.global_bin_dsc)


@pytest.mark.parametrize("seed", SEEDS)
def test_grand_challenge_metrics_gives_what_is_recorded(seed):
    stats = pytest.importorskip("grand_challenge_metrics.stats")
    matrix = stats.calculate_confusion_matrix(*masks(seed), labels=[0, 1])

    assert expected()["grand_challenge_metrics"][str(seed)]["dice"] == pytest.approx(
        stats.dice_from_confusion_matrix(matrix)[1]
    )
