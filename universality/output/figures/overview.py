"""Thousands of verdicts at once: a dot per cell, a panel per claim."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from universality.judge.decide import CellVerdict
from universality.judge.resultset import ResultSet
from universality.output.figures import style
from universality.output.palette import COLOURS
from universality.output.phrases import label_in

WIDTH, MAX_HEIGHT, DOT = 10.0, 8.0, 0.16
"""Inches of the dots of a claim at most, and of the side of one."""
LEFT, HEAD, FOOT, LEGEND = 0.5, 0.4, 0.3, 0.25
"""Inches, the last for each key."""

READING = "One dot: one claim, measured for one architecture (across) on one task (down), in the order of the suite."


@style.LOOK
def overview(results: ResultSet) -> Figure:
    """A panel per claim. Rows: tasks. Columns: architectures. Colour: the verdict. Cost: O(cells)."""
    claims: dict[tuple[str, str], list[CellVerdict]] = {}
    for v in results.verdicts:
        if v.record.crossed:
            claims.setdefault((v.record.phenomenon, v.record.claim_name), []).append(v)
    handles = style.verdict_keys({v.verdict for members in claims.values() for v in members})
    dots = {claim: _dots(members) for claim, members in claims.items()}
    sizes = {claim: _size(image) for claim, image in dots.items()}
    legend = LEGEND * (len(handles) + 3)
    total = legend + sum(height + HEAD + FOOT for _, height in sizes.values())
    figure = Figure((WIDTH + 2 * LEFT, total))
    top = 0.0
    for (phenomenon, claim), image in dots.items():
        (width, height), (rows, columns) = sizes[phenomenon, claim], image.shape
        top += HEAD
        place = LEFT, total - top - height, width, height
        axes = figure.add_axes(np.divide(place, (WIDTH + 2 * LEFT, total) * 2).tolist())
        colours = ListedColormap(list(COLOURS.values()))
        look: dict[str, Any] = {
            "vmin": -0.5,
            "vmax": len(COLOURS) - 0.5,
            "aspect": "auto",
            "interpolation": "nearest",
        }
        axes.imshow(np.ma.masked_invalid(image), cmap=colours, **look)
        axes.set(xticks=[], yticks=[], xlabel=f"{columns} architectures", ylabel=f"{rows} tasks")
        title = f"{results.plan.phenomena[phenomenon].title}: {label_in(results, phenomenon, claim)}"
        axes.set_title(style.shown(title, 100), loc="left", fontweight="bold")
        top += height + FOOT
    note = style.wrapped(READING, WIDTH, style.SMALL)
    figure.legend(handles=handles, title=note, alignment="left", loc="lower left")
    return figure


def _dots(members: Sequence[CellVerdict]) -> style.Floats:
    """The place of each verdict among the colours, [tasks, architectures]; NaN where a cell was not asked."""
    rows, columns = (
        {name: place for place, name in enumerate(dict.fromkeys(names))}
        for names in ((v.record.task for v in members), (v.record.architecture for v in members))
    )
    places = {verdict: place for place, verdict in enumerate(COLOURS)}
    image = np.full((len(rows), len(columns)), np.nan)
    for v in members:
        image[rows[v.record.task], columns[v.record.architecture]] = places[v.verdict]
    return image


def _size(image: style.Floats) -> tuple[float, float]:
    """Inches, across and down."""
    rows, columns = image.shape
    return min(WIDTH, DOT * columns), min(MAX_HEIGHT, DOT * rows)
