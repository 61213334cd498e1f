"""Every command makes the same files on a cluster as on one machine."""

import json
import shutil
from pathlib import Path

import pytest

from h2aseg_nnunet.cli import main
from h2aseg_nnunet.petct.cluster import attempts, engine
from h2aseg_nnunet.petct.cluster.attempts import Lost
from tests.unit.petct.convert.layouts import CT_GRID, PATIENTS, PET_GRID, arrange
from tests.unit.petct.report.conftest import Folders
from tests.unit.petct.robustness.conftest import write_case

pytestmark = pytest.mark.filterwarnings("default")  # nnU-Net and what it stands on warn of their own matters


@pytest.fixture
def cohort(tmp_path):
    folders = Folders(tmp_path)
    for name in ("a", "b", "c"):
        folders.add(name)
    return folders


def files_in(folder: Path) -> dict[str, bytes]:
    files = (file for file in sorted(folder.rglob("*")) if file.is_file() and not file.name.endswith("lock"))
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def here_and_there(command: list, address: str, output: Path) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Files of the command on this machine and on the cluster; the output has the same name both times."""
    made = []
    for where in (["-np", "1"], ["--scheduler", address]):
        assert main([*map(str, command), *where]) == 0
        made.append(files_in(output))
        shutil.rmtree(output)
    assert made[0]
    return made[0], made[1]


def test_evaluate(cohort, address, tmp_path):
    command = ["evaluate", "-r", cohort.references, "-p", cohort.predictions, "--metrics", "autopet"]
    more = ["--suv", cohort.images, "-o", tmp_path / "out" / "values.json", "--csv", tmp_path / "out" / "values.csv"]

    here, there = here_and_there([*command, *more], address, tmp_path / "out")

    assert here == there and len(here) == 2


def test_check(cohort, address, tmp_path):
    cohort.add("short", change=lambda image: image[:, :, :-1])
    command = ["check", "-i", cohort.images, "--dataset-json", cohort.predictions / "dataset.json"]

    here, there = here_and_there([*command, "--json", tmp_path / "out" / "found.json"], address, tmp_path / "out")

    assert here == there and json.loads(here["found.json"])["cases"] == 4


def test_report(cohort, address):
    here, there = here_and_there(cohort.with_references(), address, cohort.output)

    assert here == there and {"index.html", "cases/a.html", "cases/c.svg"} <= here.keys()


def test_convert(nnunet, address, tmp_path):
    command = arrange("pairs", tmp_path / "source", CT_GRID, PET_GRID, PATIENTS)

    here, there = here_and_there(["convert", *command], address, nnunet / "nnUNet_raw" / "Dataset007_pairs")

    here, there = (without_times(files) for files in (here, there))
    assert here == there and "imagesTr/two_0001.nii.gz" in here


def without_times(files: dict[str, bytes]) -> dict[str, object]:
    """conversion.json holds when files were written."""
    record = json.loads(files["conversion.json"])
    record["dataset_json"] = None
    for case in record["cases"].values():
        case["written"] = None
    return files | {"conversion.json": record}


def test_robustness(make_model, address, tmp_path):
    for name in ("a", "b"):
        write_case(tmp_path, name)
    folders = ["-i", tmp_path / "imagesTs", "-r", tmp_path / "labelsTs", "-o", tmp_path / "out"]
    command = ["robustness", "-m", make_model((0, 1)), *folders, "-device", "cpu", "--shifts", "1"]

    here, there = here_and_there(command, address, tmp_path / "out")

    assert here == there and "predictions/PET_missing/b.nii.gz" in here


@pytest.fixture
def segment(make_model, tmp_path):
    """The command, on two cases of images that --force lets through."""
    for name in ("a", "b"):
        write_case(tmp_path / "boxes", name)
    images, output = tmp_path / "boxes" / "imagesTs", tmp_path / "segmented"
    return ["segment", "-i", images, "-m", make_model((0, 1)), "-o", output, "-device", "cpu", "--force", "--preview"]


def test_segment(segment, address, tmp_path):
    here, there = here_and_there(segment, address, tmp_path / "segmented")

    assert here == there and {"cases/a/mask.nii.gz", "masks/b.nii.gz", "cases/b/preview.png"} <= here.keys()


def test_a_model_in_a_zip_is_unpacked_where_workers_see_it(segment, address, tmp_path):
    model = segment[4]
    segment[4] = shutil.make_archive(str(tmp_path / "model"), "zip", model.parent, model.name)

    assert main([*map(str, segment), "--scheduler", address]) == 0

    assert (tmp_path / "segmented" / "cases" / "a" / "mask.nii.gz").is_file()
    hidden = [file.name for file in (tmp_path / "segmented").iterdir() if file.name.startswith(".")]
    assert hidden == [".lock"]


@pytest.fixture
def deadly_b(monkeypatch):
    """The workers of case b die, as far as the command can see."""
    carry_out = attempts.carry_out

    def carry_out_others(work, item, order):
        return Lost(3) if order.name.startswith("b-") else carry_out(work, item, order)

    monkeypatch.setattr(engine, "carry_out", carry_out_others)


@pytest.mark.usefixtures("deadly_b")
@pytest.mark.parametrize("command", ["evaluate", "check", "report", "convert", "robustness", "segment"])
def test_a_case_that_kills_its_workers_fails_alone(command, cohort, address, nnunet, tmp_path, segment, capsys):
    arguments = {
        "evaluate": ["-r", cohort.references, "-p", cohort.predictions, "--metrics", "autopet"],
        "check": ["-i", cohort.images, "--dataset-json", cohort.predictions / "dataset.json"],
        "report": cohort.with_references()[1:],
        "convert": arrange("pairs", tmp_path / "source", CT_GRID, PET_GRID, ("a", "b", "c")),
        "robustness": [],
        "segment": segment[1:],
    }[command]
    if command == "robustness":
        folders = ["-i", tmp_path / "boxes" / "imagesTs", "-r", tmp_path / "boxes" / "labelsTs", "-o", tmp_path / "out"]
        arguments = ["-m", segment[4], *folders, "-device", "cpu", "--shifts", "1"]

    assert main([command, *map(str, arguments), "--scheduler", address]) == 1

    printed = "".join(capsys.readouterr())
    assert "b" in printed and "its worker died 3 times" in printed
    done = {
        "report": cohort.output / "cases" / "c.html",
        "convert": nnunet / "nnUNet_raw" / "Dataset007_pairs" / "imagesTr" / "c_0000.nii.gz",
        "robustness": tmp_path / "out" / "robustness.json",
        "segment": tmp_path / "segmented" / "cases" / "a" / "mask.nii.gz",
    }
    assert command not in done or done[command].is_file()
