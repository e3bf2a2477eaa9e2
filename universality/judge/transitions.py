"""What became of a verdict from one result set to the next, and how often chance alone does that.

If two sets answer alike, what they measured of one replicate (mostly a seed) may trade places without
changing the joint distribution of everything that was measured, whatever that distribution is. So for any count
of the two verdicts of a cell, with v_1(w) and v_2(w) the verdicts after the replicates in w were swapped,

    E count(v_1, v_2) = E mean over w of count(v_1(w), v_2(w)),

and the mean over swaps is what chance alone would give, under the rules that decide every cell.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
from msgspec.structs import replace

from universality.judge.decide import Verdict, decide
from universality.store.cells import CellRecord, GroupRecord

Transition = Literal[
    "same", "contradicted", "lost", "gained", "diverged", "voided", "other networks", "unanswered", "invalid", "not applicable"
]  # fmt: skip
MOVED: tuple[Transition, ...] = ("lost", "gained", "diverged")
"""What a replication does by chance: an interval that just clears its bound, a run at the edge of diverging."""

BROKEN: tuple[Transition, ...] = ("unanswered", "invalid", "not applicable")
"""What chance does not do: a set that fell short, an effect without meaning, a refusal that one set lacks."""

SWAPS = 16
"""Per cell: all that there are with up to 5 replicates, else as many drawn."""

Place = tuple[tuple[str, ...], int]
"""The units of a group, and its number among the groups of these units."""


def transition(first: Verdict, second: Verdict) -> Transition:
    """What became of a verdict; what a control voided is `invalid` here, and of `other networks` nothing is known.

    >>> transition("present", "absent"), transition("present", "inconclusive"), transition("failed", "absent")
    ('contradicted', 'lost', 'unanswered')
    """
    pair = {first, second}
    if first == second:
        return "same"
    if pair == {"present", "absent"}:
        return "contradicted"
    if "not applicable" in pair:
        return "not applicable"
    if pair & {"failed", "crashed", "timeout", "missing"}:
        return "unanswered"
    if "invalid" in pair:
        return "invalid"
    if "diverged" in pair:
        return "diverged"
    return "lost" if second == "inconclusive" else "gained"


def chance(first: CellRecord, second: CellRecord) -> Mapping[Transition, float]:
    """How likely each transition is for a cell of two sets that answer alike, given all that both measured.

    Replicates are swapped by name, and by their order where the sets have none in common. Replicates that only
    one set has stay where they are. One swap of two that are each other's complement is taken, since they give the
    same transition but for its direction; the observed one is among them.

    The mean over cells of what is returned is that of what is observed: exactly, for groups that share no
    unit or are swapped together (partners of a seed). Of a group of two seeds of which one is swapped, a cross
    between the sets, there is no measurement; one of the two groups in its place is drawn. That gives up to
    a quarter too few where the effect is a sum of what each seed brings, and the right number where it
    belongs to the pair.

    Cost: `decide` of up to 2 x 16 records.
    """
    own, other = _places(first, second)
    differ = [p for p in own if p in other and _facts(own[p]) != _facts(other[p])]
    units = sorted({unit for names, _ in differ for unit in names}, key=_natural)
    counts: Counter[Transition] = Counter()
    generator = np.random.default_rng(0)
    for swapped in _swaps(units, generator):
        ours, theirs = dict(own), dict(other)
        for place in differ:
            share = sum(unit in swapped for unit in place[0]) / len(place[0])
            if share == 1 or (share > 0 and generator.random() < 0.5):
                ours[place] = replace(other[place], key=own[place].key, units=own[place].units)
                theirs[place] = replace(own[place], key=other[place].key, units=other[place].units)
        verdicts = (
            decide(replace(record, groups=tuple(groups.values()))).raw
            for record, groups in ((first, ours), (second, theirs))
        )
        counts[transition(*verdicts)] += 1
    return {kind: count / counts.total() for kind, count in counts.items()}


def excess_p(moved: Sequence[bool], chances: Sequence[float], runs: Sequence[Collection[str]]) -> float:
    """A bound on the probability that chance alone moves as many verdicts as were moved.

    With N the number moved, E = sum of p its expectation, and clusters the cells that are linked by runs that they
    share, Var N <= V = sum over clusters of (sum of sqrt(p (1 - p)))^2 whatever the dependence within one, and
    P(N - E >= d) <= V / (V + d^2) (Cantelli 1929). Cells that share no run are taken as independent.

    Args:
        runs: of each cell, by id.

    >>> excess_p([True] * 10, [0.25] * 10, [str(i) for i in range(10)])
    0.0322...
    """
    gap = sum(moved) - sum(chances)
    if gap <= 0:
        return 1.0
    clusters: list[tuple[set[str], float]] = []
    for p, own in zip(chances, runs, strict=True):
        if 0 < p < 1:
            linked = [c for c in clusters if not c[0].isdisjoint(own)]
            clusters = [c for c in clusters if c[0].isdisjoint(own)]
            spread = math.sqrt(p * (1 - p)) + sum(s for _, s in linked)
            clusters.append((set(own).union(*(names for names, _ in linked)), spread))
    variance = sum(spread**2 for _, spread in clusters)
    return variance / (variance + gap**2)


def _places(
    first: CellRecord, second: CellRecord
) -> tuple[dict[Place, GroupRecord], dict[Place, GroupRecord]]:
    """The groups of both by what they are, under the unit names of the first."""
    ours, theirs = (
        sorted({unit for g in record.groups for unit in g.units}, key=_natural) for record in (first, second)
    )
    names = {} if set(ours) & set(theirs) else dict(zip(theirs, ours, strict=False))
    return dict(_named(first, {})), dict(_named(second, names))


def _named(record: CellRecord, names: Mapping[str, str]) -> Iterator[tuple[Place, GroupRecord]]:
    seen: Counter[tuple[str, ...]] = Counter()
    for group in sorted(record.groups, key=lambda g: _natural(g.key)):
        units = tuple(sorted(names.get(unit, unit) for unit in group.units))
        yield (units, seen[units]), group
        seen[units] += 1


def _natural(name: str) -> tuple[int, str]:
    """Keeps s10 behind s9."""
    return len(name), name


def _facts(group: GroupRecord) -> tuple[object, ...]:
    return group.state, group.outcome, group.problem


def _swaps(units: Sequence[str], generator: np.random.Generator) -> Iterator[frozenset[str]]:
    """Sets of units that trade places, first none. The last never does: swapping all but w mirrors swapping w."""
    free = units[:-1]
    every = 2 ** len(free) <= SWAPS
    for number in range(2 ** len(free) if every else SWAPS):
        bits = [number >> i & 1 for i in range(len(free))] if every else generator.integers(2, size=len(free))
        chosen = zip(free, bits if number else [0] * len(free), strict=True)
        yield frozenset(unit for unit, swapped in chosen if swapped)
