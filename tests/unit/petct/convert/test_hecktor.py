from pathlib import Path

import pytest

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.convert import hecktor


def touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def test_2022_training_and_test_data_side_by_side(tmp_path):
    train, test = tmp_path / "hecktor2022_training" / "imagesTr", tmp_path / "hecktor2022_testing" / "imagesTs"
    touch(train / "CHUM-001__CT.nii.gz", train / "CHUM-001__PT.nii.gz", train.with_name("labelsTr") / "CHUM-001.nii.gz")
    touch(test / "USZ-001__CT.nii.gz", test / "USZ-001__PT.nii.gz", test / "._USZ-001__CT.nii.gz")

    plan = hecktor.plan(tmp_path)

    tests, training = sorted(plan.cases, key=lambda case: case.training)
    assert (training.name, training.patient, training.training) == ("CHUM-001", "CHUM-001", True)
    assert (training.ct, training.pet) == (train / "CHUM-001__CT.nii.gz", train / "CHUM-001__PT.nii.gz")
    assert training.label == train.with_name("labelsTr") / "CHUM-001.nii.gz"
    assert (tests.name, tests.label, tests.training) == ("USZ-001", None, False)
    assert (plan.name, plan.labels, plan.one_grid) == ("HECKTOR2022", ("GTVp", "GTVn"), False)


def test_a_training_patient_without_pet_or_label_is_refused(tmp_path):
    touch(tmp_path / "imagesTr" / "CHUM-001__CT.nii.gz", tmp_path / "imagesTr" / "CHUM-001__PT.nii.gz")
    touch(tmp_path / "imagesTr" / "CHUM-002__CT.nii.gz", tmp_path / "labelsTr" / "CHUM-002.nii.gz")

    plan = hecktor.plan(tmp_path)

    assert not plan.cases
    assert plan.refused["CHUM-001"].endswith("labelsTr/CHUM-001.nii.gz.")
    assert plan.refused["CHUM-002"].endswith("imagesTr/CHUM-002__PT.nii.gz.")


@pytest.mark.parametrize("task", ["Task 1", "."], ids=["2025", "2026"])
def test_one_folder_per_patient_as_from_2025_on(tmp_path, task):
    patient = tmp_path / task / "CHUM-001"
    touch(*(patient / f"CHUM-001{ending}.nii.gz" for ending in ("__CT", "__PT", "__CTPlanning", "")))

    (case,) = hecktor.plan(tmp_path).cases

    assert (case.ct, case.label) == (patient / "CHUM-001__CT.nii.gz", patient / "CHUM-001.nii.gz")


def test_a_patient_found_twice_is_an_error_that_names_both(tmp_path):
    for task in ("Task 1", "Task 2"):
        touch(*(tmp_path / task / "CHUM-001" / f"CHUM-001{ending}.nii.gz" for ending in ("__CT", "__PT", "")))

    with pytest.raises(ValueError, match=r"Two studies would be called 'CHUM-001': .*Task 1.*Task 2"):
        hecktor.plan(tmp_path)


def year_2021(folder: Path, patient: str, label: bool = True) -> None:
    endings = ("ct", "pt", "gtvt") if label else ("ct", "pt")
    touch(*(folder / "hecktor_nii" / f"{patient}_{ending}.nii.gz" for ending in endings))


def test_2021_names_and_its_single_label(tmp_path):
    year_2021(tmp_path / "hecktor2021_train", "CHGJ007")
    year_2021(tmp_path / "hecktor2021_test", "CHUP001", label=False)

    plan = hecktor.plan(tmp_path)

    assert (plan.name, plan.labels) == ("HECKTOR2021", ("GTVt",))
    assert {case.name: (case.training, case.label and case.label.name) for case in plan.cases} == {
        "CHGJ007": (True, "CHGJ007_gtvt.nii.gz"),
        "CHUP001": (False, None),
    }


def test_a_2021_training_patient_without_label_is_refused(tmp_path):
    year_2021(tmp_path, "CHGJ007")
    year_2021(tmp_path, "CHGJ008", label=False)

    assert "CHGJ008_gtvt.nii.gz" in hecktor.plan(tmp_path).refused["CHGJ008"]


def test_bounding_boxes_of_2021(tmp_path):
    """The challenge's order of columns is x1, x2, y1, y2, z1, z2."""
    year_2021(tmp_path, "CHGJ007")
    year_2021(tmp_path, "CHGJ008")
    table = tmp_path / "hecktor2021_bbox_training.csv"
    table.write_text("PatientID,x1,x2,y1,y2,z1,z2\nCHGJ007,-71.5,72.5,-200.25,-56.25,-208.5,-64.5\n")

    plan = hecktor.plan(tmp_path, table)

    (case,) = plan.cases
    assert case.box_mm == (-71.5, -200.25, -208.5, 72.5, -56.25, -64.5)
    assert "has no such PatientID" in plan.refused["CHGJ008"]
    assert plan.details == {"bounding_boxes": str(table)}


