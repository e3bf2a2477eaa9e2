"""Layer-by-layer similarity of pairs of networks: trained beside untrained."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from universality.errors import MeasurementError
from universality.report.figures import style


class Matrix(NamedTuple):
    """A similarity matrix `values[row, column]` with the layers of both networks.

    `title` names the networks, the one of the rows first.
    """

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: NDArray[np.float64]
    task: str = ""


Pair = tuple[Matrix, Matrix | None]
"""Trained, and untrained where it was measured."""

MOST_PAIRS = 12
PAIRS_PER_LINE = 3
MOST_WRITTEN = 6
# Inches and points.
SIDE, GAP, BETWEEN = 1.25, 0.1, 0.3
TINY = 7.0


class _Block(NamedTuple):
    """Inches around the matrices, the same for all pairs."""

    names: float
    foot: float

    @property
    def width(self) -> float:
        return self.names + 2 * SIDE + GAP


def representation_similarity(pairs: Sequence[Pair], measure: str = "debiased linear CKA") -> Figure:
    """Three pairs to a line, grouped by task, the first twelve of `pairs`.

    Values are written into matrices of at most 6 by 6. Colours span 0 to 1; debiased estimates
    below 0 take the colour of 0. Raises `MeasurementError` where there is no pair.
    """
    if not pairs:
        raise MeasurementError("a figure of no matrices", where="representation_similarity")
    shown = list(pairs[:MOST_PAIRS])
    lines = _lines(shown)
    block = _block([m for pair in shown for m in pair if m is not None])
    width = max(5.5, 0.1 + max(len(line) for _, line in lines) * (block.width + BETWEEN) + 0.75)
    note = style.wrapped(_note(len(shown), len(pairs)), width - 0.2, style.SMALL)
    start = 0.2 + style.text_height(note, style.SMALL)
    heads = [_head(line, new, block) for new, line in lines]
    height = start + sum(sum(head) + SIDE + block.foot for head in heads)
    with matplotlib.rc_context(style.RC):  # type: ignore[arg-type]
        page = style.Page(width, height)
        page.text(0.1, 0.1, note, va="top", fontsize=style.SMALL)
        top = start
        for (new, line), (over, title) in zip(lines, heads, strict=True):
            if new and line[0][0].task:
                right = 0.1 + len(line) * (block.width + BETWEEN) - BETWEEN
                page.group(0.1, right, top + over - 0.06, line[0][0].task)
            top += over + title
            for k, pair in enumerate(line):
                image = _draw(page, pair, 0.1 + k * (block.width + BETWEEN), top, block)
            top += SIDE + block.foot
        bar = page.axes(
            width - 0.7, start + sum(heads[0]), 0.12, min(2.6, height - start - sum(heads[0]) - block.foot)
        )
        page.figure.colorbar(image, cax=bar, label=measure)
    return page.figure


def _lines(pairs: Sequence[Pair]) -> list[tuple[bool, list[Pair]]]:
    """Lines of pairs of one task, and whether the line is the task's first."""
    tasks = list(dict.fromkeys(trained.task for trained, _ in pairs))
    ordered = sorted(pairs, key=lambda pair: tasks.index(pair[0].task))
    lines = []
    for _, group in groupby(ordered, key=lambda pair: pair[0].task):
        members = sorted(group, key=lambda pair: pair[0].title.endswith("seeds"))
        for i in range(0, len(members), PAIRS_PER_LINE):
            lines.append((i == 0, members[i : i + PAIRS_PER_LINE]))
    return lines


def _note(shown: int, there: int) -> str:
    count = f" {shown} of {there} pairs are shown." if there > shown else ""
    return f"Rows: layers of the network named first; columns: of the one named second.{count}"


def _block(matrices: Sequence[Matrix]) -> _Block:
    names = max(style.text_width(name, TINY) for m in matrices for name in m.rows)
    feet = [max(style.text_width(n, TINY) for n in m.columns) if _upright(m) else 0.14 for m in matrices]
    return _Block(names + 0.08, max(feet) + 0.25)


def _upright(matrix: Matrix) -> bool:
    """Whether the names of the columns are too wide to stand side by side."""
    room = SIDE / len(matrix.columns) - 0.04
    return any(style.text_width(name, TINY) > room for name in matrix.columns)


def _head(line: Sequence[Pair], new: bool, block: _Block) -> tuple[float, float]:
    """Inches over the matrices of a line: the task, and below it the pairs' titles and states."""
    titles = [style.text_height(_title(trained), style.SMALL) for trained, _ in line]
    right = len(line) * (block.width + BETWEEN) - BETWEEN
    task = style.wrapped(line[0][0].task, right, style.SMALL, bold=True)
    over = style.text_height(task, style.SMALL) + 0.14 if new and task else 0.0
    return over, max(titles) + 0.22


def _title(matrix: Matrix) -> str:
    return style.wrapped(matrix.title, 2 * SIDE + GAP, style.SMALL)


def _draw(page: style.Page, pair: Pair, left: float, top: float, block: _Block) -> AxesImage:
    left += block.names
    page.text(
        left + SIDE + GAP / 2, top - 0.2, _title(pair[0]), ha="center", va="bottom", fontsize=style.SMALL
    )
    for k, (matrix, state) in enumerate(zip(pair, ("trained", "untrained"), strict=True)):
        if matrix is None:
            continue
        axes = page.axes(left + k * (SIDE + GAP), top, SIDE, SIDE)
        image = axes.imshow(matrix.values, vmin=0, vmax=1, cmap="viridis", origin="lower", aspect="auto")
        axes.set_title(state, fontsize=TINY, pad=2)
        axes.set_xticks(
            range(len(matrix.columns)), matrix.columns, rotation=90 if _upright(matrix) else 0, fontsize=TINY
        )
        axes.set_yticks(
            range(len(matrix.rows)), matrix.rows if k == 0 else [""] * len(matrix.rows), fontsize=TINY
        )
        axes.tick_params(length=0, pad=2)
        axes.spines[:].set_visible(False)
        _write_values(axes, matrix)
    return image


def _write_values(axes: Axes, matrix: Matrix) -> None:
    if max(matrix.values.shape) > MOST_WRITTEN:
        return
    for (i, j), value in np.ndenumerate(matrix.values):
        # Viridis is dark below one half.
        axes.text(
            j,
            i,
            _short(value),
            ha="center",
            va="center",
            fontsize=TINY,
            color="white" if value < 0.5 else "black",
        )


def _short(value: float) -> str:
    """Two decimals without the leading zero: six of them fit side by side.

    >>> [_short(x) for x in (0.873, 1.0, -0.04, -0.001)]
    ['.87', '1.0', '−.04', '.00']
    """
    text = f"{value:.2f}"
    if float(text) == 0:
        return ".00"
    return "1.0" if text == "1.00" else text.replace("0.", ".", 1).replace("-", "\N{MINUS SIGN}")
