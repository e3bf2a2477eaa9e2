"""Orchard plots (Nakagawa et al. 2021, doi:10.1002/jrsm.1424): every cell of a claim on the axis of its effect, with what is claimed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from universality.judge.decide import MEASURED, CellVerdict
from universality.judge.resultset import ResultSet
from universality.judge.summary import ClaimRow
from universality.output.displays.axis import Axis
from universality.output.displays.markers import colour_of, families_of, marker
from universality.output.displays.svg import Drawing, text, title
from universality.output.phrases import effect_text
from universality.plugin.spec import bare_name
from universality.text import number, typeset

NOTE = (
    "A dot is a cell, larger where its effect is better known, with its 95% interval; a hollow one is not decided; the band is "
    "what is claimed. Diamond: the pooled effect with its interval, and as a thin line where a further cell is expected. "
    "Triangles: controls, positive point up, negative down; what lies beyond an end of the axis stands at it. Dashed, of claims about "
    "what lies above the largest null: that null. Claims of fewer than three measured cells have no plot; cells that a control makes "
    "invalid have no dot."
)
LEAST_CELLS = 3
"""Measured cells, below which a table says as much."""
ABOVE_NULL = "above the largest null"
"""In the unit of a claim: an effect of zero is that of the null."""
WIDTH, LEFT, RIGHT = 720, 12, 708
LANES, LANE, TOP = 7, 11, 20
"""Rows of dots, their distance, and the room above them for the mean."""
BELOW = 46
"""Room for controls, the axis and its ticks."""
RADIUS = 3.0, 5.5
"""Of the dot of the least and the most precise cell."""


@dataclass(frozen=True, slots=True)
class Orchard:
    """The plot of one claim. `families` are the names of networks in the order of their colours and shapes."""

    row: ClaimRow
    drawing: Drawing
    families: tuple[str, ...]
    drawn: frozenset[str]
    cells: int


def orchards(results: ResultSet) -> list[Orchard]:
    """A plot for each claim with at least `LEAST_CELLS` measured cells, in the order of the table.

    A dot is a cell, the larger the better its effect is known, a line its interval, a hollow one a cell that is not decided; the band is what is
    claimed. Above stand the pooled effect, and where a further cell is expected; below positive controls as triangles that
    point up, negative ones as triangles that point down.

    Cost: linear in cells.
    """
    families, found = families_of(results), []
    for row in results.rows:
        drawn = list(filter(_has_place, results.by_claim[row.phenomenon, row.claim_name]))
        cells = [v for v in drawn if v.counted and v.raw in MEASURED]
        if len(cells) >= LEAST_CELLS and not row.about.calibration:
            controls = [v for v in drawn if v.record.control]
            names = frozenset(bare_name(v.record.architecture) for v in cells)
            found.append(Orchard(row, _plot(row, cells, controls, families), families, names, len(cells)))
    return found


def _plot(
    row: ClaimRow, cells: Sequence[CellVerdict], controls: Sequence[CellVerdict], families: Sequence[str]
) -> Drawing:
    log = row.claim.scale == "log"
    ends = [end for end in row.claim.ends if math.isfinite(end) and (end > 0 or not log)]
    # Controls do not stretch it: a negative one may lie decades away, and stands at an end then.
    null = [0.0] if ABOVE_NULL in row.claim.unit and not log else []
    axis = Axis([*map(_effect, cells), *ends, *null], LEFT, RIGHT, log=log)
    bottom, height = TOP + LANES * LANE, TOP + LANES * LANE + BELOW
    low, high = row.claim.ends
    parts = [
        f'<rect class="band" x="{axis(low):.1f}" y="{TOP - 12}" width="{max(1.0, axis(high) - axis(low)):.1f}" height="{bottom - TOP + 26}"/>',
        *(_null(axis(effect), bottom + 14) for effect in null),
        *_pooled(row, axis),
        *_dots(cells, axis, families),
        *_controls(controls, axis, bottom + 6),
        f'<path class="axis" d="M{LEFT} {bottom + 14}H{RIGHT}"/>',
    ]
    for tick in axis.ticks():
        x = f"{axis(tick):.1f}"
        parts.append(f'<path class="axis" d="M{x} {bottom + 14}v4"/>')
        parts.append(text(axis(tick), bottom + 30, typeset(f"{tick:.3g}")))
    label = f"{len(cells)} cells on the axis of their effect; claimed is {row.claim} {row.claim.unit}"
    return Drawing(WIDTH, height, "".join(parts), label, "orchard")


def _null(x: float, bottom: float) -> str:
    return f'<path class="null" d="M{x:.1f} {TOP - 4}V{bottom:g}"/>{text(x, TOP - 8, "null")}'


def _pooled(row: ClaimRow, axis: Axis) -> list[str]:
    mean = row.pooled
    if mean is None:
        return []
    parts = []
    if mean.prediction_low is not None and mean.prediction_high is not None:
        x = axis(mean.prediction_low), axis(mean.prediction_high)
        parts.append(f'<path class="next" d="M{x[0]:.1f} 8H{x[1]:.1f}"/>')
    if mean.low is not None and mean.high is not None:
        parts.append(f'<path class="mean" d="M{axis(mean.low):.1f} 8H{axis(mean.high):.1f}"/>')
    told = title(f"pooled effect {number(mean.estimate)}")
    parts.append(f'<path class="centre" d="M{axis(mean.estimate):.1f} 2l4 6l-4 6l-4-6z">{told}</path>')
    return parts


def _dots(cells: Sequence[CellVerdict], axis: Axis, families: Sequence[str]) -> list[str]:
    """Lines first, so that no dot lies under one; a dot goes into the first lane, from the middle, that has room."""
    free = [-math.inf] * LANES
    order = sorted(range(LANES), key=lambda lane: abs(lane - LANES // 2))
    widest = max((1 / v.se for v in cells if v.se), default=1.0)
    lines, dots = [], []
    for v in sorted(cells, key=_effect):
        x, share = axis(_effect(v)), (1 / v.se / widest) ** 0.5 if v.se else 0.0
        r = RADIUS[0] + (RADIUS[1] - RADIUS[0]) * share
        lane = next((each for each in order if free[each] <= x - r), min(order, key=free.__getitem__))
        free[lane] = x + r + 1
        y = TOP + lane * LANE + LANE // 2
        family = families.index(bare_name(v.record.architecture))
        if v.low is not None and v.high is not None:
            lines.append(f'<path class="{colour_of(family)}" d="M{axis(v.low):.1f} {y}H{axis(v.high):.1f}"/>')
        told = f"{v.record.architecture}, {v.record.task}: {v.verdict} {effect_text(v)}"
        ring = "" if v.settled else "ring"
        dots.append(marker(family, x, y, r, title(told), ring))
    return [*lines, *dots]


def _controls(controls: Sequence[CellVerdict], axis: Axis, y: int) -> list[str]:
    parts = []
    for v in controls:
        assert v.record.control is not None
        up = v.record.control.sign == "positive"
        shape = f"M{axis(_effect(v)):.1f} {y - 5 if up else y + 5}l4 {'8' if up else '-8'}h-8z"
        told = title(f"{v.record.control}: {v.raw} {effect_text(v)}")
        parts.append(f'<path class="control" d="{shape}">{told}</path>')
    return parts


def _has_place(v: CellVerdict) -> bool:
    return (
        v.effect is not None and math.isfinite(v.effect) and (v.effect > 0 or v.record.claim.scale != "log")
    )


def _effect(v: CellVerdict) -> float:
    assert v.effect is not None
    return v.effect
