"""The commands that pages show run as shown, in order, in a folder that holds what they name.

Every page is run, so that a new command is run, or fails. tests/release/test_quickstart.py runs docs/quickstart.md;
tests/release/test_shown_trainings.py the pages that train; tests/shown.py lists what cannot be run, and why.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from h2aseg_nnunet.cli import main
from h2aseg_nnunet.petct.dicom.objects import write_seg
from h2aseg_nnunet.petct.dicom.tree import read_tree
from tests.locations import REPOSITORY
from tests.models import make_network, make_plans, one_thread, registered, save_model  # noqa: F401
from tests.plans import DATASET_JSON
from tests.shown import NOT_RUN, PAGES, commands, lines_to_run, shown_lines
from tests.synthetic import read_array, write_image, write_phantom
from tests.unit.petct.convert.layouts import CT_GRID, PET_GRID, WIDE, arrange
from tests.unit.petct.convert.synthetic_studies import POINT_MM, grid_around
from tests.unit.petct.dicom.exports import SHAPE, Export

TRAIN = {
    *("README.md", "docs/accuracy.md", "docs/cluster.md", "docs/compare.md", "docs/convert.md", "docs/export.md"),
    *("docs/planning.md", "docs/quickstart-challenges.md", "docs/trainers.md", "docs/tune.md"),
}
"""Pages with commands of nnU-Net: all of them run in tests/release/test_shown_trainings.py."""

ALSO_HERE = {"README.md", "docs/convert.md", "docs/export.md", "docs/quickstart-challenges.md"}
"""Those whose own commands need no training: they run here, too."""

ELSEWHERE = TRAIN - ALSO_HERE | {"docs/quickstart.md"}

PATIENTS = ("one", "two")
ONE_PROCESS, QUICK = ["-np", "1"], ["-device", "cpu", "-step_size", "1"]
ON_THIS_MACHINE = {
    **dict.fromkeys(("check", "convert", "evaluate", "report"), ONE_PROCESS),
    "challenge": [*QUICK, "--disable_tta", "-f", "0"],
    "explain": QUICK,
    "robustness": [*QUICK, "--disable_tta", *ONE_PROCESS],
    "segment": [*QUICK, "--disable_tta", "--force", *ONE_PROCESS],  # noise is no CT, which check would refuse
}
"""What is added to a command, so that it ends in seconds."""


@pytest.fixture
def world(nnunet, monkeypatch) -> Path:
    """Images, masks, studies and models under the names that the pages use."""
    monkeypatch.chdir(nnunet)
    monkeypatch.setenv("RAW", "h2aseg_demo/nnUNet_raw/Dataset901_H2ASegDemo")
    write_images_and_masks(nnunet)
    write_collections(nnunet)
    write_models(nnunet)
    write_export(nnunet)
    return nnunet


def write_images_and_masks(root: Path) -> None:
    demo = root / os.environ["RAW"]
    for images in (root / "imagesTs", demo / "imagesTs", root / "nnUNet_raw" / "Dataset701_STS" / "imagesTr"):
        write_phantom(images)
    tumor = SimpleITK.ReadImage(str(root / "imagesTs" / "case_0001.nii.gz")) > 1.5
    masks = ["labelsTs", "references", "predictions", *(f"step_{step}" for step in range(6))]
    for folder in (*masks, demo / "labelsTs", "h2aseg_demo/predictions", "nnUNet_raw/Dataset701_STS/labelsTr"):
        (root / folder).mkdir(parents=True)
        SimpleITK.WriteImage(tumor, str(root / folder / "case.nii.gz"))
    for folder in ("predictions", "nnUNet_raw/Dataset701_STS"):  # nnUNetv2_predict leaves one, too
        (root / folder / "dataset.json").write_text(json.dumps(DATASET_JSON | {"numTraining": 1}))
    for channel, modality in enumerate(("ct", "pet")):
        image = read_array(root / "imagesTs" / f"case_000{channel}.nii.gz")
        write_image(root / "input" / "images" / modality / "5a1f.mha", image, 2.0)


def write_collections(root: Path) -> None:
    arrange("autopet II", root / "FDG-PET-CT-Lesions", CT_GRID, CT_GRID, PATIENTS)
    arrange("hecktor 2022", root / "HECKTOR_2022", CT_GRID, PET_GRID, PATIENTS)
    arrange("hecktor 2021", root / "hecktor2021_train", CT_GRID, grid_around(POINT_MM, WIDE, (4.1, 3.9, 5.0)), PATIENTS)
    arrange("pairs", root / "cohort", CT_GRID, PET_GRID, PATIENTS)
    boxes = "\n".join(f"{patient},0,24,-46,-22,40,72" for patient in PATIENTS)
    table = root / "hecktor2021_train" / "hecktor2021_bbox_training.csv"
    table.write_text(f"PatientID,x1,x2,y1,y2,z1,z2\n{boxes}\n")
    rows = (f"{name},cohort/{name}/ct.nii,cohort/{name}/pet.nii,cohort/{name}/label.nii" for name in PATIENTS)
    (root / "cohort.csv").write_text("\n".join(["case,ct,pet,label", *rows]))


def write_models(root: Path) -> None:
    plans, hecktor = make_plans(), DATASET_JSON | {"labels": {"background": 0, "GTVp": 1, "GTVn": 2}}
    folder = save_model(root / "MODEL_FOLDER", make_network(plans, hecktor), plans, hecktor)
    for fold in range(1, 5):
        shutil.copytree(folder / "fold_0", folder / f"fold_{fold}")
    for trained in ("TRAINER__PLANS__3d_fullres", "nnUNetTrainerH2ASeg__nnUNetPlans__3d_fullres"):
        save_model(root / "nnUNet_results" / "DATASET" / trained, make_network(plans), plans)


def write_export(root: Path) -> None:
    """Patients P1 and P2, a mask of the first, and the table of docs/dicom.md."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:3, 1:4, 0:2] = 1
    for patient in ("P1", "P2"):
        study = Export(root / "EXPORT" / patient, patient)
        study.add_ct()
        study.add_pet(number=2)
    (first,) = read_tree(root / "EXPORT" / "P1").studies
    (pet,) = (series for series in first.series.values() if series.modality == "PT")
    (root / "LABELS").mkdir()
    write_seg(root / "LABELS" / "P1", {"tumor": mask}, pet, "drawn")
    page = (REPOSITORY / "docs" / "dicom.md").read_text(encoding="utf-8")
    (root / "weights.csv").write_text(re.search(r"^```\n(patient,weight_kg.*?)^```", page, re.M | re.S)[1])


