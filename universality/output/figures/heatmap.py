"""The picture of the whole table: a tile per claim and cell, coloured and marked by its verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from universality.errors import MeasurementError
from universality.judge.controls import Standing
from universality.judge.decide import CellVerdict
from universality.judge.resultset import ResultSet
from universality.output import palette
from universality.output.figures import style
from universality.output.figures.overview import overview
from universality.output.palette import COLOURS, MARKS
from universality.output.phrases import effect_text, label_in
from universality.plugin.bounds import Bound
from universality.text import typeset

QUESTION = "Which behaviours hold for which network on which data?"
READING = (
    "One tile: one claim, measured for one architecture (below) on one task (above). "
    "Colour and symbol: the verdict. Number: the measured effect, in the unit named beside the claim."
)

MAX_TILES = 600
"""Beyond, a picture with numbers in it would be metres long."""

# Inches. Eight columns make a page 11 wide: 1659 dots.
TILE = (0.92, 0.44)
MIN_COLUMNS, MAX_COLUMNS = 3, 8
LEFT, RIGHT = 2.5, 1.2
LEGEND_ENTRY = 2.9
MAX_TITLE, MAX_UNIT = 44, 100
"""Letters."""


class _Claim(NamedTuple):
    """The head of a row: the claim's title over what it bounds, and what its controls gave."""

    name: str
    title: str
    bounds: str
    controls: Standing

    def height(self) -> float:
        return style.height(f"{self.title}\n{self.bounds}")


class _Panel(NamedTuple):
    """Cells of one phenomenon, by claim and column; a column is a task and an architecture."""

    title: str
    claims: Sequence[_Claim]
    columns: Sequence[tuple[str, str]]
    cells: Mapping[tuple[str, tuple[str, str]], CellVerdict]

    def architectures(self) -> list[str]:
        return [style.wrapped(name, TILE[0] - 0.04, style.SMALL) for _, name in self.columns]

    def tasks(self) -> list[tuple[str, int, int]]:
        return [
            (style.wrapped(task, (j - i) * TILE[0] - 0.04, style.SMALL, bold=True), i, j)
            for task, i, j in style.by_task(self.columns)
        ]


@style.LOOK
def verdict_heatmap(results: ResultSet) -> Figure:
    """A panel per phenomenon. Rows: its claims. Columns: its architectures, grouped by task.

    Each tile carries the mark of its verdict and, where measured, the effect; colour repeats the
    mark. Controls have no tile: what they gave stands at the end of their claim's row. More than
    eight columns continue in a further panel; more than `MAX_TILES` cells are drawn by `overview`. Raises
    `MeasurementError` where there is no cell.
    """
    if sum(record.crossed for record in results.records) > MAX_TILES:
        return overview(results)
    panels = _panels(results)
    if not panels:
        raise MeasurementError("a figure of no cells", where="verdict_heatmap")
    most = max(MIN_COLUMNS, *(len(panel.columns) for panel in panels))
    row = max(TILE[1], *(claim.height() + 0.06 for panel in panels for claim in panel.claims))
    rows = [len(panel.claims) for panel in panels]
    names = sum(style.height(*p.architectures()) + style.height(*(t[0] for t in p.tasks())) for p in panels)
    handles = style.verdict_keys({cell.verdict for panel in panels for cell in panel.cells.values()})
    width = LEFT + RIGHT + TILE[0] * most
    ncols = int(width / LEGEND_ENTRY)
    legend = 0.9 + 0.2 * math.ceil(len(handles) / ncols)
    figure = Figure((width, row * sum(rows) + names + 0.7 * len(panels) + legend))
    figure.set_layout_engine("constrained", h_pad=0.1)
    figure.suptitle(QUESTION, x=0.01, ha="left", fontsize=13, fontweight="bold")
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=rows)
    for place, panel in zip(axes.flat, panels, strict=True):
        _draw(place, panel, row)
        place.set_xlim(0, most)
    note = style.wrapped(READING, width - 0.4, style.SMALL)
    figure.legend(handles=handles, title=note, alignment="left", loc="outside lower left", ncols=ncols)
    return figure


