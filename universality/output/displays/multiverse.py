"""Multiverse: of each claim the share of its cells with each verdict, while one of its thresholds is made stricter or laxer."""

from __future__ import annotations

from collections.abc import Mapping

from universality.judge.decide import Verdict
from universality.judge.multiverse import FACTORS, Moves, Multiverse
from universality.output.displays.svg import Drawing, box, fitted, text, title, wide, wrapped
from universality.output.palette import slug
from universality.text import typeset

NOTE = (
    "Each strip: the cells of a claim decided again, by the same rules, with one threshold up to twice as lax (left) or as "
    "strict (right); the framed bar is as claimed. Filled by the share of cells: present from the bottom, absent from the top, "
    "undecided between; void where a control no longer comes out as it must."
)
LIMITS = (
    "Recomputed from stored outcomes: effects, gates and criteria. What an effect is made of, such as the accuracy at which a "
    "time is read off or the null that is subtracted, is not stored apart and stays."
)
WIDTH, STRIP, HEAD, FOOT = 340.0, 26.0, 17.0, 16.0
BAR = WIDTH / len(FACTORS)
MOST = 7
"""Strips of a claim."""
_STACK: tuple[Verdict, ...] = ("present", "inconclusive", "invalid", "absent")
_WORDS: Mapping[Verdict, str] = {"inconclusive": "undecided", "invalid": "void"}


def strips(of: Multiverse) -> Drawing:
    """The bound, then every other threshold that changes a verdict, each a strip of bars."""
    shown = drawn(of)
    parts, y = [], 0.0
    for moves in shown:
        role, name = moves.threshold.role, moves.threshold.name
        needs = typeset(moves.threshold.needs)
        label = fitted(f"{role}: {name}" if name else role, WIDTH - wide(needs, 11), 11)
        parts.append(text(0, y + 12, f"{label} {needs}", "strong", 200))
        parts.append(_strip(moves, y + HEAD))
        y += HEAD + STRIP + 6
    parts += [
        text(0, y + 9, "half as strict", "small"),
        text(WIDTH / 2, y + 9, "as claimed", "small mid"),
        text(WIDTH, y + 9, "twice", "small end"),
    ]
    return Drawing(WIDTH, y + FOOT, "".join(parts), of.reach)


def with_reach(of: Multiverse) -> Drawing:
    """The strips over what they say of the bound, and over what has none, for a file."""
    drawing = strips(of)
    lines = [line for said in (typeset(of.reach), remarks(of)) if said for line in wrapped(said, WIDTH, 10)]
    body = [text(0, drawing.height + 12 + 13 * i, line, "small", 200) for i, line in enumerate(lines)]
    return Drawing(WIDTH, drawing.height + 13 * len(lines) + 6, drawing.body + "".join(body), drawing.label)


def keys() -> list[tuple[Drawing, str]]:
    """A filling of each kind, and what it means."""
    return [
        (Drawing(16, 14, box(_class(v), 1, 1, 14, 12), "", "drawing key"), _WORDS.get(v, v)) for v in _STACK
    ]


def drawn(of: Multiverse) -> tuple[Moves, ...]:
    """The bound of the claim and what else changes a verdict, at most `MOST`."""
    return tuple(m for m in of.moves if m.threshold.role == "bound" or not m.still)[:MOST]


def remarks(of: Multiverse) -> str:
    """What of a claim has no strip, and why."""
    still = [m.threshold.name for m in of.moves if m.still and m.threshold.name]
    groups = "1 group has" if of.lost == 1 else f"{of.lost} groups have"
    lost = f"{groups} no stored effect, since a gate was not met: no laxer gate brings it back"
    parts = [
        f"no verdict changes with {', '.join(still)}" if still else "",
        f"cannot be scaled: {', '.join(of.fixed)}" if of.fixed else "",
        lost if of.lost else "",
    ]
    return "; ".join(filter(None, parts))


def _strip(moves: Moves, y: float) -> str:
    parts = []
    for index, (counts, needs) in enumerate(zip(moves.counts, moves.needs, strict=True)):
        x, bottom, cells = index * BAR, y + STRIP, sum(counts.values())
        said = ", ".join(f"{counts[v]} {_WORDS.get(v, v)}" for v in _STACK if counts[v])
        bars = []
        for verdict in _STACK:
            height = STRIP * counts[verdict] / cells
            bottom -= height
            if height:
                bars.append(box(_class(verdict), x + 1, bottom, BAR - 2, height))
        parts.append(f"<g>{title(f'{typeset(needs)}: {said}')}{''.join(bars)}</g>")
    middle = len(FACTORS) // 2 * BAR
    return "".join([*parts, box("frozen", middle, y - 1, BAR, STRIP + 2)])


def _class(verdict: Verdict) -> str:
    return slug(verdict).replace("v-", "t-", 1)
