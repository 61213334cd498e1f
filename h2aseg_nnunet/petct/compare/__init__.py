"""Trainers side by side on identical folds, seeds and schedule: `h2aseg compare`.

`compare_trainers(make_runs(...))` does the same from Python. A run or an ensemble is a process of its own, so that one
that fails leaves the others alone.
"""

from h2aseg_nnunet._lazy import lazy_names

_MODULES = {
    "Comparison": ".collect",
    "HeldOut": ".heldout",
    "Run": ".training_runs",
    "compare_trainers": ".run",
    "make_runs": ".training_runs",
}

__all__ = [*_MODULES]
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
