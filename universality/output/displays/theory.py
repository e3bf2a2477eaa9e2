"""Dots on a theory's line: what it predicts against what was measured, of every cell of a claim in one picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from universality.judge.decide import MEASURED, CellVerdict
from universality.judge.resultset import ResultSet
from universality.judge.summary import ClaimRow
from universality.output.charts import Curve, charts_of, curves_of
from universality.output.displays.axis import Axis
from universality.output.displays.markers import families_of, marker
from universality.output.displays.svg import Drawing, fitted, text, title
from universality.plugin.bounds import Bound
from universality.plugin.charts import Dots
from universality.plugin.spec import bare_name
from universality.text import typeset

NOTE = (
    "A dot is one number that the theory predicts, against what was measured in one group of runs; on the dashed line both agree, and "
    "the band is what is claimed of their ratio, where that is the claim. Hollow: not decided, as seeds differ or a gate is not met; such "
    "dots may lie anywhere. Cells that a control makes invalid have none. All cells of a claim are in one picture, also one in the setting of its positive "
    "control, which the table does not count."
)
SIDE, LEFT, TOP, BELOW, RIGHT = 250, 62, 8, 42, 14
"""Of the square in which dots lie, and the room around it."""
RADIUS, LABEL = 3.2, 11


@dataclass(frozen=True, slots=True)
class TheoryLine:
    """The picture of one claim.

    Args:
        families: names of networks, in the order of their colours and shapes.
        drawn: those of them that have dots.
        cells, decided: that have dots, and of these with a verdict.
    """

    row: ClaimRow
    drawing: Drawing
    families: tuple[str, ...]
    drawn: frozenset[str]
    cells: int
    decided: int


def theory_lines(results: ResultSet) -> list[TheoryLine]:
    """A picture for each claim that declares `Dots`, of the cells of its cross that have any; controls are left out.

    Cost: linear in cells.
    """
    families, found = families_of(results), []
    for row in results.rows:
        verdicts = results.by_claim[row.phenomenon, row.claim_name]
        stand = [v for v in verdicts if v.record.crossed and v.verdict in MEASURED and not v.repeated]
        charts = [chart for v in stand[:1] for chart in charts_of(results.plan, v.record)]
        for chart in [chart for chart in charts if isinstance(chart, Dots)]:
            drawn = [(v, curves) for v in stand if (curves := curves_of(chart, v.record))]
            if drawn:
                names = frozenset(bare_name(v.record.architecture) for v, _ in drawn)
                decided = sum(v.settled for v, _ in drawn)
                plot = _plot(chart, row.claim, drawn, families)
                found.append(TheoryLine(row, plot, families, names, len(drawn), decided))
    return found


def _plot(
    chart: Dots,
    claim: Bound,
    drawn: Sequence[tuple[CellVerdict, Sequence[Curve]]],
    families: Sequence[str],
) -> Drawing:
    """A square with the same numbers on both axes."""
    values = [v for _, curves in drawn for curve in curves for v in (*curve.x, *curve.y)]
    right, bottom = LEFT + SIDE, TOP + SIDE
    x, y = (Axis(values, *ends, log=bool(chart.log)) for ends in ((LEFT, right), (bottom, TOP)))
    parts = [
        *(_band(claim, x, y) if chart.ratio is True else []),
        f'<path class="null" d="M{LEFT} {bottom}L{right} {TOP}"/>',
        f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}"/>',
    ]
    for tick in x.ticks(5):
        told = typeset(f"{tick:g}")
        parts.append(f'<path class="axis" d="M{x(tick):.1f} {bottom}v4M{LEFT} {y(tick):.1f}h-4"/>')
        parts.append(text(x(tick), bottom + 17, told, "mid"))
        parts.append(text(LEFT - 7, y(tick) + 4, told, "end"))
    for v, curves in drawn:
        record, family = v.record, families.index(bare_name(v.record.architecture))
        hollow = [not v.settled or not group.decided for group in record.groups]
        dots = [
            marker(family, x(a), y(b), RADIUS, kind="ring" if hollow[curve.group] else "")
            for curve in curves
            for a, b in zip(curve.x, curve.y, strict=True)
        ]
        parts.append(f"<g>{title(f'{record.architecture}, {record.task}: {v.verdict}')}{''.join(dots)}</g>")
    middle = TOP + SIDE / 2
    turned = f' transform="rotate(-90 11 {middle:g})"'
    parts.append(text(LEFT + SIDE / 2, bottom + 36, fitted(chart.x, SIDE, LABEL), "mid"))
    parts.append(text(11, middle, fitted(chart.y, SIDE, LABEL), "mid", more=turned))
    label = f"{chart.y} against {chart.x} of {len(drawn)} cells, and the line on which both agree"
    return Drawing(right + RIGHT, bottom + BELOW, "".join(parts), label, "drawing dots")


def _band(claim: Bound, x: Axis, y: Axis) -> list[str]:
    """Where y / x lies within its bounds, which are beside 1."""
    (low, high), (first, last) = claim.ends, x.ends
    if not (0 < low <= 1 <= high < math.inf and first > 0):
        return []
    outline = (
        (first, first),
        (first / low, first),
        (last, low * last),
        (last, last),
        (last / high, last),
        (first, high * first),
    )
    return [f'<path class="band" d="M{"L".join(f"{x(a):.1f} {y(b):.1f}" for a, b in outline)}z"/>']
