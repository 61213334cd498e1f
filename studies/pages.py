"""Generated parts of Markdown pages, between `<!-- table: NAME -->` and `<!-- end -->`."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

BLOCK = re.compile(r"<!-- table: (?P<name>\w+) -->\n(?P<body>.*?)<!-- end -->", re.DOTALL)
TYPED = re.compile(r"(?<![\d.])0\.\d{3}(?!\d)")
"""How a Dice or a difference of Dice is written."""


def fill(text: str, tables: Mapping[str, str]) -> str:
    """The page with every marked part replaced.

    Raises:
        ValueError: If a marked part has an unknown name or no end.
    """

    def replace(block: re.Match) -> str:
        if block["name"] not in tables or "<!-- table:" in block["body"]:
            raise ValueError(f"<!-- table: {block['name']} --> has no end, or is none of {', '.join(tables)}.")
        return f"<!-- table: {block['name']} -->\n\n{tables[block['name']]}\n\n<!-- end -->"

    if text.count("<!-- table:") != text.count("<!-- end -->"):
        raise ValueError("Every <!-- table: NAME --> needs one <!-- end -->.")
    return BLOCK.sub(replace, text)


def differing(page: Path, tables: Mapping[str, str]) -> list[str]:
    """A line for every table of the page that is not what the results give."""
    text = page.read_text()
    before, after = ([block[0] for block in BLOCK.finditer(each)] for each in (text, fill(text, tables)))
    names = [block["name"] for block in BLOCK.finditer(text)]
    return [
        f"{page.name}: the table {name} differs from studies/results: run `python -m studies.tables`."
        for name, old, new in zip(names, before, after, strict=True)
        if old != new
    ]


def unpublished(pages: Iterable[Path], tables: Iterable[str]) -> list[str]:
    """A line for every table that stands on no page: its mark was lost."""
    found = {block["name"] for page in pages for block in BLOCK.finditer(page.read_text())}
    return [f"The table {name} is on no page." for name in tables if name not in found]


def typed(page: Path) -> list[str]:
    """A line for every accuracy that stands outside of the generated parts."""
    found = TYPED.findall(BLOCK.sub("", page.read_text()))
    return [f"{page.name}: {number} is typed by hand and not made from studies/results." for number in found]
