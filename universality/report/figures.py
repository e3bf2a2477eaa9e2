"""Trajectory figures, one function per phenomenon, from long-form frames (`columns.TRAJECTORY`).

Panels are small multiples: a row per task, a column per architecture, a thin line per run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from universality import columns as c
from universality.errors import MeasurementError
from universality.report import style

PANEL = (2.4, 1.9)
"""Width and height of a panel in inches."""


Dash = Literal["-", "--", "-.", ":"]
Looks = Mapping[str, tuple[str, str, Dash]]
"""Per metric: the text of its legend, its colour and its dash."""


class Matrix(NamedTuple):
    """A similarity matrix with the names of the layers of its rows and columns."""

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: NDArray[np.float64]


def edge_of_stability(frame: pd.DataFrame, band: tuple[float, float] | None = None) -> Figure:
    """Sharpness over the stability threshold of the optimizer against steps; `band` is the claim.

    Lines are coloured by `variant`. The axis ends at 2.5: beyond it a run is about to diverge.
    """
    frame = _select(frame, [c.SHARPNESS_RATIO])
    variants = list(dict.fromkeys(frame[c.VARIANT]))
    colours = dict(zip(variants, _cycle(len(variants)), strict=True))
    top = min(2.5, 1.05 * max(1.3, float(frame[c.VALUE].max())))
    with matplotlib.rc_context(style.RC):  # type: ignore[arg-type]
        figure, panels = _panels(frame)
        for axes, cell in panels:
            if band is not None:
                axes.axhspan(*band, color=style.PALE, zorder=0)
            axes.axhline(1.0, color=style.BLACK, linewidth=0.8, linestyle="--")
            for (variant, _), run in cell.groupby([c.VARIANT, c.SEED], sort=False):
                axes.plot(run[c.STEP], run[c.VALUE], color=colours[str(variant)], alpha=0.8)
            axes.set_ylim(0, top)
        handles: list[Artist] = [Line2D([], [], color=colours[v], label=v) for v in variants]
        handles.append(Line2D([], [], color=style.BLACK, linestyle="--", label="threshold"))
        if band is not None:
            handles.append(Patch(color=style.PALE, label="claim"))
        _finish(figure, "step", "sharpness / stability threshold", handles)
    return figure


def grokking(frame: pd.DataFrame) -> Figure:
    """Training and validation accuracy over logarithmic steps."""
    frame = _select(frame, [c.TRAIN_ACCURACY, c.VALIDATION_ACCURACY])
    looks: Looks = {
        c.TRAIN_ACCURACY: ("training", style.BLUE, "--"),
        c.VALIDATION_ACCURACY: ("validation", style.VERMILLION, "-"),
    }
    with matplotlib.rc_context(style.RC):  # type: ignore[arg-type]
        figure, panels = _panels(frame)
        for axes, cell in panels:
            for metric, (_, colour, dash) in looks.items():
                for _, run in _runs(cell[cell[c.METRIC] == metric]):
                    axes.plot(run[c.STEP], run[c.VALUE], color=colour, linestyle=dash, alpha=0.8)
            _log_steps(axes, frame)
            axes.set_ylim(-0.03, 1.03)
        _finish(figure, "step", "accuracy", _handles(looks))
    return figure


def neural_collapse(frame: pd.DataFrame, criteria: Mapping[str, float] | None = None) -> Figure:
    """NC1, NC2 and NC3 over steps on logarithmic axes; `criteria`, upper bounds by metric, are lines."""
    looks: Looks = {
        c.NC1: ("NC1 variability", style.BLUE, "-"),
        c.NC2_NORMS: ("NC2 spread of norms", style.ORANGE, ":"),
        c.NC2_ANGLES: ("NC2 angles", style.VERMILLION, "--"),
        c.NC3: ("NC3 self-duality", style.GREEN, "-."),
    }
    frame = _select(frame, list(looks))
    frame = frame[frame[c.VALUE] > 0]
    with matplotlib.rc_context(style.RC):  # type: ignore[arg-type]
        figure, panels = _panels(frame)
        for axes, cell in panels:
            for metric, (_, colour, dash) in looks.items():
                for _, run in _runs(cell[cell[c.METRIC] == metric]):
                    axes.plot(run[c.STEP], run[c.VALUE], color=colour, linestyle=dash, alpha=0.8)
                if criteria is not None and metric in criteria:
                    axes.axhline(criteria[metric], color=colour, linewidth=0.7, linestyle=(0, (1, 3)))
            axes.set_yscale("log")
            _log_steps(axes, frame)
        handles = _handles(looks)
        if criteria:
            handles.append(
                Line2D([], [], color=style.BLACK, linewidth=0.7, linestyle=(0, (1, 3)), label="criterion")
            )
        _finish(figure, "step", "collapse (0 = complete)", handles)
    return figure


def representation_similarity(
    pairs: Sequence[tuple[Matrix, Matrix | None]], measure: str = "linear CKA"
) -> Figure:
    """Layer by layer similarity, one row per pair of networks: trained, and untrained beside it.

    Colours span 0 to 1; debiased estimates below 0 take the colour of 0.
    """
    if not pairs:
        raise MeasurementError("a figure of no matrices", where="representation_similarity")
    with matplotlib.rc_context(style.RC):  # type: ignore[arg-type]
        longest = max(len(m.rows) for pair in pairs for m in pair if m is not None)
        side = max(2.6, 0.32 * longest + 1.2)
        figure = style.new_figure(2 * side + 1.0, side * len(pairs) + 0.3)
        grid = figure.subplots(len(pairs), 2, squeeze=False)
        image = None
        for row, pair in zip(grid, pairs, strict=True):
            for axes, matrix, state in zip(row, pair, ("trained", "untrained"), strict=True):
                if matrix is None:
                    axes.set_axis_off()
                    continue
                image = axes.imshow(matrix.values, vmin=0, vmax=1, cmap="viridis", origin="lower")
                axes.set_title(f"{matrix.title}\n{state}")
                axes.set_xticks(range(len(matrix.columns)), matrix.columns, rotation=90, fontsize=7)
                axes.set_yticks(range(len(matrix.rows)), matrix.rows, fontsize=7)
                axes.set_xlabel("layer of second network")
                axes.set_ylabel("layer of first network")
                axes.spines[:].set_visible(False)
        assert image is not None
        figure.colorbar(image, ax=grid, label=measure, shrink=0.8, aspect=25)
    return figure


def _select(frame: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    chosen = frame[frame[c.METRIC].isin(metrics) & np.isfinite(frame[c.VALUE].astype(float))]
    if chosen.empty:
        raise MeasurementError(
            "a figure of no data", got=", ".join(sorted(set(frame[c.METRIC]))), expected=", ".join(metrics)
        )
    return chosen.sort_values(c.STEP, kind="stable")


def _panels(frame: pd.DataFrame) -> tuple[Figure, list[tuple[Axes, pd.DataFrame]]]:
    """Axes shared in both directions, with the rows of their cell; cells without data say so."""
    tasks = list(dict.fromkeys(frame[c.TASK]))
    architectures = list(dict.fromkeys(frame[c.ARCHITECTURE]))
    width, height = PANEL
    figure = style.new_figure(max(4.2, width * len(architectures) + 0.6), height * len(tasks) + 0.9)
    grid = figure.subplots(len(tasks), len(architectures), squeeze=False, sharex=True, sharey=True)
    panels = []
    for i, task in enumerate(tasks):
        for j, architecture in enumerate(architectures):
            cell = frame[(frame[c.TASK] == task) & (frame[c.ARCHITECTURE] == architecture)]
            grid[i, j].set_title(f"{architecture}\n{task}")
            if cell.empty:
                grid[i, j].text(0.5, 0.5, "no runs", ha="center", va="center", transform=grid[i, j].transAxes)
            else:
                panels.append((grid[i, j], cell))
    return figure, panels


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


def _handles(looks: Looks) -> list[Line2D]:
    return [Line2D([], [], color=col, linestyle=dash, label=text) for text, col, dash in looks.values()]


def _cycle(count: int) -> list[str]:
    return [style.CYCLE[i % len(style.CYCLE)] for i in range(count)]


def _finish(figure: Figure, x: str, y: str, handles: Sequence[Artist]) -> None:
    figure.supxlabel(x, fontsize=9)
    figure.supylabel(y, fontsize=9)
    columns = max(1, min(len(handles), int(figure.get_figwidth() / 1.9)))
    figure.legend(handles=list(handles), loc="outside upper center", ncols=columns)
