"""What measuring leaves behind: trajectories that are read, outcomes and measurements that are written."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from universality.plugin.claims import Claim, claim_from_record, claim_record
from universality.plugin.spec import RunSpec, digest

RunState = Literal["done", "diverged", "failed", "crashed", "timeout", "missing"]
"""How a run ended. `failed` raised an error, `crashed` killed its worker."""


def missing_signs(signs: Collection[str]) -> list[str]:
    """Of the two kinds of controls that validate a claim, those that are not among `signs`.

    >>> missing_signs({"positive"})
    ['negative']
    """
    return [sign for sign in ("positive", "negative") if sign not in signs]


@dataclass(frozen=True, slots=True)
class Series:
    """One scalar over training."""

    steps: NDArray[np.int64]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.steps)

    def at(self, step: int) -> float:
        """The value recorded at exactly `step`."""
        index = np.searchsorted(self.steps, step)
        if index == len(self.steps) or self.steps[index] != step:
            raise KeyError(f"nothing was recorded at step {step}")
        return float(self.values[index])

    def since(self, step: int) -> Series:
        keep = self.steps >= step
        return Series(self.steps[keep], self.values[keep])


class Trajectory(Protocol):
    """What is stored of one run. `facts` holds lr, parameters, initial sharpness and the like.

    Names are `<probe address>.<metric>`, e.g. `sharpness.value`; `train_loss` is the loss of each
    update, taken at the weights before it.
    """

    @property
    def spec(self) -> RunSpec: ...
    @property
    def state(self) -> RunState: ...
    @property
    def facts(self) -> Mapping[str, Any]: ...
    def series(self, name: str) -> Series: ...
    def array(self, name: str, step: int) -> NDArray[Any]: ...
    def steps(self, name: str) -> tuple[int, ...]: ...


@dataclass(frozen=True, slots=True)
class Check:
    """A named comparison with what it needed. As a gate, unmet means that the run could not have
    shown the phenomenon; as a criterion, unmet counts against it."""

    name: str
    value: float
    needs: str
    met: bool

    def record(self) -> dict[str, Any]:
        return {"name": self.name, "value": self.value, "needs": self.needs, "met": self.met}


@dataclass(frozen=True, slots=True)
class Matrix:
    """A small labelled matrix, for a figure."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One effect for one claim from one group of runs.

    Args:
        effect: the number that the claim bounds; None where a gate left nothing to measure.
        censored: the effect is a lower bound: what it times had not happened when the budget ended.
        label: the name of what was seen, in the phenomenon's own words.
        details: secondary numbers, for the reader.
        matrices: what a figure of this group shows, by title.
    """

    effect: float | None
    gates: tuple[Check, ...] = ()
    criteria: tuple[Check, ...] = ()
    censored: bool = False
    label: str = ""
    details: Mapping[str, float] = field(default_factory=dict)
    matrices: Mapping[str, Matrix] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.effect is not None and not _is_number(self.effect):
            raise TypeError(f"an effect is a number or None, got {self.effect!r}")
        checks = (*self.gates, *self.criteria)
        if not all(isinstance(check, Check) for check in checks):
            raise TypeError("gates and criteria are Checks")
        numbers = {**self.details, **{check.name: check.value for check in checks}}
        if bad := next((name for name, value in numbers.items() if not _is_number(value)), None):
            raise TypeError(f"{bad} is a number, got {numbers[bad]!r}")

    def decided(self) -> bool:
        return self.effect is not None and all(g.met for g in self.gates)

    def holds(self, claim: Claim) -> bool:
        return self.effect is not None and claim.holds(self.effect) and all(c.met for c in self.criteria)


def _is_number(value: object) -> bool:
    """Also numbers of numpy and torch; truth values are none, and would not be read back as one."""
    plain = value.item() if hasattr(value, "item") else value
    return isinstance(plain, Real) and not isinstance(plain, bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRecord:
    """The outcome of one group, or the state that kept it from being measured.

    `units` names the independent replicates in it (seeds); groups that share a unit are dependent.
    """

    key: str
    units: tuple[str, ...]
    runs: Mapping[str, str]
    state: RunState
    outcome: Outcome | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRecord:
    """All groups of one claim in one cell, or of one control.

    `variant` is the phenomenon's address with the parameters that differ from its defaults.
    `swept` marks a cell that only maps where a claim ends; it is not counted.
    """

    phenomenon: str
    version: int
    claim_name: str
    claim: Claim
    architecture: str
    task: str
    groups: tuple[GroupRecord, ...] = ()
    not_applicable: str = ""
    control: str = ""
    expects: tuple[str, ...] = ()
    variant: str = ""
    swept: bool = False

    @property
    def crossed(self) -> bool:
        """Whether it is a cell of a cross, neither a control nor part of a sweep."""
        return not self.control and not self.swept

    @property
    def id(self) -> str:
        """Identity of the measurement: what was asked, not what came out."""
        return digest(
            [
                self.variant,
                self.version,
                self.claim_name,
                self.architecture,
                self.task,
                self.control,
                [[g.key, dict(g.runs)] for g in self.groups],
            ]
        )

    def record(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "phenomenon": self.phenomenon,
            "variant": self.variant,
            "version": self.version,
            "claim_name": self.claim_name,
            "claim": claim_record(self.claim),
            "architecture": self.architecture,
            "task": self.task,
            "not_applicable": self.not_applicable,
            "control": self.control,
            "expects": list(self.expects),
            **({"swept": True} if self.swept else {}),
            "groups": [_group_record(g) for g in self.groups],
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> CellRecord:
        return cls(
            phenomenon=record["phenomenon"],
            variant=record["variant"],
            version=record["version"],
            claim_name=record["claim_name"],
            claim=claim_from_record(record["claim"]),
            architecture=record["architecture"],
            task=record["task"],
            not_applicable=record["not_applicable"],
            control=record["control"],
            expects=tuple(record["expects"]),
            swept=record.get("swept", False),
            groups=tuple(_group_from_record(g) for g in record["groups"]),
        )


def _group_record(group: GroupRecord) -> dict[str, Any]:
    outcome = group.outcome
    return {
        "key": group.key,
        "units": list(group.units),
        "runs": dict(group.runs),
        "state": group.state,
        "message": group.message,
        "outcome": None
        if outcome is None
        else {
            "effect": outcome.effect,
            "censored": outcome.censored,
            "label": outcome.label,
            "gates": [g.record() for g in outcome.gates],
            "criteria": [c.record() for c in outcome.criteria],
            "details": dict(outcome.details),
            "matrices": {
                title: {"rows": m.rows, "columns": m.columns, "values": m.values}
                for title, m in outcome.matrices.items()
            },
        },
    }


def _group_from_record(record: Mapping[str, Any]) -> GroupRecord:
    stored = record["outcome"]
    outcome = None
    if stored is not None:
        outcome = Outcome(
            effect=stored["effect"],
            censored=stored["censored"],
            label=stored["label"],
            gates=tuple(Check(**g) for g in stored["gates"]),
            criteria=tuple(Check(**c) for c in stored["criteria"]),
            details=stored["details"],
            matrices={
                title: Matrix(tuple(m["rows"]), tuple(m["columns"]), tuple(map(tuple, m["values"])))
                for title, m in stored["matrices"].items()
            },
        )
    return GroupRecord(
        key=record["key"],
        units=tuple(record["units"]),
        runs=record["runs"],
        state=record["state"],
        message=record["message"],
        outcome=outcome,
    )
