import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from h2aseg_nnunet.petct.convert.splits import Study, choose_folds, make_folds


def patients_of(folds, studies, side):
    return [{studies[name].patient for name in fold[side]} for fold in folds]


def cohort(num_studies: int, seed: int = 0) -> dict[str, Study]:
    """Studies as AutoPET has them: most patients have one, half are without lesions."""
    chance = random.Random(seed)
    studies: dict[str, Study] = {}
    while len(studies) < num_studies:
        patient = f"PETCT_{chance.getrandbits(40):010x}"
        for number in range(chance.choice((1, 1, 1, 2, 3, 5))):
            studies[f"{patient}_{number}"] = Study(patient, f" {chance.random() < 0.5}")
    return studies


def test_2000_studies_are_split_by_patient_and_balanced():
    studies = cohort(2000)

    folds = make_folds(studies)

    assert len(folds) == 5
    assert sorted(name for fold in folds for name in fold["val"]) == sorted(studies)
    positives = sum(study.stratum == " True" for study in studies.values()) / len(studies)
    for fold, train, val in zip(
        folds, patients_of(folds, studies, "train"), patients_of(folds, studies, "val"), strict=True
    ):
        assert not train & val
        assert sorted(fold["train"] + fold["val"]) == sorted(studies)
        assert abs(len(fold["val"]) - len(studies) / 5) <= 0.01 * len(studies)
        share = sum(studies[name].stratum == " True" for name in fold["val"]) / len(fold["val"])
        assert abs(share - positives) < 0.02


def test_folds_depend_on_the_studies_alone_and_not_on_their_order():
    studies = cohort(200)
    shuffled = list(studies.items())
    random.Random(1).shuffle(shuffled)

    assert make_folds(dict(shuffled)) == make_folds(studies)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.sampled_from(["fdg True", "fdg False", "psma True"])), min_size=1, max_size=60
    )
)
def test_any_cohort_is_split_by_patient_without_an_empty_fold(rows):
    studies = {f"case{i}": Study(f"patient{patient}", stratum) for i, (patient, stratum) in enumerate(rows)}
    patients = {study.patient for study in studies.values()}

    folds = make_folds(studies)

    assert len(folds) == (min(5, len(patients)) if len(patients) > 1 else 0)
    for train, val in zip(patients_of(folds, studies, "train"), patients_of(folds, studies, "val"), strict=True):
        assert train and val and not train & val
    if folds:
        assert sorted(name for fold in folds for name in fold["val"]) == sorted(studies)


def test_a_few_lesion_free_patients_are_spread():
    studies = {f"case{i:02d}": Study(f"patient{i}", str(i < 5)) for i in range(25)}

    assert [sum(studies[name].stratum == "True" for name in fold["val"]) for fold in make_folds(studies)] == [1] * 5


@pytest.mark.parametrize(
    ("num_patients", "num_folds", "words"),
    [(0, 0, "no case has a reference"), (1, 0, "train with fold 'all'"), (3, 3, "train folds 0 to 2 only")],
)
def test_few_patients_give_fewer_folds_and_a_note(num_patients, num_folds, words):
    studies = {f"case{i}": Study(f"patient{i // 2}", "True") for i in range(2 * num_patients)}

    folds, notes = choose_folds(studies, given=None)

    assert len(folds) == num_folds
    assert len(notes) == 1 and words in notes[0]


STUDIES = {name: Study(name[0], "True") for name in ("a1", "a2", "b1", "c1", "d1", "e1", "f1")}


def test_delivered_folds_are_taken():
    delivered = [{"train": ["a1", "a2", "b1"], "val": ["c1", "d1"]}, {"train": ["c1", "d1"], "val": ["a1", "a2", "b1"]}]

    assert choose_folds(STUDIES, delivered) == (delivered, ["2 cases are in no validation set of the delivered folds"])


def test_cases_that_are_not_here_are_left_out_of_delivered_folds():
    delivered = [{"train": ["a1", "elsewhere"], "val": ["b1", "away"]}]

    assert choose_folds(STUDIES, delivered)[0] == [{"train": ["a1"], "val": ["b1"]}]


@pytest.mark.parametrize(
    ("delivered", "words"),
    [
        ([{"train": ["a1", "b1"], "val": ["a2", "c1"]}], "1 patients, for instance a, are on both sides"),
        ([{"train": ["a1"], "val": ["elsewhere"]}], "no training or no validation case"),
        ([], "no training or no validation case"),
    ],
    ids=["a patient on both sides", "nothing left", "empty"],
)
def test_delivered_folds_that_do_not_serve_are_replaced_with_a_note(delivered, words):
    folds, notes = choose_folds(STUDIES, delivered)

    assert folds == make_folds(STUDIES)
    assert words in notes[0]
