"""What the claims of a phenomenon say of one group of runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from universality.errors import MeasurementError
from universality.plan.groups import Replicate
from universality.plugin.bounds import Bound
from universality.plugin.claim import Claim
from universality.plugin.outcome import Check, Outcome, Points
from universality.plugin.phenomenon import Phenomenon
from universality.plugin.readings import Runs, UnmetError, needs
from universality.plugin.runs import role
from universality.plugin.trajectory import Trajectory


def measure_group(
    phenomenon: Phenomenon, claim: Claim, group: Replicate, runs: Mapping[str, Trajectory]
) -> Outcome:
    """The outcome of a claim from one group: its effect, with what its requirements say.

    Raises what the effect raises.

    Args:
        runs: trajectories by role.
    """
    if group.keys is None:
        (subject,) = runs.values()
        return outcome_of(phenomenon, claim, subject)
    whole = Runs({key: runs[role] for role, key in group.keys.items()})
    if group.left_out is None:
        return outcome_of(phenomenon, claim, whole)
    n = len({_seed(key) for key in whole})
    if n == 1:  # nothing is left without it, and no interval follows from one seed
        return outcome_of(phenomenon, claim, whole)
    rest = Runs({key: run for key, run in whole.items() if _seed(key) != group.left_out})
    return _pseudo_value(
        outcome_of(phenomenon, claim, whole), outcome_of(phenomenon, claim, rest), n, claim.bound
    )


def outcome_of(phenomenon: Phenomenon, claim: Claim, subject: Trajectory | Runs) -> Outcome:
    """The same of what the effect is given: a trajectory, or the `Runs` of a set of several."""
    effect = claim.effect
    assert effect is not None
    with needs() as needed:
        try:
            answer = effect(phenomenon, subject) if claim.method else effect(subject)
        except UnmetError as unmet:
            answer = Outcome(effect=None, label=unmet.label)
    if not isinstance(answer, Outcome):
        if answer is None:
            raise TypeError("an effect is a number or an Outcome, got None")
        answer = Outcome(effect=answer)
    if claim.beside and answer.effect is not None:
        answer = _with_beside(claim, subject, answer)
    gates = list(needed)
    criteria: list[Check] = []
    for requirement in (*phenomenon.gates, *claim.gates):
        if answer.effect is not None or not isinstance(requirement.value, str):
            gates += requirement.checks(subject, answer.details)
    for requirement in claim.criteria if answer.effect is not None else ():
        criteria += requirement.checks(subject, answer.details)
    gates, criteria = [*gates, *answer.gates], [*criteria, *answer.criteria]
    value = answer.effect
    if value is not None and math.isnan(value):
        if all(gate.met for gate in gates):
            raise MeasurementError(
                "the effect is no number", expected="a number, or a need(...) that says what is missing"
            )
        value = None
    return replace(answer, effect=value, gates=tuple(gates), criteria=tuple(criteria))


def _with_beside(claim: Claim, subject: Trajectory | Runs, answer: Outcome) -> Outcome:
    """The outcome with the readings beside it: details of one run, and points over a sweep of numbers."""
    if not isinstance(subject, Runs):
        details = {name: reading(subject) for name, reading in claim.beside.items()}
        return replace(answer, details={**details, **answer.details})
    read = {name: subject.read(reading) for name, reading in claim.beside.items()}
    if all(isinstance(key, int | float) for key in subject):
        points = {name: Points.of(values) for name, values in read.items()}
        return replace(answer, points={**points, **(answer.points or {})})
    details = {f"{name}, {role(key)}": v for name, values in read.items() for key, v in values.items()}
    return replace(answer, details={**details, **answer.details})


def _pseudo_value(whole: Outcome, rest: Outcome, n: int, bound: Bound) -> Outcome:
    """Tukey's pseudo-value n t - (n - 1) t_(-i): the mean of these over seeds has the jackknife's standard error.

    Criteria have pseudo-values too, so that one number is not counted once for each seed as if it had no error. Gates are
    those of all seeds together.
    """
    if whole.effect is None or rest.effect is None:
        return replace(whole, effect=None)
    if bound.scale == "log":
        if min(whole.effect, rest.effect) <= 0:
            raise MeasurementError("an effect on the log scale is not positive", got=f"{whole.effect}")
        value = math.exp(n * math.log(whole.effect) - (n - 1) * math.log(rest.effect))
    else:
        value = n * whole.effect - (n - 1) * rest.effect
    without = {check.name: check for check in rest.criteria}
    criteria = tuple(
        replace(check, value=n * check.value - (n - 1) * without[check.name].value)
        if check.name in without and math.isfinite(check.value) and math.isfinite(without[check.name].value)
        else check
        for check in whole.criteria
    )
    details = {"all seeds together": whole.effect, **whole.details}
    return replace(whole, effect=value, criteria=criteria, details=details)


def _seed(key: Any) -> int:
    return int(key[0] if isinstance(key, tuple) else key)
