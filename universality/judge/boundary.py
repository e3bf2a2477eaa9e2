"""Where a phenomenon ends: the values of one parameter between which its verdict changes.

A suite sweeps a parameter where it names several values of it with everything else the same: of an
architecture or its modifiers (`mlp[output_scale=1]`, `mlp[output_scale=10]`), of a task, or, in a `[[sweep]]`, of the
phenomenon itself (`grokking[decay=0.1]`, `grokking[decay=1]`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from universality.judge.decide import CellVerdict
from universality.plan.plan_json import PlanRecord
from universality.plugin.spec import Component, bare_name


@dataclass(frozen=True, slots=True)
class Boundary:
    """One claim along one swept parameter, everything else fixed.

    Args:
        of: the name of the plugin that has the parameter.
        example: the address at the smallest decided value.
        beside: the addresses of everything else in the cells.
        decided: (value, verdict) in ascending order.
        undecided: the values of cells that were not decided, in ascending order.
        cells: every cell with its value, in ascending order.
    """

    phenomenon: str
    claim_name: str
    of: str
    parameter: str
    example: str
    beside: str
    decided: tuple[tuple[float, str], ...]
    undecided: tuple[float, ...]
    cells: tuple[tuple[float, CellVerdict], ...] = ()

    @property
    def changes(self) -> tuple[tuple[float, float], ...]:
        """Neighbouring values with different verdicts."""
        pairs = zip(self.decided, self.decided[1:], strict=False)
        return tuple((a, b) for (a, before), (b, after) in pairs if before != after)

    @property
    def place(self) -> str:
        """The network and the task, without their parameters; what is fixed, where its cells are not told."""
        if not self.cells:
            return self.beside
        record = self.cells[0][1].record
        return f"{bare_name(record.architecture)} on {bare_name(record.task)}"

    @property
    def where(self) -> str:
        if not self.changes:
            return "no change in this range"
        return "changes between " + " and again between ".join(f"{a:g} and {b:g}" for a, b in self.changes)

    def __str__(self) -> str:
        course = ", ".join(f"{verdict} at {value:g}" for value, verdict in self.decided)
        left = ", ".join(f"{value:g}" for value in self.undecided)
        return f"{self.where}: {course}" + (f" (not decided at {left})" if left else "")


def boundaries(verdicts: Sequence[CellVerdict], plan: PlanRecord) -> list[Boundary]:
    """Every sweep of one numeric parameter with at least two decided values, in order of appearance.

    Controls are left out; cells at the setting of a positive control are part of a sweep, though they
    do not count towards prevalence.
    """
    parameters = parameters_of(plan)
    sweeps: dict[tuple[str, ...], list[tuple[float, str, CellVerdict]]] = {}
    for v in verdicts:
        r = v.record
        if r.control:
            continue
        addresses = addresses_of(v)
        for which, (address, components) in enumerate(zip(addresses, parameters, strict=True)):
            component = components.get(address, Component(""))
            beside = tuple(other for i, other in enumerate(addresses) if i != which)
            settings = [(part.name, k, x) for part in component.parts for k, x in part.params]
            bare = "+".join(part.name for part in component.parts)
            for plugin, parameter, value in settings:
                if not is_number(value):
                    continue
                fixed = (s for s in settings if s[:2] != (plugin, parameter))
                rest = ",".join([bare, *(f"{part}.{k}={x}" for part, k, x in fixed)])
                key = (r.phenomenon, r.claim_name, plugin, parameter, rest, *beside)
                sweeps.setdefault(key, []).append((float(value), address, v))
    result = []
    for (phenomenon, claim_name, name, parameter, _, *others), cells in sweeps.items():
        cells = sorted(cells, key=lambda cell: (cell[0], cell[1]))
        decided = [c for c in cells if c[2].settled]
        if len({value for value, _, _ in decided}) >= 2:
            result.append(
                Boundary(
                    phenomenon,
                    claim_name,
                    name,
                    parameter,
                    example=decided[0][1],
                    beside=", ".join(other for other in others if other not in ("", phenomenon)),
                    decided=tuple((value, str(v.verdict)) for value, _, v in decided),
                    undecided=tuple(sorted({c[0] for c in cells} - {c[0] for c in decided})),
                    cells=tuple((value, v) for value, _, v in cells),
                )
            )
    return result


def addresses_of(v: CellVerdict) -> tuple[str, str, str]:
    """Of the phenomenon, the architecture and the task of a cell."""
    return v.record.variant, v.record.architecture, v.record.task


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a parameter can be swept."""
    return not isinstance(value, bool) and isinstance(value, int | float)


def parameters_of(plan: PlanRecord) -> tuple[Mapping[str, Component], ...]:
    """Phenomena, architectures and tasks by address, in the order of `addresses_of`; the specs of runs hold the last two."""
    specs = [run.spec for run in plan.runs.values()]
    architectures = {str(spec.architecture): spec.architecture for spec in specs}
    return plan.settings, architectures, {str(spec.task): spec.task for spec in specs}
