"""The page as one file: template, styles, scripts and data put together."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from universality.judge.boundary import Boundary
from universality.judge.verdicts import VERDICTS, CellVerdict
from universality.report import columns as c
from universality.report.figures.heatmap import COLOURS
from universality.report.page.context import context, slug
from universality.report.page.embed import embedded
from universality.report.page.text import breakable, script_json

_FOLDER = Path(__file__).parent
_SCRIPTS = ("dom.js", "plots.js", "panel.js", "filters.js")
DARK_INK, LIGHT_INK = "#111111", "#ffffff"


def page(
    verdicts: Sequence[CellVerdict],
    plan: Mapping[str, Any],
    *,
    boundaries: Sequence[Boundary] = (),
    toml: str = "",
    created: str = "",
    runs: Mapping[str, Any] | None = None,
) -> str:
    """One HTML file that opens without a network and carries everything it shows.

    Its content security policy allows the script and the styles in it by their hashes, and nothing
    else: no request, no handler in an attribute, no style attribute.

    Args:
        plan: what `build.read_plan` returned.
        boundaries: what `boundary.swept` returned.
        toml: the suite.
        created: when the results folder was made, ISO 8601.
        runs: what `series.recorded` returned; without runs there are no trajectories.
    """
    titles = {name: about.get(c.TITLE, "") for name, about in plan["phenomena"].items()}
    style = Markup(_read("page.css") + _verdict_styles())
    script = Markup('"use strict";\n(() => {\n' + "\n".join(map(_read, _SCRIPTS)) + "\n})();\n")
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = breakable
    return environment.get_template("page.html").render(
        **context(verdicts, plan, boundaries, toml, created, len(runs or {})),
        style=style,
        script=script,
        policy=f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'",
        cells=script_json(embedded(verdicts, titles, plan)),
        runs=script_json(runs or {}),
    )


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _verdict_styles() -> str:
    """The colours of the figures, each with the ink that can be read on it."""
    return "".join(f".{slug(v)}{{--tile:{COLOURS[v]};--ink:{ink(COLOURS[v])}}}\n" for v in VERDICTS)


def ink(colour: str) -> str:
    """Dark or light, whichever contrasts more (WCAG 2).

    >>> ink("#0072B2"), ink("#F0E442")
    ('#ffffff', '#111111')
    """
    return max((DARK_INK, LIGHT_INK), key=lambda text: contrast(text, colour))


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, from 1 to 21.

    >>> round(contrast("#000000", "#ffffff"))
    21
    """
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (x / 12.92 if x <= 0.03928 else ((x + 0.055) / 1.055) ** 2.4 for x in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
