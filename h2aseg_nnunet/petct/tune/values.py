"""Values of all patients by all rules: the matrices on which rules are fitted and judged."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from h2aseg_nnunet.petct.postprocess.rules import Rule
from h2aseg_nnunet.petct.tune.measure import CaseTable
from h2aseg_nnunet.petct.tune.scores import METRICS, Scores, score_rules


class Values(NamedTuple):
    """Matrices (patients, rules); a patient's value is the mean of the cases that have one, NaN if none has.

    Attributes:
        patients: Names of the patients.
        rules: The rules; the first changes nothing.
        score: The metric to which rules are fitted.
        measures: Dice, false-positive and false-negative volume, F1, and whether nothing is predicted.
        found_lesions: Reference lesions that are found, in all cases of a patient.
        ill: Whether a patient has a lesion in any case, (patients,).
    """

    patients: list[str]
    rules: list[Rule]
    score: NDArray
    measures: dict[str, NDArray]
    found_lesions: NDArray
    ill: NDArray[np.bool_]

    @property
    def gains(self) -> NDArray:
        """Score of each patient by each rule, minus that without a rule."""
        return self.score - self.score[:, :1]


MEASURES = ("dice", "false_positive_volume_ml", "false_negative_volume_ml", "f1", "empty")


def tabulate(
    tables: Mapping[str, CaseTable], rules: Sequence[Rule], patient_of: Mapping[str, str], metric: str
) -> Values:
    """Evaluate all rules on all cases.

    Args:
        tables: The table of each case.
        rules: The rules; the first changes nothing.
        patient_of: The patient of each case.
        metric: One of `METRICS`.
    """
    patients = sorted({patient_of[case] for case in tables})
    of_patient: dict[str, list[Scores]] = {patient: [] for patient in patients}
    ill = dict.fromkeys(patients, False)
    for case in sorted(tables):
        of_patient[patient_of[case]].append(score_rules(tables[case], rules))
        ill[patient_of[case]] |= len(tables[case].reference_voxels) > 0
    score = [np.mean([METRICS[metric](case) for case in cases], axis=0) for cases in of_patient.values()]
    measures = {
        name: np.array([_mean_of_defined([getattr(case, name) for case in cases]) for cases in of_patient.values()])
        for name in MEASURES
    }
    found = [np.sum([case.found_lesions for case in cases], axis=0) for cases in of_patient.values()]
    return Values(patients, list(rules), np.array(score), measures, np.array(found), np.array(list(ill.values())))


def _mean_of_defined(columns: Sequence[NDArray]) -> NDArray:
    stacked = np.array(columns, np.float64)
    count = np.count_nonzero(~np.isnan(stacked), axis=0)
    return np.where(count > 0, np.nansum(stacked, axis=0) / np.maximum(count, 1), np.nan)
