"""postprocessing.json: a rule, what it was fitted on, and the model to which alone it belongs."""

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.files import read_json, read_own_json
from h2aseg_nnunet.petct.postprocess.rules import Rule

MADE_BY = "h2aseg tune"
KEYS = {"made_by", "rule", "model", "metric"}
MODEL_KEYS = {"name", "plans", "checkpoint", "folds"}
"""What `identify` tells of a model."""

REFIT = "Fit rules to this model with h2aseg tune."


class RulesFile(NamedTuple):
    """What the file holds.

    Attributes:
        file: The file.
        rule: The rule, perhaps one that changes nothing.
        model: What `identify` told of the model.
        content: Everything, as JSON.
    """

    file: Path
    rule: Rule
    model: Mapping[str, Any]
    content: Mapping[str, Any]


def is_rules_file(file: Path) -> bool:
    """Whether a file was written by `h2aseg tune`."""
    return _are_rules(read_own_json(file))


def read_rules(file: Path) -> RulesFile:
    """Read a file of rules.

    Raises:
        UserError: If it is missing or not one of `h2aseg tune`.
    """
    content = read_json(file)
    if not _are_rules(content):
        raise UserError(f"{file} is no file of rules; expected is what `h2aseg tune` writes.")
    try:
        if not content["model"].keys() >= MODEL_KEYS:
            raise ValueError(f"model lacks {', '.join(sorted(MODEL_KEYS - content['model'].keys()))}")
        return RulesFile(file, Rule.of(content["rule"]), content["model"], content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file}: the rule cannot be read ({error}). Run h2aseg tune again.") from error


def _are_rules(content: Any) -> bool:
    return isinstance(content, dict) and content.keys() >= KEYS and str(content["made_by"]).startswith(MADE_BY)


def identify(model: Path, folds: Sequence[str], checkpoint: str) -> dict[str, Any]:
    """Return what tells a model from others.

    Args:
        model: nnU-Net's results folder of the model.
        folds: Its folds.
        checkpoint: Name of the file in each fold's folder.
    """
    return {
        "name": f"{model.parent.name}/{model.name}" if model.parent.name.startswith("Dataset") else model.name,
        "plans": digest_of_plans(model / "plans.json"),
        "checkpoint": checkpoint,
        "folds": {fold: digest_of_checkpoint(model / f"fold_{fold}" / checkpoint) for fold in folds},
    }


def require_model(rules: RulesFile, model: Path) -> None:
    """Make sure that rules were fitted to a model: plans and weights of all folds that both have are the same.

    Raises:
        UserError: If not.
    """
    require_plans(rules, model / "plans.json")
    checkpoint = rules.model["checkpoint"]
    files = {fold: model / f"fold_{fold}" / checkpoint for fold in rules.model["folds"]}
    there = {fold: file for fold, file in files.items() if file.is_file()}
    other = [fold for fold, file in there.items() if digest_of_checkpoint(file) != rules.model["folds"][fold]]
    if other or not there:
        what = f"other weights in fold {', '.join(other)}" if other else f"none of the folds {', '.join(files)}"
        raise UserError(f"{rules.file} was fitted to {rules.model['name']}, but {model} has {what}. {REFIT}")


def require_plans(rules: RulesFile, plans: Path) -> None:
    """Make sure that rules were fitted to a model of these plans.

    Raises:
        UserError: If not, or if there are no plans.
    """
    if digest_of_plans(plans) != rules.model["plans"]:
        raise UserError(f"{rules.file} was fitted to {rules.model['name']}, but {plans} is of another model. {REFIT}")


def digest_of_plans(file: Path) -> str:
    """Return a checksum of the content of plans.json, however it is written."""
    return hashlib.sha256(json.dumps(read_json(file), sort_keys=True).encode()).hexdigest()


def digest_of_checkpoint(file: Path) -> str:
    """Return a checksum of a checkpoint; torch's files are archives, which have checksums of their parts."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            parts = [(part.filename.split("/", 1)[-1], part.file_size, part.CRC) for part in archive.infolist()]
        return hashlib.sha256(repr(sorted(parts)).encode()).hexdigest()
    return hashlib.sha256(file.read_bytes()).hexdigest()
