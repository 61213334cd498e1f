import subprocess
import sys

import pytest

from h2aseg_nnunet import __version__, cli
from h2aseg_nnunet._register import trainer_path
from h2aseg_nnunet.demo import run as run_demo


def test_trainer_path_prints_the_directory_and_nothing_else(capsys):
    assert cli.main(["trainer-path"]) == 0

    assert capsys.readouterr().out == trainer_path() + "\n"


def test_trainer_path_does_not_wait_for_torch():
    code = "import sys; from h2aseg_nnunet.cli import main; main(['trainer-path']); assert 'torch' not in sys.modules"

    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])

    assert end.value.code == 0
    assert __version__ in capsys.readouterr().out


def test_a_command_is_required(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main([])

    assert end.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


def test_a_users_mistake_is_one_line_and_exit_code_1(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("mine")

    assert cli.main(["demo", "-o", str(tmp_path)]) == 1

    error = capsys.readouterr().err
    assert error.startswith("h2aseg demo: ") and "is not a demo's" in error
    assert error.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_interruption_says_how_to_go_on(monkeypatch, capsys):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_demo, "run_demo", interrupt)

    assert cli.main(["demo"]) == 130
    assert "run the same command again" in capsys.readouterr().err
