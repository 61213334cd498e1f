"""H2ASeg for nnU-Net v2: tumor segmentation in PET/CT by cross-modal attention and modality weighting.

The public names are imported on first use, because the start-up file of this package (see `_register`) imports it in
every Python process of the environment.
"""

__version__ = "0.1.0"

_HOME = {
    "H2ASeg": ".network.h2aseg",
    "load_release": ".network.release",
    "nnUNetTrainerH2ASeg": ".trainer.h2aseg_trainer",
    "nnUNetTrainerH2ASeg_L": ".trainer.h2aseg_trainer",
    "register": "._register",
}

__all__ = [*_HOME]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
