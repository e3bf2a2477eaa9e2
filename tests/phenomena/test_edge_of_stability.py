"""Truth table of `settle` on made-up sharpness and loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from universality.judge.outcomes import outcome_of
from universality.phenomena.edge_of_stability import EdgeOfStability
from universality.plan.groups import groups_of
from universality.plugin import registry
from universality.plugin.outcome import Outcome
from universality.plugin.phenomenon import Cell, Cross
from universality.plugin.trajectory import Series

registry.load_plugins()

STEPS, RECORDS = 600, 61
GD = EdgeOfStability.claims["gd"]


def settle(given: FakeRun) -> Outcome:
    return outcome_of(EdgeOfStability(), GD, given)


@dataclass
class FakeRun:
    """A trajectory with the series it is given."""

    given: dict[str, Series]
    spec: Any = field(default_factory=lambda: SimpleNamespace(recipe=SimpleNamespace(steps=STEPS)))
    state: str = "done"
    facts: dict[str, Any] = field(default_factory=dict)

    def series(self, name: str) -> Series:
        return self.given[name]

    def steps(self, name: str) -> tuple[int, ...]:
        return tuple(self.given[name].steps) if name in self.given else ()


Curve = Callable[[np.ndarray], np.ndarray]


def wobbling_descent(t: np.ndarray) -> np.ndarray:
    """Falls by one per thousand a step, and rises on every other step."""
    return np.exp(-t / 1000) * (1 + 0.05 * (-1.0) ** t)


def rise_to(level: float, at: float = 0.2) -> Curve:
    """From 0.2 in a straight line to `level` at the fraction `at`, then constant."""
    return lambda t: np.minimum(0.2 + (level - 0.2) * t / (at * STEPS), level)


def run(ratio: Curve, loss: Curve = wobbling_descent, converged: float = 1.0) -> FakeRun:
    steps = np.linspace(0, STEPS, RECORDS).round().astype(np.int64)
    good = np.ones(RECORDS)
    good[: round((1 - converged) * RECORDS)] = 0.0
    each = np.arange(STEPS, dtype=np.int64)
    return FakeRun(
        {
            "sharpness.ratio": Series(steps, np.asarray(ratio(steps.astype(float)))),
            "sharpness.converged": Series(steps, good),
            "train_loss": Series(each, np.asarray(loss(each.astype(float)))),
        }
    )


def test_the_worst_cold_audit_is_told() -> None:
    audited = run(rise_to(1.02))
    assert "worst_audit" not in settle(audited).details
    audited.given["sharpness.audit"] = Series(np.array([200, 400]), np.array([1e-4, -3e-3]))
    assert settle(audited).details["worst_audit"] == pytest.approx(3e-3)


def unmet(outcome: Outcome) -> set[str]:
    return {check.name for check in (*outcome.gates, *outcome.criteria) if not check.met}


def verdict(outcome: Outcome) -> str:
    if not outcome.decided():
        return "inconclusive"
    return "present" if outcome.holds(GD.bound) else "absent"


def test_sharpness_that_rises_to_the_threshold_and_stays_is_present() -> None:
    outcome = settle(run(rise_to(1.02)))
    assert verdict(outcome) == "present"
    assert outcome.effect == pytest.approx(1.02)
    assert unmet(outcome) == set()
    # 0.2 + 0.82 t / 120 reaches 0.95 at t = 109.8, and a record is taken every ten steps.
    assert outcome.details["crossing_step"] == 110


@pytest.mark.parametrize(
    ("plateau", "expected"),
    [(0.951, "present"), (1.149, "present"), (1.151, "absent"), (1.3, "absent")],
)
def test_the_plateau_must_lie_within_the_bounds_of_the_claim(plateau: float, expected: str) -> None:
    outcome = settle(run(rise_to(plateau)))
    assert verdict(outcome) == expected
    assert outcome.effect == pytest.approx(plateau)


@pytest.mark.parametrize("level", [0.2, 0.949])
def test_sharpness_that_never_comes_near_could_not_have_shown_it(level: float) -> None:
    outcome = settle(run(rise_to(level)))
    assert verdict(outcome) == "inconclusive"
    assert outcome.effect is None
    assert unmet(outcome) == {"sharpness over the threshold, after it was below 0.95"}
    assert outcome.gates[0].value == pytest.approx(level)


def test_sharpness_that_starts_above_and_stays_never_rose() -> None:
    assert verdict(settle(run(lambda t: np.full_like(t, 1.0)))) == "inconclusive"
    assert verdict(settle(run(lambda t: 2.0 - 1.5 * t / STEPS))) == "inconclusive"


def adam_start(t: np.ndarray) -> np.ndarray:
    """20 times the threshold, down to a tenth of it at step 100, up to it at step 200."""
    return np.interp(t, [0, 100, 200], [20.0, 0.1, 1.0])


def test_an_adaptive_start_above_the_threshold_counts_from_its_second_arrival() -> None:
    outcome = settle(run(adam_start))
    assert verdict(outcome) == "present"
    assert outcome.effect == pytest.approx(1.0)
    assert outcome.details["crossing_step"] == 200


@pytest.mark.parametrize(("at", "expected"), [(0.65, "present"), (0.75, "inconclusive")])
def test_thirty_percent_of_the_run_must_remain_behind_the_crossing(at: float, expected: str) -> None:
    outcome = settle(run(rise_to(1.0, at)))
    assert verdict(outcome) == expected
    assert unmet(outcome) == (set() if expected == "present" else {"share of steps behind the crossing"})


@pytest.mark.parametrize("last", [STEPS - 10, STEPS])
def test_a_crossing_on_the_last_records_is_inconclusive_and_not_an_error(last: int) -> None:
    outcome = settle(run(lambda t: np.where(t >= last, 1.0, 0.5)))
    assert verdict(outcome) == "inconclusive"
    assert "share of steps behind the crossing" in unmet(outcome)


@pytest.mark.parametrize(("share", "expected"), [(0.96, "present"), (0.93, "inconclusive")])
def test_ninety_five_percent_of_the_eigenvalues_must_have_converged(share: float, expected: str) -> None:
    outcome = settle(run(rise_to(1.0), converged=share))
    assert verdict(outcome) == expected
    assert unmet(outcome) == (set() if expected == "present" else {"share of eigenvalues that converged"})


def swings(low: float, high: float, share: float) -> Curve:
    """Crosses at step 120, is 1.0, and `share` of the records each at `low` and at `high`."""

    def curve(t: np.ndarray) -> np.ndarray:
        ratio = np.where(t < 120, 0.5, 1.0)
        turn = (t // 10).astype(int) % 100
        period = round(1 / share)
        ratio[(t >= 120) & (turn % period == 1)] = low
        ratio[(t >= 120) & (turn % period == 2)] = high
        return ratio

    return curve


@pytest.mark.parametrize(
    ("curve", "broken"),
    [
        (swings(0.81, 1.39, 0.25), set()),
        (swings(0.7, 1.0, 0.25), {"10 % quantile"}),
        (swings(1.0, 1.5, 0.25), {"90 % quantile"}),
        (swings(0.7, 1.5, 0.25), {"10 % quantile", "90 % quantile"}),
        (swings(0.5, 3.0, 0.05), set()),
    ],
    ids=["inside the band", "below", "above", "both", "rare spikes"],
)
def test_ten_to_ninety_percent_of_sharpness_must_lie_in_the_band(curve: Curve, broken: set[str]) -> None:
    outcome = settle(run(curve))
    assert outcome.effect == pytest.approx(1.0)
    assert unmet(outcome) == broken
    assert verdict(outcome) == ("absent" if broken else "present")


@pytest.mark.parametrize(
    ("loss", "broken"),
    [
        (lambda t: np.exp(-t / 1000), {"share of single steps on which the loss rises"}),
        (
            lambda t: np.exp(-t / 1000) * (1 + 0.5 * (t % 25 == 0)),
            {"share of single steps on which the loss rises"},
        ),
        (lambda t: np.exp(-t / 1000) * (1 + 0.5 * (t % 15 == 0)), set()),
        (lambda t: 1 + 0.05 * (-1.0) ** t + t / STEPS, {"last tenth of the loss over the first"}),
    ],
    ids=["monotone", "rises on 4 %", "rises on 7 %", "grows"],
)
def test_the_loss_must_rise_on_single_steps_and_fall_in_the_long_run(loss: Curve, broken: set[str]) -> None:
    outcome = settle(run(rise_to(1.0), loss))
    assert unmet(outcome) == broken
    assert verdict(outcome) == ("absent" if broken else "present")


def test_a_loss_that_rises_only_before_the_crossing_does_not_count() -> None:
    outcome = settle(
        run(rise_to(1.0, 0.4), lambda t: np.where(t < 230, 2.0 + 0.1 * (-1.0) ** t, np.exp(-t / 1000)))
    )
    assert unmet(outcome) == {"share of single steps on which the loss rises"}


def test_the_gate_of_the_crossing_names_how_high_sharpness_came() -> None:
    fell = settle(run(lambda t: 2.0 - 1.5 * t / STEPS))
    assert (fell.effect, fell.label) == (None, "never reached")
    assert not fell.gates[0].met
    # Below 0.95 first at step 430, the first of the records each ten steps with 2 - t / 400 < 0.95.
    assert fell.gates[0].value == pytest.approx(2 - 430 / 400)
    assert fell.gates[0].needs == ">= 0.95"
    assert settle(run(lambda t: np.full_like(t, 1.0))).gates[0].value == -math.inf


def test_each_optimizer_is_a_claim_of_its_own_on_its_own_runs() -> None:
    cell = Cell(registry.resolve("architecture", "mlp"), registry.resolve("task", "digits"), None)
    groups = groups_of(EdgeOfStability(), cell, Cross(range(2)))
    assert [(g.key, list(g.runs)) for g in groups] == [
        (f"{name}/s{seed}", [name]) for name in ("gd", "adam") for seed in range(2)
    ]
    for name, claim in EdgeOfStability.claims.items():
        assert [g.key for g in groups if g.bears_on(claim)] == [f"{name}/s0", f"{name}/s1"]
        assert {g.runs[name].recipe.optimizer for g in groups if g.bears_on(claim)} == {
            {"gd": "sgd", "adam": "adam"}[name]
        }
