"""Evidence-gap maps: where on the grid of networks and tasks there is evidence, of which kind, and where there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from universality.judge.decide import CellVerdict, Verdict
from universality.judge.resultset import ResultSet
from universality.plugin.spec import bare_name

Gap = Literal["present", "undecided", "untested", "not applicable", "absent"]
GAPS: tuple[Gap, ...] = get_args(Gap)

Place = tuple[str, str]
"""A network and a task, by the names of their lines."""


@dataclass(frozen=True, slots=True)
class GapMap:
    """Claims of one phenomenon, or of all, counted in each place where they were asked.

    Args:
        phenomenon: its name; empty for all of them.
        networks, tasks: every line of the grid, the same for all maps of a set.
        places: what is known of the claims asked there. A place that is missing was never asked.
    """

    phenomenon: str
    networks: tuple[str, ...]
    tasks: tuple[str, ...]
    places: Mapping[Place, Counter[Gap]]

    @property
    def counts(self) -> Counter[Gap]:
        """Over all places."""
        return sum(self.places.values(), Counter())

    @property
    def tested(self) -> int:
        """Places where at least one claim was measured."""
        return sum(any(of[gap] for gap in ("present", "absent", "undecided")) for of in self.places.values())

    @property
    def impossible(self) -> int:
        """Places where no claim that was asked makes sense."""
        return sum(set(of) == {"not applicable"} for of in self.places.values())


def gap_maps(results: ResultSet) -> list[GapMap]:
    """The map of all phenomena, then one for each, in the order of the table. Empty where the set has no cell.

    Cells of crosses count; sweeps, controls and calibrations do not, since they are no evidence of universality.
    Cost: linear in cells.
    """
    cells = [
        v
        for v in results.verdicts
        if v.counted and not results.plan.phenomena[v.record.phenomenon].calibration
    ]
    if not cells:
        return []
    networks, tasks = (lines(getattr(v.record, of) for v in cells) for of in ("architecture", "task"))
    grid = tuple(dict.fromkeys(networks.values())), tuple(dict.fromkeys(tasks.values()))

    def mapped(phenomenon: str, members: Sequence[CellVerdict]) -> GapMap:
        places: dict[Place, Counter[Gap]] = {}
        for v in members:
            place = networks[v.record.architecture], tasks[v.record.task]
            places.setdefault(place, Counter())[gap(v.verdict)] += 1
        return GapMap(phenomenon, *grid, places)

    by_phenomenon: dict[str, list[CellVerdict]] = {}
    for v in cells:
        by_phenomenon.setdefault(v.record.phenomenon, []).append(v)
    return [mapped("", cells), *(mapped(name, members) for name, members in by_phenomenon.items())]


def gap(verdict: Verdict) -> Gap:
    """What a verdict is on the map. What was tried and gave no answer is undecided, what was not run untested.

    >>> gap("absent"), gap("diverged"), gap("missing")
    ('absent', 'undecided', 'untested')
    """
    if verdict in ("present", "absent", "not applicable"):
        return verdict
    return "untested" if verdict == "missing" else "undecided"


def lines(addresses: Iterable[str]) -> dict[str, str]:
    """The name of the line of each address: its own without parameters, so that what differs in these alone shares one.

    Where that would be a single line, each address has its own.

    >>> lines(["mlp[width=2]", "mlp[width=4]", "cnn[width=8]"])
    {'mlp[width=2]': 'mlp', 'mlp[width=4]': 'mlp', 'cnn[width=8]': 'cnn'}
    >>> lines(["mlp[width=2]", "mlp[width=4]"])
    {'mlp[width=2]': 'mlp[width=2]', 'mlp[width=4]': 'mlp[width=4]'}
    """
    names = {address: bare_name(address) for address in addresses}
    return names if len(set(names.values())) > 1 else {address: address for address in names}
