"""What runs recorded over their steps: a panel per architecture on a task, a thin line per run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from universality.errors import MeasurementError
from universality.output import columns as c
from universality.output import palette
from universality.output.charts import Chart
from universality.output.figures import style
from universality.plugin.bounds import Within

PANEL = (2.35, 2.3)
"""Inches, with the names above and the space to the next one."""
MAX_COLUMNS = 4
LEGEND_ENTRY = 1.8
"""Inches."""
DASHES: Sequence[Any] = ((), (4, 1.5), (6, 1.5, 1.5, 1.5), (9, 2))
DOTTED: Any = (0, (1, 1.5))


@style.LOOK
def lines(
    frame: pd.DataFrame,
    chart: Chart,
    claims: Mapping[str, Within] | None = None,
    titles: Mapping[str, str] | None = None,
) -> Figure:
    """What `chart` declares, with the bounds of `claims` where these are about the drawn values.

    Lines are coloured by metric or, where there is only one, by role, which `titles` may name. Panels
    share their axes and are grouped by task, up to four side by side. Raises `MeasurementError` where
    there is nothing to draw. `frame` is in long form, `columns.TRAJECTORY`.
    """
    data = _select(frame, chart)
    several = len(chart.metrics) > 1
    hue = c.METRIC if several else c.ROLE
    levels = [str(v) for v in (chart.metrics if several else data[hue].unique())]
    names = chart.metrics if several else titles or {}
    colours = {v: palette.CYCLE[i % len(palette.CYCLE)] for i, v in enumerate(levels)}
    # The last metric has the solid line.
    dashes = {v: DASHES[i % len(DASHES)] if several else () for i, v in enumerate(reversed(levels))}
    look: dict[str, Any] = {"palette": colours, "dashes": dashes, "style_order": levels, "alpha": 0.8}
    encoding = {"x": c.STEP, "y": c.VALUE, "hue": hue, "style": hue, "units": "run", "estimator": None}
    steps = "step (logarithmic)" if chart.log_steps else "step"
    figure, panels = _panels(data)
    for axes, cell in panels:
        marks = _draw_bounds(axes, chart, claims or {}, colours)
        sns.lineplot(cell, ax=axes, legend=False, **encoding, **look)
        place = axes.get_subplotspec()
        axes.set(xlabel=steps if place and place.is_last_row() else "", ylabel="")
    _scale(panels[0][0], chart, data)
    figure.supylabel(chart.label, fontsize=style.BODY)
    keys = [Line2D([], [], color=colours[v], dashes=dashes[v], label=names.get(v, v)) for v in levels]
    note = "one line per seed"
    if chart.limits and data[c.VALUE].max() > chart.limits[1]:
        note += f"; the vertical axis is cut at {chart.limits[1]:g}"
    entries = [*keys, *marks]
    rows = math.ceil(len(entries) * LEGEND_ENTRY / figure.get_figwidth())
    columns = math.ceil(len(entries) / rows)
    figure.legend(handles=entries, title=note, loc="outside lower center", ncols=columns)
    return figure


def _select(frame: pd.DataFrame, chart: Chart) -> pd.DataFrame:
    values = frame[c.VALUE].astype(float)
    charted = frame[c.METRIC].isin(chart.metrics) & np.isfinite(values)
    data = frame[charted & (values > 0)] if chart.log_values else frame[charted]
    if data.empty:
        got, expected = ", ".join(sorted(set(frame[c.METRIC]))), ", ".join(chart.metrics)
        raise MeasurementError("a figure of no data", got=got, expected=expected)
    return data.assign(run=data[c.ROLE].astype(str) + "/" + data[c.SEED].astype(str))


def _panels(data: pd.DataFrame) -> tuple[Figure, list[tuple[Axes, pd.DataFrame]]]:
    """A panel with shared axes for each cell, and its rows of `data`; tasks stand over their panels."""
    cells = {(str(t), str(a)): rows for (t, a), rows in data.groupby([c.TASK, c.ARCHITECTURE], sort=False)}
    shelves = style.shelves(list(cells), MAX_COLUMNS)
    most = max(2, *map(len, shelves))
    figure = Figure((0.5 + most * PANEL[0], len(shelves) * PANEL[1] + 0.9), layout="constrained")
    grid = figure.add_gridspec(2 * len(shelves), most, height_ratios=[0.01, 1] * len(shelves))
    panels: list[tuple[Axes, pd.DataFrame]] = []
    for line, shelf in enumerate(shelves):
        for task, i, j in style.by_task(shelf):
            name = style.wrapped(task, (j - i) * PANEL[0] - 0.25, style.SMALL, bold=True)
            style.heading(figure, grid[2 * line, i:j], name, bold=True)
        for j, cell in enumerate(shelf):
            first = panels[0][0] if panels else None
            axes = figure.add_subplot(grid[2 * line + 1, j], sharex=first, sharey=first)
            axes.set_title(style.wrapped(cell[1], PANEL[0] - 0.25, style.SMALL))
            axes.tick_params(labelleft=j == 0)
            panels.append((axes, cells[cell]))
    return figure, panels


def _draw_bounds(
    axes: Axes, chart: Chart, claims: Mapping[str, Within], colours: Mapping[str, str]
) -> list[Artist]:
    """What lines are compared with: a band for two bounds, a dotted line for one. Returns keys to them."""
    keys: dict[str, Artist] = {}
    if chart.reference:
        value, name = chart.reference
        keys[name] = axes.axhline(value, color=palette.BLACK, linewidth=0.8, linestyle="--", label=name)
    for claim_name, claim in claims.items() if chart.banded else ():
        bounds = [bound for bound in (claim.low, claim.high) if math.isfinite(bound)]
        name = f"claim: {claim.low:g} to {claim.high:g}" if len(bounds) == 2 else "bound of its claim"
        if len(bounds) == 2 and name not in keys:
            keys[name] = axes.axhspan(*bounds, color=palette.PALE, zorder=0, label=name)
        elif len(bounds) == 1:
            colour = colours.get(chart.claims.get(claim_name, ""), palette.BLACK)
            axes.axhline(bounds[0], color=colour, linewidth=1.0, linestyle=DOTTED)
            keys[name] = Line2D([], [], color=palette.BLACK, linestyle=DOTTED, label=name)
    return list(keys.values())


def _scale(axes: Axes, chart: Chart, data: pd.DataFrame) -> None:
    """Axes of all panels. Logarithmic steps keep step 0: they are linear below the first decade recorded."""
    steps = data[c.STEP].astype(float)
    if chart.log_steps:
        first = 10.0 ** math.floor(math.log10(steps[steps > 0].min())) if steps.max() > 0 else 1.0
        axes.set_xscale("symlog", linthresh=first, linscale=0.6)
        axes.set_xlim(min(steps.min(), first), 1.1 * max(steps.max(), first))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4))
    if chart.log_values:
        axes.set_yscale("log")
    if chart.limits:
        axes.set_ylim(*chart.limits)
