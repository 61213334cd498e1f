"""What the pages point at exists, and the commands that they show are commands."""

import ast
import re
import shlex

import pytest

from h2aseg_nnunet import __version__
from h2aseg_nnunet.cli import make_parser
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


def shown_commands(page):
    """The h2aseg commands in the blocks of a page that a shell would run; those with "..." are no whole commands."""
    for block in re.findall(r"^```bash\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        for line in re.split(r"[\n;|]|&&", block.replace("\\\n", " ")):
            words = shlex.split(line, comments=True)
            while words and ("=" in words[0] or words[0] in ("do", "time")):
                del words[0]
            if words and words[0].rpartition("/")[2] == "h2aseg" and "..." not in words:
                yield words[1:]


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_commands_that_pages_show_are_understood(page, capsys):
    parser = make_parser()
    for words in shown_commands(page):
        try:
            parser.parse_args(words)
        except SystemExit as end:
            assert end.code == 0, f"{page.name}: h2aseg {' '.join(words)}: {capsys.readouterr().err}"


def test_commands_are_found_in_pages():
    assert sum(len(list(shown_commands(page))) for page in PAGES) > 40


def test_the_version_is_in_the_citation_and_dated_in_the_changelog():
    """The workflow that releases a version asks for both."""
    citation, changelog = ((REPOSITORY / name).read_text(encoding="utf-8") for name in ("CITATION.cff", "CHANGELOG.md"))

    assert f"\nversion: {__version__}\n" in citation
    assert re.search(rf"^## \[{re.escape(__version__)}\] - \d{{4}}-\d\d-\d\d$", changelog, re.MULTILINE)
