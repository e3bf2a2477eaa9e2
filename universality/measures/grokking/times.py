"""When a run memorises and when it generalises.

n: records of a run. The delay D is the log10 of a ratio of steps; a run that did not generalise
within its budget has one that is only known to be larger (right-censored). `delays` has groups of runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from universality.errors import MeasurementError
from universality.measures.ambient import measure

Label = Literal["grokking", "slow tail", "prompt", "memorised only", "indeterminate", "not fitted"]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Accuracies at which a run has memorised and generalised, the ratio of steps that counts as a
    delay, and the chance-normalised validation accuracy at memorisation above which it was no delay."""

    train: float = 0.99
    validation: float = 0.90
    ratio: float = 5.0
    memorised: float = 0.5

    def __post_init__(self) -> None:
        if not (0 < self.train <= 1 and 0 < self.validation <= 1 and 1 <= self.ratio < math.inf):
            raise MeasurementError(
                "thresholds that no run can be judged by",
                where="Thresholds",
                got=f"train {self.train:g}, validation {self.validation:g}, ratio {self.ratio:g}",
                expected="accuracies in (0, 1], a finite ratio of at least 1",
            )
        if not -math.inf < self.memorised < math.inf:
            raise MeasurementError(
                "a threshold that is not finite", where="Thresholds", got=f"memorised {self.memorised:g}"
            )


@dataclass(frozen=True, slots=True)
class GrokkingTimes:
    """One run.

    t_mem, t_gen: first sustained steps with training and validation accuracy at their thresholds;
        None where there is none within the budget.
    delay: D = log10(t_gen / t_mem), or its lower bound log10(budget / t_mem) where `censored`.
    delay_low, delay_high: what the records allow, as a passage lies anywhere after the record before
        it; infinite above where censored. No sampling error of the accuracies is in them.
    v_mem: validation accuracy at t_mem, 0 at chance and 1 at one.
    gap_area: of the whole run, in decades.
    kept: whether validation still is at its threshold on 80 % of the records of the last tenth,
        [budget / 1.1, budget]. False after t_gen: generalisation was lost again.
    label: grokking      t_gen / t_mem >= ratio, v_mem <= memorised
           slow tail     the same ratio, v_mem above: most was generalised when memorised
           prompt        a smaller ratio
           memorised only  no t_gen, although budget / t_mem >= ratio
           indeterminate   no t_gen, and a budget too small to see the ratio
           not fitted    no t_mem
    """

    t_mem: int | None
    t_gen: int | None
    delay: float | None
    delay_low: float | None
    delay_high: float | None
    censored: bool
    v_mem: float | None
    gap_area: float
    kept: bool
    label: Label


@dataclass(frozen=True, slots=True)
class Fragility:
    """Labels by (train, validation, ratio); fragile where they are not all the same.

    agreement: share of the settings that have the label of the usual one (.99, .9, 5).
    """

    labels: dict[tuple[float, float, float], Label]
    agreement: float

    @property
    def fragile(self) -> bool:
        return self.agreement < 1


@measure
def sustained(steps: Int[np.ndarray, " n"], values: Float[np.ndarray, " n"], level: float) -> int | None:
    """First recorded step t >= 1 with value >= level on at least 80 % of the records in [t, 1.1 t].

    Cost: O(n log n).

    Raises:
        MeasurementError: a level outside (0, 1], steps that are not whole or do not rise, values that do
            not match or are not finite.

    Source: Power et al. 2022, arXiv:2201.02177 (steps to a validation accuracy), made robust to blips.

    >>> sustained(np.array([10, 11, 12, 13]), np.array([0.95, 0.3, 0.9, 1.0]), 0.9)
    12
    """
    if not 0 < level <= 1:
        raise MeasurementError("no such level", where="sustained", got=f"{level:g}", expected="in (0, 1]")
    steps, values = _checked("sustained", steps, values)
    index = _passage(steps, values, level)
    return None if index is None else int(steps[index])


@measure
def gap_area(
    steps: Int[np.ndarray, " n"], train: Float[np.ndarray, " n"], validation: Float[np.ndarray, " n"]
) -> float:
    """Integral of max(0, train - validation) over log10 t, t >= 1: a delay without a threshold, in decades.

    By trapezoids between the records, so exact for gaps that are linear in log10 t. A number of one run,
    without error but that of its accuracies: the spread is that over seeds.

    Cost: O(n).

    Raises:
        MeasurementError: steps that are not whole or do not rise, series that do not match or are not finite.

    Source: none; an area is not moved by a choice of thresholds, as t_mem and t_gen are.

    >>> gap_area(np.array([0, 1, 10, 100]), np.ones(4), np.array([0.0, 0.0, 0.0, 1.0]))
    1.5
    """
    steps, train, validation = _checked("gap_area", steps, train, validation)
    keep = steps >= 1
    gap = np.maximum(0.0, train[keep] - validation[keep])
    return float(np.trapezoid(gap, np.log10(steps[keep])))


