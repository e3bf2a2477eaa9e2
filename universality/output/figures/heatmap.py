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
from universality.judge.decide import CellVerdict
from universality.judge.resultset import ResultSet
from universality.output import palette
from universality.output.figures import beside, listed, style
from universality.output.figures.beside import Summary
from universality.output.figures.overview import overview
from universality.output.palette import COLOURS, MARKS
from universality.output.phrases import effect_text, label_in
from universality.plugin.bounds import Bound
from universality.text import typeset

QUESTION = "Which behaviours hold for which network on which data?"
READING = (
    "One tile: one claim, measured for one architecture (below) on one task (above). Colour and symbol: the verdict. Number: the "
    f"measured effect, in the unit named beside the claim. Behind a claim: {beside.READING}."
)

MAX_TILES = 600
"""Beyond, a picture with numbers in it would be metres long."""

# Inches. Eight columns make a page 12 wide: 1850 dots. `train_fraction=`, bold, is as wide as a tile.
TILE = (1.04, 0.44)
MIN_COLUMNS, MAX_COLUMNS = 3, 8
LEFT, RIGHT = 2.5, 1.5
HEADING = 0.5
RAISED, SUNK, APART = 0.07, 0.11, 0.012
"""Inches: an effect above the middle of its tile, and the reason below, where there is one; half of what is between two texts of an end of a row."""
MAX_TITLE, MAX_UNIT = 44, 100
"""Letters."""

MIN_LISTED = 5
"""Phenomena of a single cell from which they are listed: with a panel each, twenty make a strip two metres long."""


Summaries = Mapping[tuple[str, str], Summary]
_Look = tuple[str, Mapping[str, Any]]


