"""What is wrong, or suspicious, in PET/CT before nnU-Net sees it: `h2aseg check`.

`check_raw_dataset` and `check_inputs` are the command as functions; each returns an `Outcome` with its `Finding`s.
"""

from typing import TYPE_CHECKING

from h2aseg_nnunet._lazy import lazy_names

if TYPE_CHECKING:
    from h2aseg_nnunet.petct.check.findings import Finding, Outcome
    from h2aseg_nnunet.petct.check.run import check_inputs, check_raw_dataset

_MODULES = {"Finding": ".findings", "Outcome": ".findings", "check_inputs": ".run", "check_raw_dataset": ".run"}

__all__ = ["Finding", "Outcome", "check_inputs", "check_raw_dataset"]
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
