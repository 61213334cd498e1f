import csv
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK

from h2aseg_nnunet import cli
from h2aseg_nnunet.petct.evaluate import run as evaluate
from tests.locations import REPOSITORY

DOCUMENTATION = REPOSITORY / "docs" / "evaluate.md"


@pytest.fixture
def folders(reference_data, tmp_path, monkeypatch):
    """AutoPET's synthetic masks, as a user has them in the working directory."""
    shutil.copytree(reference_data / "autopet" / "gt", tmp_path / "references")
    shutil.copytree(reference_data / "autopet" / "pred", tmp_path / "predictions")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*options):
    return cli.main(["evaluate", "-r", "references", "-p", "predictions", "-np", "1", *options])


@pytest.mark.parametrize("metrics", ["autopet", "autopet2", "hecktor22", "hecktor25", "lesion"])
def test_each_challenge_writes_table_json_and_csv(folders, metrics, capsys):
    assert run("--metrics", metrics, "-o", "results/out.json", "--csv", "results/out.csv") == 0

    table = capsys.readouterr().out
    assert "case_07" in table and "interval 95" in table
    content = json.loads((folders / "results" / "out.json").read_text())
    assert list(content) == ["cases", "aggregate"]
    with (folders / "results" / "out.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["case"] for row in rows] == list(content["cases"]) == [f"case_{i:02d}" for i in range(8)]
    assert sorted(file.name for file in (folders / "results").iterdir()) == ["out.csv", "out.json"]


def test_without_output_options_nothing_is_written(folders):
    before = sorted(folders.rglob("*"))

    assert run("--metrics", "autopet") == 0

    assert sorted(folders.rglob("*")) == before


def test_the_iou_decides_which_lesions_are_found(folders):
    assert run("--metrics", "lesion", "-o", "touched.json") == 0
    assert run("--metrics", "lesion", "--iou", "0.9", "-o", "strict.json") == 0

    found = [
        json.loads((folders / name).read_text())["cases"]["case_05"]["found_lesions"]
        for name in ("touched.json", "strict.json")
    ]
    assert found[0] > found[1]


def test_suv_adds_volume_glycolysis_and_maximum(folders, write):
    for file in (folders / "references").iterdir():
        mask = SimpleITK.ReadImage(str(file))
        suv = np.full(mask.GetSize()[::-1], 4.0, np.float32)
        write(folders / "imagesTs" / file.name.replace(".nii", "_0001.nii"), suv, mask.GetSpacing())

    assert run("--metrics", "autopet", "--suv", "imagesTs", "-o", "out.json") == 0

    case = json.loads((folders / "out.json").read_text())["cases"]["case_04"]
    assert case["tlg_reference"] == pytest.approx(4 * case["tmtv_ml_reference"])
    assert case["suv_max_prediction"] == 4


def test_the_same_seed_gives_the_same_file(folders):
    for name in ("a.json", "b.json"):
        assert run("--metrics", "autopet", "--seed", "5", "-o", name) == 0

    assert (folders / "a.json").read_text() == (folders / "b.json").read_text()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:300]), r"predictions/case_04\.nii\.gz"),
        (lambda file: file.write_bytes(b""), r"predictions/case_04\.nii\.gz"),
        (lambda file: file.unlink(), r"1 of 8 references have no prediction in predictions: case_04\."),
        (lambda file: file.rename(file.with_name("case_4.nii.gz")), "case_04"),
    ],
    ids=["truncated", "zero bytes", "missing", "misnamed"],
)
def test_a_bad_file_is_one_line_and_no_output(folders, capsys, damage, words):
    damage(folders / "predictions" / "case_04.nii.gz")

    assert run("--metrics", "autopet", "-o", "out.json", "--csv", "out.csv") == 1

    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("h2aseg evaluate: ") and re.search(words, message)
    assert not list(folders.glob("*out.*"))


def test_a_file_that_is_no_evaluation_is_never_replaced(folders, capsys):
    (folders / "dataset.json").write_text('{"labels": {}}')

    assert run("--metrics", "autopet", "-o", "dataset.json") == 1

    assert "dataset.json exists and is not an evaluation" in capsys.readouterr().err
    assert (folders / "dataset.json").read_text() == '{"labels": {}}'


def test_an_interrupted_run_leaves_the_earlier_evaluation_whole(folders, monkeypatch, capsys):
    assert run("--metrics", "autopet", "-o", "out.json") == 0
    before = (folders / "out.json").read_text()
    whole = evaluate.evaluate_case

    def interrupted(case, *settings):
        if case.name == "case_04":
            raise KeyboardInterrupt
        return whole(case, *settings)

    monkeypatch.setattr(evaluate, "evaluate_case", interrupted)

    assert run("--metrics", "lesion", "-o", "out.json", "--csv", "out.csv") == 130

    assert (folders / "out.json").read_text() == before
    assert sorted(file.name for file in folders.iterdir()) == ["out.json", "predictions", "references"]


def test_metrics_must_be_chosen(folders, capsys):
    with pytest.raises(SystemExit) as end:
        run()

    assert end.value.code == 2
    assert "--metrics" in capsys.readouterr().err


def test_evaluation_does_not_wait_for_torch():
    code = "import sys, h2aseg_nnunet.petct.evaluate.run; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_the_documentation_shows_is_what_the_command_prints(monkeypatch, capsys):
    monkeypatch.chdir(REPOSITORY)
    blocks = re.findall(
        r"```console\n\$ h2aseg (.+?)(?: \| tail [^\n]*)?\n(.+?)```", DOCUMENTATION.read_text(), re.DOTALL
    )
    assert len(blocks) == 3

    for command, shown in blocks:
        assert cli.main([*command.split(), "-np", "1"]) == 0
        assert capsys.readouterr().out.endswith(shown)
