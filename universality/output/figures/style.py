"""How figures look and how they are saved. No figure here touches pyplot's global state."""

from __future__ import annotations

import io
import math
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any, Literal, TypeVar

import matplotlib.style
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray
from PIL import Image

from universality.judge.decide import Verdict
from universality.output.figures import fonts
from universality.output.figures.svg import compact
from universality.output.palette import BLACK, COLOURS, MARKS, MEANINGS, ink
from universality.store.files import replace_file
from universality.text import MAX_SHOWN, code_point, plain, short, typeset

T = TypeVar("T")
Floats = NDArray[np.float64]

HEADING, BODY, SMALL, TINY = 11.0, 9.0, 8.0, 7.0
"""Points."""

COLOURS_OF_PNG = 256
"""Beside a dozen of ours there are only shades where these meet."""

MAX_MARKS = 3
"""Over or under one letter."""

KEY, LETTER = 0.5, 0.064
"""Inches in a legend: of a key with the room about it, and of a letter."""

RC = {
    "font.size": BODY,
    "axes.titlesize": SMALL,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.title_fontsize": SMALL,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "lines.linewidth": 1.1,
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.06,
    "font.family": fonts.families(),
    # Names of others may hold dollars; no text of ours is a formula.
    "text.parse_math": False,
    # Without hinting a text has one width at all resolutions.
    "text.hinting": "none",
    "figure.dpi": 150,
    # Equal input gives equal bytes.
    "svg.hashsalt": "universality",
}
LOOK = matplotlib.style.context(["default", RC])
"""A decorator: within the function, this look and nothing of the reader's own settings."""


def shown(text: object, most: int | None = None) -> str:
    """A text of others as it can be drawn: in one line of at most `most` characters, and what no font here has spelled
    by its number, so that names that differ look different.

    >>> shown("a$b$\\u202e\\U0010fffd")
    'a$b$\\\\u202e\\\\U0010fffd'
    """
    spelled, marks = "", 0
    for c in plain(text, most):
        # Marks pile up over one letter; no script has more than a few.
        marks = marks + 1 if unicodedata.combining(c) else 0
        spelled += c if ord(c) in fonts.drawable() and marks <= MAX_MARKS else code_point(c)
    return spelled if most is None else short(spelled, most)


def wrapped(
    text: object, inches: float, size: float, bold: bool = False, most: int | None = MAX_SHOWN
) -> str:
    """A text as `shown`, `broken`."""
    return broken(shown(text, most), inches, size, bold)


def broken(text: str, inches: float, size: float, bold: bool = False) -> str:
    """Lines of at most `inches`, broken at commas, at spaces and before parameters, else within names at `_=/-`, else anywhere.

    >>> broken("modular[p=23,train_fraction=0.7]", 1.4, 8.0)
    'modular[p=23,\\ntrain_fraction=0.7]'
    >>> broken("sparse_parity[n=30]", 0.9, 8.0), broken("sparse_parity[n=30]", 0.7, 8.0)
    ('sparse_parity\\n[n=30]', 'sparse_\\nparity\\n[n=30]')
    """
    room, lines = inches * 72 / size, []
    while text := text.lstrip():
        widths = accumulate(fonts.advance(letter, bold) for letter in text)
        fitting = max(1, sum(width <= room for width in widths))
        cut = len(text) if fitting == len(text) else _cut(text, fitting)
        lines.append(text[:cut].rstrip())
        text = text[cut:]
    return "\n".join(lines)


def _cut(text: str, fitting: int) -> int:
    """Where the first line of a text ends, of which so many letters fit in a line."""
    places = range(fitting, 0, -1)
    between = (i for i in places if text[i - 1] in ", " or text[i] in "[ ")
    within = (i for i in places if text[i - 1] in "_=/-")
    return next(between, None) or next(within, fitting)


def height(*texts: str) -> float:
    """Inches of the lines of the longest text."""
    return 0.14 * max(text.count("\n") + 1 for text in texts)


def heading(figure: Figure, place: SubplotSpec, text: str, *, bold: bool = False, pad: float = 3.0) -> None:
    """A text over what belongs to it; a bold one has a rule below it."""
    axes = figure.add_subplot(place, label="heading", facecolor="none")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.spines["top"].set_visible(bold)
    axes.set_title(text, fontsize=SMALL, fontweight="bold" if bold else "normal", pad=pad)


def tiles(axes: Axes, values: Floats, texts: NDArray[Any] | None, *, size: float, **look: Any) -> None:
    """A tile per number, none for NaN, the first row on top, each with its text in the colour with the most contrast.

    `look`: of `seaborn.heatmap`, which without names of rows and columns has no need to draw the figure.
    """
    annotated: dict[str, Any] = {"annot": False if texts is None else texts, "annot_kws": {"fontsize": size}}
    bare = {"cbar": False, "xticklabels": False, "yticklabels": False}
    sns.heatmap(values, ax=axes, fmt="", **annotated, **bare, **look)
    written: Any = np.ma.asarray(axes.collections[0].get_array()).ravel()
    colours = axes.collections[0].to_rgba(written)[~np.ma.getmaskarray(written)]
    for text, colour in zip(axes.texts, colours, strict=False):
        text.set_color(ink(to_hex(colour)))


