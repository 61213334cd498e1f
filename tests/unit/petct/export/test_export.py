"""What `h2aseg export` hands on; the weights are a stand-in, for nothing is predicted."""

import json
import math
import subprocess
import zipfile

import pytest
import torch

from h2aseg_nnunet.cli import main
from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.export.facts import clean_summary, validation
from h2aseg_nnunet.petct.nnunet.models import find_folds
from tests.plans import DATASET_JSON, PLANS

NAMES = f"{PLANS['dataset_name']}/MyTrainer__{PLANS['plans_name']}__3d_fullres"
DICE = {"a": 0.5, "b": 0.7, "c": 0.9, "d": math.nan}


def summary(cases):
    per_case = [
        {
            "metrics": {"1": {"Dice": DICE[name], "IoU": DICE[name] / 2}},
            "prediction_file": f"/home/me/validation/{name}.nii.gz",
            "reference_file": f"/home/me/labels/{name}.nii.gz",
        }
        for name in cases
    ]
    return {"metric_per_case": per_case, "mean": {}, "foreground_mean": {}}


@pytest.fixture
def model(tmp_path):
    """Two folds, as nnU-Net leaves them."""
    folder = tmp_path / "somewhere" / "else"
    for fold, cases in enumerate(("ab", "cd")):
        (folder / f"fold_{fold}" / "validation").mkdir(parents=True)
        checkpoint = {
            "trainer_name": "MyTrainer",
            "init_args": {"configuration": "3d_fullres"},
            "network_weights": {"w": torch.ones(3) * fold},
            "current_epoch": 250,
        }
        torch.save(checkpoint, folder / f"fold_{fold}" / "checkpoint_final.pth")
        debug = {"gpu_name": "NVIDIA H100", "hostname": "secret-host", "torch_version": "2.5.1", "network": "H2ASeg"}
        (folder / f"fold_{fold}" / "debug.json").write_text(json.dumps(debug))
        (folder / f"fold_{fold}" / "validation" / "summary.json").write_text(json.dumps(summary(cases)))
    (folder / "plans.json").write_text(json.dumps(PLANS))
    (folder / "dataset.json").write_text(json.dumps(DATASET_JSON | {"licence": "CC BY 4.0", "name": "Balls"}))
    (folder / "dataset_fingerprint.json").write_text("{}")
    (folder / "splits_final.json").write_text('[{"train": ["c"], "val": ["a"]}]')
    return folder


def export(model, output, *options):
    return main(["export", "-m", str(model), "-o", str(output), "--license", "cc-by-4.0", *map(str, options)])


FILES = {
    "plans.json", "dataset.json", "dataset_fingerprint.json", "splits_final.json", "validation_summary.json",
    "fold_0/checkpoint_final.pth", "fold_1/checkpoint_final.pth", "fold_0/validation/summary.json",
    "fold_1/validation/summary.json", "README.md", "SHA256SUMS",
}  # fmt: skip


def test_folder_and_zip_hold_the_same_files(model, tmp_path):
    assert export(model, tmp_path / "out") == 0

    folder = tmp_path / "out" / "huggingface"
    found = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert {name for name in found if not name.startswith(".")} == FILES
    with zipfile.ZipFile(tmp_path / "out" / f"{NAMES.replace('/', '__')}.zip") as archive:
        assert {name.removeprefix(f"{NAMES}/") for name in archive.namelist()} == FILES
        for name in FILES:
            assert archive.read(f"{NAMES}/{name}") == (folder / name).read_bytes()


def test_no_host_and_no_path_leaves_the_machine(model, tmp_path):
    export(model, tmp_path / "out")

    texts = [file.read_bytes() for file in (tmp_path / "out" / "huggingface").rglob("*") if file.is_file()]
    assert not any(word in text for text in texts for word in (b"secret-host", b"/home/me", str(tmp_path).encode()))


def test_sha256sum_agrees_and_the_card_may_be_edited(model, tmp_path):
    export(model, tmp_path / "out")
    folder = tmp_path / "out" / "huggingface"

    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True)

    assert done.returncode == 0 and done.stdout.count("OK") == len(FILES) - 2
    (folder / "README.md").write_text("better")
    assert find_folds(folder, None, "checkpoint_final.pth") == ["0", "1"]


