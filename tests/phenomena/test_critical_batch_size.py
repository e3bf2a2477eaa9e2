"""The critical batch size on losses that fall as fast as a known hyperbola says."""

from __future__ import annotations

import numpy as np
import pytest

from tests.phenomena.fake_runs import FakeRun, outcome, unmet
from universality.phenomena.critical_batch_size import BATCHES, LARGEST, RATES, CriticalBatchSize
from universality.plugin import Run, registry

registry.load_plugins()
STEPS = np.arange(0, 1001)


def falling(updates: float, noise: float = 50.0) -> FakeRun:
    """A loss of 0.3 of its start after so many updates."""
    loss = 0.3 ** (STEPS / updates)
    return FakeRun({"accuracy.train_loss": (STEPS, loss), "noise_scale.value": (STEPS, np.full(1001, noise))})


def course(critical: float, least: float = 20.0, off: float = 1.0) -> dict[tuple[int, float], FakeRun]:
    """The third rate is the best, at half of the updates of others; at one batch size it is off by a factor."""
    best = {batch: least * (1 + critical / batch) * (off if batch == 32 else 1) for batch in BATCHES}
    return {(b, lr): falling(s if lr == RATES[2] else 2 * s) for b, s in best.items() for lr in RATES}


def seeds(*runs: dict[tuple[int, float], FakeRun]) -> dict[tuple[int, int, float], FakeRun]:
    return {(seed, *key): run for seed, of in enumerate(runs) for key, run in of.items()}


def test_the_best_rate_of_each_batch_size_gives_the_hyperbola_and_its_knee() -> None:
    # Seeds that are off by factors of 3/2 and 2/3 in all their updates, and at one batch size.
    ends = course(50, 30, off=1.1), course(50, 40 / 3, off=1 / 1.1)
    found = outcome("critical_batch_size", "hyperbola", seeds(*ends))
    assert found.effect == pytest.approx(1, abs=1e-3)
    assert found.details["B_crit"] == pytest.approx(50, rel=1e-3)
    assert found.details["S_min"] == pytest.approx(20, rel=1e-3)
    assert all(check.met for check in found.criteria)
    assert outcome("critical_batch_size", "noise", course(50)).effect == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize(("critical", "holds"), [(20.0, True), (170.0, False)])
def test_a_knee_away_from_the_noise_scale_is_refused(critical: float, holds: bool) -> None:
    found = outcome("critical_batch_size", "noise", course(critical))
    assert found.effect == pytest.approx(critical / 50, rel=1e-3)
    assert found.holds(CriticalBatchSize.claims["noise"].bound) is holds


def test_one_batch_size_off_by_half_is_no_hyperbola() -> None:
    found = outcome("critical_batch_size", "hyperbola", seeds(course(50, off=1.5)))
    assert not found.holds(CriticalBatchSize.claims["hyperbola"].bound)
    assert found.effect > 1.3


def test_where_all_batches_are_alike_none_is_critical() -> None:
    found = outcome("critical_batch_size", "hyperbola", seeds(course(0)))
    assert [check.name for check in found.criteria if not check.met] == ["B_crit, rows"]
    assert outcome("critical_batch_size", "noise", course(0)).effect < 1e-3


def test_a_batch_size_that_never_gets_there_or_diverges_decides_nothing() -> None:
    runs = course(50)
    for lr in RATES:
        runs[8, lr] = falling(1e6) if lr == RATES[0] else FakeRun(falling(10).given, state="diverged")
    assert unmet(outcome("critical_batch_size", "hyperbola", seeds(course(50), runs))) == [
        "batch sizes that reach the loss"
    ]


@pytest.mark.parametrize("end", [0, -1])
def test_a_best_rate_at_an_end_of_those_that_are_tried_decides_nothing(end: int) -> None:
    runs = course(50)
    runs[64, RATES[end]] = falling(20 * (1 + 50 / 64) / 2)
    assert unmet(outcome("critical_batch_size", "hyperbola", seeds(course(50), runs))) == [
        "batch sizes whose best rate is the smallest or the largest"
    ]


def test_every_batch_size_has_its_budget_and_untuned_runs_have_one_rate() -> None:
    start = Run(registry.resolve("architecture", "mlp"), registry.resolve("task", "digits"), 0)
    runs = CriticalBatchSize().batches(start)
    assert {key for key, run in runs.items() if "noise_scale" in run.observe} == {
        (LARGEST, lr) for lr in RATES
    }
    assert len(runs) == len(BATCHES) * len(RATES)
    plain = CriticalBatchSize(tuned=False).batches(start)
    assert [(key, run.recipe.steps) for key, run in plain.items() if run.recipe] == [
        ((b, 0.05), 800) for b in BATCHES
    ]
