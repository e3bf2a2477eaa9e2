"""The universality table for a paper: one long table that needs `booktabs` and `longtable`."""

from __future__ import annotations

import re
import unicodedata

from universality.judge.resultset import ResultSet
from universality.output.phrases import controls_text, distrust, source_text
from universality.output.tables import HEADERS, NOTE, crossed, readable_rows
from universality.plugin.phenomenon import About

_SPECIAL: dict[str, str | int | None] = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    **{symbol: f"\\{symbol}" for symbol in "{}&%$#_"},
    # TeX joins these into dashes, and ?` and !` into Spanish marks.
    **{symbol: f"{symbol}{{}}" for symbol in "-?!"},
}
# Shares of the width of a line, in the order of `HEADERS` without phenomenon and sense.
_WIDTHS = (0.18, 0.11, 0.07, 0.07, 0.11, 0.08, 0.09, 0.11, 0.1, 0.08)


def latex(results: ResultSet) -> str:
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
        *([_across(rf"\textbf{{{escaped(line)}}}") + r" \\"] if (line := distrust(results.rows)) else []),
        r"\toprule",
        rf"{head} \\",
        r"\midrule",
        r"\endhead",
        r"\bottomrule",
        _across(escaped(NOTE)),
        r"\endlastfoot",
    ]
    above = ""
    for row in results.rows:
        if row.about.calibration:
            standing = controls_text(row.validated, row.failed_controls)
            name = f"Calibration: {row.about.title} ({source_text(row.about)}), {row.title}"
            lines.append(_across(escaped(f"{name}: {standing}")) + r" \\")
    for row, texts in zip(crossed(results.rows), readable_rows(results.rows), strict=True):
        if row.phenomenon != above:
            lines += [r"\addlinespace"] * bool(above) + [_group(row.about)]
            above = row.phenomenon
        _title, claim, _sense, *rest = texts
        lines.append(" & ".join(_cell(text) for text in (claim, *rest)) + r" \\")
    return "\n".join([*lines, r"\end{longtable}}", ""])


def _group(about: About) -> str:
    rest = escaped("; ".join(filter(None, [f"same {about.sense}", source_text(about)])))
    # The star forbids a break between a phenomenon and its first claim.
    return _across(rf"\textbf{{{escaped(about.title)}}} ({rest})") + r" \\*"


def _across(text: str) -> str:
    """One cell as wide as the table."""
    return rf"\multicolumn{{{len(_WIDTHS)}}}{{@{{}}p{{0.96\linewidth}}@{{}}}}{{{text}}}"


def _cell(text: str) -> str:
    """A cell whose interval is not broken between its bounds, where a column can hold it."""
    return re.sub(r"\[[^\[\]]{1,16}\]", r"\\mbox{\g<0>}", escaped(text))


def escaped(text: object) -> str:
    r"""Text that TeX sets as it is, in one line.

    >>> escaped("nc1: <= 5 % (S_W)")
    'nc1: $\\le$ 5 \\% (S\\_W)'
    """
    known = "".join(map(_spelled, " ".join(str(text).split()))).translate(str.maketrans(_SPECIAL))
    return known.replace(r"\textless{}=", r"$\le$").replace(r"\textgreater{}=", r"$\ge$")


def _spelled(c: str) -> str:
    latin = c.isascii() or ("\xc0" <= c <= "\u017f" and unicodedata.category(c).startswith("L"))
    return c if latin and c.isprintable() else f"[U+{ord(c):04X}]"
