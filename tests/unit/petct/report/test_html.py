import pytest

from h2aseg_nnunet.petct.report.html import case_url, decimals, percent, position, volume


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "\N{EN DASH}"), (0.0, "0.00"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"), (12345.6, "12346")],
)
def test_volume_has_about_three_digits(value, text):
    assert volume(value) == text


def test_negative_number_has_a_minus_sign():
    assert decimals(-1.25, 1) == "\N{MINUS SIGN}1.2"


@pytest.mark.parametrize(
    ("share", "text"), [(None, "\N{EN DASH}"), (0, "0 %"), (0.001, "1 %"), (0.999, "99 %"), (1, "100 %")]
)
def test_percent_says_nothing_or_all_only_when_it_is(share, text):
    assert percent(share) == text


def test_position_has_letters_instead_of_signs():
    assert position((-34.4, 12.0, -880.2)) == "R 34, P 12, I 880"
    assert position((34.4, -12.0, 880.2)) == "L 34, A 12, S 880"
    assert position((-0.2, 0.2, 0.0)) == "L 0, P 0, S 0"


def test_names_are_encoded_in_links():
    assert case_url("a/b #1%") == "cases/a%2Fb%20%231%25.html"
