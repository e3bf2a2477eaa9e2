"""The picture of the whole table: a square per claim and cell, coloured and marked by its verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib
import pandas as pd
import seaborn as sns
from matplotlib.colors import BoundaryNorm, ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from universality.report import style
from universality.verdicts import VERDICTS, CellVerdict, Verdict

COLOURS: Mapping[Verdict, str] = {
    "present": style.GREEN,
    "absent": style.VERMILLION,
    "inconclusive": style.SKY,
    "invalid": style.PURPLE,
    "not applicable": style.PALE,
    "diverged": style.YELLOW,
    "failed": style.ORANGE,
    "crashed": style.BLUE,
    "timeout": style.GREY,
    "missing": "#FFFFFF",
}
MARKS: Mapping[Verdict, str] = {
    "present": "+",
    "absent": "\N{MINUS SIGN}",
    "inconclusive": "?",
    "invalid": "\N{MULTIPLICATION SIGN}",
    "not applicable": "n/a",
    "diverged": "D",
    "failed": "F",
    "crashed": "C",
    "timeout": "T",
    "missing": "M",
}
SQUARE = 0.5
"""Inches per square: two lines of 7-point text."""


def verdict_heatmap(verdicts: Sequence[CellVerdict], titles: Mapping[str, str]) -> Figure:
    """Rows: phenomenon and claim. Columns: architectures, grouped by task. Controls are left out.

    Each square carries the mark of its verdict and, where measured, the effect; colour repeats
    the mark. `titles` gives the phenomena their readable names.
    """
    cells = [v for v in verdicts if not v.record.control]
    rows = list(dict.fromkeys((v.record.phenomenon, v.record.claim_name) for v in cells))
    tasks = list(dict.fromkeys(v.record.task for v in cells))
    order = {name: i for i, name in enumerate(dict.fromkeys(v.record.architecture for v in cells))}
    asked = {(v.record.task, v.record.architecture) for v in cells}
    columns = sorted(asked, key=lambda key: (tasks.index(key[0]), order[key[1]]))
    codes = pd.DataFrame(math.nan, index=range(len(rows)), columns=range(len(columns)))
    labels = pd.DataFrame("", index=codes.index, columns=codes.columns, dtype=object)
    for v in cells:
        i = rows.index((v.record.phenomenon, v.record.claim_name))
        j = columns.index((v.record.task, v.record.architecture))
        codes.iat[i, j] = VERDICTS.index(v.verdict)
        labels.iat[i, j] = _label(v)

    names = [_row_name(titles.get(p, p), claim) for p, claim in rows]
    left = 0.075 * max((len(name) for name in names), default=0)
    bottom = 0.075 * max((len(a) for _, a in columns), default=0)
    with matplotlib.rc_context(style.RC):  # type: ignore[arg-type]
        figure = style.new_figure(
            max(6.5, left + SQUARE * len(columns) + 0.4), SQUARE * len(rows) + bottom + 1.3
        )
        axes = figure.add_subplot()
        colours = [COLOURS[v] for v in VERDICTS]
        sns.heatmap(
            codes,
            ax=axes,
            annot=labels,
            fmt="",
            annot_kws={"fontsize": 7},
            cmap=ListedColormap(colours),
            norm=BoundaryNorm([i - 0.5 for i in range(len(colours) + 1)], len(colours)),
            cbar=False,
            linewidths=0.6,
            linecolor="#B0B0B0",
            xticklabels=[a for _, a in columns],
            yticklabels=names,
        )
        # seaborn annotates the squares that are not masked in row-major order.
        drawn = [v for v in codes.to_numpy().ravel() if not math.isnan(v)]
        for text, code in zip(axes.texts, drawn, strict=True):
            text.set_color(_ink(colours[int(code)]))
        axes.set_xlabel("architecture, by task")
        axes.set_ylabel("phenomenon: claim")
        axes.tick_params(axis="both", length=0)
        axes.tick_params(axis="x", rotation=90)
        axes.tick_params(axis="y", rotation=0)
        for j, (task, _) in enumerate(columns):
            if j and columns[j - 1][0] != task:
                axes.axvline(j, color="black", linewidth=1.5)
        for task in tasks:
            places = [j for j, (t, _) in enumerate(columns) if t == task]
            axes.text(
                (places[0] + places[-1] + 1) / 2,
                -0.15,
                _wrapped(task, len(places)),
                ha="center",
                va="bottom",
                fontsize=9,
                fontweight="bold",
            )
        used = [v for v in VERDICTS if any(cell.verdict == v for cell in cells)]
        figure.legend(
            handles=[
                Patch(facecolor=COLOURS[v], edgecolor="black", linewidth=0.4, label=f"{MARKS[v]}  {v}")
                for v in used
            ],
            loc="outside lower center",
            ncols=min(5, max(1, len(used))),
        )
    return figure


def _label(verdict: CellVerdict) -> str:
    mark = MARKS[verdict.verdict]
    if verdict.effect is not None:
        return f"{mark}\n{_short(verdict.effect)}"
    if verdict.low is not None and verdict.low > 0 and verdict.decided:
        return f"{mark}\n>{_short(verdict.low)}"
    return mark


def _short(value: float) -> str:
    """At most six characters.

    >>> [_short(x) for x in (1.0234, 0.00012, 123456.0, -0.5)]
    ['1.02', '1e-4', '1e5', '-0.50']
    """
    if value == 0 or 1e-2 <= abs(value) < 1e4:
        digits = 2 if abs(value) < 1 else 3
        return f"{value:#.{digits}g}".rstrip(".") if abs(value) < 1e3 else f"{value:.0f}"
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def _row_name(title: str, claim: str) -> str:
    return f"{title}: {claim}"


def _wrapped(task: str, squares: int) -> str:
    """Break a task's name at punctuation so that it fits over its squares (6 letters each)."""
    width = max(8, 6 * squares)
    if len(task) <= width:
        return task
    lines, line = [], ""
    for piece in task.replace("[", " [").replace(",", ", ").replace("_", "_ ").split(" "):
        if line and len(line) + len(piece) > width:
            lines.append(line)
            line = ""
        line += piece
    return "\n".join([*lines, line])


def _ink(colour: str) -> str:
    """Black or white, whichever contrasts more (relative luminance of sRGB, WCAG 2)."""
    linear = [x / 12.92 if x <= 0.03928 else ((x + 0.055) / 1.055) ** 2.4 for x in to_rgb(colour)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if luminance > 0.179 else "white"
