from pathlib import Path

import numpy as np
import pytest

from h2aseg_nnunet.petct.report.judge import Measures
from h2aseg_nnunet.petct.report.overview import overview
from tests.unit.petct.report.pages import Page


def record(case, random):
    """A made-up case: a quarter are lesion-free."""
    volume = 0.0 if random.random() < 0.25 else float(random.lognormal(3, 1))
    predicted = volume * float(random.uniform(0, 1.3))
    measures = Measures(
        volume_ml=predicted,
        tlg=5 * predicted,
        lesions=3,
        reference_volume_ml=volume,
        reference_tlg=6 * volume,
        reference_lesions=4 if volume else 0,
        found=3 if volume else 0,
        false=1,
        dice=float(random.random()) if volume else None,
        false_positive_volume_ml=1.0,
        false_negative_volume_ml=2.0 if volume else None,
    )
    return {"case": case, "classes": {"tumor": measures._asdict()}}


def page(folder: Path, records, notes=None):
    file = folder / "index.html"
    file.write_text(overview(records, notes or {}, folders={"images": "images"}, version="1.0"), encoding="utf-8")
    return Page(file)


def test_a_thousand_cases_stay_a_small_page(tmp_path):
    random = np.random.default_rng(0)
    whole = page(tmp_path, [record(f"case_{number:04d}", random) for number in range(1000)])

    assert len(whole.text) < 3e6
    assert len([row for row in whole.all("th") if row.get("scope") == "row"]) == 1000 + 3  # and three measures
    assert all(image["loading"] == "lazy" for image in whole.all("img"))
    identifiers = [attributes["id"] for _, attributes in whole.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))


def test_points_of_the_charts_lead_to_their_cases_but_do_not_stop_the_tab_key(tmp_path):
    random = np.random.default_rng(1)
    records = [record(f"case & {number}", random) for number in range(9)]
    whole = page(tmp_path, records)

    points = [link for link in whole.all("a") if link.get("tabindex") == "-1"]
    defined = sum(each["classes"]["tumor"]["dice"] is not None for each in records)
    assert len(points) == 2 * defined + 3 * 9  # Dice and false negatives are undefined without lesions
    assert {link["href"] for link in points} == {f"cases/case%20%26%20{number}.html" for number in range(9)}


def test_undefined_is_a_dash_and_sorts_last(tmp_path):
    free = record("free", np.random.default_rng(0))
    free["classes"]["tumor"] |= {"dice": None, "false_negative_volume_ml": None, "reference_lesions": 0}
    whole = page(tmp_path, [free])

    values = [cell["data-value"] for cell in whole.all("td") if "data-value" in cell]
    assert values[0] == values[2] == ""
    assert "lesion-free, 1 false" in whole.visible()


@pytest.mark.parametrize("number", [1, 2])
def test_few_cases_have_charts(tmp_path, number):
    random = np.random.default_rng(4)
    whole = page(tmp_path, [record(str(i), random) for i in range(number)])
    assert len(whole.all("figure")) == 5
    assert ("limits of agreement" in whole.visible()) == (number == 2)


def test_notes_name_the_cases(tmp_path):
    whole = page(tmp_path, [], {"Could not be shown": ["a: <damaged>"]})
    assert "Could not be shown (1) a: <damaged>" in whole.visible()
    assert "No case could be shown." in whole.visible()
