import pytest

from studies import figure
from studies.results import comparable, read_runs


@pytest.fixture
def picture(tmp_path, write_cases):
    file = tmp_path / "accuracy.png"
    figure.draw(comparable(read_runs(write_cases())), file)
    return file


def test_a_picture_of_these_results_is_current(picture):
    assert figure.faults(picture) == []


def test_a_picture_of_other_results_is_a_fault(picture, monkeypatch):
    monkeypatch.setattr(figure, "fingerprint", lambda: "other results")

    assert figure.faults(picture) == [
        "accuracy.png was drawn from other results: run `python -m studies.tables`.",
    ]
