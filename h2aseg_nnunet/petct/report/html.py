"""Pages from templates; every text put into them is escaped."""

import math
from functools import cache
from urllib.parse import quote

import jinja2

UNDEFINED = "\N{EN DASH}"


def render(template: str, **values: object) -> str:
    """Fill one of this package's templates."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("h2aseg_nnunet.petct.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "volume": volume,
        "decimals": decimals,
        "percent": percent,
        "plain": "{:g}".format,
        "px": lambda value: f"{value:.1f}",  # for machines
        "position": position,
        "height": height,
        "case_url": case_url,
        "thumbnail_url": lambda case: case_url(case, ".svg"),
    }
    return environment


def decimals(value: float | None, digits: int) -> str:
    """Format a number for readers; a dash where there is none."""
    return UNDEFINED if value is None else f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def volume(value: float | None) -> str:
    """Format a volume with three digits, from 1 ml on."""
    return decimals(value, 0 if value is None or value >= 100 else 1 if value >= 10 else 2)


def percent(share: float | None) -> str:
    """Format a share, rounded towards the middle: 0 % is nothing and 100 % is all."""
    if share is None:
        return UNDEFINED
    return f"{math.ceil(100 * share) if share < 0.5 else math.floor(100 * share)} %"


def position(point_mm: tuple[float, float, float]) -> str:
    """Format a position with letters, since tools define signs differently: (-34, 12, 880) is R 34, P 12, S 880."""
    left, posterior, superior = point_mm
    return f"{_toward('LR', left)}, {_toward('PA', posterior)}, {height(superior)}"


def height(superior_mm: float) -> str:
    """Format the position of an axial slice."""
    return _toward("SI", superior_mm)


def _toward(letters: str, value_mm: float) -> str:
    rounded = round(value_mm)
    return f"{letters[rounded < 0]} {abs(rounded)}"


def case_url(case: str, ending: str = ".html") -> str:
    """Return the link from the overview to a file of the case."""
    return f"cases/{quote(case, safe='')}{ending}"
