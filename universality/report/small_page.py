"""Small pages that open offline: one file, no script, everything that others wrote is escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from universality.text import plain

_TEMPLATES = Path(__file__).parent / "templates"


def page(template: str, **content: Any) -> str:
    """The HTML of a template in `templates/`; a name that it uses and `content` lacks is an error."""
    # Imported here: reading results and printing tables needs no page.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        loader=FileSystemLoader(_TEMPLATES),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = plain
    return environment.get_template(template).render(**content)