def test_a_table_without_boxes_is_named(tmp_path):
    year_2021(tmp_path, "CHGJ007")
    (tmp_path / "boxes.csv").write_text("PatientID,x1\nCHGJ007,1\n")

    with pytest.raises(ValueError, match=r"boxes\.csv lacks the columns y1, z1, x2, y2, z2; it has patientid, x1"):
        hecktor.plan(tmp_path, tmp_path / "boxes.csv")


def test_a_folder_of_something_else_is_refused_with_both_names(tmp_path):
    with pytest.raises(ValueError, match=r"neither <PatientID>__CT\.nii\.gz .* nor <PatientID>_ct\.nii\.gz"):
        hecktor.plan(tmp_path)


def test_a_box_that_is_no_number_is_named(tmp_path):
    year_2021(tmp_path, "CHGJ007")
    (tmp_path / "boxes.csv").write_text("PatientID,x1,x2,y1,y2,z1,z2\nCHGJ007,0,9,0,9,0,?\n")

    with pytest.raises(ValueError, match=r"boxes\.csv, line 2: could not convert"):
        hecktor.plan(tmp_path, tmp_path / "boxes.csv")


def year_2025(task: Path, *patients: str, label: bool = False) -> None:
    for patient in patients:
        endings = ("__CT", "__PT", "") if label else ("__CT", "__PT")
        touch(*(task / patient / f"{patient}{ending}.nii.gz" for ending in endings))


def test_2025_as_delivered_takes_each_patient_from_where_the_label_is(tmp_path):
    year_2025(tmp_path / "Task 1", "CHUM-001", "CHUM-002", label=True)
    year_2025(tmp_path / "Task 2", "CHUM-001", "CHUM-002")
    touch(tmp_path / "Task 2" / "CHUM-001" / "CHUM-001__RTDOSE.nii.gz")
    year_2025(tmp_path / "Task 3", "CHUM-001", "CHUM-002")

    plan = hecktor.plan(tmp_path)

    assert not plan.refused
    assert [(case.name, case.training, case.ct.parent.parent.name) for case in plan.cases] == [
        ("CHUM-001", True, "Task 1"),
        ("CHUM-002", True, "Task 1"),
    ]
    assert plan.notes == ("4 folders without labels are not used: their patients lie in another folder, too",)


@pytest.mark.parametrize("task", ["Task 2", "Task 3"])
def test_a_task_of_2025_without_labels_is_test_data(tmp_path, task):
    year_2025(tmp_path / task, "CHUM-001")

    plan = hecktor.plan(tmp_path / task)

    assert [(case.name, case.training, case.label) for case in plan.cases] == [("CHUM-001", False, None)]
    assert plan.notes == (f"no patient of {tmp_path / task} has a label, so they are test cases",)


def test_a_patient_of_task_2_alone_is_a_test_case(tmp_path):
    year_2025(tmp_path / "Task 1", "CHUM-001", label=True)
    year_2025(tmp_path / "Task 2", "CHUM-001", "CHUM-009")
    year_2025(tmp_path / "Task 3", "CHUM-009")

    plan = hecktor.plan(tmp_path)

    assert {case.name: (case.training, case.ct.parent.parent.name) for case in plan.cases} == {
        "CHUM-001": (True, "Task 1"),
        "CHUM-009": (False, "Task 2"),
    }


def test_a_patient_whose_label_is_missing_among_others_is_refused_whatever_the_other_tasks_have(tmp_path):
    year_2025(tmp_path / "Task 1", "CHUM-001", label=True)
    year_2025(tmp_path / "Task 1", "CHUM-002")
    year_2025(tmp_path / "Task 2", "CHUM-001", "CHUM-002")

    plan = hecktor.plan(tmp_path)

    assert [case.name for case in plan.cases] == ["CHUM-001"]
    assert "Task 1/CHUM-002/CHUM-002.nii.gz" in plan.refused["CHUM-002"]


def test_labels_that_are_links_to_what_is_not_there_do_not_make_test_data(tmp_path):
    year_2025(tmp_path / "Task 1", "CHUM-001")
    (tmp_path / "Task 1" / "CHUM-001" / "CHUM-001.nii.gz").symlink_to(tmp_path / "annex")

    plan = hecktor.plan(tmp_path)

    assert not plan.cases and "CHUM-001.nii.gz" in plan.refused["CHUM-001"]


@pytest.mark.parametrize("number", ["nan", "inf"])
def test_a_box_that_is_not_finite_is_named(tmp_path, number):
    year_2021(tmp_path, "CHGJ007")
    (tmp_path / "boxes.csv").write_text(f"PatientID,x1,x2,y1,y2,z1,z2\nCHGJ007,0,9,0,{number},0,9\n")

    with pytest.raises(UserError, match=rf"boxes\.csv, line 2: a box is six numbers in mm, not .*{number}"):
        hecktor.plan(tmp_path, tmp_path / "boxes.csv")
