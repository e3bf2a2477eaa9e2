"""Layer-by-layer similarity of pairs of networks: trained beside untrained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from universality.errors import MeasurementError
from universality.output.collect import Pair
from universality.output.figures import style
from universality.plugin.outcome import Matrix

MAX_PAIRS = 12
PAIRS_PER_LINE = 3
MAX_WRITTEN = 6
# Inches: a matrix, what is between two of them, and a letter of a layer's name.
SIDE, GAP, LETTER = 1.25, 0.1, 0.065


@style.LOOK
def representation_similarity(pairs: Sequence[Pair]) -> Figure:
    """Three pairs to a line, grouped by task, the first twelve of `pairs`.

    Values are written into matrices of at most 6 by 6. Colours span 0 to 1; debiased estimates
    below 0 take the colour of 0. Raises `MeasurementError` where there is no pair.
    """
    if not pairs:
        raise MeasurementError("a figure of no matrices", where="representation_similarity")
    first = sorted(pairs[:MAX_PAIRS], key=lambda pair: pair.alike)
    names = LETTER * max(_letters(pair.trained.rows) for pair in first) + 0.1
    block = [names, SIDE, GAP, SIDE, 2 * GAP]
    shelves = style.shelves([(pair.task, _broken(pair)) for pair in first], PAIRS_PER_LINE)
    most = max(map(len, shelves))
    widths = [*block * most, 0.15, max(0.7, 5.5 - most * sum(block))]
    more = f" {MAX_PAIRS} of {len(pairs)} pairs are shown." if len(pairs) > MAX_PAIRS else ""
    note = f"Rows: layers of the network named first; columns: of the one named second.{more}"
    note = style.wrapped(note, sum(widths) - 0.2, style.SMALL)
    heights = [style.height(note) + 0.15]
    for shelf in shelves:
        over = style.height(*(pair.task for _, pair in shelf)) + 0.15 if shelf[0][0] else 0.0
        foot = max(LETTER * _letters(p.trained.columns) if _upright(p.trained) else 0.1 for _, p in shelf)
        heights += [over, style.height(*(pair.title for _, pair in shelf)) + 0.3, SIDE, foot + 0.2]
    figure = Figure((sum(widths), sum(heights)))
    figure.text(0.1 / sum(widths), 1 - 0.1 / sum(heights), note, va="top", fontsize=style.SMALL)
    shape = {"width_ratios": widths, "height_ratios": heights, "wspace": 0, "hspace": 0}
    grid = figure.add_gridspec(len(heights), len(widths), left=0, right=1, bottom=0, top=1, **shape)
    for line, shelf in enumerate(shelves):
        row = 4 * line + 3
        for task, i, j in style.by_task(shelf):
            place = grid[row - 1, 5 * i + 1 : 5 * j - 1]
            style.heading(figure, place, shelf[i][1].task, bold=bool(task))
        for k, (_, pair) in enumerate(shelf):
            style.heading(figure, grid[row, 5 * k + 1 : 5 * k + 4], pair.title, pad=16)
            for column, state in ((1, "trained"), (3, "untrained")):
                matrix = getattr(pair, state)
                if matrix is not None:
                    axes = figure.add_subplot(grid[row, 5 * k + column])
                    _draw(axes, matrix, state)
                    axes.tick_params(labelleft=column == 1)
    bar = figure.add_subplot(grid[3 : 4 * min(2, len(shelves)), -2])
    figure.colorbar(ScalarMappable(Normalize(0, 1), "viridis"), cax=bar, label="debiased linear CKA")
    return figure


def _draw(axes: Axes, matrix: Matrix, title: str) -> None:
    values = np.array(matrix.values, dtype=float).reshape(len(matrix.rows), len(matrix.columns))
    if values.size:
        texts = np.vectorize(_short, otypes=[object])(values) if max(values.shape) <= MAX_WRITTEN else False
        look = {"annot_kws": {"fontsize": style.TINY}, "xticklabels": False, "yticklabels": False}
        sns.heatmap(values, ax=axes, vmin=0, vmax=1, cmap="viridis", cbar=False, annot=texts, fmt="", **look)
        style.ink_numbers(axes)
        # The first layers at the lower left.
        axes.invert_yaxis()
    axes.set_title(title, fontsize=style.TINY, pad=3)
    rotation = 90 if _upright(matrix) else 0
    axes.set_xticks(np.arange(len(matrix.columns)) + 0.5, matrix.columns, rotation=rotation)
    axes.set_yticks(np.arange(len(matrix.rows)) + 0.5, matrix.rows)
    axes.tick_params(length=0, pad=2, labelsize=style.TINY)
    axes.spines[:].set_visible(False)


def _broken(pair: Pair) -> Pair:
    task = style.wrapped(pair.task, 2 * SIDE, style.SMALL, bold=True)
    return pair._replace(title=style.wrapped(pair.title, 2 * SIDE, style.SMALL), task=task)


def _letters(names: Sequence[str]) -> int:
    return max(map(len, names), default=0)


def _upright(matrix: Matrix) -> bool:
    """Whether the names of the columns are too wide to stand side by side."""
    return LETTER * (_letters(matrix.columns) + 1) * len(matrix.columns) > SIDE


def _short(value: float) -> str:
    """Two decimals without the leading zero: six of them fit side by side.

    >>> [_short(x) for x in (0.873, 1.0, -0.04, -0.001)]
    ['.87', '1.0', '−.04', '.00']
    """
    text = f"{value:.2f}"
    if float(text) == 0:
        return ".00"
    return "1.0" if text == "1.00" else text.replace("0.", ".", 1).replace("-", "\N{MINUS SIGN}")
