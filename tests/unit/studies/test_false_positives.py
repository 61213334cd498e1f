import json
from itertools import product

import pandas as pd
import pytest

from studies import false_positives
from studies.results import DEFAULT, UNET_TRAINED_ALIKE

COLUMNS = ["trainer", "seed", "folds", "case", "dice", "false_positive_volume_ml", "false_negative_volume_ml"]


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


@pytest.fixture
def patients(tmp_path, monkeypatch):
    """Case a is faint. CT loses 0.2 of Dice there and nothing in b, for both networks; SUV has seed 0 alone."""
    standardized, others = [], []
    for trainer, seed, (case, dice) in product((DEFAULT, UNET_TRAINED_ALIKE), (0, 1), (("a", 0.6), ("b", 0.8))):
        lost = 0.2 * (case == "a")
        standardized.append((trainer, seed, 0, case, dice, 2.0, 0.0))
        others.append((f"{trainer}:nnUNetPlans6mmCT", seed, 0, case, dice - lost, 1.0, 0.0))
        if trainer == DEFAULT and seed == 0:
            others.append((f"{trainer}:nnUNetPlans6mmSUV", seed, 0, case, dice, 2.0, 0.0))
    for name, rows in (("CASES", standardized), ("PATIENTS", others)):
        pd.DataFrame(rows, columns=COLUMNS).to_csv(tmp_path / f"{name}.csv", index=False)
        monkeypatch.setattr(false_positives, name, tmp_path / f"{name}.csv")
    monkeypatch.setattr(false_positives, "faint_cases", lambda: {"a"})


def test_plans_of_one_network_are_compared_over_the_same_runs(patients):
    heading, _, standardized, ct, suv = cells(false_positives.pet_intensity())

    assert heading[1] == "Dice, 2 patients, seed 0"
    assert standardized[1].startswith("0.700 ")
    assert ct[2].startswith("-0.100 ")
    assert suv[2].startswith("+0.000 ")


def test_faint_tumors_stand_apart(patients):
    heading, _, standardized, ct, _ = cells(false_positives.pet_intensity())
    faint = heading.index("Dice, faint tumors (1)")

    assert standardized[faint].startswith("0.600 ")
    assert ct[faint + 1].startswith("-0.200 ")


def test_the_unet_has_no_row_for_suv(patients):
    heading, _, *rows = cells(false_positives.pet_intensity_of_unet())

    assert heading[1] == "Dice, 2 patients, seeds 0, 1"
    assert [row[0] for row in rows] == ["each PET standardized", "clipped as CT"]


def test_the_term_for_empty_patches_is_judged_on_patients_without_lesions_too(tmp_path, monkeypatch):
    """The default marks 4 ml in a patient without lesions, the term nothing. Only seed 0 has both."""
    rows = [
        (f"{DEFAULT}:plansCT", 0, 0, "a", 0.5, 2.0, 0.0),
        (f"{DEFAULT}:plansCT", 0, 0, "empty", None, 4.0, 0.0),
        (f"{DEFAULT}:plansCT", 1, 0, "a", 0.9, 0.0, 0.0),
        (f"{false_positives.EMPTY_PATCHES}:plansCT", 0, 0, "a", 0.4, 1.0, 3.0),
        (f"{false_positives.EMPTY_PATCHES}:plansCT", 0, 0, "empty", None, 0.0, 0.0),
    ]
    pd.DataFrame(rows, columns=COLUMNS).to_csv(tmp_path / "wb8.csv", index=False)
    monkeypatch.setattr(false_positives, "WHOLE_BODIES", tmp_path / "wb8.csv")

    heading, _, default, term = cells(false_positives.empty_patches())

    assert default[heading.index("Dice")].startswith("0.500 ")
    assert term[heading.index("FPV, ml")].startswith("0.5 ")
    assert term[heading.index("FNV, ml") + 1].startswith("+1.5 ")
    assert (default[-1], term[-1]) == ("0 of 1", "1 of 1")


@pytest.mark.parametrize(("by_chance", "rule"), [(False, "volume >= 1 ml"), (True, "(volume >= 1 ml)")])
def test_a_rule_that_may_be_chance_stands_in_brackets(tmp_path, monkeypatch, by_chance, rule):
    gain = {"mean": 0.01, "interval_95": [0.002, 0.018]}
    changes = dict.fromkeys(("dice", "false_positive_volume_ml", "false_negative_volume_ml"), gain)
    judged = {"in_words": "volume >= 1 ml", "gain": gain, "changes": changes}
    judged |= {"lost_lesions": 0.5, "found_lesions": 20, "emptied": 1.0}
    fitted = {"in_words": "no rule" if by_chance else "volume >= 1 ml", "interval_includes_0": by_chance}
    (tmp_path / "rules.json").write_text(json.dumps({**fitted, "patients": 12, "on_left_out_patients": judged}))
    monkeypatch.setattr(false_positives, "TUNED", {"phantoms": tmp_path / "rules.json"})

    *_, row = cells(false_positives.tuned())

    assert row[:3] == ["phantoms (12)", rule, "+0.010 [+0.002, +0.018]"]
    assert row[-2:] == ["0.5 of 20", "1.0"]
