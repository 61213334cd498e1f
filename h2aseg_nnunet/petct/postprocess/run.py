"""A rule applied to a folder of predictions."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import SimpleITK
from tqdm import tqdm

from h2aseg_nnunet import __version__
from h2aseg_nnunet.errors import UserError, listing
from h2aseg_nnunet.petct.cases import ending_of
from h2aseg_nnunet.petct.evaluate.cases import EvaluatedCase, pair_files, require_organs, require_pets
from h2aseg_nnunet.petct.files import replacing, write_json
from h2aseg_nnunet.petct.images.masks import read_mask
from h2aseg_nnunet.petct.nnunet.dataset_json import NAME, declared_by, find_dataset_json, read_dataset_json
from h2aseg_nnunet.petct.own_files import OwnFiles
from h2aseg_nnunet.petct.parallel import in_parallel
from h2aseg_nnunet.petct.postprocess.reading import apply_to_image, classes_of, read_predicted, softmax_file
from h2aseg_nnunet.petct.postprocess.rules import Rule
from h2aseg_nnunet.petct.postprocess.rules_file import RulesFile, read_rules, require_model, require_plans
from h2aseg_nnunet.petct.postprocess.softmax import has_regions, read_probabilities

RECORD = "postprocess.json"


class Sources(NamedTuple):
    """Where a rule finds what it asks for, beside masks and probabilities.

    Attributes:
        suv: Folder of PET in SUV, or None.
        organs: Folder of organ maps, or None.
        organ_labels: Who made the organ maps: see `read_organs`.
    """

    suv: Path | None = None
    organs: Path | None = None
    organ_labels: str = "totalsegmentator"


NO_SOURCES = Sources()


class Outcome(NamedTuple):
    """What became of a folder.

    Attributes:
        rule: The rule that was applied.
        cases: By case, removed lesions and the volumes that were added and removed.
        remarks: What a user should know.
    """

    rule: Rule
    cases: dict[str, dict[str, float]]
    remarks: list[str]


def postprocess_folder(
    predictions: str | Path,
    output: str | Path,
    rules: str | Path,
    sources: Sources = NO_SOURCES,
    model: str | Path | None = None,
    num_processes: int = 1,
) -> Outcome:
    """Apply a rule to every mask of a folder.

    Args:
        predictions: Folder of masks by nnUNetv2_predict.
        output: New folder, or that of an earlier run.
        rules: File that `h2aseg tune` wrote.
        sources: Where PET and organ maps are, if the rule asks for them.
        model: nnU-Net's results folder of the model that predicted; None to trust the plans beside the predictions.
        num_processes: Number of cases at the same time.

    Raises:
        UserError: If the rule is another model's, a file is missing or damaged, or the output would replace a file
            that is not ours.
    """
    folder, target, read = Path(predictions), Path(output).resolve(), read_rules(Path(rules))
    remarks = _require_its_model(read, folder, None if model is None else Path(model))
    _require_sources(read, sources)
    if target == folder.resolve():
        raise UserError(f"-o {output} is the folder of the predictions: choose another one.")
    description = _description(folder, model)
    cases = pair_files(folder, folder, sources.suv, organ_dir=sources.organs, dataset_json=description).cases
    if read.rule.needs_suv and sources.suv is not None:
        require_pets(cases, sources.suv, description)
    if read.rule.needs_liver and sources.organs is not None:
        require_organs(cases, sources.organs)
    _claim(target, [*(case.reference.name for case in cases), RECORD, NAME])
    work = partial(_attempt, output=target, rule=read.rule, description=description, organ_labels=sources.organ_labels)
    done = _collect(in_parallel(work, cases, num_processes), len(cases))
    write_json(target / NAME, read_dataset_json(description))
    record = {"made_by": f"h2aseg postprocess, h2aseg_nnunet {__version__}", "rules": dict(read.content)}
    write_json(target / RECORD, record | {"predictions": str(folder.absolute()), "cases": done})
    return Outcome(read.rule, done, remarks)


def _claim(folder: Path, names: Sequence[str]) -> None:
    """Note what will be written, and remove what an earlier run wrote: masks of two rules must not be taken for one's.

    Raises:
        UserError: If files of these names are somebody else's.
    """
    own, files = OwnFiles(folder), [folder / name for name in names]
    own.claim(files)
    stays = [name for name in own.names if name != RECORD and ("/" in name or ending_of(name) is None)]
    own.remove(keep=[folder / name for name in stays])  # of another command of ours that wrote here
    own.claim(files)


def _attempt(
    case: EvaluatedCase, output: Path, rule: Rule, description: Path, organ_labels: str
) -> dict[str, float] | UserError:
    try:
        return _postprocess(case, output, rule, description, organ_labels)
    except UserError as error:
        return error


def _postprocess(
    case: EvaluatedCase, output: Path, rule: Rule, description: Path, organ_labels: str
) -> dict[str, float]:
    content, declared = read_dataset_json(description), declared_by(description)
    mask = read_mask(case.reference, declared)
    predicted = read_predicted(case, mask, case.reference, rule, has_regions(content), organ_labels)
    labels = SimpleITK.GetArrayViewFromImage(mask)
    softmax = partial(read_probabilities, softmax_file(case.reference))
    classes = classes_of(rule, labels, content, declared.labels.classes, softmax)
    image, ruled = apply_to_image(rule, mask, predicted, classes)
    with replacing(output / case.reference.name) as temporary:
        SimpleITK.WriteImage(image, str(temporary), True)
    return {"removed_lesions": ruled.removed_lesions, "added_ml": ruled.added_ml, "removed_ml": ruled.removed_ml}


def _collect(outcomes: Any, count: int) -> dict[str, dict[str, float]]:
    """The changes by case, in order; every case is tried before problems are raised."""
    by_name = {case.name: outcome for case, outcome in tqdm(outcomes, "Postprocessing", count, unit="case")}
    problems = [str(outcome) for outcome in by_name.values() if isinstance(outcome, UserError)]
    if problems:
        more = f" (and {len(problems) - 1} more of {count} cases)" if len(problems) > 1 else ""
        raise UserError(f"{problems[0]}{more}")
    return {name: by_name[name] for name in sorted(by_name)}


def _require_its_model(rules: RulesFile, predictions: Path, model: Path | None) -> list[str]:
    """Refuse predictions of another model; return what could not be made sure."""
    if model is not None:
        require_model(rules, model)
    plans = predictions / "plans.json"
    if plans.is_file():
        require_plans(rules, plans)
    elif model is None:
        raise UserError(
            f"{predictions} does not say which model predicted (no plans.json, which nnUNetv2_predict writes there): "
            "name the model's folder with -m."
        )
    if model is not None:
        return []
    return [f"The plans are those of {rules.model['name']}; trainer and weights are not known here, -m compares them."]


def _require_sources(rules: RulesFile, sources: Sources) -> None:
    """Refuse to apply a rule without the images that it asks for."""
    wanted = []
    if rules.rule.needs_suv and sources.suv is None:
        wanted.append("--suv FOLDER, the PET in SUV")
    if rules.rule.needs_liver and sources.organs is None:
        wanted.append("--organs FOLDER, the organ maps")
    if wanted:
        raise UserError(f"The rule ({rules.rule.describe()}) needs {listing(wanted)}.")
    for folder in (sources.suv, sources.organs):
        if folder is not None and not folder.is_dir():
            raise UserError(f"{folder} is not a folder.")


def _description(predictions: Path, model: str | Path | None) -> Path:
    """The dataset.json of the masks: the model's, else the one beside them."""
    file = Path(model) / NAME if model is not None else find_dataset_json(predictions)
    if file is None:
        raise UserError(f"{predictions} has no {NAME}, which nnUNetv2_predict writes there: name the model with -m.")
    return file
