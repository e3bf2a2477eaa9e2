"""What was measured against what it must exceed: a row for each group of runs, a panel for each cell."""

from __future__ import annotations

from typing import Any, cast

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from universality.judge.resultset import ResultSet
from universality.output import palette
from universality.output.charts import Level, Sheet, levels_of
from universality.output.figures import panels as p
from universality.output.figures import style
from universality.plugin.charts import Levels
from universality.store.cells import CellRecord
from universality.text import typeset

NULL_MARKS = ("s", "x", "+", "v", "^", "1", "2")
NULL: Any = {"color": palette.GREY, "markerfacecolor": "none"}


@style.LOOK
def levels(results: ResultSet, sheet: Sheet) -> Figure:
    """Rows of the claims of a cell below each other, each claim in its colour; verdict and effect above.

    A line leads from what a group had to exceed, the largest null and the margin, to what was measured. Open dots are
    of groups whose gates were not met. Raises `MeasurementError` where there is nothing to draw.
    """
    chart = cast(Levels, sheet.chart)

    def rows(record: CellRecord) -> list[Level]:
        return levels_of(chart, record)

    panels, left_out = p.panels_of(results, sheet, rows)
    titles = p.claim_titles(results, sheet)
    claims = dict.fromkeys(v.record.claim_name for panel in panels for v, _ in panel.parts)
    colours = p.colours(claims)
    figure, axes = p.grid(panels, effects=True, share="x")
    # Marks of neighbouring rows hardly meet.
    size = min(4.0, max(2.2, 110 / max(sum(len(rows) + 1 for _, rows in panel.parts) for panel in panels)))
    for place, panel in zip(axes, panels, strict=True):
        row = 0
        for v, found in panel.parts:
            for level in found:
                colour = colours[v.record.claim_name]
                _draw(place, level, row, colour, size, decided=v.record.groups[level.group].decided)
                row += 1
            row += 1
        place.set_ylim(max(row - 1, 1), -1)
        place.set_yticks([])
        place.spines["left"].set_visible(False)
    style.scale(axes[0], "x", False, 0, 1)
    handles = _handles(chart, colours, titles)
    p.finish(
        figure, axes, chart.label, "one row per group of runs", handles, p.verdicts_told(panels), left_out
    )
    return figure


def _draw(axes: Axes, level: Level, row: int, colour: str, size: float, *, decided: bool) -> None:
    for null, mark in zip(level.nulls, _marks(len(level.nulls)), strict=True):
        if null is not None:
            axes.plot([null], [row], mark, gid="null", markersize=size, **NULL)
    if level.needed is not None:
        axes.plot([level.needed], [row], "|", color=palette.BLACK, markersize=1.7 * size, gid="needed")
    if level.value is not None:
        if level.needed is not None:
            axes.plot([level.needed, level.value], [row, row], color=colour, linewidth=0.8, alpha=0.6)
        face = colour if decided else "white"
        look: dict[str, Any] = {"color": colour, "markerfacecolor": face, "markersize": size}
        axes.plot([level.value], [row], "o", gid="value", **look)


def _marks(count: int) -> list[str]:
    return [NULL_MARKS[i % len(NULL_MARKS)] for i in range(count)]


def _handles(chart: Levels, colours: Any, titles: Any) -> list[Artist]:
    handles: list[Artist] = []
    for claim, colour in colours.items():
        name = chart.title if len(colours) == 1 else f"{chart.title}: {titles[claim]}"
        look = {"marker": "o", "color": colour, "markersize": 4, "linestyle": "none"}
        handles.append(Line2D([], [], label=style.shown(name, 60), **look))
    nulls = dict(chart.nulls)
    largest = "largest of these" if len(nulls) > 1 else next(iter(nulls.values()))
    margin = f" + {typeset(f'{chart.margin:g}')}" if chart.margin else ""
    for (_, title), mark in zip(nulls.items(), _marks(len(nulls)), strict=True):
        look = {"marker": mark, "linestyle": "none", "markersize": 3.5, **NULL}
        handles.append(Line2D([], [], label=style.shown(title, 60), **look))
    look = {"marker": "|", "color": palette.BLACK, "markersize": 7, "linestyle": "none"}
    handles.append(Line2D([], [], label=style.shown(f"to exceed: {largest}{margin}", 60), **look))
    return handles
