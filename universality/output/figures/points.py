"""Points of outcomes: curves over a sweep beside their theory, histograms."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from universality.judge.resultset import ResultSet
from universality.output import palette
from universality.output.charts import Curve, Sheet, curves_of, edges, theory_of
from universality.output.figures import panels as p
from universality.output.figures import style
from universality.plugin.charts import Bars, Curves
from universality.store.cells import CellRecord

MARKED, MARK_EVERY = 24, 0.06
"""Points of a curve beyond which marks would hide it; then one stands each so much of the panel's diagonal."""

THEORY: Any = {"color": palette.BLACK, "linewidth": 1.2, "linestyle": "--"}


class _Part(NamedTuple):
    """The measured curves of one claim in one cell, and what the theory predicts there."""

    curve: Curve
    theory: Curve | None
    decided: bool


@style.LOOK
def points(results: ResultSet, sheet: Sheet) -> Figure:
    """A panel for each cell with what its outcomes hold for this chart, verdict and effect above it.

    Curves have a colour for each claim and title, and one line for each group; open marks are of groups whose gates
    were not met. Raises `MeasurementError` where there is nothing to draw.
    """
    chart = cast(Curves | Bars, sheet.chart)
    panels, left_out = p.panels_of(results, sheet, lambda record: _parts(record, chart))
    titles = p.claim_titles(results, sheet)
    every = [(v.record.claim_name, part) for panel in panels for v, parts in panel.parts for part in parts]
    keys = dict.fromkeys((claim, part.curve.title) for claim, part in every)
    claims = dict.fromkeys(claim for claim, _ in keys)
    colours = p.colours(keys)
    figure, axes = p.grid(panels, effects=True)
    handles: list[Artist] = []
    said = Counter(title for _, title in keys)
    for (claim, title), colour in colours.items():
        texts = filter(None, (titles[claim] if said[title] > 1 or not title else "", title))
        name = style.shown(", ".join(texts), 60)
        marker = "o" if not isinstance(chart, Bars) else ""
        handles.append(Line2D([], [], color=colour, marker=marker, markersize=3.5, label=name))
    bounds = [end for panel in panels for v, _ in panel.parts for end in _bounds(chart, v.record)]
    _scale(axes[0], chart, [part for _, part in every], bounds)
    for place, panel in zip(axes, panels, strict=True):
        drawn: set[tuple[Any, ...]] = set()
        for v, parts in panel.parts:
            for part in parts:
                # Claims of one phenomenon may tell of the same points.
                if (same := (*part.curve[1:], v.record.groups[part.curve.group].key)) not in drawn:
                    drawn.add(same)
                    _draw(place, chart, part, colours[v.record.claim_name, part.curve.title])
        for v, _ in panel.parts:
            for bound in _bounds(chart, v.record):
                colour = next(of for (claim, _), of in colours.items() if claim == v.record.claim_name)
                place.axhline(bound, color=colour, linewidth=1.0, linestyle=p.DOTTED, gid="bound")
        theories = [part.theory for _, parts in panel.parts for part in parts if part.theory]
        for theory in theories[:1]:
            place.plot(theory.x, theory.y, zorder=3, gid="theory", **THEORY)
    predicted = next((part.theory for _, part in every if part.theory), None)
    if predicted:
        handles.append(Line2D([], [], label=style.shown(predicted.title, 60), **THEORY))
    if bounds:
        ink = next(iter(colours.values())) if len(claims) == 1 else palette.BLACK
        handles.append(Line2D([], [], color=ink, linestyle=p.DOTTED, label="bound of its claim"))
    p.finish(
        figure,
        axes,
        chart.x,
        chart.y,
        handles,
        "one line per group of runs",
        p.verdicts_told(panels),
        left_out,
    )
    return figure


def _parts(record: CellRecord, chart: Curves | Bars) -> list[_Part]:
    theory = theory_of(chart, record) if isinstance(chart, Curves) else None
    return [_Part(curve, theory, record.groups[curve.group].decided) for curve in curves_of(chart, record)]


def _bounds(chart: Curves | Bars, record: CellRecord) -> list[float]:
    """The bounds of its claim, where the vertical axis is what it bounds."""
    if not isinstance(chart, Curves) or chart.y != record.claim.unit:
        return []
    return [end for end in record.claim.ends if math.isfinite(end) and ("y" not in chart.log or end > 0)]


def _draw(axes: Axes, chart: Curves | Bars, part: _Part, colour: str) -> None:
    x, y = part.curve.x, part.curve.y
    look: dict[str, Any] = {"color": colour, "alpha": 0.8, "gid": "points"}
    face = colour if part.decided else "white"
    if isinstance(chart, Bars):
        axes.stairs(y, edges(x, "x" in chart.log), fill=False, baseline=None, **look)
        if part.decided:
            axes.stairs(y, edges(x, "x" in chart.log), fill=True, color=colour, alpha=0.15, gid="fill")
    else:
        every = MARK_EVERY if isinstance(chart, Curves) and len(x) > MARKED else None
        mark: dict[str, Any] = {"marker": "o", "markersize": 3, "markerfacecolor": face, "markevery": every}
        axes.plot(x, y, **mark, **look)


def _scale(axes: Axes, chart: Curves | Bars, parts: Sequence[_Part], bounds: Sequence[float]) -> None:
    """Shared axes of all panels, a little beyond what is drawn."""
    lines = [part.curve for part in parts] + [part.theory for part in parts if part.theory]
    x = np.array([value for line in lines for value in line.x])
    y = np.array([*(value for line in lines for value in line.y), *bounds])
    if isinstance(chart, Bars):
        x = np.array([edge for line in lines for edge in edges(line.x, "x" in chart.log)])
        y = y if "y" in chart.log else np.append(y, 0.0)
    for which, values in (("x", x), ("y", y)):
        log = which in chart.log
        low, high = float(values.min()), float(values.max())
        style.scale(axes, cast(Any, which), log, low, high)
        ends = style.padded(low, high, log)
        (axes.set_xlim if which == "x" else axes.set_ylim)(*ends)
