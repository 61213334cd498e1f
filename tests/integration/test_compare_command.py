"""`h2aseg compare` from its options to its tables; processes that stand for runs write what a training leaves."""

from h2aseg_nnunet import cli
from tests.unit.petct.compare.test_execute import command, processes, stand_in_dataset  # noqa: F401

FINISH = """
import sys
from pathlib import Path
from tests.unit.petct.compare.conftest import Run, finish
run = Run.from_json(sys.argv[1])
finish(run, {f"case_{run.fold}": 0.5 + 0.25 * (run.trainer == "B")})
"""


def test_the_command_runs_compares_and_skips_what_is_finished(dataset, monkeypatch, capsys):
    arguments = command(dataset, "--trainers", "A", "B", "--folds", "0", "1")
    processes(monkeypatch, FINISH)

    assert cli.main(arguments) == 0
    assert "| B       | Dice     | +0.2500 [+0.2500, +0.2500]" in capsys.readouterr().out
    processes(monkeypatch, "import sys; sys.exit(1)")
    assert cli.main(arguments) == 0  # nothing was run


def test_after_a_failure_the_rest_is_compared_and_the_exit_code_is_1(dataset, monkeypatch, capsys):
    processes(monkeypatch, FINISH.replace("finish(", "assert run.fold == 0 or run.trainer == 'A'; finish("))

    assert cli.main(command(dataset, "--trainers", "A", "B", "--folds", "0", "1")) == 1

    shown = capsys.readouterr()
    assert "## Missing\n\n- B:nnUNetPlans fold 1 seed 0" in shown.out
    assert "h2aseg compare: 1 failed" in shown.err
    assert (dataset / "compare.md").is_file()
