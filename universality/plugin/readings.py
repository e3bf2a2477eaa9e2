"""Numbers read from what was trained, and the bounds that a claim needs them to keep, as data."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from universality.errors import MeasurementError
from universality.plugin.outcome import Check
from universality.plugin.trajectory import Series, Trajectory

Key = str | int | float | tuple[str | int | float, ...]
"""What tells the runs of a run set apart: a name, the value of a swept parameter, or several of these."""


class Runs(Mapping[Any, Trajectory]):
    """The trajectories of one replicate of a run set, by the keys that the set gave them."""

    def __init__(self, runs: Mapping[Any, Trajectory]) -> None:
        self._runs = dict(runs)

    def __getitem__(self, key: Any) -> Trajectory:
        if key not in self._runs:
            raise KeyError(f"no run {key!r}, there are {', '.join(map(repr, self._runs))}")
        run: Trajectory = self._runs[key]
        return run

    def __iter__(self) -> Iterator[Any]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)

    def read(self, reading: Callable[[Trajectory], float]) -> dict[Any, float]:
        """The reading of every run, by key."""
        return {key: float(reading(run)) for key, run in self._runs.items()}


@dataclass(frozen=True, slots=True)
class Reading:
    """A number read from one series of one run. Naming the series lets the planner see that it is observed."""

    text: str
    series: str
    of: Callable[[Series], Any] = field(compare=False)

    def __call__(self, run: Trajectory) -> float:
        """Raises `MeasurementError` for a series without a value, such as the loss of a run of 0 updates."""
        series = run.series(self.series)
        if not len(series):
            raise MeasurementError(
                f"the series {self.series} has no value", where=run.spec.id, expected=self.text
            )
        return float(self.of(series))

    def __str__(self) -> str:
        return f"{self.series}, {self.text}"


def at_end(series: str) -> Reading:
    """The last recorded value."""
    return Reading("at the end", series, lambda s: s.values[-1])


def at_start(series: str) -> Reading:
    """The first recorded value."""
    return Reading("at the start", series, lambda s: s.values[0])


def end_over_start(series: str) -> Reading:
    """The last recorded value over the first."""
    return Reading("at the end over the start", series, lambda s: s.values[-1] / s.values[0])


def mean(series: str) -> Reading:
    return Reading("mean", series, lambda s: s.values.mean())


def highest(series: str) -> Reading:
    return Reading("highest", series, lambda s: s.values.max())


def lowest(series: str) -> Reading:
    return Reading("lowest", series, lambda s: s.values.min())


Limit = float | Callable[[Any], float]
"""A number, or one that follows from what the effect is given (the number of classes, the budget)."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """A number that must lie within bounds: a gate or a criterion of a claim, as data.

    Args:
        value: a `Reading`, of which the worst of all runs (or of those at `keys`) counts; the name of a
            detail of the outcome; or a function of what the claim's effect is given.
        when: asked of what the effect is given; where it says no, nothing is required.
    """

    name: str
    value: Reading | str | Callable[[Any], float]
    at_least: Limit | None = None
    at_most: Limit | None = None
    keys: tuple[Any, ...] = ()
    when: Callable[[Any], Any] | None = None

    def checks(self, subject: Any, details: Mapping[str, float]) -> tuple[Check, ...]:
        """The check of one replicate: `subject` is a trajectory, or the `Runs` of a set of several."""
        if self.when is not None and not self.when(subject):
            return ()
        low, high = (limit(subject) if callable(limit) else limit for limit in (self.at_least, self.at_most))
        if isinstance(self.value, str):
            if self.value not in details:
                raise KeyError(
                    f"'{self.name}' bounds the detail '{self.value}', of which the outcome has none"
                )
            value = details[self.value]
        elif isinstance(self.value, Reading):
            reading = self.value
            runs = _members(subject, self.keys)
            value = max((float(reading(run)) for run in runs), key=lambda v: _excess(v, low, high))
        else:
            value = self.value(subject)
        return (Check(self.name, value, at_least=low, at_most=high),)


def require(
    name: str,
    value: Reading | str | Callable[[Any], float],
    *,
    at_least: Limit | None = None,
    at_most: Limit | None = None,
    keys: tuple[Any, ...] = (),
    when: Callable[[Any], Any] | None = None,
) -> Requirement:
    """A `Requirement`. As a gate, unmet means that the run could not have shown the phenomenon; as a criterion, it
    counts against it.

    >>> require("training accuracy", at_end("accuracy.train"), at_least=0.999).value.series
    'accuracy.train'
    """
    if at_least is None and at_most is None:
        raise ValueError(f"the requirement '{name}' has no bound, give it at_least or at_most")
    return Requirement(name, value, at_least, at_most, keys, when)


class UnmetError(Exception):
    """What kept an effect from being there. Raised by `need`, and turned into a gate that is not met."""

    def __init__(self, label: str) -> None:
        super().__init__(label)
        self.label = label


_needed: ContextVar[list[Check] | None] = ContextVar("needed", default=None)


def need(
    name: str,
    value: float,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    label: str = "",
) -> None:
    """Within an effect: a gate without which there is nothing to measure. Unmet, the effect ends here.

    Args:
        label: the name of what was seen, where it is not met.
    """
    check = Check(name, value, at_least=at_least, at_most=at_most)
    collected = _needed.get()
    if collected is not None:
        collected.append(check)
    if not check.met:
        raise UnmetError(label)


@contextmanager
def needs() -> Iterator[list[Check]]:
    """Collects the checks of every `need` inside."""
    collected: list[Check] = []
    token = _needed.set(collected)
    try:
        yield collected
    finally:
        _needed.reset(token)


def _members(subject: Any, keys: tuple[Any, ...]) -> Collection[Trajectory]:
    if not isinstance(subject, Runs):
        return [subject]
    return [subject[key] for key in keys] if keys else list(subject.values())


def _excess(value: float, low: float | None, high: float | None) -> float:
    """How far a value lies beyond its bounds; no number is the farthest."""
    if math.isnan(value):
        return math.inf
    return max(-math.inf if low is None else low - value, -math.inf if high is None else value - high)
