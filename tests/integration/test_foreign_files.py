"""No command replaces or removes a file that it did not write, wherever its outputs are pointed."""

import argparse
import json
import os
import shutil
from pathlib import Path

import pytest
import SimpleITK
import torch

from h2aseg_nnunet import cli, register
from tests.models import make_network, make_plans, save_model
from tests.plans import DATASET_JSON
from tests.synthetic import write_phantom

FOREIGN = {
    **{name: b"<html>a thesis</html>" for name in ("index.html", "case.html", "cases/case.html", "case/index.html")},
    **{name: b'{"title": "thesis"}' for name in ("report.json", "robustness.json", "demo.json", "segment.json")},
    **{name: b'{"title": "thesis"}' for name in ("compare.json", "case/explanation.json", "cases/case.json")},
    **{name: b'{"labels": {"background": 0}}' for name in ("dataset.json", "conversion.json", "plans.json")},
    **{name: b"a,b\n1,2\n" for name in ("cases.csv", "robustness.csv", "compare.csv", "lesions.csv", "summary.csv")},
    "cohort.csv": b"case,ct,pet,label\na,b,c,d\n",
    "measured_elsewhere.csv": b"case,dice\na,0.5\n",
    **{name: b"# Notes\n" for name in ("README.md", "robustness.md", "compare.md", "notes.txt", "case/notes.txt")},
    **{name: b"\x89PNG" for name in ("compare.png", "robustness.png", "case/tamw.png", "demo.png", "case.svg")},
    **{name: b"\x1f\x8b" for name in ("case.nii.gz", "case/mask.nii.gz", "predictions/both/case.nii.gz")},
    **{name: b"\x1f\x8b" for name in ("imagesTr/case_0000.nii.gz", "labelsTr/case.nii.gz")},
}
"""Files of other people, by every name that a command might write."""

ELSEWHERE = {"postprocess", "challenge"}
"""They read what takes a model's cross-validation or a challenge: see their unit tests."""

