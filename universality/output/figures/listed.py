"""Phenomena of a single cell, as a list: a picture of their own for each would be a strip of headings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from universality.judge.controls import Standing
from universality.judge.decide import CellVerdict
from universality.output import palette
from universality.output.figures import style
from universality.output.figures.beside import Summary
from universality.output.palette import COLOURS

COLUMN, BETWEEN, MARGIN = 5.6, 0.5, 0.25
"""Inches: a column, the space between two, and at the sides."""
TITLE, LINE, AFTER = 0.24, 0.4, 0.22
"""Inches: a heading or the line below it, a claim, and the space behind a phenomenon."""
TILE = (0.92, 0.36)
BESIDE = 1.15
"""Inches before a tile: of the claim's answer, or else of what its controls lack."""


class Line(NamedTuple):
    """A claim, what it bounds, its summary, and its verdict with the text on its tile."""

    title: str
    bounds: str
    summary: Summary
    verdict: CellVerdict
    label: str


class Entry(NamedTuple):
    """A phenomenon, and the network and the task of its one cell."""

    title: str
    setting: str
    lines: Sequence[Line]

    @property
    def height(self) -> float:
        return 2 * TITLE + LINE * len(self.lines) + AFTER


WIDTH = 2 * COLUMN + BETWEEN + 2 * MARGIN


def columns(entries: Sequence[Entry]) -> tuple[Sequence[Entry], Sequence[Entry]]:
    """Two columns, the first not shorter than the second, in order."""
    total, height = sum(entry.height for entry in entries), 0.0
    for count, entry in enumerate(entries):
        if height >= total / 2:
            return entries[:count], entries[count:]
        height += entry.height
    return entries, ()


def height(entries: Sequence[Entry]) -> float:
    """Inches of the list."""
    return max(sum(entry.height for entry in column) for column in columns(entries))


def told(standing: Standing) -> str:
    """What controls gave, in a line or two."""
    return "controls ok" if standing == "validated" else standing.replace("negative not ", "negative not\n")


def look(standing: Standing) -> Mapping[str, Any]:
    if standing == "validated":
        return {"color": palette.DARK}
    return {"color": palette.VERMILLION, "fontweight": "bold"}


def draw(figure: Figure, entries: Sequence[Entry], top: float) -> None:
    """The list in two columns, its upper end `top` inches below that of the figure."""
    tall, (whole_width, whole_height) = height(entries), figure.get_size_inches()
    place = (0, (whole_height - top - tall) / whole_height, WIDTH / whole_width, tall / whole_height)
    axes = figure.add_axes(place, xlim=(0, WIDTH), ylim=(tall, 0))
    axes.set_axis_off()
    for column, members in enumerate(columns(entries)):
        x, y = MARGIN + column * (COLUMN + BETWEEN), 0.0
        end = x + COLUMN - TILE[0]
        for entry in members:
            texts: Mapping[float, tuple[str, Mapping[str, Any]]] = {
                TITLE / 2: (entry.title, {"fontsize": style.HEADING, "fontweight": "bold"}),
                1.5 * TITLE: (entry.setting, {"fontsize": style.SMALL, "color": palette.DARK}),
            }
            for below, (text, written) in texts.items():
                axes.text(x, y + below, text, va="center", **written)
            y += 2 * TITLE
            for line in entry.lines:
                middle = y + LINE / 2
                axes.text(x, middle - 0.02, line.title, va="bottom", fontsize=style.SMALL, fontweight="bold")
                axes.text(x, middle + 0.02, line.bounds, va="top", fontsize=style.TINY, color=palette.DARK)
                colour = COLOURS[line.verdict.verdict]
                axes.add_patch(Rectangle((end, y + 0.02), *TILE, facecolor=colour, edgecolor="none"))
                size = style.SMALL if "\n" in line.label else style.BODY
                centred: Any = {"ha": "center", "va": "center", "fontsize": size}
                axes.text(end + TILE[0] / 2, middle, line.label, color=palette.ink(colour), **centred)
                summary = line.summary
                said = summary.text if summary.standing == "validated" else told(summary.standing)
                right: Any = {"ha": "right", "va": "center", "fontsize": style.TINY}
                axes.text(end - 0.08, middle, said, **right, **look(summary.standing))
                y += LINE
            y += AFTER
