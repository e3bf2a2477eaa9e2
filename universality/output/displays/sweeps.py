"""Where claims end: the effect along one swept parameter, and verdicts over two."""

from __future__ import annotations

import math

from universality.judge.boundary import Boundary
from universality.judge.decide import MEASURED, CellVerdict
from universality.judge.phases import Phase
from universality.output.displays.axis import Axis
from universality.output.displays.svg import Drawing, box, fitted, text, title, wide
from universality.output.palette import MARKS, slug
from universality.output.phrases import effect_text
from universality.text import typeset

NOTE = (
    "Along one parameter, everything else fixed: the effect at each value with its 95% interval, green and filled where the claim "
    "holds, orange where it does not, hollow where it is not decided, none where the effect has no value; green band: what is claimed; grey: between these values "
    "the verdict changes. Over two: a tile for each cell with the mark of its verdict; an empty place was not asked."
)
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 340.0, 132.0, 46.0, 8.0, 100.0
TILE = (34.0, 24.0)


def course(of: Boundary) -> Drawing | None:
    """The effect of each cell over the values of a parameter, which stand at equal distances; None where no effect is known."""
    known = [(value, v) for value, v in of.cells if v.raw in MEASURED and _finite(v)]
    if not known:
        return None
    values = sorted({value for value, _ in of.cells})
    claim, step = known[0][1].record.claim, (WIDTH - LEFT) / len(values)
    place = {value: LEFT + (i + 0.5) * step for i, value in enumerate(values)}
    log = claim.scale == "log"
    ends = [end for end in claim.ends if math.isfinite(end) and (end > 0 or not log)]
    axis = Axis([*(v.effect for _, v in known if v.effect is not None), *ends], BOTTOM, TOP, log=log)
    low, high = (axis(end) for end in claim.ends)
    parts = [box("band", LEFT, high, WIDTH - LEFT, max(1.0, low - high))]
    for before, after in of.changes:
        parts.append(box("zone", place[before], TOP, place[after] - place[before], BOTTOM - TOP))
    for value, v in known:
        x, effect = place[value], v.effect
        assert effect is not None
        if v.low is not None and v.high is not None:
            parts.append(f'<path class="whisker" d="M{x:.4g} {axis(v.low):.4g}V{axis(v.high):.4g}"/>')
        kind = slug(v.verdict).replace("v-", "t-", 1) if v.settled else "hollow"
        told = title(f"{of.parameter} {value:g}: {v.verdict} {effect_text(v)}")
        parts.append(f'<circle class="{kind}" cx="{x:.4g}" cy="{axis(effect):.4g}" r="4.5">{told}</circle>')
    parts.append(f'<path class="axis" d="M{LEFT:g} {TOP:g}V{BOTTOM:g}H{WIDTH:g}"/>')
    for tick in axis.ticks(4):
        parts.append(text(LEFT - 5, axis(tick) + 4, typeset(f"{tick:.3g}"), "end small"))
    for value, x in place.items():
        parts.append(text(x, BOTTOM + 14, fitted(f"{value:g}", step, 10), "mid small"))
    parts.append(text((LEFT + WIDTH) / 2, BOTTOM + 28, of.parameter, "mid strong"))
    return Drawing(WIDTH, HEIGHT, "".join(parts), f"{of.parameter}: {of}")


def phase_map(of: Phase) -> Drawing:
    """A tile for each pair of values, the lowest at the lower left as on any plot."""
    (_, across, xs), (_, down, ys) = of.across, of.down
    label = 12 + max(wide(f"{y:g}", 10) for y in ys)
    width, height = TILE
    parts = [text(0, 11, f"{down} (up), {across} (right)", "strong")]
    top = 20.0
    for row, y in enumerate(reversed(ys)):
        parts.append(text(label - 6, top + row * height + 16, f"{y:g}", "end small"))
        for column, x in enumerate(xs):
            corner = label + column * width, top + row * height
            v = of.cells.get((x, y))
            if v is None:
                parts.append(box("place", *corner, width - 2, height - 2))
                continue
            name = slug(v.verdict)[2:]
            told = title(f"{across} {x:g}, {down} {y:g}: {v.verdict} {effect_text(v)}")
            parts.append(box(f"t-{name}", *corner, width - 2, height - 2, told))
            mark = text(corner[0] + width / 2 - 1, corner[1] + 15, MARKS[v.verdict], f"mid i-{name}")
            parts.append(mark)
    bottom = top + len(ys) * height
    for column, x in enumerate(xs):
        parts.append(
            text(label + (column + 0.5) * width - 1, bottom + 12, fitted(f"{x:g}", width, 10), "mid small")
        )
    whole = max(label + len(xs) * width, wide(f"{down} (up), {across} (right)", 11))
    counts = ", ".join(f"{v.verdict} at {x:g}, {y:g}" for (x, y), v in sorted(of.cells.items()))
    return Drawing(whole, bottom + 18, "".join(parts), f"{across}, {down}: {counts}")


def _finite(v: CellVerdict) -> bool:
    if v.effect is None or not math.isfinite(v.effect):
        return False
    return v.effect > 0 or v.record.claim.scale != "log"