class _Claim(NamedTuple):
    """The ends of a row: the claim's title over what it bounds, and its summary over what its controls gave."""

    name: str
    title: str
    bounds: str
    summary: Summary

    @property
    def height(self) -> float:
        """Inches."""
        summary = f"{self.summary.text}\n{listed.told(self.summary.standing)}"
        return style.height(f"{self.title}\n{self.bounds}", summary)


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

    Each tile carries the mark of its verdict and, where measured, the effect, an undecided one the reason; colour repeats the
    mark. Controls have no tile: what they gave stands at the end of their claim's row, with the claim's answer. More than
    eight columns continue in a further panel; more than `MAX_TILES` cells are drawn by `overview`. Raises
    `MeasurementError` where there is no cell.
    """
    if sum(record.crossed for record in results.records) > MAX_TILES:
        return overview(results)
    cells: dict[str, list[CellVerdict]] = {}
    for v in results.verdicts:
        if v.record.crossed:
            cells.setdefault(v.record.phenomenon, []).append(v)
    summaries = beside.summaries(results)
    single = [name for name, of in cells.items() if len({_column(v) for v in of}) == 1]
    entries = (
        [_entry(results, cells[name], summaries) for name in single] if len(single) >= MIN_LISTED else []
    )
    panels = [
        panel
        for name, of in cells.items()
        if not (entries and name in single)
        for panel in _panels(results, name, of, summaries)
    ]
    if not cells:
        raise MeasurementError("a figure of no cells", where="verdict_heatmap")
    most = max([MIN_COLUMNS, *(len(panel.columns) for panel in panels)])
    row = max([TILE[1], *(claim.height + 0.06 for panel in panels for claim in panel.claims)])
    rows = [len(panel.claims) for panel in panels]
    names = sum(style.height(*p.architectures()) + style.height(*(t[0] for t in p.tasks())) for p in panels)
    handles = style.verdict_keys({v.verdict for of in cells.values() for v in of})
    width = max(LEFT + RIGHT + TILE[0] * most, listed.WIDTH if entries else 0)
    ncols = style.legend_columns(handles, width - 0.2)
    reasons = beside.reason_keys(v for of in cells.values() for v in of)
    notes = [style.wrapped(said, width - 0.4, style.SMALL, most=None) for said in (READING, reasons) if said]
    note = "\n".join(notes)
    legend = 0.5 + style.height(note) + 0.2 * math.ceil(len(handles) / ncols)
    below = listed.height(entries) + legend if entries else 0
    above = row * sum(rows) + names + 0.7 * len(panels) + (HEADING if entries else legend)
    figure = Figure((width, above + below))
    share = below / (above + below)
    figure.suptitle(QUESTION, x=0.01, ha="left", fontsize=13, fontweight="bold")
    if panels:
        # They have what is above the list, with the legend below both.
        figure.set_layout_engine("constrained", h_pad=0.1, rect=(0, share, 1, 1 - share))
        axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=rows)
        for place, panel in zip(axes.flat, panels, strict=True):
            _draw(place, panel, row)
            place.set_xlim(0, max(most, (width - LEFT - RIGHT) / TILE[0]))
    look: dict[str, Any] = {"handles": handles, "title": note, "alignment": "left", "ncols": ncols}
    if entries:
        listed.draw(figure, entries, above)
        figure.legend(loc="lower left", **look)
    else:
        figure.legend(loc="outside lower left", **look)
    return figure


def _column(v: CellVerdict) -> tuple[str, str]:
    return v.record.task, v.record.architecture


def _entry(results: ResultSet, cells: Sequence[CellVerdict], summaries: Summaries) -> listed.Entry:
    """A phenomenon of one cell."""
    record, room = cells[0].record, listed.COLUMN - listed.TILE[0] - listed.BESIDE

    def line(text: str, size: float, bold: bool = False) -> str:
        return style.broken(text, room, size, bold).partition("\n")[0]

    return listed.Entry(
        style.shown(results.plan.phenomena[record.phenomenon].title, MAX_TITLE),
        style.shown(f"{record.architecture} on {record.task}", MAX_UNIT),
        [
            listed.Line(
                line(
                    style.shown(label_in(results, record.phenomenon, v.record.claim_name)), style.SMALL, True
                ),
                style.shown(_bounds(v.record.claim), MAX_TITLE + 30),
                summaries[record.phenomenon, v.record.claim_name],
                v,
                "\n".join(filter(None, (_label(v), beside.reason(v)))),
            )
            for v in cells
        ],
    )


def _panels(
    results: ResultSet, phenomenon: str, members: Sequence[CellVerdict], summaries: Summaries
) -> list[_Panel]:
    cells = {(v.record.claim_name, _column(v)): v for v in members}
    claims = [
        _Claim(
            name,
            style.wrapped(label_in(results, phenomenon, name), LEFT - 0.2, style.SMALL, bold=True),
            style.broken(_bounds(v.record.claim), LEFT - 0.2, style.TINY),
            summaries[phenomenon, name],
        )
        for name, v in {claim: v for (claim, _), v in cells.items()}.items()
    ]
    panels = []
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
    for text in tuple(axes.texts):
        x, y = text.get_position()
        if (v := tiles[int(y)][int(x)]) and (told := beside.reason(v)):
            text.set_y(y - RAISED / row)
            centred: dict[str, Any] = {"ha": "center", "va": "center", "color": text.get_color()}
            axes.text(x, y + SUNK / row, told, fontsize=style.TINY, **centred)
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
        # The title ends where the bounds start, both together in the middle of the row; so do the summary and the controls.
        for which, ((above_it, upper), (below_it, lower)) in enumerate(_ends(claim)):
            split = index + 0.5 + (style.height(above_it) - style.height(below_it)) / 2 / row
            place: dict[str, Any] = {"x": len(panel.columns) + 0.08 if which else -0.08}
            place["ha"] = "left" if which else "right"
            axes.text(s=above_it, y=split - APART / row, va="bottom", fontsize=style.SMALL, **place, **upper)
            axes.text(s=below_it, y=split + APART / row, va="top", **place, **lower)


def _ends(claim: _Claim) -> tuple[tuple[_Look, _Look], tuple[_Look, _Look]]:
    """What stands before and behind the tiles of a claim, with how it looks; in pairs, the second text below the first."""
    summary = claim.summary
    return (
        (
            (claim.title, {"fontweight": "bold"}),
            (claim.bounds, {"fontsize": style.TINY, "color": palette.DARK}),
        ),
        (
            (summary.text, {"fontweight": "bold" if summary.known else "normal"}),
            (listed.told(summary.standing), {"fontsize": style.SMALL, **listed.look(summary.standing)}),
        ),
    )


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
