import sys

import pytest

from h2aseg_nnunet.petct.statistics import describe
from studies import tables
from studies.pages import BLOCK
from studies.results import DEFAULT, NEITHER, read_runs


@pytest.fixture
def runs(write_cases):
    return read_runs(write_cases())


@pytest.fixture
def pet_misleads_in_a_and_b(monkeypatch):
    monkeypatch.setattr(tables, "cases_where_pet_misleads", lambda: {"a", "b"})


def row_of(table, start):
    rows = [" ".join(line.split()) for line in table.splitlines()]  # without the blanks that align columns
    (row,) = [row for row in rows if row.startswith(f"| {start} |")]
    return row


def test_the_accuracy_table_has_hand_worked_values(runs):
    """Means 0.55 and 0.8; FPV 2 and 1 ml; four differences of one sign have p 2 / 16, times six."""
    table = tables.accuracy(runs)

    unet, default = row_of(table, "U-Net (`nnUNetTrainer`)"), row_of(table, f"H2ASeg (`{DEFAULT}`)")
    assert unet.startswith("| U-Net (`nnUNetTrainer`) | 0.550 [0.550, 0.550] | | -0.250 [")
    assert unet.endswith("| 2.0 [2.0, 2.0] | 0.0 [0.0, 0.0] |")
    assert default.startswith(f"| H2ASeg (`{DEFAULT}`) | 0.800 [")
    assert "| +0.250 [" in default and ", p 0.75 | | 1.0 [1.0, 1.0]" in default


def test_the_short_table_has_means_alone(runs):
    table = tables.results(runs)

    assert row_of(table, "H2ASeg") == f"| H2ASeg | `{DEFAULT}` | 0.800 | 1.0 |"
    assert row_of(table, "U-Net") == "| U-Net | `nnUNetTrainer` | 0.550 | 2.0 |"


def test_patients_are_halved_where_pet_misleads(runs, pet_misleads_in_a_and_b):
    """The default's Dice is 0.7 in a and b, 0.9 in c and d."""
    cells = row_of(tables.where_pet_misleads(runs), "H2ASeg").split(" | ")

    assert (cells[1], cells[3]) == ("0.700", "0.900")
    assert cells[2].startswith("+0.150 [") and cells[4].startswith("+0.350 [")


def test_means_of_every_training(runs):
    """Cases a and b are fold 0, c and d fold 1; seed 1 has 0.1 more everywhere."""
    assert row_of(tables.by_seed_and_fold(runs), "H2ASeg") == "| H2ASeg | 0.650, 0.850 | 0.750, 0.950 |"


def test_ablations_have_a_table_of_their_own_while_they_lack_runs(write_cases):
    """One ablation lacks fold 1 of both seeds: ablations are compared in a and b, where the default has 0.7."""
    runs = read_runs(write_cases(without={(NEITHER, 0, 1), (NEITHER, 1, 1)}))

    beside_unet, ablations = tables.accuracy(runs).split("\n\n")[1::3]

    assert row_of(beside_unet, f"H2ASeg (`{DEFAULT}`)").startswith(f"| H2ASeg (`{DEFAULT}`) | 0.800 [")
    assert row_of(ablations, f"H2ASeg (`{DEFAULT}`)").startswith(f"| H2ASeg (`{DEFAULT}`) | 0.700 [")
    assert "nnUNetTrainerEqualTraining" in beside_unet and "nnUNetTrainerEqualTraining" not in ablations
    assert "+0.150 [" in tables.in_words(runs).splitlines()[-1]
    assert row_of(tables.by_seed_and_fold(runs), "H2ASeg without both").endswith("| 0.500, - | 0.600, - |")


def test_runs_are_counted(runs):
    assert " ".join(tables.coverage(runs).split()).startswith(
        "4 patients, each predicted by networks that have not seen it. "
        "Trainings of every network: 4 (seed 0: fold 0, 1; seed 1: fold 0, 1)."
    )


def test_a_single_comparison_needs_no_correction(runs):
    words = tables.in_words(runs)

    assert "- H2ASeg and its training: H2ASeg minus U-Net: +0.250 [" in words
    assert ", p 0.12, better in 4 of 4 patients" in words


def test_the_headline_is_worded_by_the_intervals(runs):
    headline = " ".join(tables.headline(runs).split())

    assert headline.startswith("In Dice, H2ASeg is ahead of nnU-Net's U-Net (+0.250 [")
    assert ", 4 patients); it is ahead of itself without MCSA and TAMW (+0.250 [" in headline


@pytest.mark.parametrize(
    ("differences", "relation"),
    [((0.1, 0.1), "is ahead of"), ((-0.1, -0.1), "is behind"), ((-0.1, 0.1), "is not shown to differ from")],
)
def test_a_difference_is_claimed_where_its_interval_leaves_zero_out(differences, relation):
    assert tables.verdict(describe(differences), "the U-Net").startswith(f"{relation} the U-Net (")


def test_published_pages_are_what_the_results_give(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tables", "--check"])

    tables.main()


@pytest.mark.parametrize("page", tables.PAGES, ids=lambda page: page.name)
def test_the_check_fails_on_a_changed_number(page, tmp_path, monkeypatch):
    block = next(BLOCK.finditer(page.read_text()))
    copy = tmp_path / page.name
    copy.write_text(page.read_text().replace(block["body"], block["body"].replace("0", "1")))
    monkeypatch.setattr(tables, "PAGES", [copy])
    monkeypatch.setattr(sys, "argv", ["tables", "--check"])

    with pytest.raises(SystemExit, match=f"{page.name}: the table {block['name']} differs from studies/results"):
        tables.main()
