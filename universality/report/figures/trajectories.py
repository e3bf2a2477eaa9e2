"""Trajectory figures, one function per phenomenon, from long-form frames (`columns.TRAJECTORY`).

Panels are small multiples, one per architecture that has something to show, grouped by task;
a thin line is one run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from universality.errors import MeasurementError
from universality.report import columns as c
from universality.report.figures import style

PANEL = (2.2, 1.45)
"""Width and height of a panel in inches."""
GAP = 0.22
MOST_COLUMNS = 4
CUT = 2.5
"""Where the axis of the edge of stability ends."""

SEEDS = "one line per seed"
_VARIANTS = {"gd": "gradient descent", "adam": "Adam"}
_DOTTED = (0.0, (1.0, 1.5))

Dash = Literal["-", "--", "-."] | tuple[float, tuple[float, ...]]
Looks = Mapping[str, tuple[str, str, Dash]]
"""Per metric: the text of its legend, its colour and its dash."""


def edge_of_stability(frame: pd.DataFrame, band: tuple[float, float] | None = None) -> Figure:
    """Sharpness over the stability threshold of the optimizer against steps; `band` is the claim.

    Lines are coloured by `variant`. The axis is cut at 2.5, and says so where lines go beyond.
    """
    frame = _select(frame, [c.SHARPNESS_RATIO])
    variants = list(dict.fromkeys(frame[c.VARIANT]))
    colours = {v: style.CYCLE[i % len(style.CYCLE)] for i, v in enumerate(variants)}
    highest = 1.05 * max(1.3, float(frame[c.VALUE].max()))
    handles: list[Artist] = [Line2D([], [], color=colours[v], label=_VARIANTS.get(v, v)) for v in variants]
    handles.append(Line2D([], [], color=style.BLACK, linestyle="--", label="stability threshold"))
    if band is not None:
        handles.append(Patch(color=style.PALE, label=f"claim: {band[0]:g} to {band[1]:g}"))
    note = f"{SEEDS}; the vertical axis is cut at {CUT:g}" if highest > CUT else SEEDS
    with matplotlib.rc_context(style.RC):  # type: ignore[arg-type]
        figure, panels = _panels(frame, "step", "sharpness / stability threshold", handles, note)
        for axes, cell in panels:
            if band is not None:
                axes.axhspan(*band, color=style.PALE, zorder=0)
            axes.axhline(1.0, color=style.BLACK, linewidth=0.8, linestyle="--")
            for (variant, _), run in cell.groupby([c.VARIANT, c.SEED], sort=False):
                axes.plot(run[c.STEP], run[c.VALUE], color=colours[str(variant)], alpha=0.8)
            axes.set_ylim(0, min(CUT, highest))
            axes.xaxis.set_major_locator(MaxNLocator(4))
    return figure


def grokking(frame: pd.DataFrame) -> Figure:
    """Training and validation accuracy over logarithmic steps."""
    frame = _select(frame, [c.TRAIN_ACCURACY, c.VALIDATION_ACCURACY])
    looks: Looks = {
        c.TRAIN_ACCURACY: ("training", style.BLUE, "--"),
        c.VALIDATION_ACCURACY: ("validation", style.VERMILLION, "-"),
    }
    with matplotlib.rc_context(style.RC):  # type: ignore[arg-type]
        figure, panels = _panels(frame, "step (logarithmic)", "accuracy", _handles(looks), SEEDS)
        for axes, cell in panels:
            _draw_runs(axes, cell, looks)
            _log_steps(axes, frame)
            axes.set_ylim(-0.03, 1.03)
    return figure


def neural_collapse(frame: pd.DataFrame, criteria: Mapping[str, float] | None = None) -> Figure:
    """NC1, NC2 and NC3 on a logarithmic axis over steps; `criteria`, upper bounds by metric, are lines."""
    looks: Looks = {
        c.NC1: ("NC1 variability", style.BLUE, "-"),
        c.NC2_NORMS: ("NC2 spread of norms", style.ORANGE, (0.0, (6.0, 1.5))),
        c.NC2_ANGLES: ("NC2 angles", style.VERMILLION, "--"),
        c.NC3: ("NC3 self-duality", style.GREEN, "-."),
    }
    frame = _select(frame, list(looks))
    frame = frame[frame[c.VALUE] > 0]
    bounds = {metric: bound for metric, bound in (criteria or {}).items() if metric in looks}
    handles = _handles(looks)
    if bounds:
        label = "upper bound of its claim"
        handles.append(Line2D([], [], color=style.BLACK, linestyle=_DOTTED, label=label))
    with matplotlib.rc_context(style.RC):  # type: ignore[arg-type]
        figure, panels = _panels(frame, "step", "distance from collapse (0 = complete)", handles, SEEDS)
        for axes, cell in panels:
            _draw_runs(axes, cell, looks)
            for metric, bound in bounds.items():
                axes.axhline(bound, color=looks[metric][1], linewidth=1.0, linestyle=_DOTTED)
            axes.set_yscale("log")
            axes.xaxis.set_major_locator(MaxNLocator(4))
    return figure


def _select(frame: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    chosen = frame[frame[c.METRIC].isin(metrics) & np.isfinite(frame[c.VALUE].astype(float))]
    if chosen.empty:
        raise MeasurementError(
            "a figure of no data", got=", ".join(sorted(set(frame[c.METRIC]))), expected=", ".join(metrics)
        )
    return chosen.sort_values(c.STEP, kind="stable")


def _panels(
    frame: pd.DataFrame, x: str, y: str, handles: Sequence[Artist], note: str
) -> tuple[Figure, list[tuple[Axes, pd.DataFrame]]]:
    """A page of axes shared in both directions, one for each cell in `frame`, with the cell's rows.

    Lines of up to four panels; tasks stand over their panels, the legend under all.
    """
    cells = {(str(t), str(a)): rows for (t, a), rows in frame.groupby([c.TASK, c.ARCHITECTURE], sort=False)}
    tasks = list(dict.fromkeys(frame[c.TASK]))
    order = sorted(cells, key=lambda cell: tasks.index(cell[0]))
    shelves = style.shelves(order, MOST_COLUMNS)
    left, right, step = 0.75, 0.2, PANEL[0] + GAP
    width = left + right + max(2, *map(len, shelves)) * step - GAP
    labels = [str(h.get_label()) for h in handles]
    heads = [_head(shelf, PANEL[0], step) for shelf in shelves]
    body = sum(sum(head) + PANEL[1] + 0.42 for head in heads)
    page = style.Page(width, 0.1 + body + 0.15 + style.legend_height(labels, width, note))
    panels: list[tuple[Axes, pd.DataFrame]] = []
    top = 0.1
    for shelf, (over, names) in zip(shelves, heads, strict=True):
        for task, i, j in style.by_task(shelf):
            page.group(left + i * step, left + j * step - GAP, top + over - 0.05, task)
        top += over + names
        for j, (task, architecture) in enumerate(shelf):
            shared: dict[str, Any] = {"sharex": panels[0][0], "sharey": panels[0][0]} if panels else {}
            axes = page.axes(left + j * step, top, *PANEL, **shared)
            axes.set_title(style.wrapped(architecture, PANEL[0], style.SMALL), pad=3)
            axes.tick_params(labelleft=j == 0)
            panels.append((axes, cells[task, architecture]))
        top += PANEL[1] + 0.42
    page.figure.supylabel(y, fontsize=style.BODY, x=0.1 / width, y=1 - (0.1 + body / 2) / page.height)
    page.figure.supxlabel(x, fontsize=style.BODY, y=1 - top / page.height, va="center")
    page.legend(handles, top + 0.15, note)
    return page.figure, panels


def _head(shelf: Sequence[tuple[str, str]], panel: float, step: float) -> tuple[float, float]:
    """Inches that the tasks of a line of panels take, and below them the architectures."""
    tasks = [
        style.wrapped(task, (j - i) * step - (step - panel), style.SMALL, bold=True)
        for task, i, j in style.by_task(shelf)
    ]
    names = [style.wrapped(a, panel, style.SMALL) for _, a in shelf]
    over, under = (max(style.text_height(t, style.SMALL) for t in texts) for texts in (tasks, names))
    return over + 0.14, under + 0.08


def _draw_runs(axes: Axes, cell: pd.DataFrame, looks: Looks) -> None:
    for metric, (_, colour, dash) in looks.items():
        for _, run in _runs(cell[cell[c.METRIC] == metric]):
            axes.plot(run[c.STEP], run[c.VALUE], color=colour, linestyle=dash, alpha=0.8)


def _runs(frame: pd.DataFrame) -> Iterator[tuple[object, pd.DataFrame]]:
    yield from frame.groupby([c.VARIANT, c.SEED], sort=False)


def _log_steps(axes: Axes, frame: pd.DataFrame) -> None:
    """Logarithmic steps that keep step 0: linear below the first recorded step after it."""
    steps = frame[c.STEP].to_numpy(dtype=float)
    positive = steps[steps > 0]
    first = float(positive.min()) if len(positive) else 1.0
    axes.set_xscale("symlog", linthresh=first, linscale=0.6)
    axes.set_xlim(min(float(steps.min()), first), float(steps.max()) * 1.1)
    decades = range(math.ceil(math.log10(first)), math.floor(math.log10(max(first, steps.max()))) + 1)
    every = max(1, math.ceil(len(decades) / 4))
    ticks = [10.0**d for d in decades[::every]]
    if steps.min() == 0:
        # The label of a tick within the linear part would run into that of 0.
        ticks = [0.0, *(t for t in ticks if t >= 5 * first)]
    axes.set_xticks(ticks)
    axes.minorticks_off()


def _handles(looks: Looks) -> list[Artist]:
    return [Line2D([], [], color=col, linestyle=dash, label=text) for text, col, dash in looks.values()]
