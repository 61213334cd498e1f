"""The first page: how the cohort did, the worst cases first, and the way to each case."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from h2aseg_nnunet.petct.report.charts import bland_altman_chart, scatter_chart, strip_chart
from h2aseg_nnunet.petct.report.html import render
from h2aseg_nnunet.petct.report.judge import Measures
from h2aseg_nnunet.petct.report.summary import Agreement, Distribution, Row, agreement, distribution, worst_first

WORST = 8
"""Cases shown in pictures above the table."""


class Figures(NamedTuple):
    """One measure over the cohort, and its chart."""

    label: str
    digits: int
    distribution: Distribution | None
    chart: str


class Volumes(NamedTuple):
    """Predicted against reference volumes."""

    agreement: Agreement | None
    scatter: str
    bland_altman: str


class CohortSection(NamedTuple):
    """One class over the cohort.

    Attributes:
        name: Name of the class.
        rows: The cases, the worst first.
        compared: The cases with a reference.
        figures: Figures of the compared cases, or of all if none is.
        volumes: Volumes of the compared cases.
    """

    name: str
    rows: list[Row]
    compared: list[Row]
    figures: list[Figures]
    volumes: Volumes | None


def overview(records: Sequence[Mapping], notes: Mapping[str, Sequence[str]], **texts: object) -> str:
    """Make the page.

    Args:
        records: What `write_case` left of each case, all with the same classes.
        notes: Names of cases by what is to be said of them.
        texts: What else the template needs: `folders` and `version`.
    """
    sections = [_section(name, records) for name in records[0]["classes"]] if records else []
    return render("overview.html", sections=sections, notes=notes, worst=WORST, **texts)


def worst_case_names(records: Sequence[Mapping]) -> list[str]:
    """Return the order in which case pages follow each other: that of the first class."""
    return [row.case for row in _section_rows(next(iter(records[0]["classes"])), records)] if records else []


def _section_rows(name: str, records: Sequence[Mapping]) -> list[Row]:
    return worst_first(Row(record["case"], Measures(**record["classes"][name])) for record in records)


def _section(name: str, records: Sequence[Mapping]) -> CohortSection:
    rows = _section_rows(name, records)
    compared = [row for row in rows if row.compared]
    if not compared:
        figures = [
            _figures(rows, name, "volume_ml", "Predicted volume (ml)", 1),
            _figures(rows, name, "tlg", "Total lesion glycolysis (SUV \N{MULTIPLICATION SIGN} ml)", 0),
            _figures(rows, name, "lesions", "Predicted lesions", 1),
        ]
        return CohortSection(name, rows, compared, figures, None)
    figures = [
        _figures(compared, name, "dice", "Dice", 3),
        _figures(compared, name, "false_positive_volume_ml", "False-positive volume (ml)", 2),
        _figures(compared, name, "false_negative_volume_ml", "False-negative volume (ml)", 2),
    ]
    return CohortSection(name, rows, compared, figures, _volumes(compared, name))


def _figures(rows: Sequence[Row], name: str, key: str, label: str, digits: int) -> Figures:
    defined = [row for row in rows if getattr(row.measures, key) is not None]
    values = [getattr(row.measures, key) for row in defined]
    cases = [row.case for row in defined]
    chart = strip_chart(values, cases, f"{name} {key}", label, is_volume=key != "dice")
    return Figures(label, digits, distribution(values), chart)


def _volumes(rows: Sequence[Row], name: str) -> Volumes:
    reference = [row.measures.reference_volume_ml or 0.0 for row in rows]
    predicted = [row.measures.volume_ml for row in rows]
    cases = [row.case for row in rows]
    return Volumes(
        agreement(reference, predicted),
        scatter_chart(reference, predicted, cases, f"{name} scatter"),
        bland_altman_chart(reference, predicted, cases, f"{name} Bland-Altman"),
    )
