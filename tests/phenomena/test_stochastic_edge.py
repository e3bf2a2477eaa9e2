"""The edge of stochastic stability on courses of both sharpnesses that are given."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.phenomena.fake_runs import FakeRun, outcome, unmet
from universality.phenomena.stochastic_edge import StochasticEdge
from universality.plugin import Run, registry

registry.load_plugins()
SPEC: Any = SimpleNamespace(recipe=SimpleNamespace(steps=1200))
STEPS = np.arange(0, 1201, 50)


def course(batch: tuple[float, float], full: float, loss: float = 0.1, converged: float = 1.0) -> FakeRun:
    """Batch sharpness in the second and the last third, and sharpness throughout, over 2/lr."""
    values = np.interp(STEPS, [0, 400, 800, 850, 1200], [0.3, batch[0], batch[0], batch[1], batch[1]])
    return FakeRun(
        {
            "batch_sharpness.ratio": (STEPS, values),
            "sharpness.ratio": (STEPS, np.full(len(STEPS), full)),
            "sharpness.converged": (STEPS, np.full(len(STEPS), converged)),
            "accuracy.train_loss": ([0, 1200], [1.0, loss]),
        },
        spec=SPEC,
    )


def found(claim: str, run: FakeRun) -> Any:
    return outcome("stochastic_edge", claim, run)


def holds(claim: str, run: FakeRun) -> bool:
    result = found(claim, run)
    assert result.decided()
    return bool(result.holds(StochasticEdge.claims[claim].bound))


def test_at_the_edge_batch_sharpness_is_at_two_over_the_rate_and_sharpness_below() -> None:
    run = course((0.9, 1.02), 0.5)
    assert found("batch", run).effect == pytest.approx(1.02)
    assert holds("batch", run)
    assert found("full", run).effect == 0.5
    assert holds("full", run)


def test_gradient_descent_has_its_sharpness_there_too() -> None:
    assert not holds("full", course((1.0, 1.0), 1.05))


def test_what_settles_below_is_absent_and_what_still_rises_is_not_decided() -> None:
    assert not holds("batch", course((0.3, 0.3), 0.3))
    assert unmet(found("batch", course((0.5, 0.7), 0.3))) == ["batch sharpness, last third over second"]
    assert not holds("batch", course((1.0, 1.6), 0.3))


def test_far_from_any_edge_sharpness_below_tells_nothing() -> None:
    assert unmet(found("full", course((0.3, 0.3), 0.3))) == ["the larger of the two, over 2/lr"]


@pytest.mark.parametrize(
    ("run", "gate"),
    [
        (course((1.0, 1.0), 0.5, loss=0.8), "loss at the end over the start"),
        (course((1.0, 1.0), 0.5, converged=0.5), "share of eigenvalues that converged"),
    ],
)
def test_a_run_that_learnt_nothing_or_an_unsolved_eigenproblem_decides_nothing(
    run: FakeRun, gate: str
) -> None:
    assert unmet(found("batch", run)) == [gate]


def test_the_rate_is_that_of_its_threshold_in_small_batches() -> None:
    start = Run(registry.resolve("architecture", "mlp"), registry.resolve("task", "digits"), 0)
    recipe = StochasticEdge(steps=100).run(start).recipe
    assert recipe is not None
    assert (recipe.batch_size, recipe.lr_over_stability, recipe.loss, recipe.warmup) == (4, 0.6, "mse", 0.1)
