"""The picture of the whole table: a tile per claim and cell, coloured and marked by its verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from universality.errors import MeasurementError
from universality.judge.verdicts import VERDICTS, CellVerdict, Verdict
from universality.plugin.claims import Claim, telling_digits
from universality.plugin.records import missing_signs
from universality.report.figures import style

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
    "present": "\N{CHECK MARK}",
    "absent": "\N{BALLOT X}",
    "inconclusive": "?",
    "invalid": "!",
    "not applicable": "n/a",
    "diverged": "D",
    "failed": "F",
    "crashed": "C",
    "timeout": "T",
    "missing": "M",
}
MEANINGS: Mapping[Verdict, str] = {
    "present": "the claim holds",
    "absent": "it does not hold",
    "inconclusive": "not enough evidence",
    "invalid": "a check failed",
    "not applicable": "cannot be asked",
    "diverged": "training diverged",
    "failed": "a run raised an error",
    "crashed": "a run was killed",
    "timeout": "a run took too long",
    "missing": "nothing was run",
}
QUESTION = "Which behaviours hold for which network on which data?"
READING = (
    "One tile: one claim, measured for one architecture (below) on one task (above). "
    "Colour and symbol: the verdict. Number: the measured effect, in the unit named beside the claim."
)

# Inches. Eight columns make a page 10.66 wide: 1600 dots.
TILE = (0.92, 0.44)
MOST_COLUMNS = 8
LEFT, RIGHT, MARGIN = 2.1, 1.2, 0.12
LEAST_WIDTH = 6.0

Column = tuple[str, str]
"""Task and architecture."""


class _Panel(NamedTuple):
    """Cells of one phenomenon in one line of columns."""

    title: str
    claims: Sequence[str]
    columns: Sequence[Column]
    cells: Mapping[tuple[str, Column], CellVerdict]
    controls: Mapping[str, str]

    def architecture_names(self) -> list[str]:
        return [style.wrapped(a, TILE[0] - 0.06, style.SMALL) for _, a in self.columns]

    def above(self) -> float:
        """Inches over the tiles: the title, and the names of the tasks."""
        tasks = [
            style.wrapped(task, (j - i) * TILE[0] - 0.1, style.SMALL, bold=True)
            for task, i, j in style.by_task(self.columns)
        ]
        title = style.text_height(self.wrapped_title(), style.HEADING)
        return 0.14 + max(title, *(style.text_height(t, style.SMALL) for t in tasks))

    def tiles(self) -> float:
        return TILE[1] * len(self.claims)

    def height(self) -> float:
        names = self.architecture_names()
        return self.above() + self.tiles() + max(style.text_height(n, style.SMALL) for n in names) + 0.22

    def wrapped_title(self) -> str:
        return style.wrapped(self.title, LEFT - MARGIN, style.HEADING, bold=True)


def verdict_heatmap(verdicts: Sequence[CellVerdict], titles: Mapping[str, str]) -> Figure:
    """A panel per phenomenon. Rows: its claims. Columns: its architectures, grouped by task.

    Each tile carries the mark of its verdict and, where measured, the effect; colour repeats the
    mark. Controls have no tile: what they gave stands at the end of their claim's row. More than
    eight columns continue in a further panel. `titles` gives the phenomena their readable names.
    Raises `MeasurementError` where there is no cell.
    """
    panels = _panels(verdicts, titles)
    if not panels:
        raise MeasurementError("a figure of no cells", where="verdict_heatmap")
    width = max(LEAST_WIDTH, LEFT + RIGHT + TILE[0] * max(len(p.columns) for p in panels))
    used = [v for v in VERDICTS if any(v == cell.verdict for p in panels for cell in p.cells.values())]
    handles = [
        Patch(
            facecolor=COLOURS[v],
            edgecolor=style.BLACK,
            linewidth=0.4,
            label=f"{MARKS[v]}  {v}: {MEANINGS[v]}",
        )
        for v in used
    ]
    reading = style.wrapped(READING, width - 2 * MARGIN, style.BODY)
    top = 0.5 + style.text_height(reading, style.BODY) + 0.1
    body = sum(p.height() for p in panels)
    legend = style.legend_height([str(h.get_label()) for h in handles], width)
    with matplotlib.rc_context(style.RC):  # type: ignore[arg-type]
        page = style.Page(width, top + body + legend)
        page.text(MARGIN, 0.1, QUESTION, va="top", fontsize=13, fontweight="bold")
        page.text(MARGIN, 0.42, reading, va="top")
        for panel in panels:
            _draw(page, panel, top)
            top += panel.height()
        page.legend(handles, top)
    return page.figure


def _panels(verdicts: Sequence[CellVerdict], titles: Mapping[str, str]) -> list[_Panel]:
    panels = []
    for phenomenon in dict.fromkeys(v.record.phenomenon for v in verdicts):
        members = [v for v in verdicts if v.record.phenomenon == phenomenon]
        cells = {
            (v.record.claim_name, (v.record.task, v.record.architecture)): v
            for v in members
            if v.record.crossed
        }
        claims = list(dict.fromkeys(claim for claim, _ in cells))
        controls = {
            claim: _controls([v for v in members if v.record.claim_name == claim]) for claim in claims
        }
        title = titles.get(phenomenon, phenomenon)
        for line in style.shelves(_columns([column for _, column in cells]), MOST_COLUMNS):
            shown = {key: v for key, v in cells.items() if key[1] in line}
            panels.append(_Panel(title, claims, line, shown, controls))
            title = f"{titles.get(phenomenon, phenomenon)}, continued"
    return panels


def _columns(asked: Sequence[Column]) -> list[Column]:
    """Without repeats, by task and within it by architecture, both in order of first appearance."""
    tasks = list(dict.fromkeys(task for task, _ in asked))
    architectures = list(dict.fromkeys(a for _, a in asked))
    return sorted(set(asked), key=lambda key: (tasks.index(key[0]), architectures.index(key[1])))


def _controls(members: Sequence[CellVerdict]) -> str:
    """What the controls of one claim gave; both signs are needed to validate it."""
    if any(v.passed is False for v in members):
        return "controls failed"
    signs = {v.record.control.partition(":")[0].strip() for v in members if v.record.control}
    return "controls missing" if missing_signs(signs) else "controls ok"


def _draw(page: style.Page, panel: _Panel, top: float) -> None:
    top += panel.above()
    axes = page.axes(LEFT, top, TILE[0] * len(panel.columns), panel.tiles())
    _draw_tiles(axes, panel)
    axes.set_xticks([j + 0.5 for j in range(len(panel.columns))], panel.architecture_names())
    axes.tick_params(axis="both", length=0)
    axes.set_yticks([])
    for task, i, j in style.by_task(panel.columns):
        page.group(LEFT + i * TILE[0] + 0.05, LEFT + j * TILE[0] - 0.05, top - 0.05, task)
        if i:
            axes.axvline(i, color="white", linewidth=6)
    look = {"fontsize": style.HEADING, "fontweight": "bold", "va": "bottom"}
    page.text(MARGIN, top - 0.05, panel.wrapped_title(), **look)
    for row, claim in enumerate(panel.claims):
        middle = top + (row + 0.5) * TILE[1]
        _draw_claim(page, claim, _bounds(panel, claim), middle)
        text = panel.controls[claim]
        ok = text == "controls ok"
        page.text(
            LEFT + TILE[0] * len(panel.columns) + 0.08,
            middle,
            text,
            va="center",
            fontsize=style.SMALL,
            fontweight="normal" if ok else "bold",
            color=style.DARK if ok else style.VERMILLION,
        )


def _draw_tiles(axes: Axes, panel: _Panel) -> None:
    places = [[panel.cells.get((claim, column)) for column in panel.columns] for claim in panel.claims]
    colours = [COLOURS[v] for v in VERDICTS]
    sns.heatmap(
        pd.DataFrame([[math.nan if v is None else VERDICTS.index(v.verdict) for v in row] for row in places]),
        ax=axes,
        annot=pd.DataFrame([["" if v is None else _label(v) for v in row] for row in places]),
        fmt="",
        annot_kws={"fontsize": 10},
        cmap=ListedColormap(colours),
        norm=BoundaryNorm([i - 0.5 for i in range(len(colours) + 1)], len(colours)),
        cbar=False,
        linewidths=1.5,
        linecolor="white",
    )
    # seaborn annotates the squares that are not masked in row-major order.
    drawn = [v for row in places for v in row if v is not None]
    for text, v in zip(axes.texts, drawn, strict=True):
        text.set_color(_ink(COLOURS[v.verdict]))


def _draw_claim(page: style.Page, name: str, bounds: str, middle: float) -> None:
    """The claim's name over what it bounds, both ending at the tiles."""
    text = style.wrapped(bounds, LEFT - MARGIN - 0.1, 7.0)
    upper, lower = style.text_height(name, style.BODY), style.text_height(text, 7.0)
    start = middle - (upper + lower) / 2
    right = LEFT - 0.08
    page.text(right, start, name, ha="right", va="top", fontsize=style.BODY, fontweight="bold")
    page.text(right, start + upper, text, ha="right", va="top", fontsize=7.0, color=style.DARK)


