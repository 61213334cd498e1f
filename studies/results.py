"""Per-case results of a study, and what may be compared: runs that all networks of a table have finished."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from h2aseg_nnunet.petct.statistics import Difference, describe, holm, paired_differences

RESULTS = Path(__file__).parent / "results"
CASES = RESULTS / "sts6.csv"
"""What `h2aseg compare` wrote: trainer, seed, folds, case, and the measures."""
PET_ALONE = RESULTS / "sts6_pet_alone.csv"
"""What `python -m studies.pet_alone` wrote: case, dice, suv_mean."""

DEFAULT = "nnUNetTrainerH2ASeg"
UNET = "nnUNetTrainer"
UNET_TRAINED_ALIKE = "nnUNetTrainerEqualTraining"
PUBLISHED_MODULES = f"{DEFAULT}_publishedModules"
NO_MCSA, NO_TAMW = f"{DEFAULT}_noMCSA", f"{DEFAULT}_noTAMW"
NEITHER = f"{DEFAULT}_noMCSA_noTAMW"
NETWORKS = {
    UNET: "U-Net",
    UNET_TRAINED_ALIKE: "U-Net, trained as H2ASeg",
    PUBLISHED_MODULES: "H2ASeg with the paper's modules",
    DEFAULT: "H2ASeg",
    NO_MCSA: "H2ASeg without MCSA",
    NO_TAMW: "H2ASeg without TAMW",
    NEITHER: "H2ASeg without both",
}
"""Trainers and what they are called, in the order of tables and figure."""
BESIDE_UNET = (UNET, UNET_TRAINED_ALIKE, DEFAULT)
ABLATIONS = (PUBLISHED_MODULES, DEFAULT, NO_MCSA, NO_TAMW, NEITHER)


def read_runs(file: Path = CASES, trainers: Iterable[str] = tuple(NETWORKS)) -> pd.DataFrame:
    """Rows of these trainers, which are named without their plans: these are the same for all."""
    runs = pd.read_csv(file)
    runs["trainer"] = runs.trainer.str.split(":").str[0]
    return runs[runs.trainer.isin(tuple(trainers))]


def shared(runs: pd.DataFrame, trainers: Sequence[str]) -> pd.DataFrame:
    """Rows of these trainers, from the seeds and folds that each of them has finished.

    Raises:
        ValueError: If trainers have other cases of the same seed and fold, or no run is shared.
    """
    own = runs[runs.trainer.isin(trainers)]
    finished = own.groupby(["seed", "folds"]).trainer.transform("nunique") == len(trainers)
    if not finished.any():
        raise ValueError(f"There is no seed and fold that all of {', '.join(trainers)} have finished.")
    for (seed, fold), run in own[finished].groupby(["seed", "folds"]):
        if run.groupby("trainer").case.agg(frozenset).nunique() != 1:
            raise ValueError(f"Trainers have other cases in fold {fold} of seed {seed}.")
    return own[finished]


def comparable(runs: pd.DataFrame) -> list[pd.DataFrame]:
    """What each table holds: all networks where they have finished the same runs, else two tables apart.

    While a study goes on, the second table, that of the ablations, may hold fewer runs than the first.
    """
    together = shared(runs, tuple(NETWORKS))
    apart = [shared(runs, BESIDE_UNET), shared(runs, ABLATIONS)]
    return [together] if all(keys(each) == keys(together) for each in apart) else apart


def keys(runs: pd.DataFrame) -> list[tuple[int, int]]:
    """Seeds and folds, in order."""
    return sorted(set(zip(runs.seed, runs.folds, strict=True)))


def by_case(
    runs: pd.DataFrame, measure: str = "dice", order: Iterable[str] = tuple(NETWORKS)
) -> dict[str, dict[str, float]]:
    """Trainer -> case -> mean over seeds, for the trainers of `order` that are there."""
    means = runs.pivot_table(index="case", columns="trainer", values=measure)
    return {trainer: means[trainer].to_dict() for trainer in order if trainer in means}


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
    return _below_the_median(file, "dice")


def faint_cases(file: Path = PET_ALONE) -> set[str]:
    """The half of the cases whose tumors take up less than that of the median case."""
    return _below_the_median(file, "suv_mean")


def _below_the_median(file: Path, column: str) -> set[str]:
    values = pd.read_csv(file, index_col="case")[column]
    return set(values.index[values < values.median()])


def fingerprint(file: Path = CASES) -> str:
    """Tells whether a figure was drawn from these results."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
