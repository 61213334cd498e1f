"""Metrics of predicted masks, as challenges and clinics define them: of arrays, and of folders by `h2aseg evaluate`.

`evaluate_folders` is the command as a function. protocols holds one table of measures per challenge; metrics,
detection, surface, uptake, spread and organs hold the functions of arrays that they are made of.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from h2aseg_nnunet.petct.evaluate.protocol import MetricSettings
    from h2aseg_nnunet.petct.evaluate.run import Evaluation, evaluate_folders

PROTOCOLS = (
    "autopet", "autopet2", "autopet4", "autopet5", "hecktor22", "hecktor25", "hecktor26", "deeppsma", "lesion",
    "clinical",
)  # fmt: skip
"""What `--metrics` chooses from: see docs/evaluate.md."""

MISSING = ("error", "empty", "skip")
"""What to do about references without a prediction: refuse, count as an empty prediction, or leave out."""

__all__ = ["MISSING", "PROTOCOLS", "Evaluation", "MetricSettings", "evaluate_folders"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from h2aseg_nnunet.petct.evaluate import run  # SimpleITK and SciPy take a second to import

    return getattr(run, name)