@measure
def grokking_times(
    steps: Int[np.ndarray, " n"],
    train: Float[np.ndarray, " n"],
    validation: Float[np.ndarray, " n"],
    *,
    budget: int,
    chance: float,
    thresholds: Thresholds | None = None,
) -> GrokkingTimes:
    """Times, delay and label of one run.

    Args:
        steps: of the records, rising; log-spaced ones give every decade the same resolution.
        train, validation: accuracies of the full sets.
        budget: the last step of the run, fixed beforehand and recorded; t_gen is censored there.
        chance: validation accuracy of a guess, 1 / classes.

    Raises:
        MeasurementError: steps that are not whole, do not rise or do not end at the budget (a run that
            was killed is not one that did not generalise), a budget that is not finite, accuracies
            that are not in [0, 1], a chance not in [0, 1), a validation threshold not above it.

    Source: Power et al. 2022, arXiv:2201.02177 (the delay); Liu et al. 2022, arXiv:2210.01117.

    Cost: O(n log n).

    >>> steps = np.array([1, 10, 100, 1000, 2000])
    >>> run = grokking_times(steps, np.array([0.2, 1, 1, 1, 1]), np.array([0, 0.1, 0.1, 1, 1]), budget=2000, chance=0.1)
    >>> run.label, run.t_mem, run.t_gen, run.delay
    ('grokking', 10, 1000, 2.0)
    """
    limits = thresholds or Thresholds()
    steps, train, validation = _checked("grokking_times", steps, train, validation)
    wrong = [v for v in (train, validation) if v.size and (v.min() < 0 or v.max() > 1)]
    if wrong or not 0 <= chance < 1 or not steps[-1] <= budget < math.inf:
        raise MeasurementError(
            "no accuracies of a run within its budget",
            where="grokking_times",
            got=f"accuracies from {min(train.min(), validation.min()):g} to {max(train.max(), validation.max()):g}, "
            f"chance {chance:g}, last record {steps[-1]}, budget {budget}",
            expected="accuracies in [0, 1], chance in [0, 1), a finite budget and no record after it",
        )
    if steps[-1] < budget:
        # Of a run that was killed nobody knows whether it would have generalised by then.
        raise MeasurementError(
            "records that end before the budget",
            where="grokking_times",
            got=f"last record {steps[-1]}, budget {budget}",
            expected="a record at the budget, up to which a run that does not generalise is censored",
            do="pass the last step as the budget, or finish the run",
        )
    if limits.validation <= chance:
        raise MeasurementError(
            "a validation threshold that a guess reaches",
            where="grokking_times",
            got=f"threshold {limits.validation:g}, chance {chance:g}",
            expected="a threshold above chance",
            do="raise Thresholds.validation, or measure with balanced classes",
        )
    area = gap_area(steps, train, validation)
    late = steps >= budget / 1.1
    kept = bool(late.any() and (validation[late] >= limits.validation).mean() >= 0.8)
    memorised, generalised = (
        _passage(steps, train, limits.train),
        _passage(steps, validation, limits.validation),
    )
    t_gen = None if generalised is None else int(steps[generalised])
    if memorised is None:
        return GrokkingTimes(None, t_gen, None, None, None, False, None, area, kept, "not fitted")
    t_mem, v_mem = int(steps[memorised]), (float(validation[memorised]) - chance) / (1 - chance)
    # Of a passage first seen at record t, all that is known is that it came after the record before.
    before = math.log10(_earliest(steps, memorised))
    at = math.log10(t_mem)
    label: Label
    if generalised is None or t_gen is None:
        label = "memorised only" if budget >= limits.ratio * t_mem else "indeterminate"
        least = math.log10(budget) - at
        return GrokkingTimes(t_mem, None, least, least, math.inf, True, v_mem, area, kept, label)
    if t_gen < limits.ratio * t_mem:
        label = "prompt"
    else:
        label = "grokking" if v_mem <= limits.memorised else "slow tail"
    low = math.log10(_earliest(steps, generalised)) - at
    return GrokkingTimes(
        t_mem,
        t_gen,
        math.log10(t_gen / t_mem),
        low,
        math.log10(t_gen) - before,
        False,
        v_mem,
        area,
        kept,
        label,
    )


