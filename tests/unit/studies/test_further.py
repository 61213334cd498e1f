from itertools import product

import pandas as pd
import pytest

from studies import further
from studies.results import DEFAULT, NEITHER

COLUMNS = ["trainer", "seed", "folds", "case", "dice", "false_positive_volume_ml", "false_negative_volume_ml"]


def rows_of_whole_bodies() -> list[tuple]:
    """Two patients with a lesion and one without; the network without both modules misses more and marks more."""
    rows = []
    for seed in (0, 1):
        rows += [
            (f"{DEFAULT}:plansCT", seed, "0", "a", 0.8 + 0.1 * seed, 1.0, 0.0),
            (f"{DEFAULT}:plansCT", seed, "0", "b", 0.5, 3.0, 2.0),
            (f"{DEFAULT}:plansCT", seed, "0", "empty", None, 0.0, 0.0),
            (f"{NEITHER}:plansCT", seed, "0", "a", 0.7, 2.0, 0.0),
            (f"{NEITHER}:plansCT", seed, "0", "b", 0.4, 3.0, 4.0),
            (f"{NEITHER}:plansCT", seed, "0", "empty", None, 5.0 * seed, 0.0),
        ]
    return rows


@pytest.fixture
def rows(tmp_path, monkeypatch) -> list[list[str]]:
    file = tmp_path / "wb8.csv"
    pd.DataFrame(rows_of_whole_bodies(), columns=COLUMNS).to_csv(file, index=False)
    monkeypatch.setattr(further, "WHOLE_BODIES", file)
    monkeypatch.setattr(further, "ON_WHOLE_BODIES", {NEITHER: "without both", DEFAULT: "H2ASeg"})
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in further.whole_bodies().splitlines()]


def test_seeds_are_averaged_first_and_patients_without_lesions_have_no_dice(rows):
    heading, _, without_both, default = rows
    dice = heading.index("Dice")

    assert default[dice].startswith("0.675 ")  # (0.85 + 0.5) / 2
    assert without_both[dice].startswith("0.550 ")
    assert without_both[dice + 1].startswith("-0.125 ")


def test_false_volumes_count_every_patient(rows):
    heading, _, without_both, default = rows
    fpv = heading.index("FPV, ml")

    assert default[fpv].startswith("1.3 ")  # (1 + 3 + 0) / 3
    assert without_both[fpv].startswith("2.5 ")  # (2 + 3 + 2.5) / 3


def test_every_prediction_of_a_patient_without_lesions_counts(rows):
    assert [row[-1] for row in rows[2:]] == ["1 of 2", "2 of 2"]


def test_without_a_modality_networks_are_compared_over_the_same_patients(tmp_path, monkeypatch):
    """Without PET the default has 0.6 and 0.4, the network without both 0.3 in either patient, in both seeds."""
    rows = []
    for trainer, seed in product(further.NETWORKS_WITHOUT, (0, 1)):
        for case, default in (("a", 0.6), ("b", 0.4)):
            without_pet = default if trainer == DEFAULT else 0.3
            rows += [(trainer, seed, 0, case, name, 0.8, 0, 0) for name in ("intact", "CT_missing")]
            rows += [(trainer, seed, 0, case, "PET_missing", without_pet, 0, 0)]
    file = tmp_path / "missing.csv"
    columns = [*COLUMNS[:4], "condition", *COLUMNS[4:]]
    pd.DataFrame(rows, columns=columns).to_csv(file, index=False)
    monkeypatch.setattr(further, "MISSING", file)

    assert "| 0.500 [0.400, 0.600] |" in further.missing_modality()
    assert "- without PET, seeds 0, 1: H2ASeg minus H2ASeg without both: +0.200 [" in further.missing_in_words()
