"""Demonstration on synthetic PET/CT, which needs no patient data and no GPU: `h2aseg demo`.

`run_demo(FOLDER)` does the same from Python.
"""

from h2aseg_nnunet._lazy import lazy_names

_MODULES = {"DemoResult": ".run", "run_demo": ".run", "write_dataset": ".phantom"}

__all__ = [*_MODULES]
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
