"""Pages that show found, missed and false lesions, for physicians and challenge teams: `h2aseg report`.

`make_report` is the command as a function.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from h2aseg_nnunet.petct.report.case_page import PageSettings
    from h2aseg_nnunet.petct.report.run import Report, make_report

_HOME = {"PageSettings": "case_page", "Report": "run", "make_report": "run"}

__all__ = ["PageSettings", "Report", "make_report"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # SciPy and matplotlib take a second to import

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
