"""`h2aseg segment --slurm` without Slurm: jobs are carried out here, one after the other."""

import shutil

import pytest

from h2aseg_nnunet.cli import main
from h2aseg_nnunet.petct import files
from h2aseg_nnunet.petct.cluster.slurm import FOLDER
from h2aseg_nnunet.petct.segment import chunk
from tests.models import one_thread, registered  # noqa: F401
from tests.unit.petct.robustness.conftest import make_model, write_case  # noqa: F401

pytestmark = pytest.mark.filterwarnings("default")  # nnU-Net and what it stands on warn of their own matters
NAMES = ("a", "b", "c", "d", "e")


class Queue:
    """Stands for Slurm; jobs whose name begins with `failing` are not carried out."""

    jobs: list[str]
    failing = "no job"

    def __init__(self, options, folder):
        Queue.jobs = []

    def execute_all(self, tasks, num_finished, unit):
        for task in tasks:
            Queue.jobs.append(task.name)
            assert task.process()[-1] == str(task.file)
            if not task.name.startswith(self.failing):
                chunk.carry_out(task.file)
        return []


@pytest.fixture
def command(make_model, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr("h2aseg_nnunet.petct.cluster.slurm.SlurmQueue", Queue)
    for name in NAMES:
        write_case(tmp_path, name)
    folders = ["-i", tmp_path / "imagesTs", "-m", make_model((0, 1)), "-o", tmp_path / "out"]
    how = ["-device", "cpu", "--force", "-np", "1", "--slurm", "--time 10", "--cases-per-job", "2"]
    return ["segment", *map(str, folders), *how]


def masks(tmp_path) -> list[str]:
    return [name for name in NAMES if (tmp_path / "out" / "cases" / name / "mask.nii.gz").is_file()]


def test_cases_are_divided_among_jobs_and_finished_ones_are_not_done_again(command, tmp_path, capsys):
    assert main(command) == 0
    assert Queue.jobs == ["2 cases, a to b", "2 cases, c to d", "1 cases, e to e"]
    assert masks(tmp_path) == list(NAMES) and "Segmented 5 of 5" in capsys.readouterr().out

    assert main(command) == 0
    assert Queue.jobs == []


def test_the_cases_of_a_job_stay_together_so_that_it_is_found_again(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Queue, "failing", "2 cases, c")
    assert main(command) == 1
    assert masks(tmp_path) == ["a", "b", "e"]
    printed = capsys.readouterr()
    assert "c REFUSED: its job ended before it was done: see " in printed.out
    assert "2 of 5 cases were refused: c, d" in printed.err

    shutil.rmtree(tmp_path / "out" / "cases" / "a")
    monkeypatch.setattr(Queue, "failing", "no job")
    assert main(command) == 0
    assert Queue.jobs == ["2 cases, a to b", "2 cases, c to d"] and masks(tmp_path) == list(NAMES)


def test_a_refused_case_is_named_with_its_reason(command, tmp_path, capsys):
    (tmp_path / "imagesTs" / "b_0001.nii.gz").write_bytes(b"no image")

    assert main(command) == 1

    assert masks(tmp_path) == ["a", "c", "d", "e"]
    assert "b_0001.nii.gz is damaged" in (tmp_path / "out" / "summary.csv").read_text()
    assert "b REFUSED: " in capsys.readouterr().out


def test_an_exported_model_stays_where_jobs_find_it(command, tmp_path):
    position = command.index("-m") + 1
    folder = command[position]
    command[position] = shutil.make_archive(str(tmp_path / "model"), "zip", folder)
    shutil.rmtree(folder)

    assert main(command) == 0
    assert list((tmp_path / "out" / FOLDER / "model").rglob("plans.json"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--cases-per-job", "0"], "--cases-per-job 0: 1 or more is expected"),
        (["--scheduler", "tcp://head:8786"], "--scheduler and --slurm are two ways to the same end"),
    ],
)
def test_options_that_do_not_fit(command, capsys, more, message):
    assert main([*command, *more]) == 1
    assert message in capsys.readouterr().err


def test_files_of_a_job_have_names_of_their_own_while_they_are_written(command, tmp_path, monkeypatch):
    """A job of an earlier command may still write the same cases."""
    marks = []

    def outcomes_of(*arguments):
        marks.append(files.mark_of_writer())
        return iter(())

    monkeypatch.setattr(chunk, "outcomes_of", outcomes_of)
    main(command)

    assert len(set(marks)) == 3 and all(len(mark) == 16 for mark in marks)
    assert files.mark_of_writer() == ""
