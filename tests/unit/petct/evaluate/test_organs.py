import json
import math

import numpy as np
import pytest

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.evaluate.organs import MOOSE, TOTALSEGMENTATOR, liver_threshold, organ_volumes_ml, read_organs
from tests.synthetic import ball


@pytest.mark.parametrize(("organs", "last"), [(TOTALSEGMENTATOR, 117), (MOOSE, 19)])
def test_every_value_of_a_scheme_means_one_organ(organs, last):
    assert sorted(value for values in organs.values() for value in values) == list(range(1, last + 1))


def test_a_file_may_name_organs_as_dataset_json_does(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"labels": {"background": 0, "liver": 3, "bone": [1, 2]}}))
    (tmp_path / "b.json").write_text(json.dumps({"liver": 3}))

    assert read_organs(str(tmp_path / "a.json")) == {"liver": (3,), "bone": (1, 2)}
    assert read_organs(str(tmp_path / "b.json")) == {"liver": (3,)}


@pytest.mark.parametrize(
    ("content", "words"), [("[]", "names no organ"), ('{"liver": "5"}', "liver is '5', expected is a whole number")]
)
def test_another_file_is_refused(tmp_path, content, words):
    (tmp_path / "organs.json").write_text(content)

    with pytest.raises(UserError, match=words):
        read_organs(str(tmp_path / "organs.json"))


def test_an_unknown_scheme_is_taken_for_a_file():
    with pytest.raises(UserError, match="moos cannot be read"):
        read_organs("moos")


def test_volume_of_a_mask_in_each_organ():
    organs = np.array([[[1, 2, 3, 7, 0]]])
    mask = np.array([[[1, 1, 1, 1, 1]]], bool)

    volumes = organ_volumes_ml(mask, organs, (10, 10, 20), {"kidneys": (2, 3), "spleen": (1,), "liver": (4,)})

    assert volumes == {"elsewhere": 4, "spleen": 2, "kidneys": 4}


def test_the_liver_is_measured_in_a_sphere_of_3_cm_far_from_its_border():
    """A large and a small ball, joined by nothing: the sphere lies in the large one."""
    shape, spacing_mm = (24, 24, 40), (4.0, 4.0, 4.0)
    liver = ball(shape, (12, 12, 12), 10) | ball(shape, (12, 12, 32), 5)
    inside = ball(shape, (12, 12, 12), 15 / 4 + 1e-6)
    suv = np.where(inside, 2.0, 9.0)
    suv[12, 12, 12] = 3.0

    values = suv[inside]
    assert liver_threshold(suv, liver, spacing_mm) == pytest.approx(1.5 * values.mean() + 2 * values.std())


def test_without_a_liver_there_is_no_threshold():
    assert math.isnan(liver_threshold(np.ones((2, 2, 2)), np.zeros((2, 2, 2), bool), (1, 1, 1)))
