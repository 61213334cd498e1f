"""Rules for post-processing, fitted on the cross-validation of any nnU-Net model: `h2aseg tune`.

run.py goes from a model's folder to a rule; measure.py makes a table of each case, once; scores.py and candidates.py
evaluate rules on tables; crossvalidation.py tells what a rule gains on patients it was not fitted on.
"""

from h2aseg_nnunet._lazy import lazy_names

METRICS = ("autopet", "lesion-f1", "auc-dice")
"""What `--metric` chooses from: see scores.py."""

_MODULES = {"Settings": ".run", "tune": ".run"}

__all__ = ["METRICS", "Settings", "tune"]
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
