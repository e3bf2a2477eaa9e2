"""Text for people: names that others wrote made harmless, numbers, times, and tables of them.

Names, reasons and titles of a result set come from its author. A terminal obeys escape sequences,
Markdown obeys pipes, brackets and tags; pages are escaped by Jinja2 (`output/template.py`).
"""

from __future__ import annotations

import importlib.util
import json
import math
import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

import msgspec

MAX_SHOWN = 200
MAX_CELL = 1000
"""Of a cell of a table: longer than every name that is read, so that no two become one."""

_MARKUP = re.compile(r"([\\`*_\[\]<|~&$])")
_COMPUTED = "=+-@\uff1d\uff0b\uff0d\uff20'"
"""What begins a formula in a spreadsheet, in Japanese ones the wide forms too, and the sign for text."""
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Control characters, marks that reorder or hide text, halves of pairs, and what has no meaning."""

Rows = Sequence[Sequence[str]]


def is_invisible(character: str) -> bool:
    return unicodedata.category(character) in _INVISIBLE


def is_printable(text: str) -> bool:
    """Whether every character of a name of others can be seen. What cannot is refused where a name is given, and where
    a result set that somebody else made has it."""
    return text.isprintable() or not any(map(is_invisible, text))


def code_point(character: str) -> str:
    r"""A character spelled by its number, as bash and Python read it: `\u202e`."""
    number = ord(character)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def plain(text: object, most: int | None = MAX_SHOWN, *, lines: bool = False) -> str:
    r"""`text` in one line of at most `most` characters, with everything that cannot be seen spelled out.

    Overrides of the writing direction, control characters and lone surrogates become `\u202e`.
    With `lines`, line feeds stay.

    >>> plain("mlp\u202egnp.exe\n2")
    'mlp\\u202egnp.exe 2'
    """
    # Cut first, so that a huge name costs nothing.
    raw = str(text) if most is None else str(text)[: 4 * most]
    raw = raw if lines else " ".join(raw.split())
    if not raw.isprintable():
        raw = "".join(code_point(c) if is_invisible(c) and c != "\n" else c for c in raw)
    return raw if most is None or len(raw) <= most else f"{raw[: most - 1]}…"


def short(text: str, most: int = 90) -> str:
    """At most `most` characters, the middle left out.

    >>> short("transformer[dim=16]", 11)
    'trans…m=16]'
    """
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[:half]}…{text[-half:]}"


def brief(text: object, most: int = 90) -> str:
    """`plain` text, the middle left out where it is longer than `most`."""
    return short(plain(text, None), most)


def escaped(text: str, most: int = MAX_SHOWN) -> str:
    r"""Text for a cell of a Markdown table: no markup, no link, no tag, no pipe.

    >>> escaped("[a](b)|<script>")
    '\\[a\\](b)\\|\\<script>'
    """
    # GitHub makes links of bare addresses too; an entity for the colon shows the same text.
    return _MARKUP.sub(r"\\\1", plain(text, most)).replace("://", "&#58;//").replace("www.", "www&#46;")


def csv_cell(text: str) -> str:
    """Text for a cell of a CSV file, in one line; where a spreadsheet would compute it, the apostrophe in front says
    that it is text.

    >>> csv_cell("=cmd|' /C calc'!A0"), csv_cell("mlp")
    ("'=cmd|' /C calc'!A0", 'mlp')
    """
    line = plain(text, None, lines=True).replace("\n", " ")
    # The apostrophe too, so that one that was there is told from ours.
    return f"'{line}" if line.lstrip()[:1] in _COMPUTED and line.strip() else line


def markdown_table(headers: Sequence[str], rows: Rows) -> str:
    """A table in GitHub's Markdown under headers of our own; every cell is escaped."""
    lines = [list(headers), ["---"] * len(headers), *([escaped(cell, MAX_CELL) for cell in r] for r in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def print_table(headers: Sequence[str], rows: Rows, stream: TextIO | None = None) -> None:
    """A table on `stream`: by rich in a terminal, as wide as that is, else aligned plain text.

    In a terminal too narrow for the longest word of every column, each row is a paragraph that names its
    columns. Words are never shortened, so that two names never look the same.
    """
    out = sys.stdout if stream is None else stream
    texts = [[plain(cell, MAX_CELL) for cell in row] for row in rows]
    if out.isatty() and importlib.util.find_spec("rich") is not None:
        _print_within(headers, texts, out)
        return
    lines = [list(headers), *texts]
    widths = [max(len(line[i]) for line in lines) for i in range(len(headers))]
    for line in lines:
        out.write("  ".join(t.ljust(w) for t, w in zip(line, widths, strict=True)).rstrip() + "\n")


def _print_within(headers: Sequence[str], texts: Rows, out: TextIO) -> None:
    from rich.cells import cell_len
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    console = Console(file=out)
    columns = list(zip(headers, *texts, strict=True))
    least = [max(cell_len(word) for text in column for word in text.split() or [""]) for column in columns]
    wanted = [max(map(cell_len, column)) - width for column, width in zip(columns, least, strict=True)]
    spare = console.width - sum(least) - 3 * len(columns) - 1  # a border and two blanks around each
    if spare < 0:
        for row in texts:
            facts = [f"{h}: {t}" for h, t in zip(headers[2:], row[2:], strict=True) if t not in ("", "-")]
            # Text, not markup: an address such as mlp[width=512] would be read as a style.
            console.print(Text(", ".join(row[:2])), overflow="fold")
            console.print(Padding(Text("; ".join(facts), overflow="fold"), (0, 0, 0, 2), expand=False))
        return
    table = Table()
    for header, width, more in zip(headers, least, wanted, strict=True):
        table.add_column(Text(header), width=width + min(more, more * spare // max(1, sum(wanted))))
    for row in texts:
        table.add_row(*map(Text, row))
    console.print(table)


def number(value: float | None, digits: int = 3) -> str:
    """Significant digits in ASCII; a dash for nothing.

    >>> number(-0.012345), number(123456.0), number(None), number(0.89973, 4), number(999.9)
    ('-0.0123', '1.23e5', '-', '0.8997', '1000')
    """
    if value is None or math.isnan(value):
        return "-"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    rounded = abs(float(f"{value:.{digits}g}"))
    if rounded != 0 and not 1e-3 <= rounded < 1e4:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return f"{value:.0f}" if rounded >= 10**digits else f"{value:#.{digits}g}".rstrip(".")


def telling_digits(value: float, bounds: Iterable[float], least: int = 3) -> int:
    """Significant digits, `least` or more, with which a number reads on its own side of every bound.

    >>> telling_digits(0.9499, [0.95]), telling_digits(0.95, [0.95])
    (4, 3)
    """
    beyond = [(b, (value > b) - (value < b)) for b in bounds]
    for n in range(least, 17):
        read = float(f"{value:.{n}g}")
        if all((read > b) - (read < b) == side for b, side in beyond):
            return n
    return 17  # the number itself


def beside(value: float, *bounds: float, digits: int = 3) -> str:
    """A number that is shown beside bounds: never rounded onto one, or over it.

    >>> beside(0.9499, 0.95), beside(0.95, 0.95), beside(1.15003, 0.9, 1.15), beside(0.123456)
    ('0.9499', '0.95', '1.15003', '0.123')
    """
    return f"{value:.{telling_digits(value, bounds, digits)}g}"


def percent(share: float) -> str:
    """Whole percents, and decimals where it takes them to tell a share from one half.

    >>> percent(0.504), percent(0.5), percent(0.976)
    ('50.4%', '50%', '98%')
    """
    texts = [f"{100 * share:.{decimals}f}" for decimals in range(4)]
    sides = ((float(t) > 50, float(t) < 50) == (share > 0.5, share < 0.5) for t in texts)
    return f"{next((t for t, tells in zip(texts, sides, strict=True) if tells), texts[-1])}%"


def bracket(low: float | None, high: float | None) -> str:
    """An interval, empty where there is none.

    >>> bracket(0.5, 2.0)
    '[0.500, 2.00]'
    """
    return "" if low is None or high is None else f"[{number(low)}, {number(high)}]"


def with_interval(value: float | None, low: float | None, high: float | None) -> str:
    """A number and, where there is one, its interval.

    >>> with_interval(1.0, 0.5, 2.0), with_interval(None, None, None)
    ('1.00 [0.500, 2.00]', '-')
    """
    return f"{number(value)} {bracket(low, high)}".strip()


def typeset(text: str) -> str:
    """Numbers and bounds with the signs that people write, for pages and figures.

    >>> typeset("<= -0.5"), typeset("inf")
    ('≤ −0.5', '∞')
    """
    for ascii_form, sign in (("<=", "≤"), (">=", "≥"), ("inf", "∞"), ("-", "\N{MINUS SIGN}")):
        text = text.replace(ascii_form, sign)
    return text


def clock(seconds: float) -> str:
    """
    >>> clock(75), clock(3700)
    ('1:15', '1:01:40')
    """
    minutes, secs = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{secs:02d}" if hours else f"{minutes}:{secs:02d}"


def memory(count: float) -> str:
    """So many bytes, to two digits or, below a hundred MiB, to one MiB.

    >>> memory(45_000), memory(65 << 20), memory(850 << 20), memory(7.9 * 2**30)
    ('1 MiB', '65 MiB', '0.83 GiB', '7.9 GiB')
    """
    return f"{count / 2**30:.2g} GiB" if count >= 100 << 20 else f"{math.ceil(count / 2**20)} MiB"


def json_text(value: Any) -> str:
    r"""JSON of builtin values and records for other programs; numbers that are not finite become null.

    >>> json_text({"a": float("inf")})
    '{\n "a": null\n}\n'
    """
    return json.dumps(finite(msgspec.to_builtins(value)), indent=1, allow_nan=False) + "\n"


def finite(value: Any) -> Any:
    """The same value with None for the numbers that JSON lacks."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