def prepare(words: list[str], root: Path) -> None:
    """What a command finds when its page is followed by hand."""
    if words[0] == "convert":
        for earlier in (root / "nnUNet_raw").glob(f"Dataset{words[words.index('-d') + 1]}_*"):
            shutil.rmtree(earlier)
        (root / "SRC").unlink(missing_ok=True)
        (root / "SRC").symlink_to("FDG-PET-CT-Lesions" if words[1] == "autopet" else "HECKTOR_2022")
    for folder in (word for word in words if word.startswith("crossval") and not Path(word).exists()):
        shutil.copytree(words[words.index("-r") + 1], folder)  # nnUNetv2_accumulate_crossval_results makes it


@pytest.mark.parametrize("page", [page for page in PAGES if lines_to_run(page) and page not in ELSEWHERE])
def test_the_commands_of_a_page_run_as_shown(world, page, capsys):
    shown, printed = commands(lines_to_run(page), world, os.environ), ""
    if page in TRAIN:
        shown = [words for words in shown if not words[0].startswith("nnUNetv2_")]
    assert shown
    for program, *words in shown:
        if program == "python":
            subprocess.run([sys.executable, *words], input=printed, text=True, check=True, capture_output=True)
            continue
        assert program == "h2aseg", f"{program}: neither run here nor listed in tests/shown.py"
        prepare(words, world)

        code = main([*words, *ON_THIS_MACHINE.get(words[0], [])])

        printed, errors = capsys.readouterr()
        assert f"h2aseg {words[0]}: " not in errors, words
        assert code == 0 or words[0] == "check", (words, errors)  # which may find faults in noise


def test_every_line_that_is_excused_is_shown():
    lines = [line for page in PAGES for line in shown_lines(page)]

    assert [start for start in NOT_RUN if not any(line.startswith(start) for line in lines)] == []


def test_commands_of_a_dry_run_are_shared_among_jobs_and_gpus_as_shown(tmp_path):
    """Each line runs once: the second as an element of a job array, then all on two GPUs."""
    (tmp_path / "runs.txt").write_text("".join(f"echo {run} on $CUDA_VISIBLE_DEVICES >>done\n" for run in range(4)))
    lines = [line for line in shown_lines("docs/compare.md") if line.startswith(("sed", "awk"))]
    variables = os.environ | {"SLURM_ARRAY_TASK_ID": "2", "CUDA_VISIBLE_DEVICES": ""}

    subprocess.run(["bash", "-euc", "\n".join(lines)], cwd=tmp_path, env=variables, check=True)

    first, *rest = (tmp_path / "done").read_text().splitlines()
    assert first.split() == ["1", "on"]
    assert sorted(rest) == ["0 on 1", "1 on 0", "2 on 1", "3 on 0"]


def test_the_output_that_evaluate_shows_is_what_it_prints(monkeypatch, capsys):
    monkeypatch.chdir(REPOSITORY)
    page = (REPOSITORY / "docs" / "evaluate.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```console\n\$ h2aseg (.*?)(?: \| tail -(\d+))?\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    for command, tail, output in blocks:
        assert main([*command.split(), *ONE_PROCESS]) == 0

        printed = capsys.readouterr().out.splitlines()
        assert [line.rstrip() for line in printed][-int(tail or 0) :] == output.splitlines()
