import json
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import pytest
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.nnunet.trainable import check_runs
from tests.locations import DATA
from tests.unit.petct.compare.conftest import DATASET, write_preprocessed

PLANS = json.loads((DATA / "nnUNetPlans.json").read_text())
TRAINERS = ("nnUNetTrainer", "nnUNetTrainerH2ASeg")
SPLITS = [{"train": ["case_1"], "val": ["case_0"]}, {"train": ["case_0"], "val": ["case_1"]}]


@pytest.fixture
def preprocessed(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    return tmp_path


def test_everything_there_gives_nnunets_splits(runs, preprocessed):
    write_preprocessed(preprocessed, PLANS, SPLITS)

    assert check_runs(runs(TRAINERS)) == SPLITS


def test_cases_are_split_as_nnunet_would_split_them(runs, preprocessed):
    write_preprocessed(preprocessed, PLANS)

    file = preprocessed / DATASET / "splits_final.json"

    splits = check_runs(runs(TRAINERS))

    assert json.loads(file.read_text()) == splits
    file.unlink()
    trainer = SimpleNamespace(  # as far as nnU-Net's method looks at it
        dataset_class=None,
        preprocessed_dataset_folder=str(preprocessed / DATASET / "nnUNetPlans_3d_fullres"),
        preprocessed_dataset_folder_base=str(preprocessed / DATASET),
        folder_with_segs_from_previous_stage=None,
        fold=0,
        print_to_log_file=print,
    )
    nnUNetTrainer.do_split(trainer)
    assert json.loads(file.read_text()) == splits
    assert len(splits) == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"folds": (0, 2)}, r"fold 2 does not exist: splits_final\.json .* has 2 folds"),
        ({"trainers": ("nnUNetTrainer", "nnUNetTrainerTypo")}, "nnU-Net finds no trainer nnUNetTrainerTypo"),
        (
            {"trainers": ("nnUNetTrainer:nnUNetResEncUNetMPlans",)},
            r"nnUNetResEncUNetMPlans\.json does not exist: plan first, or name one of nnUNetPlans\.",
        ),
        ({"configuration": "3d_typo"}, "has no configuration 3d_typo, only .*3d_fullres"),
        ({"configuration": "2d"}, "nnUNetv2_preprocess -d Dataset901_binary -plans_name nnUNetPlans -c 2d"),
        ({"dataset": "Dataset902_other"}, "run nnUNetv2_plan_and_preprocess first"),
    ],
)
def test_what_is_missing_is_named_before_anything_runs(runs, preprocessed, changes, message):
    write_preprocessed(preprocessed, PLANS, SPLITS)

    with pytest.raises(UserError, match=message):
        check_runs(runs(**{"trainers": TRAINERS, **changes}))


def test_plans_that_changed_since_a_run_are_noticed(runs, preprocessed):
    write_preprocessed(preprocessed, PLANS, SPLITS)
    (run,) = runs(TRAINERS[:1], folds=(0,))
    run.model.mkdir(parents=True)
    changed = deepcopy(PLANS)
    changed["configurations"]["3d_fullres"]["batch_size"] += 1
    (run.model / "plans.json").write_text(json.dumps(changed))

    with pytest.raises(ValueError, match="was trained with other plans"):
        check_runs([run])


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (
            {"train": ["case_1"], "val": ["case_0"]},
            r"splits_final\.json holds an object with train, val, expected is a",
        ),
        ([], "holds an empty list, expected is a list of folds"),
        ([["case_0"], ["case_1"]], "fold 0 is a list of 1, expected is a list of folds"),
        ([SPLITS[0], {"train": ["case_0"]}], "fold 1 is an object with train, expected is a list of folds"),
        ([{"train": "case_0", "val": ["case_1"]}], "fold 0 is an object with train, val, expected is a list of folds"),
        ([SPLITS[0], {"train": ["case_0"], "val": ["gone"]}], "fold 1 names gone, which the dataset does not hold"),
    ],
)
def test_splits_of_another_form_are_named_before_anything_runs(runs, preprocessed, splits, message):
    write_preprocessed(preprocessed, PLANS, splits)

    with pytest.raises(UserError, match=message):
        check_runs(runs(TRAINERS))


def test_folders_that_are_not_set_are_named(runs, monkeypatch):
    monkeypatch.delenv("nnUNet_preprocessed", raising=False)

    with pytest.raises(UserError, match="nnUNet_preprocessed is not set"):
        check_runs(runs(TRAINERS))