def test_a_damaged_export_is_refused(model, tmp_path):
    export(model, tmp_path / "out")
    folder = tmp_path / "out" / "huggingface"
    weights = folder / "fold_1" / "checkpoint_final.pth"
    weights.write_bytes(weights.read_bytes()[:-10])

    with pytest.raises(UserError, match=r"fold_1/checkpoint_final\.pth is not the file that SHA256SUMS lists"):
        find_folds(folder, ["0"], "checkpoint_final.pth")


def test_the_card_says_what_the_files_say(model, tmp_path):
    export(model, tmp_path / "out", "--use", "Measuring balls.")

    card = (tmp_path / "out" / "huggingface" / "README.md").read_text()
    head, body = card.removeprefix("---\n").split("---\n", 1)
    assert "license: cc-by-4.0" in head.splitlines()
    rows = {line for line in body.splitlines() if line.startswith("| ")}
    for row in (
        "| trainer | `MyTrainer` |",
        "| network | H2ASeg |",
        "| folds | 0, 1 |",
        "| epochs | 250 |",
        "| hardware | NVIDIA H100 |",
        "| cases | 20 |",
        "| licence | CC BY 4.0 |",
        "| labels | 0: background, 1: tumor |",
    ):
        assert row in rows
    (results,) = [row.split() for row in rows if row.startswith("| tumor")]
    assert results[3] == "0.700" and results[-2] == "3"  # of four cases one has no reference
    assert "Measuring balls." in body and "not for diagnosis" in body
    assert "None" not in card and "nan" not in card


def test_folds_and_hardware_may_be_chosen(model, tmp_path):
    export(model, tmp_path / "out", "-f", 1, "--hardware", "two old cards")

    card = (tmp_path / "out" / "huggingface" / "README.md").read_text()
    assert "| folds | 1 |" in card and "| hardware | two old cards |" in card
    assert not (tmp_path / "out" / "huggingface" / "fold_0").exists()


def test_what_is_missing_is_said(model, tmp_path, capsys):
    (model / "splits_final.json").unlink()
    (model / "fold_1" / "validation" / "summary.json").unlink()

    assert export(model, tmp_path / "out") == 0

    shown = capsys.readouterr().out
    assert "note: splits_final.json was not found" in shown
    assert "note: folds 1 have no validation" in shown


def test_a_model_without_any_validation_has_a_card_without_figures(model, tmp_path):
    for fold in (0, 1):
        (model / f"fold_{fold}" / "validation" / "summary.json").unlink()

    export(model, tmp_path / "out")

    assert "No validation was found." in (tmp_path / "out" / "huggingface" / "README.md").read_text()
    assert not (tmp_path / "out" / "huggingface" / "validation_summary.json").exists()


def test_a_license_is_asked_for(model, tmp_path, capsys):
    assert main(["export", "-m", str(model), "-o", str(tmp_path / "out")]) == 1

    assert "a license is needed" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_another_file_is_no_checkpoint(model, tmp_path, capsys):
    (model / "fold_1" / "checkpoint_final.pth").write_bytes(b"weights")

    assert export(model, tmp_path / "out") == 1
    assert "fold_1/checkpoint_final.pth cannot be read" in capsys.readouterr().err


def test_paths_become_names():
    cleaned = clean_summary(summary("a"))

    assert cleaned["metric_per_case"][0]["prediction_file"] == "a.nii.gz"


def test_regions_are_called_by_their_names():
    cases = [{"metrics": {"(1, 2)": {"Dice": 0.5, "IoU": 0.25}, "(2,)": {"Dice": None, "IoU": None}}}]

    figures = validation({"0": {"metric_per_case": cases}}, {"background": 0, "whole": [1, 2], "core": [2]})

    assert figures["num_cases"] == 1
    assert figures["labels"]["whole"]["Dice"]["mean"] == 0.5
    assert figures["labels"]["core"]["Dice"]["undefined"] == 1
