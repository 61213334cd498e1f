"""PET/CT collections as nnU-Net raw datasets: `h2aseg convert`.

The converters `autopet`, `hecktor` and `pairs` only look at names: `convert_plan(hecktor.plan(FOLDER), dataset_id=500)`
does the same from Python.
"""

from h2aseg_nnunet._lazy import lazy_names

_MODULES = {
    "Case": ".plan",
    "ConversionOptions": ".plan",
    "Plan": ".plan",
    "Summary": ".run",
    "convert_plan": ".run",
}

__all__ = [*_MODULES]
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
