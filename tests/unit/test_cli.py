import subprocess
import sys

import pytest

from h2aseg_nnunet import __version__, cli
from h2aseg_nnunet._register import trainer_path
from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.check import run as run_check

CALLS = """
import contextlib, os, sys
from h2aseg_nnunet.cli import COMMANDS, main
for arguments in (["--help"], ["trainer-path"], *([name, "--help"] for name in COMMANDS)):
    with contextlib.suppress(SystemExit), open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):
        main(arguments)
    heavy = {"torch", "SimpleITK", "matplotlib", "scipy", "nnunetv2", "numpy"} & sys.modules.keys()
    assert not heavy, f"{arguments}: {heavy}"
"""


def test_trainer_path_prints_the_directory_and_nothing_else(capsys):
    assert cli.main(["trainer-path"]) == 0

    assert capsys.readouterr().out == trainer_path() + "\n"


def test_help_waits_for_no_library():
    subprocess.run([sys.executable, "-c", CALLS], check=True)


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


def test_every_command_is_shown_with_its_sentence(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])

    text = " ".join(capsys.readouterr().out.split())
    for name, (_, sentence) in cli.COMMANDS.items():
        assert f"{name} {sentence}" in text


def test_a_users_mistake_is_one_line_and_exit_code_1(tmp_path, capsys):
    assert cli.main(["check", "-i", str(tmp_path / "nowhere")]) == 1

    error = capsys.readouterr().err
    assert error.startswith("h2aseg check: ") and "is no folder" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--debug", "check"], ["check", "--debug"]])
def test_debug_shows_the_traceback_of_a_users_mistake(tmp_path, arguments):
    with pytest.raises(UserError, match="is no folder"):
        cli.main([*arguments, "-i", str(tmp_path / "nowhere")])


@pytest.mark.parametrize("error", [ValueError, RuntimeError, OSError, KeyError])
def test_a_fault_of_the_program_is_not_swallowed(monkeypatch, error):
    def fail(*args, **kwargs):
        raise error("a bug")

    monkeypatch.setattr(run_check, "check_inputs", fail)

    with pytest.raises(error, match="a bug"):
        cli.main(["check", "-i", "images"])


def test_interruption_says_how_to_go_on(monkeypatch, capsys):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_check, "check_inputs", interrupt)

    assert cli.main(["check", "-i", "images"]) == 130
    assert "run the same command again" in capsys.readouterr().err
