"""What the network based a prediction on: `h2aseg explain`.

`explain_cases(load_model(MODEL_FOLDER), IMAGES, OUTPUT)` does the same from Python.
"""

from h2aseg_nnunet._lazy import lazy_names

_MODULES = {
    "ExplanationSettings": ".run",
    "explain_cases": ".run",
    "load_model": ".model",
    "read_attention": ".attention",
}

__all__ = [*_MODULES]
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
