"""What the pages point at exists."""

import ast
import re

import pytest

from tests.locations import REPOSITORY

PAGES = sorted(
    page for pattern in ("*.md", "docs/**/*.md", "studies/*.md", "benchmarks/*.md") for page in REPOSITORY.glob(pattern)
)
LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(#[^)\s]+)?\)")
FILE = re.compile(r"`((?:h2aseg_nnunet|tests|docs|studies|benchmarks)/[\w/.-]+\.\w+)`")
TEST = re.compile(r"`(test_\w+)(?:\.py)?`")


def page_id(page):
    return str(page.relative_to(REPOSITORY))


def anchors(page):
    """Anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {"#" + re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_to_files_and_headings(page):
    for path, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {path}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {path}{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_files_that_pages_name_exist(page):
    named = FILE.findall(page.read_text(encoding="utf-8"))

    assert [file for file in named if not (REPOSITORY / file).exists()] == []


def test_the_tests_that_pages_name_exist():
    files = list((REPOSITORY / "tests").rglob("test_*.py"))
    functions = (
        node.name
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    )
    known = {file.stem for file in files} | set(functions)

    named = {name: page.name for page in PAGES for name in TEST.findall(page.read_text(encoding="utf-8"))}

    assert len(named) > 50  # docs/nnunet-features.md alone names more
    assert {name: page for name, page in named.items() if name not in known} == {}