def verdict_keys(verdicts: Collection[Verdict]) -> list[Patch]:
    """Keys to the colours of these verdicts, for a legend."""
    look: Any = {"edgecolor": BLACK, "linewidth": 0.4}
    return [
        Patch(facecolor=colour, label=f"{MARKS[v]}  {v}: {MEANINGS[v]}", **look)
        for v, colour in COLOURS.items()
        if v in verdicts
    ]


def legend_columns(handles: Sequence[Patch], inches: float) -> int:
    """In how many columns a legend is as wide as that at most; matplotlib fills them one after the other."""
    widths = [KEY + LETTER * len(str(handle.get_label())) for handle in handles]
    fitting = (
        columns
        for columns in range(len(widths), 1, -1)
        if sum(max(column) for column in np.array_split(widths, columns)) <= inches
    )
    return next(fitting, 1)


def shelves(columns: Sequence[tuple[str, T]], most: int) -> list[list[tuple[str, T]]]:
    """Columns of tasks in lines of at most `most`; a task is split only if it is longer.

    >>> shelves([("a", 1), ("b", 2), ("a", 3), ("b", 4)], 3)
    [[('a', 1), ('a', 3)], [('b', 2), ('b', 4)]]
    """
    lines: list[list[tuple[str, T]]] = []
    for task in dict.fromkeys(task for task, _ in columns):
        members = [column for column in columns if column[0] == task]
        for start in range(0, len(members), most):
            part = members[start : start + most]
            if not lines or len(lines[-1]) + len(part) > most:
                lines.append([])
            lines[-1] += part
    return lines


def by_task(columns: Sequence[tuple[str, T]]) -> Iterator[tuple[str, int, int]]:
    """Each task of a line, its first column, and one past its last."""
    start = 0
    for task, group in groupby(columns, key=lambda column: column[0]):
        stop = start + len(list(group))
        yield task, start, stop
        start = stop


def scale(axes: Axes, which: Literal["x", "y"], log: bool, low: float, high: float) -> None:
    """A linear or logarithmic axis with ticks to read from, also where it spans less than a decade.

    Args:
        low, high: the numbers that are drawn, positive on a logarithmic axis.
    """
    axis = axes.xaxis if which == "x" else axes.yaxis
    if not log:
        axis.set_major_locator(MaxNLocator(4 if which == "x" else 5, steps=[1, 2, 2.5, 5, 10]))
        return
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    wide = math.log10(high) - math.log10(low) > 1.5
    axis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0), numticks=6 if wide else 9))
    axis.set_major_formatter(POWERS if wide else FuncFormatter(lambda value, _: typeset(f"{value:.3g}")))
    axis.set_minor_formatter(NullFormatter())


def power(value: float) -> str:
    """A power of ten, or zero, as people write it.

    >>> power(0.001), power(10.0), power(0.0)
    ('10⁻³', '10¹', '0')
    """
    exponent = str(round(math.log10(value))) if value > 0 else ""
    return f"10{exponent.translate(_RAISED)}" if value > 0 else typeset(f"{value:g}")


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
POWERS = FuncFormatter(lambda value, _: power(value))
"""Of the ticks of a logarithmic axis."""


def padded(low: float, high: float, log: bool, part: float = 0.05) -> tuple[float, float]:
    """Limits a little beyond what is drawn.

    >>> padded(0.0, 1.0, False), padded(1.0, 1.0, False)
    ((-0.05, 1.05), (0.5, 1.5))
    """
    if log:
        grow = max(10 ** (part * (math.log10(high) - math.log10(low))), 1.1)
        return low / grow, high * grow
    grow = (high - low) * part or abs(high) / 2 or 1.0
    return low - grow, high + grow


@LOOK
def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write `name.svg`, `compact`, and `name.png` (150 dots per inch, `COLOURS_OF_PNG`) into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.svg", folder / f"{name}.png"]
    if (engine := figure.get_layout_engine()) is not None:
        # One layout for both files; with an engine, even an empty one, each would draw the figure once more to place it.
        engine.execute(figure)
        figure.set_layout_engine(None)
        # The solver's last digit differs between processes, and names of clip paths hash it.
        for axes in figure.axes:
            left, bottom, width, height = (round(end, 9) for end in axes.get_position().bounds)
            axes.set_position((left, bottom, width, height))
    for path, written in zip(paths, (_svg(figure), _png(figure)), strict=True):
        replace_file(path, written)
    return paths


def _svg(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return compact(buffer.getvalue())


def _png(figure: Figure) -> bytes:
    canvas: Any = FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    few = image.quantize(COLOURS_OF_PNG, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(buffer, "png", optimize=True)
    return buffer.getvalue()
