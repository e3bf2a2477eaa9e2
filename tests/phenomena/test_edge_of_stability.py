"""Truth table of `settled` on made-up sharpness and loss at two rates and more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from universality.judge.outcomes import outcome_of
from universality.phenomena.edge_of_stability import EdgeOfStability
from universality.plan.groups import groups_of
from universality.plugin import registry
from universality.plugin.cell import Cell
from universality.plugin.outcome import Outcome
from universality.plugin.phenomenon import Cross
from universality.plugin.readings import Runs
from universality.plugin.trajectory import Series

registry.load_plugins()

STEPS, RECORDS = 600, 61
GD = EdgeOfStability.claims["gd"]


def settle(given: Runs) -> Outcome:
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


def run(ratio: Curve, loss: Curve = wobbling_descent, converged: float = 1.0, state: str = "done") -> FakeRun:
    steps = np.linspace(0, STEPS, RECORDS).round().astype(np.int64)
    good = np.ones(RECORDS)
    good[: round((1 - converged) * RECORDS)] = 0.0
    each = np.arange(STEPS, dtype=np.int64)
    return FakeRun(
        {
            "sharpness.ratio": Series(steps, np.asarray(ratio(steps.astype(float)))),
            "sharpness.converged": Series(steps, good),
            "train_loss": Series(each, np.asarray(loss(each.astype(float)))),
        },
        state=state,
    )


def rates(*runs: FakeRun) -> Runs:
    """From the largest rate to the smallest, each half of the one before: thresholds 40, 80, and so on."""
    for k, one in enumerate(runs):
        one.given["sharpness.threshold"] = Series(np.array([0, STEPS]), np.full(2, 40.0 * 2**k))
    return Runs({2.0**k: one for k, one in enumerate(runs)})


def both(ratio: Curve, loss: Curve = wobbling_descent, converged: float = 1.0) -> Runs:
    """The same at two rates."""
    return rates(run(ratio, loss, converged), run(ratio, loss, converged))


IN_TIME = "rates at which sharpness rose to the threshold in time"
NEARER = "way into the bounds by the last halving of the rate, over the rest"


def unmet(outcome: Outcome) -> set[str]:
    return {check.name for check in (*outcome.gates, *outcome.criteria) if not check.met}


def verdict(outcome: Outcome) -> str:
    if not outcome.decided():
        return "inconclusive"
    return "present" if outcome.holds(GD.bound) else "absent"


def test_sharpness_that_rises_to_the_threshold_and_stays_is_present() -> None:
    outcome = settle(both(rise_to(1.02)))
    assert verdict(outcome) == "present"
    assert outcome.effect == pytest.approx(1.02)
    assert outcome.label == "settles at the threshold"
    assert unmet(outcome) == set()
    assert outcome.points["sharpness"].x == pytest.approx([40.0, 80.0])
    assert outcome.points["sharpness"].y == pytest.approx([40.8, 81.6])
    # 0.2 + 0.82 t / 120 reaches 0.95 at t = 109.8, and a record is taken every ten steps.
    assert outcome.details["crossing step"] == 110


@pytest.mark.parametrize(
    ("plateau", "expected", "side"),
    [
        (0.951, "present", "at"),
        (1.149, "present", "at"),
        (1.151, "absent", "above"),
        (1.3, "absent", "above"),
    ],
)
def test_the_plateau_must_lie_within_the_bounds_of_the_claim(
    plateau: float, expected: str, side: str
) -> None:
    outcome = settle(both(rise_to(plateau)))
    assert (verdict(outcome), outcome.label) == (expected, f"settles {side} the threshold")
    assert outcome.effect == pytest.approx(plateau)


def test_sharpness_that_crosses_and_falls_away_settles_below() -> None:
    outcome = settle(both(lambda t: np.interp(t, [0, 100, 200], [0.2, 1.0, 0.1])))
    assert (verdict(outcome), outcome.label) == ("absent", "settles below the threshold")


# The rates.


def at_levels(*levels: float) -> Runs:
    return rates(*(run(rise_to(level)) for level in levels))


def test_the_smallest_rate_that_reached_the_threshold_counts_and_the_drift_is_told() -> None:
    # What a convolutional network does on clothing: at the largest rate alone it would be absent.
    outcome = settle(at_levels(1.26, 1.15, 1.06))
    assert (verdict(outcome), outcome.effect) == ("present", pytest.approx(1.06))
    assert outcome.details["rates"] == 3
    assert outcome.details["rho at the largest"] == pytest.approx(1.26)
    assert outcome.details["d log rho / d log (1/rate)"] == pytest.approx(-0.1246, abs=1e-4)
    assert outcome.points["settled"].x == (1, 2, 4)  # type: ignore[index,union-attr]
    assert outcome.points["settled"].y == pytest.approx((1.26, 1.15, 1.06))  # type: ignore[index,union-attr]
    assert outcome.points["theory"].y == (1, 1, 1)  # type: ignore[index,union-attr]


def test_a_rate_that_never_reaches_the_threshold_is_left_out() -> None:
    outcome = settle(at_levels(1.1, 1.05, 0.9))
    assert (verdict(outcome), outcome.effect) == ("present", pytest.approx(1.05))
    assert outcome.details["rates"] == 2


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ((1.40, 1.25), "inconclusive"),  # 0.15 nearer, 0.10 to go
        ((1.26, 1.21), "inconclusive"),  # 0.05 nearer, 0.06 to go
        ((1.60, 1.42, 1.31), "inconclusive"),  # geometric, it tends to 1.14
        ((1.26, 1.23), "absent"),  # 0.03 nearer, 0.08 to go: to 1.20 as the root of the rate
        ((1.40, 1.26, 1.19), "inconclusive"),  # the last halving tells
        ((1.25, 1.30), "absent"),  # drifts away
        ((1.30, 1.30), "absent"),
    ],
)
def test_absence_must_survive_one_more_halving_of_the_rate(levels: tuple[float, ...], expected: str) -> None:
    outcome = settle(at_levels(*levels))
    assert verdict(outcome) == expected
    assert unmet(outcome) == ({NEARER} if expected == "inconclusive" else set())


def test_sharpness_that_takes_no_notice_of_the_rate_is_on_the_threshold_by_chance() -> None:
    # The same sharpness at both rates: relative to the threshold, 2.1 and 1.05.
    outcome = settle(at_levels(2.1, 1.05))
    assert verdict(outcome) == "absent"
    assert outcome.effect == pytest.approx(1.05)
    assert unmet(outcome) == {"d log rho / d log (1/rate)"}


@pytest.mark.parametrize("levels", [(1.0, 0.5), (0.2, 0.949), (0.5, 0.5, 0.5)])
def test_one_rate_that_reached_the_threshold_tells_nothing(levels: tuple[float, ...]) -> None:
    outcome = settle(at_levels(*levels))
    assert verdict(outcome) == "inconclusive"
    assert (outcome.effect, outcome.label) == (None, "threshold out of reach")
    assert unmet(outcome) == {IN_TIME}
    assert outcome.gates[0].value == sum(level >= 0.95 for level in levels)


def test_a_rate_that_diverged_does_not_count_and_the_others_do() -> None:
    diverged, edge = run(lambda t: np.full_like(t, 9.0), state="diverged"), run(rise_to(1.0))
    assert verdict(settle(rates(diverged, edge, edge))) == "present"
    assert verdict(settle(rates(diverged, edge))) == "inconclusive"
    alone = settle(rates(diverged, diverged))
    assert (verdict(alone), alone.label) == ("inconclusive", "diverged")


# One run.


def test_sharpness_that_starts_above_and_stays_never_rose() -> None:
    assert verdict(settle(both(lambda t: np.full_like(t, 1.0)))) == "inconclusive"
    assert verdict(settle(both(lambda t: 2.0 - 1.5 * t / STEPS))) == "inconclusive"


def adam_start(t: np.ndarray) -> np.ndarray:
    """20 times the threshold, down to a tenth of it at step 100, up to it at step 200."""
    return np.interp(t, [0, 100, 200], [20.0, 0.1, 1.0])


def test_an_adaptive_start_above_the_threshold_counts_from_its_second_arrival() -> None:
    outcome = settle(both(adam_start))
    assert verdict(outcome) == "present"
    assert outcome.effect == pytest.approx(1.0)
    assert outcome.details["crossing step"] == 200


@pytest.mark.parametrize(("at", "expected"), [(0.65, "present"), (0.75, "inconclusive")])
def test_thirty_percent_of_the_run_must_remain_behind_the_crossing(at: float, expected: str) -> None:
    outcome = settle(both(rise_to(1.0, at)))
    assert verdict(outcome) == expected
    assert unmet(outcome) == (set() if expected == "present" else {IN_TIME})


@pytest.mark.parametrize("last", [STEPS - 10, STEPS])
def test_a_crossing_on_the_last_records_is_inconclusive_and_not_an_error(last: int) -> None:
    outcome = settle(both(lambda t: np.where(t >= last, 1.0, 0.5)))
    assert verdict(outcome) == "inconclusive"
    assert unmet(outcome) == {IN_TIME}


@pytest.mark.parametrize(("share", "expected"), [(0.96, "present"), (0.93, "inconclusive")])
def test_ninety_five_percent_of_the_eigenvalues_must_have_converged(share: float, expected: str) -> None:
    outcome = settle(both(rise_to(1.0), converged=share))
    assert verdict(outcome) == expected
    assert unmet(outcome) == (set() if expected == "present" else {"share of eigenvalues that converged"})


def test_an_overshoot_behind_the_crossing_is_no_part_of_where_it_settles() -> None:
    # From step 120 on 480 steps follow: the first half of them at four times the threshold.
    outcome = settle(both(lambda t: np.select([t < 120, t < 360], [0.5, 4.0], 1.01)))
    assert verdict(outcome) == "present"
    assert outcome.effect == pytest.approx(1.01)


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
    outcome = settle(both(curve))
    assert outcome.effect == pytest.approx(1.0)
    assert unmet(outcome) == broken
    assert verdict(outcome) == ("absent" if broken else "present")


def test_the_loss_must_fall_in_the_long_run_and_its_rises_are_told() -> None:
    smooth = settle(both(rise_to(1.0), lambda t: np.exp(-t / 1000)))
    assert (verdict(smooth), smooth.details["share of steps on which the loss rises"]) == ("present", 0.0)
    # The window begins with step (120 + 600) / 2 = 360: of 239 single steps 120 rise or 119.
    wobbling = settle(both(rise_to(1.0)))
    assert wobbling.details["share of steps on which the loss rises"] == pytest.approx(0.5, abs=0.01)
    grows = settle(both(rise_to(1.0), lambda t: 1 + 0.05 * (-1.0) ** t + t / STEPS))
    assert (verdict(grows), unmet(grows)) == ("absent", {"last tenth of the loss over the first"})


# What is trained.


def test_rates_halve_and_steps_grow_faster_than_they_fall() -> None:
    cell = Cell(registry.resolve("architecture", "mlp"), registry.resolve("task", "digits"), None)
    groups = {
        g.run_set: g for g in groups_of(EdgeOfStability(gd_steps=100, adaptive_steps=40), cell, Cross([0]))
    }
    gd, adam = (list(groups[name].runs.values()) for name in ("gd", "adam"))
    assert [r.recipe.lr_over_stability for r in gd] == [1.25, 2.5, 5.0]
    assert [r.recipe.steps for r in gd] == [100, 250, 625]
    assert [(r.recipe.lr, r.recipe.steps) for r in adam] == [(0.01, 40), (0.005, 100)]
    assert {r.recipe.milestones for g in groups.values() for r in g.runs.values()} == {()}
    assert {r.recipe.batch_size for g in groups.values() for r in g.runs.values()} == {0}
    assert {r.recipe.loss for g in groups.values() for r in g.runs.values()} == {"mse"}


def test_the_negative_control_is_the_claim_with_the_rate_cut_half_way() -> None:
    cell = Cell(registry.resolve("architecture", "mlp"), registry.resolve("task", "digits"), None)
    plain, cut = (groups_of(EdgeOfStability(late_rate=rate), cell, Cross([0])) for rate in (1.0, 0.01))
    for before, after in zip(plain, cut, strict=True):
        for one, other in zip(before.runs.values(), after.runs.values(), strict=True):
            assert other.recipe == replace(one.recipe, milestones=(0.5,), gamma=0.01)


def test_each_optimizer_is_a_claim_of_its_own_on_its_own_runs() -> None:
    cell = Cell(registry.resolve("architecture", "mlp"), registry.resolve("task", "digits"), None)
    groups = groups_of(EdgeOfStability(), cell, Cross(range(2)))
    optimizers = {
        "gd": ("sgd", 0.0, False),
        "heavy_ball": ("sgd", 0.5, False),
        "nesterov": ("sgd", 0.5, True),
        "rmsprop": ("rmsprop", 0.0, False),
        "adam": ("adam", 0.0, False),
    }
    assert set(EdgeOfStability.claims) == set(optimizers)
    for name, claim in EdgeOfStability.claims.items():
        own = [g for g in groups if g.bears_on(claim)]
        assert [g.key for g in own] == [f"{name}/s0", f"{name}/s1"]
        recipes = [request.recipe for g in own for request in g.runs.values()]
        assert {(r.optimizer, r.momentum, r.nesterov) for r in recipes} == {optimizers[name]}
