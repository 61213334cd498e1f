import json
import random
from pathlib import Path

import pytest

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.convert import autopet
from h2aseg_nnunet.petct.convert.splits import Study, make_folds

STUDY = "04-04-2003-NA-PET-CT Ganzkoerper  primaer mit KM-82224"  # two spaces, as in the release


def touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def release(root: Path, patient: str, study: str, names=("CTres", "SUV", "SEG", "CT", "PET")) -> None:
    touch(*(root / patient / study / f"{name}.nii.gz" for name in names))


def test_every_study_of_a_patient_is_a_case_that_tells_the_patient(tmp_path):
    release(tmp_path, "PETCT_0168f65af8", STUDY)
    release(tmp_path, "PETCT_0168f65af8", "05-05-2004-NA-PET-CT Ganzkoerper nativ-22953")
    release(tmp_path, "PETCT_01140d52d8", STUDY)

    plan = autopet.plan(tmp_path)

    folder = tmp_path / "PETCT_0168f65af8" / STUDY
    case = next(case for case in plan.cases if case.name == f"PETCT_0168f65af8_{STUDY}")
    assert (case.ct, case.pet, case.label) == tuple(folder / f"{name}.nii.gz" for name in ("CTres", "SUV", "SEG"))
    assert case.training
    assert [c.patient for c in plan.cases] == ["PETCT_01140d52d8", "PETCT_0168f65af8", "PETCT_0168f65af8"]
    assert (plan.name, plan.labels, plan.one_grid) == ("AutoPETII", ("tumor",), True)


def test_the_release_is_found_one_folder_below(tmp_path):
    release(tmp_path / "FDG-PET-CT-Lesions", "PETCT_0168f65af8", STUDY)

    assert len(autopet.plan(tmp_path).cases) == 1


def test_an_incomplete_study_is_refused_and_names_what_it_lacks(tmp_path):
    release(tmp_path, "PETCT_01140d52d8", STUDY)
    release(tmp_path, "PETCT_0168f65af8", STUDY, names=("CTres",))

    plan = autopet.plan(tmp_path)

    assert [case.patient for case in plan.cases] == ["PETCT_01140d52d8"]
    (reason,) = plan.refused.values()
    assert "SUV.nii.gz, SEG.nii.gz" in reason and STUDY in reason


def test_the_dicom_release_is_recognized(tmp_path):
    touch(tmp_path / "PETCT_0168f65af8" / STUDY / "CT" / "1-001.dcm")

    with pytest.raises(ValueError, match="DICOM release, convert it to NIfTI"):
        autopet.plan(tmp_path)


def test_a_folder_of_something_else_is_refused_with_both_layouts(tmp_path):
    with pytest.raises(ValueError, match=r"neither PETCT_.* nor imagesTr"):
        autopet.plan(tmp_path)
    with pytest.raises(ValueError, match="is not a folder"):
        autopet.plan(tmp_path / "nothing")


def third_challenge(root: Path, *names: str, part: str = "Tr", channels=("0000", "0001"), label: bool = True) -> None:
    for name in names:
        touch(*(root / f"images{part}" / f"{name}_{channel}.nii.gz" for channel in channels))
        if label:
            touch(root / f"labels{part}" / f"{name}.nii.gz")


def test_names_of_the_third_challenge_are_kept_and_tell_tracer_and_patient(tmp_path):
    third_challenge(tmp_path, f"fdg_0168f65af8_{STUDY}", "psma_95b833d46f153cd2_2017-11-18")
    third_challenge(tmp_path, "psma_95b833d46f153cd2_2018-04-16")

    plan = autopet.plan(tmp_path)

    assert [(case.name, case.stratum, case.patient) for case in plan.cases] == [
        (f"fdg_0168f65af8_{STUDY}", "fdg", "fdg_0168f65af8"),
        ("psma_95b833d46f153cd2_2017-11-18", "psma", "psma_95b833d46f153cd2"),
        ("psma_95b833d46f153cd2_2018-04-16", "psma", "psma_95b833d46f153cd2"),
    ]
    assert plan.cases[0].ct == tmp_path / "imagesTr" / f"fdg_0168f65af8_{STUDY}_0000.nii.gz"
    assert plan.cases[0].pet == tmp_path / "imagesTr" / f"fdg_0168f65af8_{STUDY}_0001.nii.gz"
    assert (plan.name, plan.folds) == ("AutoPETIII", None)


