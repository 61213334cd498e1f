"""What a missing PET or CT, or a shifted CT, costs a model: `h2aseg robustness`.

`write(measure_robustness(PredictionSettings(...), REFERENCES, OUTPUT), OUTPUT)` does the same from Python.
"""

from h2aseg_nnunet._lazy import lazy_names

_MODULES = {
    "PredictionSettings": ".predict",
    "Robustness": ".run",
    "measure_robustness": ".run",
    "write": ".text",
}

__all__ = [*_MODULES]
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