def _panels(results: ResultSet) -> list[_Panel]:
    panels = []
    standings = {(row.phenomenon, row.claim_name): row.standing for row in results.rows}
    for phenomenon in dict.fromkeys(r.phenomenon for r in results.records):
        members = [v for v in results.verdicts if v.record.phenomenon == phenomenon]
        cells = {
            (v.record.claim_name, (v.record.task, v.record.architecture)): v
            for v in members
            if v.record.crossed
        }
        claims = [
            _Claim(
                name,
                style.wrapped(label_in(results, phenomenon, name), LEFT - 0.2, style.SMALL, bold=True),
                style.broken(_bounds(v.record.claim), LEFT - 0.2, style.TINY),
                standings[phenomenon, name],
            )
            for name, v in {claim: v for (claim, _), v in cells.items()}.items()
        ]
        title = whole = style.shown(results.plan.phenomena[phenomenon].title, MAX_TITLE)
        for line in style.shelves(list(dict.fromkeys(column for _, column in cells)), MAX_COLUMNS):
            part = {key: v for key, v in cells.items() if key[1] in line}
            panels.append(_Panel(title, claims, line, part))
            title = f"{whole}, continued"
    return panels


def _draw(axes: Axes, panel: _Panel, row: float) -> None:
    """Tiles, with tasks and title above, architectures below, claims before and controls behind.

    A unit of the axes is a tile; `row` is its height in inches.
    """
    tiles = [[panel.cells.get((claim.name, column)) for column in panel.columns] for claim in panel.claims]
    verdicts = np.array(
        [[np.nan if v is None else list(COLOURS).index(v.verdict) for v in line] for line in tiles]
    )
    labels = np.array([["" if v is None else _label(v) for v in line] for line in tiles])
    look: dict[str, Any] = {"linewidths": 1.5, "linecolor": "white"}
    colours = {"cmap": ListedColormap(list(COLOURS.values())), "vmin": -0.5, "vmax": len(COLOURS) - 0.5}
    style.tiles(axes, verdicts, labels, size=10, **look, **colours)
    axes.set_xticks(np.arange(len(panel.columns)) + 0.5, panel.architectures())
    axes.tick_params(length=0)
    tasks = panel.tasks()
    above = axes.secondary_xaxis("top")
    above.set_xticks([(i + j) / 2 for _, i, j in tasks], [task for task, _, _ in tasks], fontweight="bold")
    above.tick_params(length=0, pad=7)
    above.spines[:].set_visible(False)
    axes.set_title(panel.title, loc="left", fontsize=style.HEADING, fontweight="bold")
    for _, i, j in tasks:
        axes.plot([i + 0.05, j - 0.05], [-0.1, -0.1], color=palette.BLACK, linewidth=0.8, clip_on=False)
        axes.axvline(i, color="white", linewidth=6)
    for index, claim in enumerate(panel.claims):
        # The title ends where the bounds start, both together in the middle of the row.
        split = index + 0.5 + (style.height(claim.title) - claim.height() / 2) / row
        look = {"x": -0.08, "y": split, "ha": "right"}
        axes.text(s=claim.title, va="bottom", fontsize=style.SMALL, fontweight="bold", **look)
        axes.text(s=claim.bounds, va="top", fontsize=style.TINY, color=palette.DARK, **look)
        validated = claim.controls == "validated"
        weight, colour = ("normal", palette.DARK) if validated else ("bold", palette.VERMILLION)
        look = {"fontweight": weight, "color": colour}
        end = len(panel.columns) + 0.08
        told = "controls ok" if validated else claim.controls.replace("negative not ", "negative not\n")
        axes.text(end, index + 0.5, told, va="center", fontsize=style.SMALL, **look)


def _bounds(claim: Bound) -> str:
    """Unit and bounds as in the table; only the unit may be broken."""
    text = typeset(str(claim)).replace(" ", "\N{NO-BREAK SPACE}")
    return f"{style.shown(claim.unit, MAX_UNIT)}: {text}" if claim.unit else text


def _label(verdict: CellVerdict) -> str:
    """The mark and, as far as it is known, the effect, on its own side of the claim's bounds."""
    value = verdict.low if verdict.effect is None else verdict.effect
    # Effects near one have two decimals.
    digits = 3 if value is not None and abs(value) >= 0.995 else 2
    return f"{MARKS[verdict.verdict]} {effect_text(verdict, digits)}".rstrip()