@measure
def fragility(
    steps: Int[np.ndarray, " n"],
    train: Float[np.ndarray, " n"],
    validation: Float[np.ndarray, " n"],
    *,
    budget: int,
    chance: float,
) -> Fragility:
    """The label under training thresholds {.95, .99, .999}, validation {.8, .9} and ratios {3, 5, 10}.

    Cost: 18 times `grokking_times`, so O(n log n).

    Raises:
        MeasurementError: as `grokking_times`, so also for a chance of .8 or more.

    Source: none; settings around those of `Thresholds`, of which they are the neighbours.

    >>> steps = np.arange(1, 101)
    >>> late = np.where(steps >= 40, 1.0, 0.0)
    >>> found = fragility(steps, np.where(steps >= 10, 1.0, 0.0), late, budget=100, chance=0.0)
    >>> found.fragile, found.labels[0.99, 0.9, 5.0], found.labels[0.99, 0.9, 3.0]
    (True, 'prompt', 'grokking')
    """
    usual = Thresholds()
    labels = {
        (a, b, c): grokking_times(
            steps,
            train,
            validation,
            budget=budget,
            chance=chance,
            thresholds=replace(usual, train=a, validation=b, ratio=c),
        ).label
        for a, b, c in product((0.95, 0.99, 0.999), (0.8, 0.9), (3.0, 5.0, 10.0))
    }
    reference = labels[usual.train, usual.validation, usual.ratio]
    return Fragility(labels, sum(label == reference for label in labels.values()) / len(labels))


def _passage(steps: NDArray[np.int64], values: NDArray[Any], level: float) -> int | None:
    """Index of the first sustained record."""
    reached = values >= level
    # Records of [t, 1.1 t] are those from its own up to `end`.
    begin, end = np.arange(len(steps)), np.searchsorted(steps, 1.1 * steps, side="right")
    before = np.concatenate([[0], np.cumsum(reached)])
    held = (before[end] - before[begin]) / (end - begin) >= 0.8
    first = np.flatnonzero(reached & held & (steps >= 1))
    return int(first[0]) if len(first) else None


def _earliest(steps: NDArray[np.int64], index: int) -> int:
    """The first step at which a passage that record `index` shows can have happened."""
    return max(1, int(steps[index - 1]) + 1) if index else 1


def numbers(where: str, name: str, given: Any) -> NDArray[Any]:
    """One axis of real numbers, from whatever numpy reads."""
    try:
        values = np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise MeasurementError(
            f"{name} that numpy does not read",
            where=where,
            got=f"{type(given).__name__}: {error}",
            expected="an array of one axis",
            do="detach tensors, and move them to the CPU",
        ) from error
    if values.ndim != 1 or values.dtype.kind not in "biuf":
        raise MeasurementError(
            f"{name} are no list of numbers",
            where=where,
            got=f"shape {list(values.shape)}, {values.dtype}",
            expected="an array of one axis",
        )
    return values


def floats(where: str, name: str, given: Any) -> NDArray[Any]:
    """As they are if floating: single precision must not be compared with double thresholds."""
    values = numbers(where, name, given)
    return values if values.dtype.kind == "f" else values.astype(np.float64)


def _whole(where: str, given: Any) -> NDArray[np.int64]:
    """Steps as int64: differences of unsigned integers wrap."""
    values = numbers(where, "steps", given)
    # 2^53 is where doubles stop being able to tell neighbours apart.
    most = 2**53 if values.dtype.kind == "f" else 2**63 - 1
    if values.dtype.kind == "b" or not all(v == v // 1 and abs(v) <= most for v in values.tolist()):
        raise MeasurementError(
            "steps are not whole",
            where=where,
            got=f"{values[:10].tolist()}, {values.dtype}",
            expected="integers",
        )
    return values.astype(np.int64)


def _checked(where: str, steps: Any, *series: Any) -> list[NDArray[Any]]:
    """Steps and series as arrays."""
    steps = _whole(where, steps)
    series = tuple(floats(where, "accuracies", values) for values in series)
    if len(steps) == 0 or any(values.shape != steps.shape for values in series):
        raise MeasurementError(
            "records do not match",
            where=where,
            got=f"{len(steps)} steps, {', '.join(str(len(v)) for v in series)} values",
            expected="as many values as steps, at least one",
        )
    if (np.diff(steps) <= 0).any() or steps[0] < 0:
        raise MeasurementError("steps must rise from 0 or later", where=where, got=str(steps[:10].tolist()))
    if not all(np.isfinite(values).all() for values in series):
        raise MeasurementError(
            "accuracies are not finite",
            where=where,
            got="NaN or infinity",
            do="a run that diverged has no times",
        )
    return [steps, *series]
