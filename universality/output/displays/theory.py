"""Dots on a theory's line: what it predicts against what was measured, of every cell of a claim in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from universality.judge.decide import MEASURED
from universality.judge.resultset import ResultSet
from universality.judge.summary import ClaimRow
from universality.output.charts import Curve, charts_of, curves_of
from universality.output.displays.axis import Axis
from universality.output.displays.markers import families_of, marker
from universality.output.displays.svg import Drawing, fitted, text, title
from universality.plugin.charts import Dots
from universality.plugin.spec import bare_name
from universality.store.cells import CellRecord
from universality.text import typeset

NOTE = (
    "A dot is one number that the theory predicts, against what was measured, from one group of runs; on the dashed line both "
    "agree. Hollow ones are of groups that decide nothing; cells that a control makes invalid have none. All cells of a claim are in "
    "one picture, so that a law which holds over decades is told from one that holds in a corner."
)
SIDE, LEFT, TOP, BELOW, RIGHT = 250, 62, 8, 42, 14
"""Of the square in which dots lie, and the room around it."""
RADIUS, LABEL = 3.2, 11


@dataclass(frozen=True, slots=True)
class TheoryLine:
    """The picture of one claim. `families` are the names of networks in the order of their colours and shapes."""

    row: ClaimRow
    drawing: Drawing
    families: tuple[str, ...]
    cells: int


def theory_lines(results: ResultSet) -> list[TheoryLine]:
    """A picture for each claim that declares `Dots`, of the cells of its cross that have any; controls are left out.

    Cost: linear in cells.
    """
    families, found = families_of(results), []
    for row in results.rows:
        verdicts = results.by_claim[row.phenomenon, row.claim_name]
        stand = [v for v in verdicts if v.record.crossed and v.raw in MEASURED]
        records = [v.record for v in stand if v.verdict != "invalid" and not v.repeated]
        charts = [chart for record in records[:1] for chart in charts_of(results.plan, record)]
        for chart in [chart for chart in charts if isinstance(chart, Dots)]:
            drawn = [(record, curves) for record in records if (curves := curves_of(chart, record))]
            if drawn:
                found.append(TheoryLine(row, _plot(chart, drawn, families), families, len(drawn)))
    return found


def _plot(
    chart: Dots, drawn: Sequence[tuple[CellRecord, Sequence[Curve]]], families: Sequence[str]
) -> Drawing:
    """A square with the same numbers on both axes."""
    values = [v for _, curves in drawn for curve in curves for v in (*curve.x, *curve.y)]
    right, bottom = LEFT + SIDE, TOP + SIDE
    x, y = (Axis(values, *ends, log=bool(chart.log)) for ends in ((LEFT, right), (bottom, TOP)))
    parts = [
        f'<path class="null" d="M{LEFT} {bottom}L{right} {TOP}"/>',
        f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}"/>',
    ]
    for tick in x.ticks(5):
        told = typeset(f"{tick:g}")
        parts.append(f'<path class="axis" d="M{x(tick):.1f} {bottom}v4M{LEFT} {y(tick):.1f}h-4"/>')
        parts.append(text(x(tick), bottom + 17, told, "mid"))
        parts.append(text(LEFT - 7, y(tick) + 4, told, "end"))
    for record, curves in drawn:
        family = families.index(bare_name(record.architecture))
        dots = [
            marker(family, x(a), y(b), RADIUS, kind="" if record.groups[curve.group].decided else "ring")
            for curve in curves
            for a, b in zip(curve.x, curve.y, strict=True)
        ]
        parts.append(f"<g>{title(f'{record.architecture}, {record.task}')}{''.join(dots)}</g>")
    middle = TOP + SIDE / 2
    turned = f' transform="rotate(-90 11 {middle:g})"'
    parts.append(text(LEFT + SIDE / 2, bottom + 36, fitted(chart.x, SIDE, LABEL), "mid"))
    parts.append(text(11, middle, fitted(chart.y, SIDE, LABEL), "mid", more=turned))
    label = f"{chart.y} against {chart.x} of {len(drawn)} cells, and the line on which both agree"
    return Drawing(right + RIGHT, bottom + BELOW, "".join(parts), label, "drawing dots")
