"""Ideograms of the Particle Data Group: what several sets measured of one number, and whether they agree."""

from __future__ import annotations

import numpy as np

from universality.judge.ideogram import Ideogram
from universality.judge.statistics import back
from universality.output.displays.axis import Axis
from universality.output.displays.svg import Drawing, box, fitted, text, title
from universality.text import number, typeset, with_interval

NOTE = (
    "A dot: the pooled effect of one set, of a set of one cell that cell's, with its standard error; the curve is the sum of "
    "their Gaussians, each of an area of one over its error. Dark band, and in brackets: one error around the weighted mean, times S where S > 1. S, of "
    "the cells that two sets measured, is about 1 where they differ as their seeds do. Green band: what is claimed."
)
WIDTH, LEFT, CURVE, ROW, FOOT = 340.0, 104.0, 60.0, 18.0, 34.0
POINTS = 120
AROUND = 3.0
"""Errors around each value that have room."""


def ideogram(of: Ideogram) -> Drawing:
    """The curve over a line for each set."""
    scale = of.row.claim.scale
    ends = [part.value + side * AROUND * part.error for part in of.parts for side in (-1, 1)]
    axis = Axis([back(end, scale) for end in ends], LEFT, WIDTH - 2, log=scale == "log")
    bottom = CURVE + ROW * len(of.parts) + 6
    low, high = (axis(end) for end in of.row.claim.ends)
    parts = [box("band", low, 0, max(1.0, high - low), bottom)]
    mean = of.average
    left, right = (axis(back(mean.mean + side * mean.error, scale)) for side in (-1, 1))
    parts.append(box("zone", left, 0, max(1.5, right - left), bottom))
    grid = np.linspace(min(ends), max(ends), POINTS)
    density = of.density(grid)
    steps = "L".join(
        f"{axis(back(float(x), scale)):.1f} {CURVE - (CURVE - 6) * y:.1f}"
        for x, y in zip(grid, density / density.max(), strict=True)
    )
    parts.append(f'<path class="sum" d="M{steps}"/>')
    for row, part in enumerate(of.parts):
        y = CURVE + ROW * (row + 0.5) + 3
        x, start, end = (axis(back(part.value + side * part.error, scale)) for side in (0.0, -1.0, 1.0))
        told = f"{part.label}: {number(back(part.value, scale))}, {part.cells} cell{'s'[: part.cells != 1]}"
        parts.append(text(LEFT - 6, y + 4, fitted(part.label, LEFT - 6, 11), "end strong"))
        parts.append(f'<path class="whisker" d="M{start:.4g} {y:.4g}H{end:.4g}"/>')
        parts.append(f'<circle class="centre" cx="{x:.4g}" cy="{y:.4g}" r="3.5">{title(told)}</circle>')
    parts.append(f'<path class="axis" d="M{LEFT:g} {bottom:g}H{WIDTH:g}"/>')
    for tick in axis.ticks(4):
        parts.append(text(axis(tick), bottom + 13, typeset(f"{tick:.3g}"), "mid small"))
    parts.append(text(LEFT, bottom + 28, summary(of), "strong"))
    return Drawing(WIDTH, bottom + FOOT, "".join(parts), f"{summary(of)}, of {len(of.parts)} sets")


def summary(of: Ideogram) -> str:
    """The weighted mean, where it lies within an error, and S."""
    mean, scale = of.average, of.row.claim.scale
    middle, low, high = (back(mean.mean + side * mean.error, scale) for side in (0, -1, 1))
    factor = mean.scale_factor
    told = "no cell in common" if factor is None else f"S = {factor:.1f} of {mean.shared}"
    return f"{typeset(with_interval(middle, low, high))}, {told}"
