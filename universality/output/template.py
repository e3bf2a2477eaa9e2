"""Pages that open offline: one file each; everything that others wrote is escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from universality.output.palette import MARKS, slug
from universality.text import bracket, brief, number, percent, plain, short, typeset

_HERE = Path(__file__).parent


def fill(template: str, **content: Any) -> str:
    """The HTML of a template; a name that it uses and `content` lacks is an error.

    Whatever it prints is in one line, with everything that cannot be seen spelled out, and escaped.
    """
    # Imported here: reading results and printing tables needs no page.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    from universality.output.page.text import breakable, linked

    environment = Environment(
        autoescape=True,
        finalize=lambda value: value if isinstance(value, Markup) else plain(value, None),
        undefined=StrictUndefined,
        loader=FileSystemLoader([_HERE / "templates", _HERE / "page"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        f.__name__: f for f in (bracket, breakable, brief, linked, number, plain, short, slug)
    }
    environment.filters |= {"mark": MARKS.__getitem__, "percent": percent, "signs": typeset}
    return environment.get_template(template).render(**content)