def test_folds_of_the_third_challenge_are_read(tmp_path):
    third_challenge(tmp_path, "fdg_a_1", "psma_b_1")
    folds = [{"train": ["fdg_a_1"], "val": ["psma_b_1"]}]
    (tmp_path / "splits_final.json").write_text(json.dumps(folds))

    assert autopet.plan(tmp_path).folds == folds


def test_damaged_folds_are_named(tmp_path):
    third_challenge(tmp_path, "fdg_a_1")
    (tmp_path / "splits_final.json").write_text("[{")

    with pytest.raises(ValueError, match=r"splits_final\.json is not valid JSON"):
        autopet.plan(tmp_path)


def test_only_test_cases_may_lack_a_label(tmp_path):
    third_challenge(tmp_path, "fdg_a_1")
    third_challenge(tmp_path, "fdg_b_1", label=False)
    third_challenge(tmp_path, "fdg_c_1", channels=("0000",))
    third_challenge(tmp_path, "fdg_d_1", part="Ts", label=False)

    plan = autopet.plan(tmp_path)

    assert [(case.name, case.training, case.label is None) for case in plan.cases] == [
        ("fdg_a_1", True, False),
        ("fdg_d_1", False, True),
    ]
    assert "labelsTr/fdg_b_1.nii.gz" in plan.refused["fdg_b_1"]
    assert "imagesTr/fdg_c_1_0001.nii.gz" in plan.refused["fdg_c_1"]


def test_2000_studies_are_planned_from_names_and_never_straddle_folds(tmp_path):
    chance = random.Random(0)
    patients = [f"PETCT_{chance.getrandbits(40):010x}" for _ in range(700)]
    for number in range(2000):
        patient = chance.choice(patients[: 1 + number // 2])
        release(tmp_path, patient, f"01-01-2003-NA-PET-CT  mit KM-{10000 + number}", names=("CTres", "SUV", "SEG"))

    plan = autopet.plan(tmp_path)

    assert len(plan.cases) == 2000 and not plan.refused and plan.num_patients > 500
    studies = {case.name: Study(case.patient, str(chance.random() < 0.5)) for case in plan.cases}
    for fold in make_folds(studies):
        train, val = ({name.split("_")[1] for name in fold[side]} for side in ("train", "val"))
        assert not train & val
        assert 0.19 < len(fold["val"]) / len(studies) < 0.21


def test_names_that_are_not_the_challenges_are_warned_of_with_the_guess(tmp_path):
    names = [f"P{number}_{study}" for number in range(5) for study in ("baseline", "followup")]
    third_challenge(tmp_path, *names, "psma_b_1")

    plan = autopet.plan(tmp_path)

    assert [case.patient for case in plan.cases if case.name.startswith("P")] == [name.split("_")[0] for name in names]
    (note,) = plan.notes
    assert note.startswith("WARNING: 10 cases are not named <fdg or psma>_<patient>_<study>, so their 5 patients are")
    assert "P0_baseline is of P0" in note and "h2aseg convert pairs" in note


def test_numbered_names_are_patients_of_their_own_and_warned_of(tmp_path):
    third_challenge(tmp_path, *(f"case_{number:03d}" for number in range(8)))

    plan = autopet.plan(tmp_path)

    assert plan.num_patients == 8
    assert "case_000 is of case_000" in plan.notes[0]


def test_names_of_the_challenge_are_no_guess(tmp_path):
    third_challenge(tmp_path, f"fdg_0168f65af8_{STUDY}", "psma_95b833d46f153cd2_2017-11-18")
    third_challenge(tmp_path, "own", part="Ts", label=False)

    assert autopet.plan(tmp_path).notes == ()


@pytest.mark.parametrize(
    "content",
    [{"train": [], "val": []}, [["fdg_a_1"]], [{"train": ["fdg_a_1"]}], [{"train": "fdg_a_1", "val": []}], "fdg", None],
    ids=["one fold", "lists", "no val", "a name instead of a list", "text", "null"],
)
def test_folds_of_another_shape_are_refused_before_anything_is_converted(tmp_path, content):
    third_challenge(tmp_path, "fdg_a_1")
    (tmp_path / "splits_final.json").write_text(json.dumps(content))

    with pytest.raises(UserError, match=r"splits_final\.json does not hold folds; expected is a list"):
        autopet.plan(tmp_path)
