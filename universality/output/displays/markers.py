"""Families of networks by colour and by shape, so that neither is needed to tell them apart."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence

from universality.judge.decide import MEASURED
from universality.judge.resultset import ResultSet
from universality.output.displays.svg import Drawing
from universality.output.palette import FAMILIES
from universality.plugin.spec import bare_name

SHAPES = ("circle", "square", "star", "cross", "pentagon", "saltire", "hourglass")
"""A number without a common divisor with that of the colours: `len(SHAPES) * len(FAMILIES)` families before one looks like another.
No triangle and no diamond, which are controls and the mean."""


def families_of(results: ResultSet) -> tuple[str, ...]:
    """Names of the networks of measured cells, in the order of their colours and shapes in every display of a set."""
    measured = (v.record.architecture for v in results.verdicts if v.record.crossed and v.raw in MEASURED)
    return tuple(dict.fromkeys(map(bare_name, measured)))


def colour_of(family: int) -> str:
    """The class of its colour."""
    return f"f{family % len(FAMILIES)}"


def marker(family: int, x: float, y: float, r: float, inside: str = "", kind: str = "") -> str:
    """The shape of a family around a point, of about the area of a circle of radius `r`."""
    kind = " ".join(filter(None, ("mark", colour_of(family), kind)))
    shape = SHAPES[family % len(SHAPES)]
    if shape == "circle":
        return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}">{inside}</circle>'
    points = _OUTLINES[shape]()
    path = "L".join(f"{x + r * a:.1f} {y + r * b:.1f}" for a, b in points)
    return f'<path class="{kind}" d="M{path}z">{inside}</path>'


def keys(families: Sequence[str], drawn: Container[str]) -> list[tuple[Drawing, str]]:
    """The marker of each family that is drawn, and its name."""
    return [
        (Drawing(14, 14, marker(index, 7, 7, 5), "", "orchard key"), name)
        for index, name in enumerate(families)
        if name in drawn
    ]


def _square() -> list[tuple[float, float]]:
    return [(a, b) for a, b in ((-0.89, -0.89), (0.89, -0.89), (0.89, 0.89), (-0.89, 0.89))]


def _pentagon() -> list[tuple[float, float]]:
    return _around(5, (1.15,))


def _star() -> list[tuple[float, float]]:
    return _around(8, (1.5, 0.6))


def _cross() -> list[tuple[float, float]]:
    arm, width = 1.25, 0.45
    quarter = [(-width, -arm), (width, -arm), (width, -width)]
    turned = [[(x, y), (-y, x), (-x, -y), (y, -x)] for x, y in quarter]
    return [corners[turn] for turn in range(4) for corners in turned]


def _saltire() -> list[tuple[float, float]]:
    turn = math.sqrt(0.5)
    return [(turn * (x - y), turn * (x + y)) for x, y in _cross()]


def _hourglass() -> list[tuple[float, float]]:
    return [(-1.1, -1.2), (1.1, -1.2), (-1.1, 1.2), (1.1, 1.2)]


def _around(points: int, radii: tuple[float, ...]) -> list[tuple[float, float]]:
    return [
        (
            radii[i % len(radii)] * math.sin(2 * math.pi * i / points),
            -radii[i % len(radii)] * math.cos(2 * math.pi * i / points),
        )
        for i in range(points)
    ]


_OUTLINES = {
    "square": _square,
    "star": _star,
    "cross": _cross,
    "pentagon": _pentagon,
    "saltire": _saltire,
    "hourglass": _hourglass,
}
