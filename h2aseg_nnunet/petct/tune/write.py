"""The file of rules and its figure."""

from pathlib import Path
from typing import Any

from h2aseg_nnunet import __version__
from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.files import read_own_json, require_own, write_json
from h2aseg_nnunet.petct.postprocess.rules_file import MADE_BY, is_rules_file
from h2aseg_nnunet.petct.tune.figures import draw
from h2aseg_nnunet.petct.tune.run import Tuned


def figure_of(file: Path) -> Path:
    """Return where the figure of a file of rules is."""
    return file.with_suffix(".png")


def require_outputs(file: Path) -> None:
    """Make sure that nothing but an earlier fit would be replaced.

    Raises:
        UserError: If not.
    """
    if figure_of(file) == file:
        raise UserError(f"-o {file}: the figure will have this name. Choose another ending, .json for instance.")
    require_own(file, is_rules_file, "a file of rules")
    picture = figure_of(file)
    drawn = (read_own_json(file) or {}).get("figure") == picture.name
    require_own(picture, lambda _: drawn, "the figure of an earlier fit")


def write(tuned: Tuned, file: Path) -> None:
    """Write the rule with all that it was fitted on, and the figure."""
    write_json(file, as_json(tuned) | {"figure": figure_of(file).name})
    draw(tuned, figure_of(file))


def as_json(tuned: Tuned) -> dict[str, Any]:
    """Return what the file of rules holds."""
    selection = tuned.selection
    return {
        "made_by": f"{MADE_BY}, h2aseg_nnunet {__version__}",
        "rule": selection.rule.as_json(),
        "in_words": selection.rule.describe(),
        "metric": tuned.metric,
        "model": tuned.model,
        "cases": tuned.num_cases,
        "patients": tuned.num_patients,
        "interval_includes_0": not selection.chosen.is_certain,
        "on_left_out_patients": selection.chosen.as_json(),
        "families": [judged.as_json() for judged in selection.families],
    }
