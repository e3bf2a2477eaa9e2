"""Text that others wrote, made harmless for where it is shown, and tables of it.

Names, reasons and titles of a result set come from its author. A terminal obeys escape sequences,
Markdown obeys pipes, brackets and tags; pages are escaped by Jinja2 (`small_page.py`).
"""

from __future__ import annotations

import importlib.util
import json
import math
import re
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any, TextIO

MOST_SHOWN = 200
_MARKUP = re.compile(r"([\\`*_\[\]<|~&$])")
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Control characters, marks that reorder or hide text, halves of pairs, and what has no meaning."""

Rows = Sequence[Sequence[str]]


def plain(text: str, most: int = MOST_SHOWN) -> str:
    r"""One line without invisible characters, at most `most` of what is left.

    >>> plain("a\x1b[31mb\n c")
    'a[31mb c'
    """
    # Cut first: a name of megabytes is not worth a walk.
    spaced = " ".join(text[: 4 * most].split())
    shown = "".join(c for c in spaced if unicodedata.category(c) not in _INVISIBLE)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def escaped(text: str, most: int = MOST_SHOWN) -> str:
    r"""Text for a cell of a Markdown table: no markup, no link, no tag, no pipe.

    >>> escaped("[a](b)|<script>")
    '\\[a\\](b)\\|\\<script>'
    """
    # GitHub makes links of bare addresses too; an entity for the colon shows the same text.
    return _MARKUP.sub(r"\\\1", plain(text, most)).replace("://", "&#58;//").replace("www.", "www&#46;")


def markdown_table(headers: Sequence[str], rows: Rows) -> str:
    """A table in GitHub's Markdown under headers of our own; every cell is escaped."""
    lines = [list(headers), ["---"] * len(headers), *(list(map(escaped, r)) for r in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def print_table(headers: Sequence[str], rows: Rows, stream: TextIO | None = None) -> None:
    """A table on `stream`: by rich in a terminal, else aligned plain text."""
    out = sys.stdout if stream is None else stream
    texts = [[plain(cell) for cell in row] for row in rows]
    if out.isatty() and importlib.util.find_spec("rich") is not None:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(*headers)
        for row in texts:
            # Text, not markup: an address such as mlp[width=512] would be read as a style.
            table.add_row(*map(Text, row))
        Console(file=out).print(table)
        return
    lines = [list(headers), *texts]
    widths = [max(len(line[i]) for line in lines) for i in range(len(headers))]
    for line in lines:
        out.write("  ".join(t.ljust(w) for t, w in zip(line, widths, strict=True)).rstrip() + "\n")


def number_text(value: float | None) -> str:
    """Three digits; a dash where there is none."""
    return "-" if value is None or math.isnan(value) else "inf" if math.isinf(value) else f"{value:.3g}"


def bracket(low: float | None, high: float | None) -> str:
    """An interval after its estimate, empty where there is none."""
    return "" if low is None or high is None else f" [{number_text(low)}, {number_text(high)}]"


def json_text(value: Any) -> str:
    r"""JSON for other programs; numbers that are not finite become null.

    >>> json_text({"a": float("inf")})
    '{\n "a": null\n}\n'
    """
    return json.dumps(_finite(value), indent=1, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
