import argparse

import pytest

from h2aseg_nnunet import cli
from h2aseg_nnunet.petct import options


@pytest.fixture
def parser():
    parser = options.Parser(prog="h2aseg")
    parser.add_argument("--new-name", former=("--old_name", "-old"), type=options.positive, help="A number.")
    return parser


@pytest.mark.parametrize("spelling", ["--new-name", "--old_name", "-old"])
def test_former_spellings_mean_the_same(parser, spelling):
    assert parser.parse_args([spelling, "2.5"]).new_name == 2.5


def test_former_spellings_are_not_shown(parser):
    assert "--new-name" in parser.format_help()
    assert "old" not in parser.format_help()


def test_options_are_not_abbreviated(parser, capsys):
    with pytest.raises(SystemExit):
        parser.parse_args(["--new", "1"])

    assert "unrecognized arguments: --new 1" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "0", "-1", "ten", ""])
def test_what_is_no_positive_number_is_refused_with_the_option(parser, capsys, text):
    with pytest.raises(SystemExit) as end:
        parser.parse_args([f"--new-name={text}"])

    assert end.value.code == 2
    assert f"argument --new-name: {text} is not" in capsys.readouterr().err


def test_zero_is_finite():
    assert options.finite("0") == 0
    with pytest.raises(argparse.ArgumentTypeError):
        options.finite("nan")


def commands():
    action = next(a for a in cli.make_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return action.choices


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_number_of_every_command_refuses_nan(command):
    """It would come out as a traceback or a blank picture, after all cases were computed."""
    for action in commands()[command]._actions:
        assert action.type is not float, f"{command} {action.option_strings}"


@pytest.mark.parametrize(
    ("command", "former", "present"),
    [
        ("check", "--dataset_json", "--dataset-json"),
        ("report", "--max_suv", "--max-suv"),
        ("report", "--dataset_json", "--dataset-json"),
        ("explain", "--max_suv", "--max-suv"),
        ("explain", "--device", "-device"),
        ("compare", "-gt", "-r"),
        ("robustness", "-gt", "-r"),
    ],
)
def test_spellings_that_users_have_in_their_scripts_still_work(command, former, present):
    actions = commands()[command]._option_string_actions

    assert actions[former] is actions[present]


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_texts_are_sentences(command):
    for action in commands()[command]._actions:
        text = action.help or ""
        if text not in (argparse.SUPPRESS, "show this help message and exit", ""):
            assert text.endswith((".", ")")) and " " in text, f"{action.option_strings}: {text}"
