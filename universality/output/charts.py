"""Which charts a claim has, and what of its measurement each of them draws. Figures and page draw these facts."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, pairwise
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from universality.judge.decide import pooled
from universality.judge.resultset import ResultSet
from universality.plan.plan_json import PlanRecord
from universality.plugin.charts import Bars, Chart, Curves, Dots, Levels, Lines, Matrices
from universality.plugin.outcome import Matrix, Outcome, Points
from universality.store.cells import CellRecord

MAX_CURVES = 24
"""Of one kind from one group: further names of the same kind are left out."""

TRAINING = Lines(
    {"accuracy.train": "training", "accuracy.validation": "validation"}, "accuracy", low=-0.03, high=1.03
)
"""How the runs of a cell were trained, where its charts are of no series; where these are not recorded, the loss."""


def charts_of(plan: PlanRecord, record: CellRecord) -> tuple[Chart, ...]:
    """What the claim of a cell declares; nothing in a plan of before there were charts."""
    return (plan.phenomena[record.phenomenon].charts or {}).get(record.claim_name, ())


def charts_on_page(plan: PlanRecord, record: CellRecord) -> tuple[Chart, ...]:
    """What the claim declares and, where none of it is of a series, how its runs were trained."""
    charts = charts_of(plan, record)
    return charts if any(isinstance(chart, Lines) for chart in charts) else (*charts, TRAINING)


class Sheet(NamedTuple):
    """One figure: claims of a phenomenon and the chart of each; all are alike but for the series of `Lines`.

    `name` is that of the file, without an ending.
    """

    name: str
    phenomenon: str
    charts: Mapping[str, Chart]

    @property
    def chart(self) -> Chart:
        return next(iter(self.charts.values()))


def sheets(results: ResultSet) -> list[Sheet]:
    """The figures of a result set, in the order of its claims. Names follow from what is declared, not from what ran.

    A phenomenon with one figure has its name; else the first claim's name follows and, where that claim begins
    several, the kind of the chart.
    """
    claims: dict[str, dict[str, CellRecord]] = {}
    for record in results.records:
        if record.crossed:
            claims.setdefault(record.phenomenon, {}).setdefault(record.claim_name, record)
    found: list[Sheet] = []
    taken = {"heatmap"}
    for phenomenon, records in claims.items():
        alike: dict[Chart, dict[str, Chart]] = {}
        for claim_name, record in records.items():
            for chart in charts_of(results.plan, record):
                if isinstance(chart, Dots):
                    continue  # drawn over all cells (`displays/theory.py`)
                alike.setdefault(_but_for_series(chart), {}).setdefault(claim_name, chart)
        first = [next(iter(charts)) for charts in alike.values()]
        for charts in alike.values():
            claim_name, chart = next(iter(charts.items()))
            parts = [phenomenon] if len(alike) == 1 else [phenomenon, claim_name]
            parts += [_kind(chart)] if first.count(claim_name) > 1 else []
            found.append(Sheet(_free_name(parts, taken), phenomenon, charts))
    return found


class Curve(NamedTuple):
    """Numbers against numbers from one group, which is given by its place in the cell."""

    group: int
    title: str
    x: tuple[float, ...]
    y: tuple[float, ...]


class Level(NamedTuple):
    """The detail that a claim is about, those that it is compared with, and what it had to exceed."""

    group: int
    value: float | None
    nulls: tuple[float | None, ...]
    needed: float | None


def curves_of(chart: Curves | Dots | Bars, record: CellRecord) -> list[Curve]:
    """What was measured, without what the theory predicts; points that cannot be drawn are left out."""
    titles = {chart.points: ""} if isinstance(chart, Dots | Bars) else dict(chart.points)
    theory = chart.theory if isinstance(chart, Curves) else ""
    curves = []
    # All runs together have one curve: that of each pseudo-value is the same.
    for group, outcome in islice(_outcomes(record), 1 if pooled(record) else None):
        points = outcome.points or {}
        for kind, title in titles.items():
            names = sorted((n for n in points if n == kind or n.startswith(f"{kind}:")), key=_natural)
            for name in [n for n in names if n != theory][:MAX_CURVES]:
                rest = name.removeprefix(kind).removeprefix(":")
                x, y = drawable(points[name], chart.log, ordered=not isinstance(chart, Dots))
                if x:
                    curves.append(Curve(group, _title(title, rest), x, y))
    return curves


def _title(kind: str, rest: str) -> str:
    """Of one curve among those of its kind; the value of a parameter stands behind the parameter's name.

    >>> _title("relative width", "4"), _title("muP", "layer1"), _title("measured", "")
    ('relative width 4', 'muP, layer1', 'measured')
    """
    between = " " if rest[:1].isdigit() else ", "
    return between.join(filter(None, (kind, rest)))


def theory_of(chart: Curves, record: CellRecord) -> Curve | None:
    """What the theory predicts: over the groups that have it at the same x the mean, else that of the first."""
    predicted = [
        (group, *drawable(points[chart.theory], chart.log))
        for group, outcome in _outcomes(record)
        if chart.theory in (points := outcome.points or {})
    ]
    if not predicted or not predicted[0][1]:
        return None
    group, x, _ = predicted[0]
    lines = [ys for _, xs, ys in predicted if xs == x]
    title = dict(chart.points).get(chart.theory) or "theory"
    return Curve(group, title, x, tuple(sum(column) / len(lines) for column in zip(*lines, strict=True)))


def levels_of(chart: Levels, record: CellRecord) -> list[Level]:
    """A row for each group that has the detail or one that it is compared with."""
    rows = []
    for group, outcome in _outcomes(record):
        details = {name: value for name, value in outcome.details.items() if math.isfinite(value)}
        nulls = tuple(details.get(name) for name in dict(chart.nulls))
        known = [null for null in nulls if null is not None]
        # Without one of the nulls nobody knows what the largest is.
        needed = max(known) + chart.margin if len(known) == len(nulls) else None
        if known or chart.value in details:
            rows.append(Level(group, details.get(chart.value), nulls, needed))
    return rows


def matrices_of(chart: Matrices, record: CellRecord) -> list[tuple[int, list[tuple[str, Matrix]]]]:
    """Per group that has any: its place, and title and matrix in the order of the chart."""
    found = []
    for group, outcome in _outcomes(record):
        if drawn := [
            (t, outcome.matrices[name]) for name, t in dict(chart.names).items() if name in outcome.matrices
        ]:
            found.append((group, drawn))
    return found


def drawable(
    points: Points, log: str, *, ordered: bool = True
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The x and y of those points that have a place on the axes, by x where they are `ordered`.

    >>> drawable(Points((3.0, 1.0, 0.0), (2.0, 1.0, 5.0)), "x")
    ((1.0, 3.0), (1.0, 2.0))
    """
    pairs = [
        (x, y)
        for x, y in zip(points.x, points.y, strict=True)
        if math.isfinite(x) and math.isfinite(y) and (x > 0 or "x" not in log) and (y > 0 or "y" not in log)
    ]
    pairs = sorted(pairs) if ordered else pairs
    return tuple(x for x, _ in pairs), tuple(y for _, y in pairs)


