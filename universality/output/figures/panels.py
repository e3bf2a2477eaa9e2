"""A panel for each cell, with shared axes, tasks over their panels and one legend below."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from universality.errors import MeasurementError
from universality.judge.decide import CellVerdict
from universality.judge.resultset import ResultSet
from universality.output import palette
from universality.output.charts import Sheet
from universality.output.figures import style
from universality.output.palette import MARKS
from universality.output.phrases import effect_text, label_in
from universality.store.cells import CellRecord

T = TypeVar("T")

PANEL = (2.35, 2.3)
"""Inches, with the names above and the space to the next one."""
MAX_COLUMNS, MAX_PANELS, FEW_PANELS = 4, 60, 12
LARGE = 1_000
"""Measurements of a set beyond which a figure has `FEW_PANELS`: there may be many figures."""
TITLE_LINE = 0.135
"""Inches."""
LEGEND_LETTER, LEGEND_MARK, LEGEND_LINE = 0.066, 0.55, 0.19
"""Inches: a letter, what stands before and behind a name, and a line."""
DASHES: Sequence[Any] = ((), (4, 1.5), (6, 1.5, 1.5, 1.5), (9, 2))
DOTTED: Any = (0, (1, 1.5))


class Panel(NamedTuple, Generic[T]):
    """One cell: the verdict of each claim of the sheet that has something to draw there, and that."""

    task: str
    architecture: str
    parts: Sequence[tuple[CellVerdict, T]]


def panels_of(
    results: ResultSet, sheet: Sheet, draws: Callable[[CellRecord], Sequence[T]]
) -> tuple[list[Panel[Sequence[T]]], str]:
    """The first cells of the cross in which a sheet has something to draw, and how many are left out, if any.

    Raises `MeasurementError` where there is none.
    """
    cells: dict[tuple[str, str], list[tuple[CellVerdict, Sequence[T]]]] = {}
    asked: set[tuple[str, str]] = set()
    most = MAX_PANELS if len(results.records) <= LARGE else FEW_PANELS
    for v in results.verdicts:
        record, place = v.record, (v.record.task, v.record.architecture)
        if record.crossed and record.phenomenon == sheet.phenomenon and record.claim_name in sheet.charts:
            asked.add(place)
            if (place in cells or len(cells) < most) and (drawn := draws(record)):
                cells.setdefault(place, []).append((v, drawn))
    if not cells:
        raise MeasurementError("a figure of no data", where=sheet.name, expected=str(sheet.chart)[:120])
    left_out = f"{len(cells)} of {len(asked)} cells are shown" if len(asked) > most else ""
    return [Panel(*place, parts) for place, parts in cells.items()], left_out


def grid(
    panels: Sequence[Panel[Any]], *, effects: bool, share: Literal["x", "xy"] = "xy"
) -> tuple[Figure, list[Axes]]:
    """Axes for each panel, under the name of its architecture and, with `effects`, what was measured."""
    named = len({v.record.claim_name for p in panels for v, _ in p.parts}) > 1
    told = {(p.task, p.architecture): measured(p, named=named) if effects else [] for p in panels}
    more = TITLE_LINE * max(0, max(map(len, told.values())) - 1)
    shelves = style.shelves([(p.task, p) for p in panels], MAX_COLUMNS)
    most = max(2, *map(len, shelves))
    figure = Figure((0.5 + most * PANEL[0], len(shelves) * (PANEL[1] + more)), layout="constrained")
    spec = figure.add_gridspec(2 * len(shelves), most, height_ratios=[0.01, 1] * len(shelves))
    places: dict[tuple[str, str], Axes] = {}
    first: Axes | None = None
    for line, shelf in enumerate(shelves):
        for task, i, j in style.by_task(shelf):
            name = style.wrapped(task, (j - i) * PANEL[0] - 0.25, style.SMALL, bold=True)
            style.heading(figure, spec[2 * line, i:j], name, bold=True)
        for j, (_, panel) in enumerate(shelf):
            axes = figure.add_subplot(
                spec[2 * line + 1, j], sharex=first, sharey=first if "y" in share else None
            )
            first = first or axes
            title = style.wrapped(panel.architecture, PANEL[0] - 0.25, style.SMALL)
            axes.set_title("\n".join([title, *told[panel.task, panel.architecture]]))
            axes.tick_params(labelleft=j == 0)
            places[panel.task, panel.architecture] = axes
    return figure, [places[panel.task, panel.architecture] for panel in panels]


def measured(panel: Panel[Any], *, named: bool) -> list[str]:
    """Verdict and effect of every claim, a line each, `named` where the figure has several claims."""
    texts = [
        (f"{v.record.claim_name} " if named else "", MARKS[v.verdict], effect_text(v)) for v, _ in panel.parts
    ]
    return [f"{name}{mark} {effect}".strip() for name, mark, effect in texts]


def verdicts_told(panels: Sequence[Panel[Any]]) -> str:
    """The key to the marks that `measured` writes over these panels."""
    found = {v.verdict for panel in panels for v, _ in panel.parts}
    marks = ", ".join(f"{mark} {verdict}" for verdict, mark in MARKS.items() if verdict in found)
    return f"over a panel, verdict and effect: {marks}"


def claim_titles(results: ResultSet, sheet: Sheet) -> dict[str, str]:
    """Short titles of the claims of a sheet, to tell them apart in a legend."""
    return {name: label_in(results, sheet.phenomenon, name) for name in sheet.charts}


def colours(keys: Iterable[Any]) -> Mapping[Any, str]:
    return {key: palette.CYCLE[i % len(palette.CYCLE)] for i, key in enumerate(keys)}


def finish(
    figure: Figure, axes: Sequence[Axes], x: str, y: str, handles: Sequence[Artist], *notes: str
) -> None:
    """Labels of the axes, of x where no panel is below and of y once, and the keys with the notes over them.

    The figure grows by what stands below its panels.
    """
    places = [place for one in axes if (place := one.get_subplotspec())]
    for one, place in zip(axes, places, strict=True):
        below = any(p.rowspan.start > place.rowspan.start and p.colspan == place.colspan for p in places)
        one.set_xlabel("" if below else style.wrapped(x, PANEL[0] - 0.3, style.BODY))
    width, panels = figure.get_figwidth(), figure.get_figheight()
    note = style.wrapped("; ".join(filter(None, notes)), width - 0.4, style.SMALL, most=None)
    columns = _columns([len(str(handle.get_label())) for handle in handles], width - 0.3)
    lines = math.ceil(len(handles) / columns) + (note.count("\n") + 1 if note else 0)
    below_panels = 0.15 + LEGEND_LINE * lines
    figure.set_figheight(panels + below_panels)
    label = style.wrapped(y, panels - 0.2, style.BODY)
    middle = 1 - panels / 2 / (panels + below_panels)
    figure.supylabel(label, y=middle, fontsize=style.BODY, linespacing=1.1)
    look: Any = {"loc": "outside lower center", "fontsize": style.SMALL, "labelspacing": 0.35}
    figure.legend(handles=handles, title=note or None, ncols=columns, **look)


def _columns(letters: Sequence[int], width: float) -> int:
    """As many columns as fit side by side; names run down, and a column is as wide as its longest."""
    for columns in range(len(letters), 1, -1):
        longest = [max(part) for part in np.array_split(letters, columns)]
        if sum(LEGEND_MARK + LEGEND_LETTER * n for n in longest) <= width:
            return columns
    return 1
