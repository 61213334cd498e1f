import pytest

from h2aseg_nnunet.petct.compare import run as module
from h2aseg_nnunet.petct.compare.run import compare_trainers
from tests.unit.petct.compare.conftest import finish


@pytest.fixture
def executed(monkeypatch) -> list[str]:
    """Names of what would have been run; preprocessed data is not needed."""
    names = []

    def execute_all(tasks, *_, **__):
        names.extend(task.name for task in tasks)
        return []

    monkeypatch.setattr(module, "execute_all", execute_all)
    monkeypatch.setattr(module, "check_runs", lambda _: [])
    return names


def test_without_a_table_held_out_cases_are_predicted_too(runs, heldout, executed):
    made = runs(("A",), folds=(0,))
    finish(made[0], {"b": 0.5})

    outcome = compare_trainers(made, only="runs", heldout=heldout)

    assert executed == ["A:nnUNetPlans seed 0 on Dataset1_here_imagesTs"]
    assert outcome.text is None


def test_the_table_alone_runs_nothing(runs, heldout, executed):
    made = runs(("A", "B"), folds=(0,))
    for run in made:
        finish(run, {"b": 0.5})

    with pytest.raises(ValueError, match="no run is finished"):  # trained, but nothing is predicted
        compare_trainers(made, only="table", heldout=heldout)

    assert executed == []
