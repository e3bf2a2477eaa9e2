"""A claim: its bound, the runs that it is about, how its effect is measured, and how that is drawn."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from universality.plugin.bounds import Bound
from universality.plugin.cell import Cell
from universality.plugin.charts import Chart
from universality.plugin.outcome import Outcome
from universality.plugin.readings import Reading, Requirement
from universality.plugin.runs import RunSet

Effect = Callable[..., float | Outcome]
Ask = Callable[[Cell], str]
"""A condition on a cell: the reason why a claim cannot be tested there, "" where it can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What `claim` declares.

    Args:
        bound: what the effect must keep.
        runs: the run set that it is about; gates and failures of other runs leave it alone.
        effect: the number, or an `Outcome` where there is more to tell, from one replicate of that set: its
            `Trajectory` where the set has one run, else its `Runs`. None until `claim` decorates a method.
        asks, gates, criteria: beside those of the phenomenon.
        beside: readings that are told beside the effect, as details of the outcome.
        charts: how it is drawn, the most telling first.
        pooled: the effect is of all seeds together, `Runs` by (seed, key) or, of a set of one run, by seed. The
            interval is the jackknife's over seeds (Tukey 1958): the group of seed i has the pseudo-value
            n t - (n - 1) t_(-i), formed on the scale of the bound. For one estimator over all seeds, such as a
            scaling fit, of which each seed alone has too little.
        diverged: runs that diverged are measured too (`run.state`), and do not keep the group from an outcome.
        method: whether `effect` is a method of the phenomenon.
        where: file and line.
    """

    bound: Bound
    runs: RunSet[Any]
    effect: Effect | None
    title: str = ""
    asks: tuple[Ask, ...] = ()
    gates: tuple[Requirement, ...] = ()
    criteria: tuple[Requirement, ...] = ()
    beside: Mapping[str, Reading] = field(default_factory=dict)
    charts: tuple[Chart, ...] = ()
    pooled: bool = False
    diverged: bool = False
    method: bool = False
    where: str = ""

    def __call__(self, effect: Effect) -> Claim:
        """As the decorator of the method that measures its effect."""
        return replace(self, effect=effect, method=True)


def claim(
    bound: Bound,
    effect: Effect | None = None,
    *,
    runs: RunSet[Any],
    title: str,
    chart: Chart | Sequence[Chart],
    asks: Sequence[Ask] = (),
    gates: Sequence[Requirement] = (),
    criteria: Sequence[Requirement] = (),
    beside: Mapping[str, Reading] | None = None,
    pooled: bool = False,
    diverged: bool = False,
) -> Claim:
    """Declare a claim: `name = claim(bound, effect, runs=...)`, or as the decorator of a method.

    Args:
        bound: `Within` or `Most`.
        effect: a reading, or another function of what one replicate of `runs` left; see `Claim` for the rest.
        title: a few words, for tables.
    """
    charts = tuple(chart) if isinstance(chart, list | tuple) else (chart,)
    frame = sys._getframe(1)
    return Claim(
        bound=bound,
        runs=runs,
        effect=effect,
        title=title,
        asks=tuple(asks),
        gates=tuple(gates),
        criteria=tuple(criteria),
        beside=dict(beside or {}),
        charts=charts,
        pooled=pooled,
        diverged=diverged,
        where=f"{frame.f_code.co_filename}:{frame.f_lineno}",
    )
