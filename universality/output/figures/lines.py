"""What runs recorded over their steps: a thin line per run, the claim's bounds, and each group's effect at the end."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from universality.judge.resultset import ResultSet
from universality.output import palette
from universality.output.charts import Sheet
from universality.output.collect import SeriesOf, thinned
from universality.output.figures import panels as p
from universality.output.figures import style
from universality.plugin.bounds import Within
from universality.plugin.charts import Lines
from universality.plugin.trajectory import Series
from universality.store.cells import CellRecord
from universality.store.untrusted import MAX_NUMBER
from universality.text import typeset

MAX_POINTS = 200
"""Of a line, in a panel of some 300 dots."""

Key = tuple[str, str]
"""What has a colour of its own: a claim and a series."""


class _Line(NamedTuple):
    run: str
    series: str
    steps: NDArray[np.int64]
    values: NDArray[np.float64]


class _Span(NamedTuple):
    """What is drawn, from end to end. `cuts`: where the axis must end for anything to be seen."""

    low: float
    high: float
    cuts: tuple[float | None, float | None]
    steps: NDArray[np.int64]

    @classmethod
    def of(cls, chart: Lines, lines: Sequence[_Line], edge: float) -> _Span:
        """Limits are those of the chart. Spikes beyond the bulk and `edge` are cut where it has none."""
        values = np.concatenate([line.values for line in lines])
        values = values[np.isfinite(values)]
        low, high = float(values.min()), float(values.max())
        bulk = 1.25 * max(float(np.quantile(values, 0.98)), edge)
        spikes = "y" not in chart.log and low >= 0 and high > 1.6 * bulk
        upper = bulk if chart.high is None and spikes else chart.high
        return cls(low, high, (chart.low, upper), np.concatenate([line.steps for line in lines]))


@style.LOOK
def lines(results: ResultSet, sheet: Sheet, runs: SeriesOf) -> Figure:
    """The series that a sheet declares, of every run of every cell that has them.

    Lines are coloured by claim and series; of claims about the same series of the same runs, the first has them.
    Panels share their axes and are grouped by task, up to four side by side. Raises `MeasurementError` where
    there is nothing to draw.
    """
    chart = cast(Lines, sheet.chart)
    panels, left_out = p.panels_of(results, sheet, lambda record: list(_lines(record, sheet, runs)))
    owners: dict[tuple[str, str], str] = {}
    for panel in panels:
        for v, found in panel.parts:
            for line in found:
                owners.setdefault((line.run, line.series), v.record.claim_name)
    names = _names(results, sheet, list(dict.fromkeys((claim, s) for (_, s), claim in owners.items())))
    # Claims that own no line have a mark of their own colour still.
    colours = p.colours([*names, *((claim, "") for claim in sheet.charts if claim not in owners.values())])
    dashes = _dashes(list(names))
    figure, axes = p.grid(panels, effects=False)
    for place, panel in zip(axes, panels, strict=True):
        for v, found in panel.parts:
            for line in found:
                key = v.record.claim_name, line.series
                if owners[line.run, line.series] == v.record.claim_name:
                    look = {"color": colours[key], "dashes": dashes[key]}
                    few = thinned(Series(line.steps, line.values), MAX_POINTS, "x" in chart.log)
                    place.plot(few.steps, few.values, alpha=0.8, gid="run", **look)
    records = [v.record for panel in panels for v, _ in panel.parts]
    bounds = [bound for record in records for bound in _bounds(chart, record)]
    every = [line for panel in panels for _, found in panel.parts for line in found]
    span = _Span.of(chart, every, max(bounds, default=0.0))
    _scale(axes[0], chart, span, bounds, records)
    marks: dict[str, Artist] = {}
    for place, panel in zip(axes, panels, strict=True):
        for v, found in panel.parts:
            own = next((c for (claim, _), c in colours.items() if claim == v.record.claim_name), "")
            marks |= _draw_bounds(place, chart, v.record, own, shared=len(colours) == 1)
            where = 1.012 + 0.022 * list(sheet.charts).index(v.record.claim_name)
            marks |= _draw_effects(place, chart, v.record, own, where) if found else {}
    keys = [Line2D([], [], color=colours[k], dashes=dashes[k], label=name) for k, name in names.items()]
    x = "step (logarithmic)" if "x" in chart.log else "step"
    notes = ("one line per run", _cut(span), left_out)
    p.finish(figure, axes, x, chart.label, [*keys, *marks.values()], *notes)
    return figure


def _lines(record: CellRecord, sheet: Sheet, runs: SeriesOf) -> Iterator[_Line]:
    """Each run of a cell once for each series. A logarithmic axis has no place for zero; a run that leaves the numbers
    that a measurement may have has a gap."""
    chart = cast(Lines, sheet.charts[record.claim_name])
    for run in dict.fromkeys(run for group in record.groups for run in group.runs.values()):
        for name in dict(chart.series):
            if (series := runs.get(run, {}).get(name)) is not None:
                values = np.nan_to_num(series.values, nan=np.inf)
                shown = np.abs(values) < MAX_NUMBER
                if "y" in chart.log:
                    shown &= values > 1 / MAX_NUMBER
                if shown.any():
                    yield _Line(run, name, series.steps, np.where(shown, series.values, np.nan))


def _names(results: ResultSet, sheet: Sheet, keys: Sequence[Key]) -> dict[Key, str]:
    """What the legend calls each key: the series, the claim, or both, as far as they differ."""
    claims, titles = dict.fromkeys(claim for claim, _ in keys), p.claim_titles(results, sheet)
    names: dict[Key, str] = {}
    for claim, series in keys:
        title = dict(cast(Lines, sheet.charts[claim]).series)[series]
        several = sum(claim == other for other, _ in keys) > 1
        parts = [titles[claim]] if len(claims) > 1 else []
        parts += [title or series] if several or not (parts or title == "") else []
        names[claim, series] = style.shown(", ".join(parts) or titles[claim], 60)
    return names


def _dashes(keys: Sequence[Key]) -> Mapping[Key, Any]:
    """Within a claim the last series has the solid line."""
    order = [sum(claim == other for other, _ in keys[i + 1 :]) for i, (claim, _) in enumerate(keys)]
    return {key: p.DASHES[place % len(p.DASHES)] for key, place in zip(keys, order, strict=True)}


def _draw_bounds(
    axes: Axes, chart: Lines, record: CellRecord, colour: str, *, shared: bool
) -> dict[str, Artist]:
    """What lines are compared with: a band for two bounds, a dotted line for one. Returns keys to them."""
    keys: dict[str, Artist] = {}
    drawn = {artist.get_label() for artist in axes.get_children()}
    if chart.level is not None:
        name = style.shown(chart.level_title, 60) or typeset(f"{chart.level:g}")
        if name not in drawn:
            axes.axhline(chart.level, color=palette.BLACK, linewidth=0.8, linestyle="--", label=name)
        keys[name] = Line2D([], [], color=palette.BLACK, linewidth=0.8, linestyle="--", label=name)
    bounds = _bounds(chart, record)
    if len(bounds) == 2:
        name = f"claim: {typeset(str(record.claim))}"
        band = axes.axhspan(*bounds, color=palette.PALE, zorder=0, label=name)
        if name in drawn:
            band.remove()
        keys[name] = band
    elif bounds:
        name = "bound of its claim"
        axes.axhline(bounds[0], color=colour, linewidth=1.0, linestyle=p.DOTTED, label=f"_{name}")
        ink = colour if shared else palette.BLACK
        keys[name] = Line2D([], [], color=ink, linestyle=p.DOTTED, label=name)
    return keys


def _draw_effects(
    axes: Axes, chart: Lines, record: CellRecord, colour: str, where: float
) -> dict[str, Artist]:
    """Each group's effect at the right end, or, beyond the axis, an arrow to where it lies."""
    if not chart.band or not _effects(chart, record):
        return {}
    bottom, top = axes.get_ylim()
    for effect, decided in _effects(chart, record):
        at = min(max(effect, bottom), top)
        marker = "<" if at == effect else "^" if effect > top else "v"
        axes.plot(
            [where],
            [at],
            marker,
            transform=axes.get_yaxis_transform(),
            color=colour,
            markerfacecolor=colour if decided else "white",
            markersize=3.5,
            markeredgewidth=0.7,
            clip_on=False,
            zorder=3,
            gid="effect",
        )
    name = "effect of a group (open: a gate was not met)"
    look: dict[str, Any] = {"color": palette.DARK, "markersize": 4.5, "linestyle": "none"}
    return {name: Line2D([], [], marker="<", label=name, **look)}


