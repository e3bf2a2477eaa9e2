"""Batch rules on losses that keep their course at a known power of the batch."""

from __future__ import annotations

import numpy as np
import pytest

from tests.phenomena.fake_runs import FakeRun, outcome, unmet
from universality.phenomena.batch_rules import POWERS, SMALL, BatchRules
from universality.plugin import registry
from universality.plugin.phenomenon import Cell
from universality.plugin.runs import Run
from universality.plugin.task import InputSpec, Signature

registry.load_plugins()

RECORDS = np.arange(11)
CLAIMS = ["sgd", "adam"]


def falling(speed: float) -> FakeRun:
    return FakeRun({"accuracy.train_loss": (RECORDS, np.exp(-0.1 * speed * RECORDS))})


def course(power: float, speed: float = 1.0) -> dict[str | float, FakeRun]:
    """The large batch goes as fast as the small one at rate ~ batch^power; records are at equal examples."""
    return {SMALL: falling(speed)} | {p: falling(speed * 8.0 ** (p - power)) for p in POWERS}


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("power", [0.25, 0.5, 1.0, 1.25])
def test_the_power_at_a_rate_of_the_sweep_is_exact(claim: str, power: float) -> None:
    assert outcome("batch_rules", claim, course(power)).effect == pytest.approx(power)


@pytest.mark.parametrize("power", [0.4, 0.6, 0.9])
def test_between_two_rates_it_is_interpolated(power: float) -> None:
    assert outcome("batch_rules", "sgd", course(power)).effect == pytest.approx(power, abs=0.02)


@pytest.mark.parametrize(("power", "expected"), [(-0.3, 0.0), (2.0, 1.5)])
def test_beyond_the_sweep_it_is_the_end_and_holds_for_no_rule(power: float, expected: float) -> None:
    for claim in CLAIMS:
        found = outcome("batch_rules", claim, course(power))
        assert found.effect == expected
        assert not found.holds(BatchRules.claims[claim].bound)


def test_either_rule_refuses_the_other_power_and_a_constant_rate() -> None:
    holds = {
        (claim, power): outcome("batch_rules", claim, course(power)).holds(BatchRules.claims[claim].bound)
        for claim in CLAIMS
        for power in (0.0, 0.5, 1.0)
    }
    assert {key for key, held in holds.items() if held} == {("sgd", 1.0), ("adam", 0.5)}


def test_what_happens_in_the_first_half_does_not_count() -> None:
    runs = course(1.0)
    loss = runs[1.0].given["accuracy.train_loss"][1].copy()
    loss[:5] *= 3
    runs[1.0] = FakeRun({"accuracy.train_loss": (RECORDS, loss)})
    assert outcome("batch_rules", "sgd", runs).effect == pytest.approx(1.0)


def test_a_loss_that_rises_with_the_rate_decides_nothing() -> None:
    runs = course(1.0) | {1.25: falling(1.0), 1.5: falling(0.8)}
    assert unmet(outcome("batch_rules", "sgd", runs)) == ["rise of ln loss with the rate, above 0"]
    # Too fast a rate from the start: none keeps the loss, and which would is not known.
    rising = course(1.0) | {p: falling(0.9 - p / 4) for p in POWERS}
    assert unmet(outcome("batch_rules", "sgd", rising)) == ["rise of ln loss with the rate, above 0"]


def test_a_loss_that_rises_below_that_of_the_small_batch_leaves_one_power_that_keeps_it() -> None:
    runs = course(1.0) | {1.25: falling(2.0), 1.5: falling(1.2)}
    found = outcome("batch_rules", "sgd", runs)
    assert found.decided()
    assert found.effect == pytest.approx(1.0)


@pytest.mark.parametrize("speed", [0.01, 5.0])
def test_a_small_batch_that_has_not_started_or_is_done_decides_nothing(speed: float) -> None:
    assert unmet(outcome("batch_rules", "sgd", course(1.0, speed))) == ["loss left"]


def test_runs_see_equal_examples_and_rates_follow_the_power() -> None:
    start = Run(registry.resolve("architecture", "mlp"), registry.resolve("task", "digits"), 0)
    phenomenon = BatchRules()
    for runs in (phenomenon.linear_runs(start), phenomenon.root_runs(start)):
        assert {run.recipe.steps * run.recipe.batch_size for run in runs.values()} == {4800}
    sgd = phenomenon.linear_runs(start)
    rates = {key: 1 / run.recipe.lr_over_stability for key, run in sgd.items()}
    assert rates[0.5] / rates[SMALL] == pytest.approx(8**0.5)
    assert 1 / rates[1.0] == pytest.approx(phenomenon.multiple)
    adam = phenomenon.root_runs(start)
    assert adam[0.5].recipe.lr / adam[SMALL].recipe.lr == pytest.approx(8**0.5)
    assert (adam[0.5].recipe.beta1, adam[0.5].recipe.beta2) == pytest.approx((0.2, 0.992))


@pytest.mark.parametrize(("rows", "reason"), [(64, ""), (63, "needs 64 training rows, the task has 63")])
def test_four_large_batches_are_needed(rows: int, reason: str) -> None:
    signature = Signature(InputSpec("vector", (4,)), 3, rows, 100, 512)
    cell = Cell(
        registry.resolve("architecture", "mlp"), registry.resolve("task", "gaussian_mixture"), signature
    )
    assert BatchRules().applies(cell) == reason
