"""Templates of text files: what a template asks for and nobody gives is an error. HTML has its own, which escapes."""

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, StrictUndefined


def render(template: str, values: Mapping[str, Any]) -> str:
    """Fill in a template of Jinja; lines that hold nothing but its statements leave nothing behind."""
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False
    )
    return environment.from_string(template).render(values)
