"""What a clinic reads off a mask, by hand."""

import math

import numpy as np
import pytest

from h2aseg_nnunet.petct.evaluate.aggregate import aggregate
from h2aseg_nnunet.petct.evaluate.protocol import CaseArrays, MetricSettings
from h2aseg_nnunet.petct.evaluate.protocols import measure
from h2aseg_nnunet.petct.evaluate.protocols.clinical import clinical
from h2aseg_nnunet.petct.evaluate.spread import dmax_mm
from h2aseg_nnunet.petct.images.lesions import lesions

SPACING_MM = (10, 10, 10)  # voxels of 1 ml


def row(*values):
    return np.array([[values]], np.uint8)


REFERENCE = row(1, 0, 1, 1, 1, 1, 1, 0, 0, 0)
PREDICTION = row(0, 0, 1, 1, 0, 0, 0, 0, 1, 1)
SUV = np.array([[[2.0, 1, 5, 5, 10, 4, 3, 1, 2.5, 1]]])


def test_volumes_and_lesions_of_the_masks():
    values = measure("clinical", REFERENCE, PREDICTION, SPACING_MM)

    assert values["over_segmentation_ratio"] == pytest.approx(4 / 6)
    assert values["dmax_mm_reference"] == pytest.approx(40)  # centers at 0 and 4
    assert values["dmax_mm_prediction"] == pytest.approx(60)  # at 2.5 and 8.5
    assert values["dmax_mm_difference"] == pytest.approx(20)
    assert values["false_lesions"] == 1
    by_class = {name: (values[f"lesions_{name}"], values[f"found_{name}"]) for name in ("1_to_5_ml", "5_to_20_ml")}
    assert by_class == {"1_to_5_ml": (1, 0), "5_to_20_ml": (1, 1)}
    assert not any(name.startswith(("tmtv", "suv", "organ")) for name in values)


def test_uptake_by_fixed_rules_inside_the_mask():
    values = measure("clinical", REFERENCE, PREDICTION, SPACING_MM, SUV)

    assert values["tmtv_ml_suv_4_reference"] == 4  # 5, 5, 10 and 4
    assert values["tmtv_ml_suv_2.5_reference"] == 5
    assert values["tmtv_ml_41_percent_reference"] == 1 + 3  # 2 of 2; 5, 5 and 10, but not 4 of 10
    assert values["tmtv_ml_suv_2.5_prediction"] == 3
    assert values["tmtv_ml_suv_2.5_difference"] == -2
    assert (values["lesions_suv_below_2.5"], values["lesions_suv_from_10"], values["found_suv_from_10"]) == (1, 1, 1)
    assert values["suv_peak_reference"] <= 10


@pytest.mark.parametrize(("ml", "name"), [(0.5, "below_1_ml"), (1, "1_to_5_ml"), (5, "5_to_20_ml"), (20, "from_20_ml")])
def test_a_class_begins_with_its_least_volume(ml, name):
    mask = np.ones((1, 1, 1))

    values = measure("clinical", mask, mask, (10, 10, 10 * ml))

    assert [key for key, value in values.items() if key.startswith("lesions_") and value] == [f"lesions_{name}"]


def test_what_is_undefined_without_lesions():
    empty = row(0, 0)

    values = measure("clinical", empty, row(0, 1), SPACING_MM, np.ones((1, 1, 2)))

    undefined = {name for name, value in values.items() if math.isnan(value)}
    assert undefined == {
        "over_segmentation_ratio",
        *(f"dmax_mm_{which}" for which in ("reference", "prediction", "difference")),
        *(f"suv_peak_{which}" for which in ("reference", "difference")),
    }


def test_decisions_about_patients():
    ill, well = row(1, 0), row(0, 0)
    pairs = [(ill, ill), (ill, ill), (ill, well), (well, well), (well, ill), (well, well)]

    figures = aggregate("clinical", [measure("clinical", *pair, SPACING_MM) for pair in pairs])

    assert figures["patients"] == pytest.approx({"sensitivity": 2 / 3, "specificity": 2 / 3})
    low, high = figures["patients_interval_95"]["sensitivity"]
    assert 0 <= low <= 2 / 3 <= high <= 1
    assert "found_by_suv_max" not in figures  # there is no PET


def test_detection_of_all_lesions_by_class():
    cases = [
        measure("clinical", REFERENCE, PREDICTION, SPACING_MM, SUV),
        measure("clinical", *[row(1, 0)] * 2, SPACING_MM, np.full((1, 1, 2), 3.0)),
    ]

    figures = aggregate("clinical", cases)

    assert figures["found_by_volume"] == pytest.approx(
        {"below_1_ml": np.nan, "1_to_5_ml": 1 / 2, "5_to_20_ml": 1, "from_20_ml": np.nan}, nan_ok=True
    )
    assert figures["found_by_suv_max"] == pytest.approx(
        {"suv_below_2.5": 0, "suv_2.5_to_4": 1, "suv_4_to_10": np.nan, "suv_from_10": 1}, nan_ok=True
    )


def test_organs_that_the_tumor_touches():
    organs = np.array([[[5, 5, 5, 5, 10, 11, 0, 0, 200, 1]]])
    arrays = CaseArrays(REFERENCE, (PREDICTION,), SPACING_MM, SUV, organs, liver_suv=4.5)

    values = clinical(arrays, MetricSettings("clinical"))

    assert {
        name: value for name, value in values.items() if name.startswith("organ_ml") and "difference" not in name
    } == {
        "organ_ml_liver_reference": 3,
        "organ_ml_liver_prediction": 2,
        "organ_ml_lungs_reference": 2,
        "organ_ml_lungs_prediction": 0,
        "organ_ml_spleen_reference": 0,
        "organ_ml_spleen_prediction": 1,
        "organ_ml_elsewhere_reference": 1,
        "organ_ml_elsewhere_prediction": 1,
    }
    assert values["tmtv_ml_percist_liver_reference"] == 3


def test_dmax_is_measured_in_mm_along_every_axis():
    mask = np.zeros((3, 5, 7))
    mask[0, 0, 0] = mask[2, 4, 6] = mask[1, 2, 3] = 1

    assert dmax_mm(lesions(mask, (5, 2, 1)), (5, 2, 1)) == pytest.approx(math.hypot(10, 8, 6))
    assert math.isnan(dmax_mm(lesions(mask[:1], (5, 2, 1)), (5, 2, 1)))
