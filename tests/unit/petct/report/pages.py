"""Reading the report's pages as a browser does, but strictly."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

VOID = {"meta", "link", "input", "img", "br"}


class Page(HTMLParser):
    """Elements of a page; every one must be closed where it should be."""

    def __init__(self, file: Path):
        super().__init__()
        self.file, self.text = file, file.read_text(encoding="utf-8")
        self.open, self.elements, self.words = [], [], []
        self.feed(self.text)
        self.close()
        assert self.open == [], f"{file}: never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"{self.file}: </{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def visible(self):
        return " ".join(" ".join(self.words).split())

    def links(self):
        """Files that the page loads or leads to."""
        names = [attributes.get("href") or attributes.get("src") or "" for _, attributes in self.elements]
        return {unquote(name.split("#")[0]) for name in names if name and not name.startswith(("data:", "#"))}


def check(page: Page) -> None:
    """What holds for every page: it stands alone, has a name for everything, and no identifier twice."""
    text = re.sub(r'"data:[^"]*"', "", page.text)
    assert not re.search(r"//\w|url\((?!#)|@import", text), "something would be fetched"
    for link in page.links():
        assert (page.file.parent / link).is_file(), f"{page.file} leads to {link}"
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    assert all("alt" in image for image in page.all("img"))
    assert all(picture.get("aria-label") for _, picture in page.elements if picture.get("role") == "img")
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == len(page.all("main")) == 1
