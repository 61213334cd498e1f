"""What the site has beside the pages of this folder: the README as its first page, and every command's options.

mkdocs calls the functions (`hooks` in mkdocs.yml).
"""

import argparse
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from h2aseg_nnunet.cli import COMMANDS, make_parser

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?!https?://|#)(?P<path>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made of something else."""
    readme = LINK.sub(_from_docs, (ROOT / "README.md").read_text(encoding="utf-8"))
    files.append(File.generated(config, "index.md", content=readme))
    files.append(File.generated(config, "reference/commands.md", content=commands_page()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """Let links to files outside docs/ lead to the repository; without an address of it they become plain text."""
    folder = (ROOT / "docs" / page.file.src_uri).parent

    def outwards(link: re.Match[str]) -> str:
        target = (folder / link["path"]).resolve()
        if target.is_relative_to(ROOT / "docs"):
            return link[0]
        address = f"{config.repo_url}/blob/main/{target.relative_to(ROOT)}{link['anchor'] or ''}"
        return f"[{link['text']}]({address})" if config.repo_url else link["text"]

    return LINK.sub(outwards, markdown)


def commands_page() -> str:
    """Every command with its options, from the parsers themselves."""
    parts = ["# Commands\n\nMade from the commands' own options, as `h2aseg COMMAND --help` prints them.\n"]
    for name, parser in _subparsers(make_parser()).items():
        parts.append(f"## `h2aseg {name}`\n\n{COMMANDS[name][1]}\n")
        nested = _subparsers(parser)
        for each, title in [(parser, None), *((sub, f"h2aseg {name} {word}") for word, sub in nested.items())]:
            parts += [f"### `{title}`\n"] if title else []
            parts.append(f"```text\n{_help(each)}```\n")
    return "\n".join(parts)


def _help(parser: argparse.ArgumentParser) -> str:
    """The help at a fixed width, whatever the terminal's."""
    parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=82, max_help_position=26)
    return parser.format_help()


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    choices: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            choices |= action.choices
    return choices


def _from_docs(link: re.Match[str]) -> str:
    """A link of the README as a page in docs/ has it."""
    path = link["path"]
    path = path.removeprefix("docs/") if path.startswith("docs/") else f"../{path}"
    return f"[{link['text']}]({path}{link['anchor'] or ''})"