def _bounds(panel: _Panel, claim: str) -> str:
    """Unit and bounds as in the table; only the unit may be broken."""
    bounded = next(v.record.claim for (name, _), v in panel.cells.items() if name == claim)
    text = str(bounded).replace(" ", "\N{NO-BREAK SPACE}")
    text = text.replace("<=", "\N{LESS-THAN OR EQUAL TO}").replace(">=", "\N{GREATER-THAN OR EQUAL TO}")
    return f"{bounded.unit}: {text}" if bounded.unit else text


def _label(verdict: CellVerdict) -> str:
    mark = MARKS[verdict.verdict]
    if verdict.effect is not None:
        return f"{mark} {_short(verdict.effect, verdict.record.claim)}"
    if verdict.low is not None and verdict.low > 0 and verdict.decided:
        return f"{mark} >{_short(verdict.low)}"
    return mark


def _short(value: float, claim: Claim | None = None) -> str:
    """Two or three digits, more where they tell the value from a bound of its claim; else its order.

    >>> [_short(x) for x in (1.0234, 0.997, 0.0084, 0.00012, 123456.0)]
    ['1.02', '0.997', '0.0084', '1e-4', '1e5']
    >>> from universality.plugin.claims import Within
    >>> _short(0.89973, Within(low=0.9))
    '0.8997'
    """
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        digits = 2 if abs(value) < 0.995 else 3
        if claim is not None:
            digits = telling_digits(claim, value, digits)
        text = f"{value:#.{digits}g}".rstrip(".") if abs(value) < 1e3 else f"{value:.0f}"
    else:
        mantissa, exponent = f"{value:.0e}".split("e")
        text = f"{mantissa}e{int(exponent)}"
    return f"\N{MINUS SIGN}{text[1:]}" if text.startswith("-") else text


def _ink(colour: str) -> str:
    """Black or white, whichever contrasts more (relative luminance of sRGB, WCAG 2)."""
    linear = [x / 12.92 if x <= 0.03928 else ((x + 0.055) / 1.055) ** 2.4 for x in to_rgb(colour)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if luminance > 0.179 else "white"
