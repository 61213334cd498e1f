import math

import numpy as np

from h2aseg_nnunet.petct.evaluate.protocols import measure
from h2aseg_nnunet.petct.measures import KEYS, MEASURES


def test_keys_are_those_of_autopets_metrics():
    mask = np.ones((1, 1, 1), np.uint8)

    assert tuple(measure("autopet", mask, mask, spacing_mm=(1, 1, 1))) == KEYS


def test_dice_has_four_digits_and_volumes_two():
    summary = {"mean": 0.12345, "interval_95": [-1.0, 2.0]}

    dice, volume, _ = MEASURES

    assert dice.show(summary) == "0.1235 [-1.0000, 2.0000]"
    assert volume.show(summary, sign="+") == "+0.12 [-1.00, +2.00]"


def test_an_undefined_mean_is_a_dash():
    assert MEASURES[0].show({"mean": math.nan, "interval_95": [math.nan, math.nan]}) == "-"
