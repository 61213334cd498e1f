import numpy as np
import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from h2aseg_nnunet.petct.challenge.budget import Budget, Choice, choose, predict_folds


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (1.2 * 10 * 8 * 5, Choice(True, 5)),  # all of it, with the caution of a fifth
        (1.2 * 10 * 8 * 5 - 1, Choice(False, 5)),  # mirroring goes first
        (1.2 * 10 * 5, Choice(False, 5)),
        (1.2 * 10 * 5 - 1, Choice(False, 4)),  # then folds
        (1.2 * 10 * 2 + 1, Choice(False, 2)),
        (3, Choice(False, 1)),  # never all of them
        (-5, Choice(False, 1)),
        (np.inf, Choice(True, 5)),
    ],
)
def test_mirroring_is_left_out_before_folds(seconds, expected):
    assert choose(seconds, plain_seconds=10, mirrors=8, folds=5) == expected


def test_without_mirroring_nothing_is_left_out_that_fits():
    assert choose(100, plain_seconds=10, mirrors=1, folds=5) == Choice(False, 5)


class Clock:
    """Time that passes only when told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_budget_begins_when_the_process_did():
    clock = Clock()
    budget = Budget(60, started=90, clock=clock)

    assert budget.limited and budget.left == 50
    clock.now += 55
    assert budget.left == -5
    assert not Budget(None, started=0, clock=clock).limited


class Slow(nnUNetPredictor):
    """Folds are numbers, which are their logits; each takes ten seconds, twice as long as was measured."""

    def __init__(self, clock):
        super().__init__(device=torch.device("cpu"), use_mirroring=True)
        self.clock, self.list_of_parameters, self.allowed_mirroring_axes = clock, [1.0, 2.0, 6.0], (0, 1, 2)

    def predict_logits_from_preprocessed_data(self, data):
        (weights,) = self.list_of_parameters
        self.clock.now += 10
        return torch.full((2, 1, 1, 1), weights, dtype=torch.half)


@pytest.fixture
def slow(monkeypatch):
    predictor = Slow(Clock())
    monkeypatch.setattr("h2aseg_nnunet.petct.challenge.budget.seconds_of_a_fold", lambda *given: 5.0)
    return predictor


def test_without_a_limit_all_folds_are_averaged(slow):
    logits, choice = predict_folds(slow, torch.zeros(2, 1, 1, 1), Budget(None, 0, slow.clock), reserve=0)

    assert choice == Choice(True, 3) and slow.use_mirroring
    assert logits.flatten().tolist() == [3, 3]


def test_folds_that_take_longer_than_measured_are_left_out_on_the_way(slow):
    logits, choice = predict_folds(slow, torch.zeros(2, 1, 1, 1), Budget(33, 100, slow.clock), reserve=2)

    assert choice == Choice(False, 2) and not slow.use_mirroring
    assert logits.flatten().tolist() == [1.5, 1.5]


def test_one_fold_is_always_predicted(slow):
    logits, choice = predict_folds(slow, torch.zeros(2, 1, 1, 1), Budget(1, 100, slow.clock), reserve=60)

    assert choice == Choice(False, 1)
    assert logits.flatten().tolist() == [1, 1]
