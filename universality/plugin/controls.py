"""Settings with a known answer, as data."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

Sign = Literal["positive", "negative"]

Decidable = Literal["present", "absent", "inconclusive", "diverged"]
"""Verdicts that a stored control may name."""


class ControlId(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which control of a phenomenon."""

    sign: Sign
    name: str

    @property
    def expects(self) -> Literal["present", "absent"]:
        """The one verdict with which it passes."""
        return "present" if self.sign == "positive" else "absent"

    def __str__(self) -> str:
        return f"{self.sign}: {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A control as a phenomenon declares it.

    Args:
        claims: those that it judges; all where it is None.
        architecture, task: addresses; those of the phenomenon's `reference` where they are empty.
        partners: the other architectures, for claims that compare architectures.
        seeds: replicates; 0 is the number of a suite.
        follows: start from the parameters that the suite gives the phenomenon instead of from its defaults, so that a
            control has the suite's budget.
        changes: parameters of the phenomenon: values, or functions of the phenomenon that `follows` names.
        where: file and line.
    """

    sign: Sign
    name: str
    why: str
    claims: tuple[str, ...] | None
    architecture: str
    task: str
    partners: tuple[str, ...]
    seeds: int
    follows: bool
    changes: Mapping[str, Any] = field(default_factory=dict)
    where: str = ""


def positive(
    name: str,
    why: str,
    *,
    claims: Sequence[str] | None = None,
    architecture: str = "",
    task: str = "",
    partners: Sequence[str] = (),
    seeds: int = 0,
    follows: bool = False,
    **changes: Any | Callable[[Any], Any],
) -> Setting:
    """A setting in which the literature shows the phenomenon: each of its claims must be present."""
    return _setting("positive", name, why, claims, architecture, task, partners, seeds, follows, changes)


def negative(
    name: str,
    why: str,
    *,
    claims: Sequence[str] | None = None,
    architecture: str = "",
    task: str = "",
    partners: Sequence[str] = (),
    seeds: int = 0,
    follows: bool = False,
    **changes: Any | Callable[[Any], Any],
) -> Setting:
    """A setting that could show the phenomenon, and in which it is known not to: each of its claims must be absent.

    One that ends undecided, at a gate say, was not exercised: it tells nothing, and validates nothing.
    """
    return _setting("negative", name, why, claims, architecture, task, partners, seeds, follows, changes)


def _setting(
    sign: Sign,
    name: str,
    why: str,
    claims: Sequence[str] | None,
    architecture: str,
    task: str,
    partners: Sequence[str],
    seeds: int,
    follows: bool,
    changes: Mapping[str, Any],
) -> Setting:
    frame = sys._getframe(2)
    return Setting(
        sign=sign,
        name=name,
        why=why,
        claims=None if claims is None else tuple(claims),
        architecture=architecture,
        task=task,
        partners=tuple(partners),
        seeds=seeds,
        follows=follows,
        changes=changes,
        where=f"{frame.f_code.co_filename}:{frame.f_lineno}",
    )
