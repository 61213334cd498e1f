"""Rules that were fitted to a model, applied to its predictions: `h2aseg postprocess`.

rules.py says what a rule is, apply.py applies it to arrays, run.py to folders. `h2aseg tune` fits rules.
"""

from h2aseg_nnunet._lazy import lazy_names

_MODULES = {"Rule": ".rules", "postprocess_folder": ".run", "read_rules": ".rules_file"}

__all__ = [*_MODULES]
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
