"""Labelled matrices of outcomes side by side, such as similarities of layers, trained beside untrained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from universality.errors import MeasurementError
from universality.output.collect import Block
from universality.output.figures import style
from universality.plugin.charts import Matrices
from universality.plugin.outcome import Matrix
from universality.text import number, typeset

MAX_BLOCKS = 12
MATRICES_PER_LINE = 6
MAX_WRITTEN = 6
MAX_LAYERS = 60
"""Rows or columns; of a larger matrix the first are drawn."""
# Inches: a matrix, what is between two of them, and a letter of a layer's name.
SIDE, GAP, LETTER = 1.25, 0.1, 0.065
MAX_LETTERS = 24


@style.LOOK
def matrices(chart: Matrices, blocks: Sequence[Block]) -> Figure:
    """Blocks in lines, grouped by task, the first twelve of `blocks`.

    Values are written into matrices of at most 6 by 6. Values beyond the ends of the colours take the colour of the
    end. Raises `MeasurementError` where there is no block.
    """
    if not blocks:
        raise MeasurementError("a figure of no matrices", where=str(chart)[:120])
    first = sorted((_broken(block) for block in blocks[:MAX_BLOCKS]), key=lambda block: block.alike)
    wide = max(len(block.matrices) for block in first)
    columns = max(1, MATRICES_PER_LINE // wide)
    names = LETTER * max(_letters(m.rows) for block in first for _, m in block.matrices) + 0.1
    span = 2 * wide + 1
    block_widths = [names, *[SIDE, GAP] * (wide - 1), SIDE, 2 * GAP]
    shelves = style.shelves([(block.task, block) for block in first], columns)
    most = max(map(len, shelves))
    widths = [*block_widths * most, 0.15, max(0.7, 5.5 - most * sum(block_widths))]
    parts = [
        f"Rows: {chart.rows}." if chart.rows else "",
        f"Columns: {chart.columns}." if chart.columns else "",
    ]
    parts += [f"{MAX_BLOCKS} of {len(blocks)} are shown."] if len(blocks) > MAX_BLOCKS else []
    note = style.wrapped(" ".join(filter(None, parts)), sum(widths) - 0.2, style.SMALL, most=400)
    heights = [style.height(note) + 0.15]
    for shelf in shelves:
        over = style.height(*(block.task for _, block in shelf)) + 0.15 if shelf[0][0] else 0.0
        upright = [m for _, block in shelf for _, m in block.matrices if _upright(m)]
        foot = max((LETTER * _letters(m.columns) for m in upright), default=0.1)
        heights += [over, style.height(*(block.title for _, block in shelf)) + 0.3, SIDE, foot + 0.2]
    figure = Figure((sum(widths), sum(heights)))
    figure.text(0.1 / sum(widths), 1 - 0.1 / sum(heights), note, va="top", fontsize=style.SMALL)
    shape = {"width_ratios": widths, "height_ratios": heights, "wspace": 0, "hspace": 0}
    grid = figure.add_gridspec(len(heights), len(widths), left=0, right=1, bottom=0, top=1, **shape)
    for line, shelf in enumerate(shelves):
        row = 4 * line + 3
        for task, i, j in style.by_task(shelf):
            place = grid[row - 1, span * i + 1 : span * j - 1]
            style.heading(figure, place, task, bold=bool(task))
        for k, (_, block) in enumerate(shelf):
            end = span * k + 2 * len(block.matrices)
            style.heading(figure, grid[row, span * k + 1 : end], block.title, pad=16)
            for place_of, (title, matrix) in enumerate(block.matrices):
                axes = figure.add_subplot(grid[row, span * k + 1 + 2 * place_of])
                _draw(axes, chart, matrix, style.shown(title, 24))
                axes.tick_params(labelleft=place_of == 0)
    bar = figure.add_subplot(grid[3 : 4 * min(2, len(shelves)), -2])
    colours = ScalarMappable(Normalize(chart.low, chart.high), "viridis")
    figure.colorbar(colours, cax=bar, label=style.shown(chart.label, 60))
    return figure


def _draw(axes: Axes, chart: Matrices, matrix: Matrix, title: str) -> None:
    values = np.array(matrix.values, dtype=float).reshape(len(matrix.rows), len(matrix.columns))
    if values.size:
        texts = (
            np.array([[_short(v) for v in row] for row in matrix.values], dtype=object)
            if max(values.shape) <= MAX_WRITTEN
            else None
        )
        style.tiles(axes, values, texts, size=style.TINY, vmin=chart.low, vmax=chart.high, cmap="viridis")
        # The first layers at the lower left.
        axes.invert_yaxis()
    axes.set_title(title, fontsize=style.TINY, pad=3)
    rotation = 90 if _upright(matrix) else 0
    axes.set_xticks(np.arange(len(matrix.columns)) + 0.5, matrix.columns, rotation=rotation)
    axes.set_yticks(np.arange(len(matrix.rows)) + 0.5, matrix.rows)
    axes.tick_params(length=0, pad=2, labelsize=style.TINY)
    axes.spines[:].set_visible(False)


def _broken(block: Block) -> Block:
    """With names that can be drawn: broken into lines, cut, and no more layers than there is room for."""
    wide = len(block.matrices) * (SIDE + GAP) - GAP
    task = style.wrapped(block.task, wide, style.SMALL, bold=True)
    title = style.wrapped(block.title, wide, style.SMALL)
    return block._replace(title=title, task=task, matrices=[(t, _cropped(m)) for t, m in block.matrices])


def _cropped(matrix: Matrix) -> Matrix:
    rows, columns = (
        tuple(style.shown(name, MAX_LETTERS) for name in names[:MAX_LAYERS])
        for names in (matrix.rows, matrix.columns)
    )
    return Matrix(rows, columns, tuple(line[:MAX_LAYERS] for line in matrix.values[:MAX_LAYERS]))


def _letters(names: Sequence[str]) -> int:
    return max(map(len, names), default=0)


def _upright(matrix: Matrix) -> bool:
    """Whether the names of the columns are too wide to stand side by side."""
    return LETTER * (_letters(matrix.columns) + 1) * len(matrix.columns) > SIDE


def _short(value: float) -> str:
    """Two decimals without the leading zero: six of them fit side by side.

    >>> [_short(x) for x in (0.873, 1.0, -0.04, -0.001, 1234.0)]
    ['.87', '1.0', '−.04', '.00', '1234']
    """
    if abs(value) >= 9.995:
        return typeset(number(value, 2))
    text = f"{value:.2f}"
    if float(text) == 0:
        return ".00"
    return "1.0" if text == "1.00" else text.replace("0.", ".", 1).replace("-", "\N{MINUS SIGN}")
