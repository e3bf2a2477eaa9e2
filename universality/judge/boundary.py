"""Where a phenomenon ends: the values of one parameter between which its verdict changes.

A suite sweeps a parameter where it names several values of it with everything else the same: of an
architecture (`mlp[output_scale=1]`, `mlp[output_scale=10]`), of a task, or, in a `[[sweep]]`, of the
phenomenon itself (`grokking[decay=0.1]`, `grokking[decay=1]`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from universality.judge.verdicts import CellVerdict

Parameters = Mapping[str, tuple[str, Mapping[str, Any]]]
"""By address: the plugin's name and all of its parameters, defaults included."""


@dataclass(frozen=True, slots=True)
class Boundary:
    """One claim along one swept parameter, everything else fixed.

    Args:
        of: the name of the plugin that has the parameter.
        example: the address at the smallest decided value.
        beside: the addresses of everything else in the cells.
        decided: (value, verdict) in ascending order.
        undecided: the values of cells that were not decided, in ascending order.
    """

    phenomenon: str
    claim_name: str
    of: str
    parameter: str
    example: str
    beside: str
    decided: tuple[tuple[float, str], ...]
    undecided: tuple[float, ...]

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
        left = ", ".join(f"{value:g}" for value in self.undecided)
        return f"{where}: {told}" + (f" (not decided at {left})" if left else "")


def parameters_of(plan: Mapping[str, Any]) -> tuple[Parameters, Parameters, Parameters]:
    """Phenomena, architectures and tasks by address, from a plan; specs of runs hold the last two."""
    phenomena, architectures, tasks = (dict[str, tuple[str, Mapping[str, Any]]]() for _ in range(3))
    for address, part in plan.get("variants", {}).items():
        phenomena[str(address)] = (str(part["name"]), dict(part["params"]))
    for spec in plan.get("specs", {}).values():
        for kind, known in (("architecture", architectures), ("task", tasks)):
            part = spec[kind]
            known[str(part["label"])] = (str(part["name"]), dict(part["params"]))
    return phenomena, architectures, tasks


def swept(verdicts: Sequence[CellVerdict], plan: Mapping[str, Any]) -> list[Boundary]:
    """`boundaries` by the parameters in a plan; none where it holds no usable ones (earlier results)."""
    try:
        return boundaries(verdicts, *parameters_of(plan))
    except (KeyError, TypeError, ValueError, AttributeError):
        return []


def boundaries(
    verdicts: Sequence[CellVerdict], phenomena: Parameters, architectures: Parameters, tasks: Parameters
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
        parts = ((r.variant, phenomena), (r.architecture, architectures), (r.task, tasks))
        for which, (address, known) in enumerate(parts):
            name, params = known.get(address, ("", {}))
            beside = tuple(other for i, (other, _) in enumerate(parts) if i != which)
            for parameter, value in params.items():
                if isinstance(value, bool) or not isinstance(value, int | float):
                    continue
                rest = ",".join(f"{k}={x}" for k, x in sorted(params.items()) if k != parameter)
                key = (r.phenomenon, r.claim_name, name, parameter, rest, *beside)
                sweeps.setdefault(key, []).append((float(value), address, str(v.verdict)))
    result = []
    for (phenomenon, claim_name, name, parameter, _, *others), cells in sweeps.items():
        decided = sorted(c for c in cells if c[2] in ("present", "absent"))
        if len({value for value, _, _ in decided}) >= 2:
            result.append(
                Boundary(
                    phenomenon,
                    claim_name,
                    name,
                    parameter,
                    example=decided[0][1],
                    beside=", ".join(other for other in others if other not in ("", phenomenon)),
                    decided=tuple((value, verdict) for value, _, verdict in decided),
                    undecided=tuple(sorted({c[0] for c in cells} - {c[0] for c in decided})),
                )
            )
    return result
