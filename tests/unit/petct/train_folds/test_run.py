"""Processes that stand for nnU-Net's commands write what these leave."""

import json
import os

import pytest

from h2aseg_nnunet.cli import main
from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.files import exclusively
from h2aseg_nnunet.petct.train_folds.run import BestConfiguration, Training, train_folds
from tests.locations import DATA
from tests.unit.petct.compare.conftest import DATASET, write_preprocessed

MODEL = "nnUNetTrainer__nnUNetPlans__3d_fullres"


@pytest.fixture
def trainings(nnunet):
    plans = json.loads((DATA / "nnUNetPlans.json").read_text())
    write_preprocessed(nnunet / "nnUNet_preprocessed", plans)
    where = str(nnunet / "nnUNet_results"), DATASET, "3d_fullres", "nnUNetTrainer", "nnUNetPlans"
    return [Training(*where, fold) for fold in (0, 1)]


class Executed:
    """Carries tasks out by leaving what nnU-Net would; folds in `fail` do not finish."""

    def __init__(self, fail=()):
        self.names, self.fail = [], fail

    def __call__(self, tasks, num_finished, unit):
        self.names += [task.name for task in tasks]
        return [task for task in tasks if not self._leave(task)]

    def _leave(self, task) -> bool:
        if isinstance(task, BestConfiguration):
            model = task.trainings[0].model
            task.instructions.write_text(f"predict {model}/crossval_results_folds_0_1/postprocessing.pkl\n")
            return True
        if task.fold in self.fail:
            return False
        for file in (task.summary, task.summary.parents[1] / "checkpoint_final.pth"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        return True


def test_folds_are_trained_then_nnunet_says_how_to_predict_and_nothing_is_done_twice(trainings, nnunet):
    executed = Executed()

    instructions = train_folds(trainings, executed)
    again = train_folds(trainings, executed)

    start = "nnUNetTrainer:nnUNetPlans 3d_fullres"
    assert executed.names == [f"{start} fold 0", f"{start} fold 1", f"{start} best configuration"]
    assert instructions == again == nnunet / "nnUNet_results" / DATASET / "inference_instructions.txt"


def test_the_commands_are_nnunets_and_go_on_from_checkpoints(trainings):
    first = trainings[0]._replace(npz=True)

    assert os.path.basename(first.process()[0]) == "nnUNetv2_train"
    assert first.process()[1:] == [
        *(DATASET, "3d_fullres", "0", "-tr", "nnUNetTrainer", "-p", "nnUNetPlans", "-device", "cuda", "--npz", "--c")
    ]
    best = BestConfiguration(tuple(trainings)).process()
    assert os.path.basename(best[0]) == "nnUNetv2_find_best_configuration"
    assert best[1:] == [DATASET, "-c", "3d_fullres", *("-tr", "nnUNetTrainer", "-p", "nnUNetPlans", "-f", "0", "1")]


def test_a_fold_that_failed_is_named_and_only_it_is_trained_next_time(trainings):
    with pytest.raises(UserError, match=f"fold 1 of {MODEL} not finished"):
        train_folds(trainings, Executed(fail=[1]))

    executed = Executed()
    train_folds(trainings, executed)
    assert [name.rpartition("fullres ")[2] for name in executed.names] == ["fold 1", "best configuration"]


def test_nnunet_is_asked_again_after_a_training_or_about_another_trainer(trainings):
    instructions = train_folds(trainings, Executed())
    later = instructions.stat().st_mtime + 10
    os.utime(trainings[0].summary, (later, later))
    executed = Executed()
    train_folds(trainings, executed)
    assert [name.rpartition("fullres ")[2] for name in executed.names] == ["best configuration"]

    instructions.write_text("predict with another trainer\n")
    assert not BestConfiguration(tuple(trainings)).is_finished


def test_one_command_at_a_time(trainings):
    with exclusively(trainings[0].model / ".train_folds.lock"), pytest.raises(UserError, match="another process"):
        train_folds(trainings, Executed())


def test_the_command_prints_the_instructions(trainings, monkeypatch, capsys):
    monkeypatch.setattr("h2aseg_nnunet.petct.execute.execute_all", Executed())

    assert main(["train-folds", "-d", DATASET, "-c", "3d_fullres", "--folds", "0", "1"]) == 0

    assert "predict " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--folds", "0", "0"], "--folds: 0 is named twice"),
        (["--folds", "7"], "fold 7 does not exist"),
        (["-tr", "nnUNetTrainerTypo"], "nnU-Net finds no trainer nnUNetTrainerTypo"),
        (["--slurm", "--partition gpu"], "say how long a job may take"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(trainings, capsys, options, message):
    assert main(["train-folds", "-d", DATASET, "-c", "3d_fullres", *options]) == 1
    assert message in capsys.readouterr().err


def test_a_finished_fold_without_probabilities_is_validated_again_where_they_are_to_be_kept(trainings):
    train_folds(trainings, Executed())
    for training in trainings:
        (training.summary.parent / "case.nii.gz").touch()
    keeping = [training._replace(npz=True) for training in trainings]
    (keeping[0].summary.parent / "case.npz").touch()

    assert [training.is_finished for training in keeping] == [True, False]
    assert keeping[1].process()[-2:] == ["--npz", "--val"]