def _bounds(chart: Lines, record: CellRecord) -> list[float]:
    """The bounds of its claim that have a place on the axis, where the chart is of the values that it bounds."""
    ends = (record.claim.low, record.claim.high) if isinstance(record.claim, Within) else ()
    return [b for b in ends if chart.band and math.isfinite(b) and ("y" not in chart.log or b > 0)]


def _effects(chart: Lines, record: CellRecord) -> list[tuple[float, bool]]:
    """Of each group whose effect has a place on the axis: it, and whether the group is decided."""
    found = [(g.outcome.effect, g.decided) for g in record.groups if g.outcome]
    return [
        (effect, decided)
        for effect, decided in found
        if effect is not None and math.isfinite(effect) and ("y" not in chart.log or effect > 0)
    ]


def _scale(
    axes: Axes, chart: Lines, span: _Span, bounds: Sequence[float], records: Sequence[CellRecord]
) -> None:
    """Axes of all panels. Logarithmic steps keep step 0: they are linear below the first decade recorded."""
    steps = span.steps
    if "x" in chart.log:
        first = 10.0 ** math.floor(math.log10(steps[steps > 0].min())) if steps.max() > 0 else 1.0
        axes.set_xscale("symlog", linthresh=first, linscale=0.6)
        axes.xaxis.set_major_formatter(style.POWERS)
        axes.set_xlim(min(steps.min(), first), 1.1 * max(steps.max(), first))
    else:
        style.scale(axes, "x", False, 0, 1)
        axes.set_xlim(-0.03 * max(steps.max(), 1), 1.03 * max(steps.max(), 1))
    shown = [span.low, span.high, *bounds, *([] if chart.level is None else [chart.level])]
    if chart.band:
        # An effect far away would flatten every line; it has an arrow instead.
        low, high = 2 * span.low - span.high, 2 * span.high - span.low
        if "y" in chart.log:
            low, high = span.low * (span.low / span.high), span.high * (span.high / span.low)
        shown += [e for record in records for e, _ in _effects(chart, record) if low <= e <= high]
    style.scale(axes, "y", "y" in chart.log, min(shown), max(shown))
    ends = style.padded(min(shown), max(shown), "y" in chart.log)
    low, high = (end if cut is None else cut for cut, end in zip(span.cuts, ends, strict=True))
    axes.set_ylim(low, high if high > low else low + max(1.0, abs(low)))


def _cut(span: _Span) -> str:
    low, high = span.cuts
    ends = [low] if low is not None and span.low < low else []
    ends += [high] if high is not None and span.high > high else []
    return f"the vertical axis is cut at {' and '.join(typeset(f'{e:.3g}') for e in ends)}" if ends else ""
