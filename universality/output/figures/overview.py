"""Thousands of verdicts at once: a dot per cell, a panel per claim."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from universality.judge.decide import CellVerdict
from universality.judge.resultset import ResultSet
from universality.output.figures import beside, listed, style
from universality.output.figures.beside import Summary
from universality.output.palette import COLOURS
from universality.output.phrases import label_in

WIDTH, MAX_HEIGHT, DOT = 10.0, 8.0, 0.16
"""Inches of the dots of a claim at most, and of the side of one."""
LEAST, BETWEEN = 2.2, 0.35
"""Inches of a panel at least, for its title, and between two side by side."""
LEFT, HEAD, FOOT, LEGEND = 0.5, 0.17, 0.35, 0.25
"""Inches, the second for a line of a title, the last for each key."""

READING = (
    "One dot: one claim, measured for one architecture (across) on one task (down), in the order of the suite. "
    f"Below a claim: {beside.READING}."
)


class _Panel(NamedTuple):
    title: str
    summary: str
    dots: style.Floats

    @property
    def size(self) -> tuple[float, float]:
        """Inches of the dots, across and down."""
        rows, columns = self.dots.shape
        return min(WIDTH, DOT * columns), min(MAX_HEIGHT, DOT * rows)

    @property
    def width(self) -> float:
        return max(LEAST, self.size[0])

    @property
    def head(self) -> float:
        return HEAD * (self.title.count("\n") + self.summary.count("\n") + 2)


@style.LOOK
def overview(results: ResultSet) -> Figure:
    """A panel per claim, side by side where there is room. Rows: tasks. Columns: architectures. Colour: the verdict.

    Cost: O(cells).
    """
    claims: dict[tuple[str, str], list[CellVerdict]] = {}
    for v in results.verdicts:
        if v.record.crossed:
            claims.setdefault((v.record.phenomenon, v.record.claim_name), []).append(v)
    summaries = beside.summaries(results)
    handles = style.verdict_keys({v.verdict for members in claims.values() for v in members})
    shelves: list[list[_Panel]] = []
    for claim, members in claims.items():
        panel = _panel(results, claim, members, summaries[claim])
        room = WIDTH - sum(other.width + BETWEEN for other in shelves[-1]) if shelves else 0.0
        if panel.width > room:
            shelves.append([])
        shelves[-1].append(panel)
    heights = [max(p.head for p in shelf) + max(p.size[1] for p in shelf) for shelf in shelves]
    total = LEGEND * (len(handles) + 3) + sum(heights) + FOOT * len(shelves)
    figure = Figure((WIDTH + 2 * LEFT, total))
    top = 0.0
    for shelf, tall in zip(shelves, heights, strict=True):
        x, head = LEFT, max(panel.head for panel in shelf)
        for panel in shelf:
            (width, height), (rows, columns) = panel.size, panel.dots.shape
            place = x, total - top - head - height, width, height
            axes = figure.add_axes(np.divide(place, (WIDTH + 2 * LEFT, total) * 2).tolist())
            colours = ListedColormap(list(COLOURS.values()))
            look: dict[str, Any] = {
                "vmin": -0.5,
                "vmax": len(COLOURS) - 0.5,
                "aspect": "auto",
                "interpolation": "nearest",
            }
            axes.imshow(np.ma.masked_invalid(panel.dots), cmap=colours, **look)
            axes.set(xticks=[], yticks=[], xlabel=f"{columns} architectures", ylabel=f"{rows} tasks")
            lines = panel.summary.count("\n") + 1
            small: Any = {"fontsize": style.SMALL}
            axes.annotate(
                panel.summary, (0, 1), (0, 4), "axes fraction", "offset points", va="bottom", **small
            )
            axes.set_title(panel.title, loc="left", pad=4 + HEAD * 72 * lines, fontweight="bold", **small)
            x += panel.width + BETWEEN
        top += tall + FOOT
    note = style.wrapped(READING, WIDTH, style.SMALL, most=None)
    figure.legend(handles=handles, title=note, alignment="left", loc="lower left")
    return figure


def _panel(
    results: ResultSet, claim: tuple[str, str], members: Sequence[CellVerdict], summary: Summary
) -> _Panel:
    dots = _dots(members)
    title = f"{results.plan.phenomena[claim[0]].title}: {label_in(results, *claim)}"
    width = max(LEAST, min(WIDTH, DOT * dots.shape[1]))
    controls = listed.told(summary.standing).replace("\n", " ")
    said = f"{summary.kind}\n{summary.holds}; {controls}" if summary.kind else f"{summary.text}; {controls}"
    return _Panel(_broken(style.shown(title, 100), width), said, dots)


def _broken(title: str, inches: float) -> str:
    """Lines of whole words, where these are short enough."""
    return "\n".join(textwrap.wrap(title, max(8, int(inches * 72 / style.SMALL / 0.66))))


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