def edges(middles: Sequence[float], log: bool) -> list[float]:
    """The edges of bins with these middles, half-way between neighbours; the ends lie as far out as inwards.

    >>> edges((1.0, 2.0, 4.0), False)
    [0.5, 1.5, 3.0, 5.0]
    """
    at = [math.log(x) for x in middles] if log else list(middles)
    inner = [(a + b) / 2 for a, b in pairwise(at)]
    ends = [at[0] - 0.5, at[0] + 0.5] if not inner else [2 * at[0] - inner[0], 2 * at[-1] - inner[-1]]
    places = [ends[0], *inner, ends[1]]
    # Of bins far apart, the ends would lie beyond all numbers.
    return [math.exp(min(max(x, -400.0), 400.0)) for x in places] if log else places


def _outcomes(record: CellRecord) -> Iterator[tuple[int, Outcome]]:
    for index, group in enumerate(record.groups):
        if group.outcome is not None:
            yield index, group.outcome


def _but_for_series(chart: Chart) -> Chart:
    return replace(chart, series={"": ""}) if isinstance(chart, Lines) else chart


def _kind(chart: Chart) -> str:
    return str(msgspec.to_builtins(chart)["kind"])


def _free_name(parts: Sequence[str], taken: set[str]) -> str:
    """A plain name for a file: names of phenomena and claims are anybody's."""
    name = first = "-".join(re.sub(r"[^A-Za-z0-9_]+", "_", part)[:60] for part in parts)
    again = 1
    while name.lower() in taken:
        again += 1
        name = f"{first}-{again}"
    taken.add(name.lower())
    return name


def _natural(name: str) -> list[Any]:
    """Numbers inside a name count as numbers: width 4 before width 16."""
    return [float(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+)", name))]
