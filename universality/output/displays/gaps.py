"""Evidence-gap maps: the whole grid of networks and tasks, each place filled by what is known there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from universality.judge.gaps import GAPS, Gap, GapMap
from universality.output.displays.svg import Drawing, box, fitted, outline, text, title, wide
from universality.text import brief

NOTE = (
    "Each place, a network (row) on a task (column), is filled by the verdicts of the claims asked there: present from the "
    "bottom, absent from the top, undecided between, what ended early with it. An empty frame was planned and is not run yet; a pale "
    "one was never asked."
)
TILE = (20.0, 18.0)
SMALL = (9.0, 8.0)
"""Of the maps of single phenomena, whose lines are those of the large one."""
LABEL, LEAST_LABEL, SIZE = 132.0, 60.0, 11
RISE = 0.82
"""Names of tasks stand at an angle; of their length this much is height (sine), the rest (cosine) leans to the right."""
LEAN = 0.57


def large_map(of: GapMap) -> Drawing:
    """With the names of its lines. Width and height grow with their number; on a phone some twelve tasks fit."""
    label = min(LABEL, max(LEAST_LABEL, 8 + max(wide(brief(name), SIZE) for name in of.networks)))
    longest = min(LABEL, max(wide(brief(name), SIZE) for name in of.tasks))
    top, lean = RISE * longest + 14, LEAN * longest
    width, height = TILE
    body = []
    for column, name in enumerate(of.tasks):
        x = label + (column + 0.5) * width
        turned = f' transform="rotate(-55 {x:g} {top - 6:g})"'
        body.append(text(x, top - 6, fitted(name, LABEL, SIZE), "strong", more=turned))
    for row, name in enumerate(of.networks):
        y = top + row * height
        body.append(text(label - 6, y + height - 5, fitted(name, label - 6, SIZE), "strong end"))
    body.append(_tiles(of, label, top, TILE, named=True))
    whole = label + len(of.tasks) * width + max(lean - width / 2, 0) + 2, top + len(of.networks) * height + 2
    return Drawing(*whole, "".join(body), told(of))


def small_map(of: GapMap) -> Drawing:
    """Without names: a picture to compare, line for line, with the large one."""
    size = len(of.tasks) * SMALL[0] + 2, len(of.networks) * SMALL[1] + 2
    return Drawing(*size, _tiles(of, 1, 1, SMALL, named=False), told(of))


def told(of: GapMap) -> str:
    """The map in a line."""
    counts = of.counts
    kinds = ", ".join(f"{counts[gap]} {gap}" for gap in _ORDER if counts[gap])
    return f"Tested in {of.tested} of {len(of.places) - of.impossible} places that were asked; claims there: {kinds}"


def keys(counts: Counter[Gap]) -> list[tuple[Drawing, str]]:
    """A place of each kind that there is, and what it means."""
    found = [gap for gap in _ORDER if counts[gap]]
    return [(_key(_tile(Counter({gap: 1}), 1, 1, 16, 14, "")), gap) for gap in found]


def _key(body: str) -> Drawing:
    return Drawing(16, 14, body, "", "drawing key")


_ORDER: tuple[Gap, ...] = ("present", "absent", "undecided", "untested", "not applicable")


def _tiles(of: GapMap, left: float, top: float, size: tuple[float, float], *, named: bool) -> str:
    """Every place; `named` ones say what they are, others share a path with all of their colour."""
    width, height = size
    shared: dict[str, list[str]] = {"place": []}
    parts = []
    for row, network in enumerate(of.networks):
        for column, task in enumerate(of.tasks):
            x, y = left + column * width, top + row * height
            known = of.places.get((network, task))
            if known is None:
                shared["place"].append(outline(x, y, width - 1.5, height - 1.5))
                continue
            if named:
                kinds = ", ".join(f"{known[gap]} {gap}" for gap in _ORDER if known[gap])
                parts.append(_tile(known, x, y, width, height, f"{network}, {task}: {kinds}"))
            for kind, *corner in () if named else _boxes(known, x, y, width, height):
                shared.setdefault(kind, []).append(outline(*corner))
    paths = [
        f'<path class="{kind}" d="{"".join(outlines)}"/>' for kind, outlines in shared.items() if outlines
    ]
    # Frames over what fills them.
    return "".join([*sorted(paths, key=lambda path: '"asked"' in path), *parts])


def _tile(known: Counter[Gap], x: float, y: float, width: float, height: float, said: str) -> str:
    boxes = "".join(box(*each) for each in _boxes(known, x, y, width, height))
    return f"<g>{title(said) if said else ''}{boxes}</g>"


def _boxes(
    known: Counter[Gap], x: float, y: float, width: float, height: float
) -> Iterator[tuple[str, float, float, float, float]]:
    """A frame filled from the bottom, in shares of what applies there."""
    width, height = width - 1.5, height - 1.5
    applies = known.total() - known["not applicable"]
    if not applies:
        yield "g-not-applicable", x, y, width, height
        return
    bottom = y + height
    for gap in GAPS:
        if gap != "not applicable" and known[gap]:
            share = known[gap] / applies * height
            bottom -= share
            if gap != "untested":
                yield f"g-{gap}", x, bottom, width, share
    yield "asked", x, y, width, height
