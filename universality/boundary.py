"""Where a phenomenon ends: the values of one parameter between which its verdict changes.

A suite sweeps a parameter where it names several values of it, e.g. `mlp[output_scale=1]`,
`mlp[output_scale=10]`, `mlp[output_scale=100]`, with everything else the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from universality.verdicts import CellVerdict

Parameters = Mapping[str, tuple[str, Mapping[str, Any]]]
"""By address: the plugin's name and all of its parameters, defaults included."""


@dataclass(frozen=True, slots=True)
class Boundary:
    """One claim along one swept parameter, everything else fixed.

    Args:
        of: `architecture` or `task`, the name of the plugin that has the parameter.
        example: the address at the smallest decided value.
        beside: the address of the other half of the cells.
        decided: (value, verdict) in ascending order; cells that are not decided are left out.
        undecided: how many were left out.
    """

    phenomenon: str
    claim_name: str
    of: str
    parameter: str
    example: str
    beside: str
    decided: tuple[tuple[float, str], ...]
    undecided: int

    @property
    def changes(self) -> tuple[tuple[float, float], ...]:
        """Neighbouring values with different verdicts."""
        pairs = zip(self.decided, self.decided[1:], strict=False)
        return tuple((a, b) for (a, before), (b, after) in pairs if before != after)

    def __str__(self) -> str:
        told = ", ".join(f"{verdict} at {value:g}" for value, verdict in self.decided)
        if not self.changes:
            where = "no change in this range"
        else:
            where = "changes between " + " and again between ".join(
                f"{a:g} and {b:g}" for a, b in self.changes
            )
        more = f" ({self.undecided} not decided)" if self.undecided else ""
        return f"{where}: {told}{more}"


def parameters_of(specs: Mapping[str, Any]) -> tuple[Parameters, Parameters]:
    """Architectures and tasks by address, from the specs of runs in a plan."""
    found: tuple[dict[str, tuple[str, Mapping[str, Any]]], ...] = ({}, {})
    for spec in specs.values():
        for kind, known in zip(("architecture", "task"), found, strict=True):
            part = spec[kind]
            known[str(part["label"])] = (str(part["name"]), dict(part["params"]))
    return found[0], found[1]


def swept(verdicts: Sequence[CellVerdict], plan: Mapping[str, Any]) -> list[Boundary]:
    """`boundaries` by the specs of a plan; none where it holds no usable ones (earlier results)."""
    try:
        return boundaries(verdicts, *parameters_of(plan.get("specs", {})))
    except (KeyError, TypeError, ValueError, AttributeError):
        return []


def boundaries(
    verdicts: Sequence[CellVerdict], architectures: Parameters, tasks: Parameters
) -> list[Boundary]:
    """Every sweep of one numeric parameter with at least two decided values, in order of appearance.

    Controls are left out; cells at the setting of a positive control are part of a sweep, though they
    do not count towards prevalence.
    """
    sweeps: dict[tuple[str, ...], list[tuple[float, str, str]]] = {}
    for v in verdicts:
        r = v.record
        if r.control:
            continue
        for address, other, known in (
            (r.architecture, r.task, architectures),
            (r.task, r.architecture, tasks),
        ):
            name, params = known.get(address, ("", {}))
            for parameter, value in params.items():
                if isinstance(value, bool) or not isinstance(value, int | float):
                    continue
                rest = ",".join(f"{k}={x}" for k, x in sorted(params.items()) if k != parameter)
                key = (r.phenomenon, r.variant, r.claim_name, name, parameter, other, rest)
                sweeps.setdefault(key, []).append((float(value), address, str(v.verdict)))
    result = []
    for (phenomenon, _, claim_name, name, parameter, other, _), cells in sweeps.items():
        decided = sorted(c for c in cells if c[2] in ("present", "absent"))
        if len({value for value, _, _ in decided}) >= 2:
            result.append(
                Boundary(
                    phenomenon,
                    claim_name,
                    name,
                    parameter,
                    example=decided[0][1],
                    beside=other,
                    decided=tuple((value, verdict) for value, _, verdict in decided),
                    undecided=len(cells) - len(decided),
                )
            )
    return result
