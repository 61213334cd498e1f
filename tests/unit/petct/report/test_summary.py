import pytest

from h2aseg_nnunet.petct.report.judge import Measures
from h2aseg_nnunet.petct.report.summary import Row, agreement, distribution, worst_first


def compared(case, dice=None, predicted_ml=0.0, false_ml=0.0, missed_ml=None):
    lesion_free = dice is None
    return Row(
        case,
        Measures(
            predicted_ml,
            tlg=0.0,
            lesions=0,
            reference_volume_ml=0.0 if lesion_free else 10.0,
            dice=dice,
            false_positive_volume_ml=false_ml,
            false_negative_volume_ml=missed_ml,
        ),
    )


def test_worst_case_comes_first():
    rows = [
        compared("lesion-free, clean"),
        compared("good", dice=0.9, missed_ml=0.0),
        compared("lesion-free, false lesion", predicted_ml=3.0, false_ml=3.0),
        compared("missed", dice=0.0, missed_ml=50.0),
        compared("fair", dice=0.5, missed_ml=0.0),
        Row("no reference", Measures(100.0, 0.0, 1)),
    ]
    assert [row.case for row in worst_first(rows)] == [
        "missed",  # more volume is wrong than in the next
        "lesion-free, false lesion",
        "fair",
        "good",
        "lesion-free, clean",
        "no reference",
    ]


def test_without_references_the_largest_volume_comes_first():
    rows = [Row("small", Measures(1.0, 0.0, 1)), Row("large", Measures(9.0, 0.0, 1))]
    assert [row.case for row in worst_first(rows)] == ["large", "small"]


def test_distribution_leaves_out_what_is_undefined():
    values = distribution([0.0, None, 1.0, 2.0, 5.0])
    assert values == (4, 2.0, 1.5, 0.75, 2.75)


def test_nothing_defined_has_no_distribution():
    assert distribution([None, None]) is None


def test_bland_altman():
    # Differences 2, 4, 0 with mean 2 and standard deviation 2.
    bias, low, high = agreement([10, 20, 30], [12, 24, 30])
    assert (bias, low, high) == pytest.approx((2, 2 - 1.96 * 2, 2 + 1.96 * 2))


def test_one_case_has_no_limits_of_agreement():
    assert agreement([10], [12]) is None
