"""Metrics of predicted masks, as AutoPET and HECKTOR define them: of arrays, and of folders by `h2aseg evaluate`.

`evaluate_folders` is the command as a function; metrics, detection, surface and uptake hold functions of arrays.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from h2aseg_nnunet.petct.evaluate.run import Evaluation, MetricSettings, evaluate_folders

PROTOCOLS = ("autopet", "autopet2", "hecktor22", "hecktor25", "lesion")
"""What `--metrics` chooses from: see docs/evaluate.md."""

MISSING = ("error", "empty", "skip")
"""What to do about references without a prediction: refuse, count as an empty prediction, or leave out."""

__all__ = ["MISSING", "PROTOCOLS", "Evaluation", "MetricSettings", "evaluate_folders"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from h2aseg_nnunet.petct.evaluate import run  # SimpleITK and SciPy take a second to import

    return getattr(run, name)
