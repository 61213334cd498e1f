import shlex

import pytest

from h2aseg_nnunet import cli
from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.compare import run as compare_module
from h2aseg_nnunet.petct.compare.run import ComparisonOutcome, commands
from h2aseg_nnunet.petct.compare.training_runs import Run, is_finished, read_record, write_record
from tests.unit.petct.compare.conftest import DATASET, finish


def test_every_trainer_fold_and_seed_is_one_run_in_a_folder_of_its_own(runs):
    made = runs(("A", "B:OtherPlans"), folds=(0, 3), seeds=(0, 1))

    assert len({run.fold_folder for run in made}) == len(made) == 8
    assert made[1].fold_folder == made[1].results / DATASET / "B__OtherPlans__3d_fullres" / "fold_0"
    assert [(run.seed, run.fold, run.trainer, run.plans) for run in made[:3]] == [
        (0, 0, "A", "nnUNetPlans"),
        (0, 0, "B", "OtherPlans"),
        (0, 3, "A", "nnUNetPlans"),
    ]


def test_each_printed_command_is_read_back_as_exactly_its_run(runs, monkeypatch):
    made = runs(("A", "B:OtherPlans"), seeds=(0, 7), folder="/a folder/out")
    monkeypatch.setattr(compare_module, "check_runs", lambda runs: [])
    monkeypatch.setattr("h2aseg_nnunet.petct.nnunet.folders.dataset_name", lambda name: name)
    read_back = []

    def compare_trainers(runs, only, heldout, execute):
        read_back.append((*runs, only, heldout))
        return ComparisonOutcome([])

    monkeypatch.setattr(compare_module, "compare_trainers", compare_trainers)
    lines = commands(made)
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "h2aseg"
        assert cli.main(arguments) == 0

    assert len(lines) == 8
    assert read_back == [(run, "runs", None) for run in made]


def test_finished_runs_need_no_command(runs, monkeypatch):
    monkeypatch.setattr(compare_module, "check_runs", lambda runs: [])
    first, *others = runs()
    finish(first, {"a": 0.5})

    assert len(commands([first, *others])) == len(others)


def test_a_process_gets_its_run_unchanged(runs):
    (run,) = runs(("A",), folds=(2,), folder="/ä b")

    assert Run.from_json(run.process()[-1]) == run


def test_a_run_is_finished_when_it_is_evaluated(runs):
    run, other = runs(("A", "B"), folds=(0,))
    write_record(run, {"schedule": run.schedule})
    finish(other, {"a": 0.5})

    assert not is_finished(run)
    assert is_finished(other)


def test_a_run_with_another_schedule_is_not_mixed_up(runs):
    (run,) = runs(("A",), folds=(0,))
    finish(run, {"a": 0.5})

    with pytest.raises(ValueError, match=r"epochs 2 \(now 5\): choose another folder with -o"):
        read_record(run._replace(epochs=5))


@pytest.mark.parametrize("content", ['{"mine": 1}', "mine", "[]"])
def test_somebody_elses_run_json_is_no_run(runs, content):
    (run,) = runs(("A",), folds=(0,))
    run.fold_folder.mkdir(parents=True)
    run.record.write_text(content)

    with pytest.raises(UserError, match=r"fold_0 exists and is not a run of h2aseg compare: choose another folder"):
        is_finished(run)


def test_a_fold_that_nnunet_trained_is_not_taken_over(runs):
    (run,) = runs(("A",), folds=(0,))
    run.fold_folder.mkdir(parents=True)
    (run.fold_folder / "checkpoint_final.pth").touch()

    with pytest.raises(UserError, match=r"fold_0 exists and is not a run of h2aseg compare"):
        is_finished(run)


def test_a_run_that_failed_at_its_start_left_its_log_only(runs):
    (run,) = runs(("A",), folds=(0,))
    run.fold_folder.mkdir(parents=True)
    run.log.write_text("out of memory")

    assert read_record(run) == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trainers": ("A", "A:nnUNetPlans")}, "named twice"),
        ({"folds": (1, 1)}, "fold 1 is named twice"),
        ({"seeds": (-1,)}, "the seed must be 0 or more, not -1"),
        ({"epochs": 0}, "the number of epochs must be 1 or more, not 0"),
        ({"trainers": ("A:",)}, "TRAINER or TRAINER:PLANS"),
        ({"trainers": (":P",)}, "TRAINER or TRAINER:PLANS"),
        ({"trainers": ("A:P:Q",)}, "TRAINER or TRAINER:PLANS"),
    ],
)
def test_what_makes_no_sense_is_refused(runs, changes, message):
    with pytest.raises(ValueError, match=message):
        runs(**changes)
