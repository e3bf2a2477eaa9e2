"""How figures look and how they are saved. No figure here touches pyplot's global state.

Pages are laid out in inches from measured text, so that names of any length neither meet nor get cut.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.textpath import TextPath

from universality.store.files import replace_file

# Okabe and Ito 2008: told apart with the common colour-vision deficiencies.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY, PALE, DARK = "#8A8A8A", "#E4E4E4", "#505050"
CYCLE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)

HEADING, BODY, SMALL = 11.0, 9.0, 8.0
"""Points."""

RC = {
    "font.size": BODY,
    "axes.titlesize": SMALL,
    "axes.labelsize": BODY,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": BODY,
    "legend.title_fontsize": SMALL,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "lines.linewidth": 1.1,
    # Equal input gives equal bytes.
    "svg.hashsalt": "universality",
}

# Where a name may be broken, best first: after a comma or space and before its parameters; within
# a parameter; anywhere.
_BREAKS = (r"(?<=[, ])|(?=\[)", r"(?<=[_=/-])", r"(?<=.)")
_HANDLE = 0.6
"""Inches of a legend entry beside its text."""


class Page:
    """A figure of the given size whose contents are placed in inches from its upper left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height))
        FigureCanvasAgg(self.figure)

    def axes(self, left: float, top: float, width: float, height: float, **options: Any) -> Axes:
        bottom = self.height - top - height
        box = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(box, **options)

    def text(self, x: float, y: float, text: str, **look: Any) -> Text:
        return self.figure.text(x / self.width, 1 - y / self.height, text, **look)

    def group(self, left: float, right: float, bottom: float, name: str) -> None:
        """A bold name, broken by `wrapped`, over a rule that spans what belongs to it."""
        y = 1 - bottom / self.height
        ends = [left / self.width, right / self.width]
        self.figure.add_artist(Line2D(ends, [y, y], color=BLACK, linewidth=0.8))
        look = {"ha": "center", "va": "bottom", "fontsize": SMALL, "fontweight": "bold"}
        self.text((left + right) / 2, bottom - 0.04, wrapped(name, right - left, SMALL, bold=True), **look)

    def legend(self, handles: Sequence[Artist], top: float, title: str = "") -> None:
        """Centred, as many columns as fit; `legend_height` tells how high it becomes."""
        self.figure.legend(
            handles=list(handles),
            title=title or None,
            loc="upper center",
            bbox_to_anchor=(0.5, 1 - top / self.height),
            borderaxespad=0.0,
            ncols=_legend_columns([str(h.get_label()) for h in handles], self.width),
        )


def legend_height(labels: Sequence[str], width: float, title: str = "") -> float:
    """Inches that a page's legend takes."""
    rows = math.ceil(len(labels) / _legend_columns(labels, width)) + bool(title)
    return 0.15 + rows * 0.21


def _legend_columns(labels: Sequence[str], width: float) -> int:
    widest = max((text_width(label, BODY) for label in labels), default=1.0) + _HANDLE
    return max(1, min(len(labels), int((width - 0.2) / widest)))


@lru_cache(maxsize=4096)
def text_width(text: str, size: float, bold: bool = False) -> float:
    """Inches of the widest line, with 4 % to spare for the rounding of glyphs to pixels."""
    font = FontProperties(size=size, weight="bold" if bold else "normal")
    widths = [
        TextPath((0, 0), line, prop=font).get_extents().width for line in text.split("\n") if line.strip()
    ]
    return 1.04 * max(widths, default=0.0) / 72


def text_height(text: str, size: float) -> float:
    """Inches of all lines of a text."""
    return 1.25 * size / 72 * (text.count("\n") + 1)


def wrapped(text: str, width: float, size: float, bold: bool = False) -> str:
    """`text` in lines of at most `width` inches, broken at commas where that suffices.

    >>> wrapped("modular[p=23,train_fraction=0.7]", 1.3, 8.0)
    'modular[p=23,\\ntrain_fraction=0.7]'
    """
    lines = [""]

    def add(piece: str, breaks: Sequence[str]) -> None:
        if text_width((lines[-1] + piece).strip(), size, bold) <= width:
            lines[-1] += piece
        elif lines[-1] and text_width(piece.strip(), size, bold) <= width:
            lines.append(piece)
        elif breaks:
            for part in filter(None, re.split(breaks[0], piece)):
                add(part, breaks[1:])
        else:
            lines.append(piece)

    add(text, _BREAKS)
    return "\n".join(line.strip() for line in lines if line.strip())


def shelves(columns: Sequence[tuple[str, str]], most: int) -> list[list[tuple[str, str]]]:
    """Columns (task, architecture) in lines of at most `most`; a task is split only if it is longer.

    >>> shelves([("a", "1"), ("a", "2"), ("b", "1"), ("b", "2")], 3)
    [[('a', '1'), ('a', '2')], [('b', '1'), ('b', '2')]]
    """
    lines: list[list[tuple[str, str]]] = []
    for _, group in groupby(columns, key=lambda column: column[0]):
        members = list(group)
        for start in range(0, len(members), most):
            part = members[start : start + most]
            if lines and len(lines[-1]) + len(part) <= most:
                lines[-1] += part
            else:
                lines.append(part)
    return lines


def by_task(columns: Sequence[tuple[str, str]]) -> list[tuple[str, int, int]]:
    """Runs of equal tasks: the task, its first column, and one past its last."""
    starts = [i for i, (task, _) in enumerate(columns) if i == 0 or columns[i - 1][0] != task]
    ends = [*starts[1:], len(columns)]
    return [(columns[i][0], i, j) for i, j in zip(starts, ends, strict=True)]


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write `name.svg` and `name.png` (150 dots per inch) into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.svg", folder / f"{name}.png"]
    with matplotlib.rc_context(RC):  # type: ignore[arg-type]
        svg, png = io.BytesIO(), io.BytesIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
        figure.savefig(png, format="png", dpi=150)
        for path, drawn in zip(paths, (svg, png), strict=True):
            replace_file(path, drawn.getvalue())
    return paths
