"""Per-case results of a study, and what may be compared: runs that every trainer has finished."""

import hashlib
from pathlib import Path

import pandas as pd

from h2aseg_nnunet.petct.statistics import Difference, describe, holm, paired_differences

RESULTS = Path(__file__).parent / "results"
CASES = RESULTS / "sts6.csv"
"""What `h2aseg compare` wrote: trainer, seed, folds, case, and the measures."""
PET_ALONE = RESULTS / "sts6_pet_alone.csv"
"""What `python -m studies.pet_alone` wrote: case, dice."""

DEFAULT = "nnUNetTrainerH2ASeg"
UNET = "nnUNetTrainer"
UNET_TRAINED_ALIKE = "nnUNetTrainerEqualTraining"
NEITHER = "nnUNetTrainerH2ASeg_noMCSA_noTAMW"
NETWORKS = {
    UNET: "U-Net",
    UNET_TRAINED_ALIKE: "U-Net, trained as H2ASeg",
    DEFAULT: "H2ASeg",
    "nnUNetTrainerH2ASeg_noMCSA": "H2ASeg without MCSA",
    "nnUNetTrainerH2ASeg_noTAMW": "H2ASeg without TAMW",
    NEITHER: "H2ASeg without both",
}
"""Trainers and what they are called, in the order of tables and figure."""


def read_shared_runs(file: Path = CASES) -> pd.DataFrame:
    """Rows of the seeds and folds that every trainer of `NETWORKS` has finished.

    Raises:
        ValueError: If trainers have other cases of the same seed and fold, or no run is shared.
    """
    cases = pd.read_csv(file)
    cases["trainer"] = cases.trainer.str.split(":").str[0]  # without the plans, the same for all
    runs = cases.groupby(["seed", "folds"])
    shared = runs.filter(lambda run: set(run.trainer) >= set(NETWORKS)).reset_index(drop=True)
    if shared.empty:
        raise ValueError(f"{file} has no seed and fold that all of {', '.join(NETWORKS)} have finished.")
    for (seed, fold), run in shared.groupby(["seed", "folds"]):
        if run.groupby("trainer").case.agg(frozenset).nunique() != 1:
            raise ValueError(f"{file}: trainers have other cases in fold {fold} of seed {seed}.")
    return shared


def by_case(runs: pd.DataFrame, measure: str = "dice") -> dict[str, dict[str, float]]:
    """Trainer -> case -> mean over seeds."""
    means = runs.pivot_table(index="case", columns="trainer", values=measure)
    return {trainer: means[trainer].to_dict() for trainer in NETWORKS}


def differences_from(reference: str, values: dict[str, dict[str, float]]) -> dict[str, Difference]:
    """Every other trainer minus the reference, with p corrected for their number (Holm)."""
    found = {
        trainer: describe(list(paired_differences(values[reference], cases).values()))
        for trainer, cases in values.items()
        if trainer != reference
    }
    corrected = holm([difference.wilcoxon_p for difference in found.values()])
    return {
        trainer: difference._replace(holm_p=p)
        for (trainer, difference), p in zip(found.items(), corrected, strict=True)
    }


def cases_where_pet_misleads(file: Path = PET_ALONE) -> set[str]:
    """The half of the cases in which PET alone goes less far than in the median case."""
    dice = pd.read_csv(file, index_col="case").dice
    return set(dice.index[dice < dice.median()])


def fingerprint(file: Path = CASES) -> str:
    """Tells whether a figure was drawn from these results."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
