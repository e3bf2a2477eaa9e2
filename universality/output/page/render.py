"""The page as one file: template, styles, scripts and data put together."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from universality.judge.decide import VERDICTS
from universality.judge.predictions import Theory
from universality.judge.resultset import ResultSet
from universality.output.displays.collection import Displays
from universality.output.displays.svg import styles
from universality.output.page.context import context
from universality.output.page.embed import embedded
from universality.output.page.text import packed
from universality.output.palette import COLOURS, ink, slug
from universality.output.predictions import NOTE, sections
from universality.output.template import fill

_FOLDER = Path(__file__).parent
_SCRIPTS = ("fold.js", "dom.js", "axes.js", "effects.js", "charts.js", "panel.js", "filters.js")
_RUNS = 'id="run-data">'
"""Stands once in a page: everything that others wrote is escaped, and holds no quote."""


def frame(
    results: ResultSet,
    toml: str,
    runs: int,
    displays: Displays | None = None,
    theories: Sequence[Theory] = (),
) -> str:
    """One HTML file that opens without a network and carries everything it shows, but for its trajectories.

    Its content security policy allows the script and the styles in it by their hashes, and nothing
    else: no request, no handler in an attribute, no style attribute.

    Args:
        toml: the suite.
        runs: how many runs have trajectories; what is left of the size of a page is theirs.
        displays: those of the set, where they are made already.
        theories: predictions locked beside the set.
    """
    style = Markup(_read("page.css") + _verdict_styles() + str(styles()))
    script = Markup('"use strict";\n(async () => {\n' + "\n".join(map(_read, _SCRIPTS)) + "\n})();\n")
    return fill(
        "page.html",
        **context(results, toml, runs, displays or Displays.of(results)),
        predictions=[section for section in sections(theories, details=True) if section.lines],
        predictions_note=NOTE,
        style=style,
        script=script,
        policy=f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'",
        data=packed(embedded(results)),
    )


def with_runs(html: str, runs: Mapping[str, Any]) -> str:
    """What `frame` returned, with the data of its runs: what `series.fit` returned, in one order whatever the process."""
    before, mark, after = html.partition(_RUNS)
    return f"{before}{mark}{packed(dict(sorted(runs.items())))}{after}"


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _verdict_styles() -> str:
    """The colours of the figures, each with the ink that can be read on it."""
    return "".join(f".{slug(v)}{{--tile:{COLOURS[v]};--ink:{ink(COLOURS[v])}}}\n" for v in VERDICTS)
