import pytest

from studies import pages

PAGE = "# Title\n\n<!-- table: dice -->\n\n| 0.746 |\n\n<!-- end -->\n\nText.\n"


def test_a_table_is_replaced_and_its_surroundings_stay():
    filled = pages.fill(PAGE, {"dice": "| 0.750 |"})

    assert filled == PAGE.replace("0.746", "0.750")
    assert pages.fill(filled, {"dice": "| 0.750 |"}) == filled


@pytest.mark.parametrize("page", [PAGE.replace("<!-- end -->", ""), PAGE.replace("dice", "fpv")])
def test_a_mark_without_end_or_of_no_table_is_refused(page):
    with pytest.raises(ValueError, match=r"<!-- (table|end)"):
        pages.fill(page, {"dice": "| 0.750 |"})


def test_a_table_whose_mark_was_lost_is_missed(tmp_path):
    page = tmp_path / "accuracy.md"
    page.write_text(PAGE)

    assert pages.unpublished([page], {"dice": "", "fpv": ""}) == ["The table fpv is on no page."]


def test_accuracies_outside_of_tables_are_found(tmp_path):
    page = tmp_path / "accuracy.md"
    page.write_text(PAGE + "H2ASeg has +0.750, p 0.0004, from version 2.14.1.\n")

    assert pages.typed(page) == ["accuracy.md: 0.750 is typed by hand and not made from studies/results."]