OUTPUTS = {"output", "json", "csv"}
"""Destinations of options that name an output."""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A raw dataset of one case, its predictions, a model, and tables: what each command reads."""
    torch.set_num_threads(1)
    register()
    root = tmp_path_factory.mktemp("world")
    raw = root / "raw" / "Dataset701_Foreign"
    write_phantom(raw / "imagesTr")
    ct, pet = (raw / "imagesTr" / f"case_000{channel}.nii.gz" for channel in (0, 1))
    image = SimpleITK.ReadImage(str(pet))
    for folder in (raw / "labelsTr", root / "predictions"):
        folder.mkdir()
        SimpleITK.WriteImage(SimpleITK.Cast(image > 1.5, SimpleITK.sitkUInt8), str(folder / "case.nii.gz"))
    for folder in (raw, root / "predictions"):
        (folder / "dataset.json").write_text(json.dumps(DATASET_JSON | {"numTraining": 1}))
    (root / "cohort.csv").write_text(f"case,ct,pet,label\ncase,{ct},{pet},{raw / 'labelsTr' / 'case.nii.gz'}\n")
    plans = make_plans()
    save_model(root / "results" / "Dataset701_Foreign" / "model", make_network(plans), plans)
    write_preprocessed(root / "preprocessed", "Dataset701_Foreign", plans)
    return root


def write_preprocessed(folder: Path, dataset: str, plans: dict) -> None:
    """A preprocessed dataset as far as `compare` looks at it before runs start."""
    data = folder / dataset / plans["configurations"]["3d_fullres"]["data_identifier"]
    data.mkdir(parents=True)
    for index in range(10):
        (data / f"case_{index}.b2nd").touch()
    (folder / dataset / "nnUNetPlans.json").write_text(json.dumps(plans))
    (folder / dataset / "dataset.json").write_text(json.dumps(DATASET_JSON))


@pytest.fixture
def commands(world, monkeypatch):
    """Command -> what is given to it, without its outputs."""
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(world / name))
    raw, predictions = world / "raw" / "Dataset701_Foreign", world / "predictions"
    images, labels = raw / "imagesTr", raw / "labelsTr"
    trained = world / "results" / "Dataset701_Foreign" / "model"
    model = ["-m", trained, "-device", "cpu", "-i", images]
    quick = ["-step_size", 1, "-np", 1, "--disable_tta"]
    compare = ["-d", "701", "-c", "3d_fullres", "--trainers", "nnUNetTrainer", "nnUNetTrainerH2ASeg"]
    return {
        "demo": ["-device", "cpu"],
        "check": ["-d", "701", "-np", 1],
        "segment": [*model, *quick, "--force"],
        "evaluate": ["-r", labels, "-p", predictions, "--metrics", "autopet", "-np", 1],
        "report": ["-i", images, "-r", labels, "-p", predictions, "-np", 1],
        "explain": [*model, "-step_size", 1],
        "tune": ["-m", trained],
        "compare": [*compare, "--only", "table"],
        "container": ["-m", trained, "--challenge", "autopet3"],
        "export": ["-m", trained, "--license", "Apache-2.0"],
        "robustness": [*model, *quick, "-r", labels, "--shifts"],
    }


def options_that_name_outputs():
    """Command and option of every output of every command."""
    choices = next(a for a in cli.make_parser()._actions if isinstance(a, argparse._SubParsersAction)).choices
    return [
        (command, action.option_strings[0])
        for command, parser in choices.items()
        for action in parser._actions
        if action.dest in OUTPUTS and command not in ELSEWHERE
    ]


@pytest.fixture
def foreign(tmp_path):
    folder = tmp_path / "foreign"
    for name, content in FOREIGN.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "link.json").symlink_to("unmounted.json")
    return folder


def everything_in(folder: Path) -> dict[Path, object]:
    return {file: file.readlink() if file.is_symlink() else file.is_file() and file.read_bytes()
            for file in folder.rglob("*")}  # fmt: skip


def run(*arguments) -> int:
    try:
        return cli.main(list(map(str, arguments)))
    except SystemExit as end:
        return end.code


@pytest.mark.parametrize(("command", "option"), options_that_name_outputs())
def test_every_output_refuses_foreign_files_and_folders(commands, foreign, capsys, command, option):
    before = everything_in(foreign)
    files = [file for file in before if not file.is_dir()]
    files = files if option in ("--json", "--csv") or command == "evaluate" else [foreign / "notes.txt"]

    for target in (foreign, *files):
        code = run(command, *commands[command], option, target)
        error = capsys.readouterr().err

        assert code == 1, f"{target} was taken"
        if not (command == "compare" and target.is_file()):  # refused for want of runs to compare
            assert str(target) in error, f"not refused for the output: {error}"
        assert everything_in(foreign) == before


FILES = (("check", "--json"), ("evaluate", "-o"), ("evaluate", "--csv"))


@pytest.mark.parametrize(("command", "option"), FILES)
def test_an_output_of_another_command_is_foreign(commands, tmp_path, capsys, command, option):
    target = own_output(command, option, tmp_path)
    run(command, *commands[command], option, target)
    before = target.read_bytes()

    for other in FILES:
        if other != (command, option):
            assert run(other[0], *commands[other[0]], other[1], target) == 1
            assert str(target) in capsys.readouterr().err
            assert target.read_bytes() == before


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_convert_refuses_a_foreign_dataset(world, commands, foreign, monkeypatch, tmp_path, overwrite):
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    foreign.rename(tmp_path / "Dataset702_cohort")
    before = everything_in(tmp_path)

    code = run("convert", "pairs", world / "cohort.csv", "-d", 702, "--name", "cohort", "-np", 1, *overwrite)

    assert code == 1 and everything_in(tmp_path) == before


def own_output(command: str, option: str, folder: Path) -> Path:
    name = {"--json": "check.json", "--csv": "table.csv"}.get(option, "out")
    return folder / ("table.json" if command == "evaluate" and option == "-o" else name)


@pytest.mark.parametrize(
    ("command", "option"), [each for each in options_that_name_outputs() if each[0] not in ("demo", "compare", "tune")]
)
def test_files_put_beside_an_output_outlive_its_repetition(world, commands, tmp_path, command, option):
    """Notes, and masks corrected by hand, in folders that a command made."""
    target = own_output(command, option, tmp_path / "new")
    expected = run(command, *commands[command], option, target)  # 1 of check, which finds fault with the phantom
    assert target.exists()
    folders = [tmp_path / "new", *(folder for folder in (tmp_path / "new").rglob("*") if folder.is_dir())]
    notes = [folder / "notes.txt" for folder in folders]
    for file in notes:
        file.write_text("a week of notes")
    for image in (world / "raw").rglob("*.nii.gz"):
        os.utime(image, ns=(0, image.stat().st_mtime_ns + 10**9))  # so that nothing is taken for finished

    assert run(command, *commands[command], option, target) == expected

    assert [file.read_text() for file in notes] == ["a week of notes"] * len(notes)


def test_notes_in_a_converted_dataset_outlive_its_replacement(world, commands, monkeypatch, tmp_path):
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    convert = ["convert", "pairs", world / "cohort.csv", "-d", 702, "--name", "cohort", "-np", 1]
    assert run(*convert) == 0
    notes = [tmp_path / "Dataset702_cohort" / name for name in ("notes.txt", "labelsTr/notes.txt")]
    for file in notes:
        file.write_text("a week of notes")
    corrected = tmp_path / "Dataset702_cohort" / "corrected" / "case.nii.gz"
    shutil.copytree(tmp_path / "Dataset702_cohort" / "labelsTr", corrected.parent)
    before = corrected.read_bytes()

    assert run(*convert, "--overwrite") == 0

    assert [file.read_text() for file in notes] == ["a week of notes"] * 2
    assert corrected.read_bytes() == before


def test_every_command_with_an_output_is_tried(commands):
    assert {command for command, _ in options_that_name_outputs()} == commands.keys()
