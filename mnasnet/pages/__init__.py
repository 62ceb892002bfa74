"""Web pages that need no other file and no network: the templates, and the one look that all of them share."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from mnasnet.words import amount

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **values: Any) -> str:
    """The page made from one of our templates; every text in ``values`` is escaped.

    Raises jinja2's UndefinedError when the template uses a value that is not given.
    """
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("mnasnet", "pages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["percent"] = lambda share: "–" if share is None else f"{share:.1%}"
    environment.filters["three"] = lambda share: "–" if share is None else f"{share:.3f}"
    environment.filters["plain"] = lambda value: f"{value:.4g}" if isinstance(value, float) else str(value)
    environment.filters["millions"] = lambda count: f"{count / 1e6:,.0f} M" if count >= 1e8 else f"{count / 1e6:.3g} M"
    environment.filters["amount"] = amount
    environment.globals["inline"] = _inline
    return environment


def _inline(name: str) -> Any:
    """A style sheet or script of ours, to stand in the page as it is."""
    from markupsafe import Markup

    return Markup(files("mnasnet.pages").joinpath(name).read_text(encoding="utf-8"))
