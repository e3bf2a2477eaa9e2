"""The universality table for a paper: one long table that needs `booktabs` and `longtable`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from universality.judge.verdicts import Facts, Universality
from universality.report import columns as c
from universality.report.tables import HEADERS, NOTE, readable_rows

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    # TeX joins these into dashes, and ?` and !` into Spanish marks.
    "-": "-{}",
    "?": "?{}",
    "!": "!{}",
    **{symbol: f"\\{symbol}" for symbol in "&%$#_"},
}
_PHRASES = {r"\textless{}=": r"$\le$", r"\textgreater{}=": r"$\ge$"}
# Shares of the width of a line, in the order of `HEADERS` without phenomenon and sense.
_WIDTHS = (0.2, 0.12, 0.07, 0.07, 0.12, 0.08, 0.13, 0.12, 0.09)


def latex(rows: Sequence[Universality], facts: Facts) -> str:
    """The table of `tables.readable_rows`; claims stand below the name and the source of their phenomenon.

    Compiles with any engine: characters that `inputenc` does not know are spelled as `U+4E2D`.
    """
    columns = "".join(
        rf">{{\raggedright\arraybackslash}}p{{\dimexpr{width}\linewidth-2\tabcolsep}}" for width in _WIDTHS
    )
    head = " & ".join(escaped(name) for name in HEADERS[1:] if name != "Sense")
    lines = [
        r"% \usepackage{array,booktabs,longtable,textcomp} \usepackage[T1]{fontenc}",
        r"{\footnotesize\setlength{\tabcolsep}{3pt}\renewcommand{\arraystretch}{1.2}",
        rf"\begin{{longtable}}{{@{{}}{columns}@{{}}}}",
        r"\toprule",
        rf"{head} \\",
        r"\midrule",
        r"\endhead",
        r"\bottomrule",
        rf"\multicolumn{{{len(_WIDTHS)}}}{{@{{}}p{{0.96\linewidth}}@{{}}}}{{{escaped(NOTE)}}}",
        r"\endlastfoot",
    ]
    above = ""
    for row, texts in zip(rows, readable_rows(rows, facts), strict=True):
        if row.phenomenon != above:
            lines += [r"\addlinespace"] * bool(above) + [_group(row.phenomenon, facts)]
            above = row.phenomenon
        _title, claim, _sense, *rest = texts
        lines.append(" & ".join(_cell(text) for text in (claim, *rest)) + r" \\")
    return "\n".join([*lines, r"\end{longtable}}", ""])


def _group(phenomenon: str, facts: Facts) -> str:
    about = facts.get(phenomenon, {})
    title = escaped(about.get(c.TITLE) or phenomenon)
    sense = f"same {about[c.SENSE]}" if about.get(c.SENSE) else ""
    rest = escaped("; ".join(filter(None, [sense, str(about.get(c.SOURCE, ""))])))
    text = rf"\textbf{{{title}}}" + (f" ({rest})" if rest else "")
    # The star forbids a break between a phenomenon and its first claim.
    return rf"\multicolumn{{{len(_WIDTHS)}}}{{@{{}}p{{0.96\linewidth}}@{{}}}}{{{text}}} \\*"


def _cell(text: str) -> str:
    """A cell whose interval is not broken between its bounds, where a column can hold it."""
    return re.sub(r"\[[^\[\]]{1,16}\]", r"\\mbox{\g<0>}", escaped(text))


def escaped(text: object) -> str:
    r"""Text that TeX sets as it is, in one line.

    >>> escaped("nc1: <= 5 % (S_W)")
    'nc1: $\\le$ 5 \\% (S\\_W)'
    """
    one_line = re.sub(r"\s+", " ", str(text)).strip()
    result = "".join(map(_character, one_line))
    for phrase, symbol in _PHRASES.items():
        result = result.replace(phrase, symbol)
    return result


def _character(c: str) -> str:
    if c in _SPECIAL:
        return _SPECIAL[c]
    known = c.isascii() or ("\xc0" <= c <= "\u017f" and unicodedata.category(c).startswith("L"))
    return c if known and c.isprintable() else f"[U+{ord(c):04X}]"
