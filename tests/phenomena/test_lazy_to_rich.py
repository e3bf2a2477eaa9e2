"""Lazy to rich on runs that move as a known power of the output scale."""

from __future__ import annotations

import numpy as np
import pytest

from tests.phenomena.fake_runs import FakeRun, outcome, unmet
from universality.phenomena.lazy_to_rich import LAZY, NOISE, LazyToRich
from universality.plugin import registry

registry.load_plugins()

STEPS = np.arange(5)
LAWS = ["weights", "kernel"]


def run(change: np.ndarray, loss: tuple[float, ...] = (1.0, 0.9, 0.8, 0.7, 0.5)) -> FakeRun:
    return FakeRun(
        {
            "accuracy.train_loss": (STEPS, loss),
            "displacement.relative": (STEPS, change),
            "tangent_kernel[rows=24].change": (STEPS, change),
            "tangent_kernel[rows=24].alignment": (STEPS, 0.1 + 0.05 * STEPS),
        }
    )


def moved(power: float, size: float = 0.1) -> dict[float, FakeRun]:
    """All have one loss by the end; the smallest scale has it two records earlier, and moves as far by then."""
    runs = {alpha: run(size * alpha**power * STEPS / 4) for alpha in LAZY[1:]}
    return {LAZY[0]: run(size * LAZY[0] ** power * STEPS / 2, (1.0, 0.8, 0.5, 0.4, 0.3))} | runs


@pytest.mark.parametrize("power", [-1.0, -0.5, 0.0])
@pytest.mark.parametrize("claim", LAWS)
def test_the_slope_over_lazy_scales_is_the_power(power: float, claim: str) -> None:
    found = outcome("lazy_to_rich", claim, moved(power))
    assert found.effect == pytest.approx(power, abs=1e-9)
    assert found.details["alpha = 100"] == pytest.approx(0.1 * 100**power)
    assert found.holds(LazyToRich.claims[claim].bound) == (power == -1.0)


def test_a_kernel_that_falls_as_it_should_and_still_moves_much_is_not_frozen() -> None:
    found = outcome("lazy_to_rich", "kernel", moved(-1.0, size=2.0))
    assert [check.met for check in found.criteria] == [False]
    assert outcome("lazy_to_rich", "weights", moved(-1.0, size=2.0)).criteria == ()


@pytest.mark.parametrize("claim", LAWS)
def test_weights_that_move_by_rounding_have_no_slope(claim: str) -> None:
    found = outcome("lazy_to_rich", claim, moved(0.0, size=0.1 * NOISE))
    assert found.effect is None
    assert unmet(found) == ["least relative change"]


def test_the_rich_kernel_is_read_at_the_end_and_a_constant_one_is_an_absence() -> None:
    found = outcome("lazy_to_rich", "features", run(0.3 * STEPS))
    assert found.effect == pytest.approx(1.2)
    assert found.details["alignment"] == pytest.approx(3.0)
    constant = outcome("lazy_to_rich", "features", run(0.0 * STEPS))
    assert constant.decided()
    assert not constant.holds(LazyToRich.claims["features"].bound)


@pytest.mark.parametrize("claim", LAWS)
def test_one_run_that_learnt_nothing_decides_nothing(claim: str) -> None:
    runs = moved(-1.0) | {30.0: run(STEPS / 300, (1.0, 0.98, 0.96, 0.94, 0.92))}
    assert unmet(outcome("lazy_to_rich", claim, runs)) == ["loss at the end over the start"]
