"""Phase maps: cells that differ in two parameters alone, on the grid of their values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from universality.judge.boundary import addresses_of, is_number, parameters_of
from universality.judge.controls import claim_of
from universality.judge.decide import CellVerdict
from universality.plan.plan_json import PlanRecord
from universality.plugin.spec import Component

Setting = tuple[int, str, str]
"""Of which address (`addresses_of`), the plugin that has a parameter, and the parameter."""

MOST_SWEPT = 8
"""Parameters of a claim whose pairs are looked at, in order of appearance."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One claim over two swept parameters, everything else fixed.

    Args:
        across, down: plugin and parameter, and its values in ascending order.
        cells: by the values across and down; a place may be empty.
        beside: what is fixed, by the names of its plugins.
    """

    phenomenon: str
    claim_name: str
    across: tuple[str, str, tuple[float, ...]]
    down: tuple[str, str, tuple[float, ...]]
    cells: Mapping[tuple[float, float], CellVerdict]
    beside: str


def phases(verdicts: Sequence[CellVerdict], plan: PlanRecord) -> list[Phase]:
    """Every pair of numeric parameters that are crossed: at least half of the grid was asked, more than a line each way,
    and two cells or more decided. Controls are left out. Cost: linear in cells, for each pair.

    The parameter with more values lies across.
    """
    parameters = parameters_of(plan)
    claims: dict[tuple[str, str], list[tuple[CellVerdict, Mapping[Setting, object]]]] = {}
    for v in verdicts:
        if not v.record.control:
            claims.setdefault(claim_of(v), []).append((v, dict(_settings(v, parameters))))
    return [
        phase
        for (phenomenon, claim_name), cells in claims.items()
        for pair in combinations(_swept([settings for _, settings in cells]), 2)
        for phase in _maps(phenomenon, claim_name, cells, pair)
    ]


def _settings(
    v: CellVerdict, parameters: Sequence[Mapping[str, Component]]
) -> Iterator[tuple[Setting, object]]:
    """Every parameter of a cell; of an address of which the plan says nothing, the address."""
    for which, (address, components) in enumerate(zip(addresses_of(v), parameters, strict=True)):
        if address not in components:
            yield (which, address, ""), address
            continue
        for part in components[address].parts:
            yield (which, part.name, ""), part.name
            for name, value in part.params:
                yield (which, part.name, name), value


def _swept(cells: Sequence[Mapping[Setting, object]]) -> list[Setting]:
    values: dict[Setting, set[float]] = {}
    for settings in cells:
        for setting, value in settings.items():
            if is_number(value):
                values.setdefault(setting, set()).add(float(value))
    return [setting for setting, of in values.items() if len(of) > 1][:MOST_SWEPT]


def _maps(
    phenomenon: str,
    claim_name: str,
    cells: Sequence[tuple[CellVerdict, Mapping[Setting, object]]],
    pair: tuple[Setting, Setting],
) -> Iterator[Phase]:
    groups: dict[frozenset[tuple[Setting, object]], dict[tuple[float, float], CellVerdict]] = {}
    for v, settings in cells:
        if all(setting in settings for setting in pair):
            rest = frozenset(item for item in settings.items() if item[0] not in pair)
            one, other = (settings[setting] for setting in pair)
            assert is_number(one)
            assert is_number(other)
            groups.setdefault(rest, {})[float(one), float(other)] = v
    for rest, places in groups.items():
        across, down = (tuple(sorted({place[i] for place in places})) for i in (0, 1))
        decided = sum(v.settled for v in places.values())
        whole = len(across) * len(down)
        # Two sweeps that meet in one cell have a cell less than both have values.
        least = max(whole / 2, len(across) + len(down))
        if min(len(across), len(down)) < 2 or len(places) < least or decided < 2:
            continue
        names = dict.fromkeys(plugin for (_, plugin, name), _ in sorted(rest, key=str) if not name)
        beside = ", ".join(name for name in names if name not in ("", phenomenon))
        first, second = (setting[1:] for setting in pair)
        if len(across) >= len(down):
            yield Phase(phenomenon, claim_name, (*first, across), (*second, down), places, beside)
        else:
            turned = {(b, a): v for (a, b), v in places.items()}
            yield Phase(phenomenon, claim_name, (*second, down), (*first, across), turned, beside)
