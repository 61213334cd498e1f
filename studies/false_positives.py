"""Tables of fewer false positives: how PET is normalized, a term for patches without lesions, and fitted rules."""

import json
from typing import Any

import pandas as pd

from h2aseg_nnunet.petct.tables import to_markdown, with_interval
from studies.further import MEASURES, WHOLE_BODIES, minus_reference, with_volumes
from studies.results import CASES, DEFAULT, RESULTS, UNET_TRAINED_ALIKE, by_case, faint_cases, read_runs, shared

PATIENTS = RESULTS / "sts6_schemes.csv"
"""What `h2aseg compare` wrote of plans made by `pet_schemes.py`. Those that standardize each PET are in `CASES`."""
FAINT_PHANTOMS = RESULTS / "faint8.csv"
"""The same of phantoms with faint lesions, for all schemes of H2ASeg."""

STANDARDIZED = "PET"
TITLES = {STANDARDIZED: "each PET standardized", "CT": "clipped as CT", "SUV": "SUV"}
"""Ending of the plans' names -> what they do to PET."""
EMPTY_PATCHES = f"{DEFAULT}_emptyPatches"

TUNED = {
    "patients": RESULTS / "sts6_tune.json",
    "whole bodies, seed 0": RESULTS / "wb8_tune_0.json",
    "whole bodies, seed 1": RESULTS / "wb8_tune_1.json",
    "whole bodies, trained with the term, seed 0": RESULTS / "wb8_tune_empty_0.json",
    "whole bodies, trained with the term, seed 1": RESULTS / "wb8_tune_empty_1.json",
}
"""Files of rules that `h2aseg tune` wrote. Their gains are of patients on whom nothing was fitted."""


def pet_intensity() -> str:
    """H2ASeg on patients, all and those of faint tumors."""
    return _on_patients(DEFAULT, TITLES)


def pet_intensity_of_unet() -> str:
    """The U-Net, which was not trained on SUV as it is."""
    return _on_patients(UNET_TRAINED_ALIKE, {end: title for end, title in TITLES.items() if end != "SUV"})


def pet_intensity_of_faint_lesions() -> str:
    """H2ASeg on held-out phantoms."""
    runs = _by_scheme(pd.read_csv(FAINT_PHANTOMS), DEFAULT, TITLES)
    return with_volumes(runs, TITLES, STANDARDIZED)


def empty_patches() -> str:
    """On held-out phantoms, a quarter of them without lesions, with PET clipped as CT."""
    titles = {DEFAULT: "H2ASeg", EMPTY_PATCHES: "with the term for empty patches"}
    return with_volumes(shared(read_runs(WHOLE_BODIES, titles), tuple(titles)), titles, DEFAULT)


def tuned() -> str:
    """What the fitted rules change: the score that was fitted, Dice, volumes, lesions."""
    heading = ["H2ASeg on", "rule", "AutoPET score", "Dice", "FPV, ml", "FNV, ml", "lesions lost", "newly called empty"]
    return to_markdown(heading, [_changes(name, json.loads(file.read_text())) for name, file in TUNED.items()])


TABLES = (pet_intensity, pet_intensity_of_unet, pet_intensity_of_faint_lesions, empty_patches, tuned)


def _changes(name: str, fitted: dict[str, Any]) -> list[str]:
    """A row; the rule stands in brackets where it was not taken, for its gain may be chance."""
    judged = fitted["on_left_out_patients"]
    rule = f"({judged['in_words']})" if fitted["interval_includes_0"] else fitted["in_words"]
    volumes = (judged["changes"][f"false_{kind}_volume_ml"] for kind in ("positive", "negative"))
    return [
        f"{name} ({fitted['patients']})",
        rule,
        with_interval(judged["gain"], ".3f", "+"),
        with_interval(judged["changes"]["dice"], ".3f", "+"),
        *(with_interval(each, ".1f", "+") for each in volumes),
        f"{judged['lost_lesions']:.1f} of {judged['found_lesions']}",
        f"{judged['emptied']:.1f}",
    ]


def _on_patients(network: str, titles: dict[str, str]) -> str:
    runs = _by_scheme(pd.concat([pd.read_csv(CASES), pd.read_csv(PATIENTS)]), network, titles)
    faint = runs[runs.case.isin(faint_cases())]
    seeds = sorted(set(runs.seed))
    trained = f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    measures = {
        f"Dice, {runs.case.nunique()} patients, {trained}": (by_case(runs, "dice", titles), 3),
        f"Dice, faint tumors ({faint.case.nunique()})": (by_case(faint, "dice", titles), 3),
        "FPV, ml": (by_case(runs, MEASURES["FPV, ml"][0], titles), 1),
    }
    return to_markdown(*minus_reference(measures, titles, STANDARDIZED))


def _by_scheme(runs: pd.DataFrame, network: str, titles: dict[str, str]) -> pd.DataFrame:
    """Runs of one network, named by their schemes, from the seeds and folds that all schemes have finished."""
    name, plans = runs.trainer.str.split(":").str[0], runs.trainer.str.split(":").str[1].fillna("")
    runs = runs.assign(trainer=plans.str.extract("(CT|SUV|PET)$", expand=False).fillna(STANDARDIZED))
    return shared(runs[name == network], tuple(titles))
