"""Supercollapse on curves that are one curve, and on curves whose ends are noise."""

from __future__ import annotations

import numpy as np
import pytest

from tests.phenomena.fake_runs import FakeRun, outcome, unmet
from universality.phenomena.supercollapse import SCALES, Supercollapse
from universality.plugin import Run, registry

registry.load_plugins()
X = np.arange(41) / 40


def course(bend: float = 0.0, in_time: float = 0.0, wider: float = 1.0) -> dict[tuple[int, float], FakeRun]:
    """Losses that fall as a power of the width and of the share of the updates, seeds apart by a tenth for good."""
    rng, runs = np.random.default_rng(0), {}
    for seed in range(5):
        for scale in SCALES:
            level = scale**-wider * np.exp(0.1 * rng.standard_normal())
            noise = np.exp(in_time * rng.standard_normal(41))
            loss = level * (X + 0.05) ** -(1 + bend * np.log(scale)) * noise
            runs[seed, scale] = FakeRun({"accuracy.train_loss": (np.arange(41), loss)})
    return runs


def found(runs: dict[tuple[int, float], FakeRun]) -> tuple[float, bool]:
    result = outcome("supercollapse", "closer", runs)
    assert result.decided()
    return result.effect, result.holds(Supercollapse.claims["closer"].bound)


def test_one_curve_collapses_and_curves_of_other_powers_or_with_noise_at_the_end_do_not() -> None:
    assert found(course()) == (pytest.approx(0, abs=1e-6), True)
    effect, holds = found(course(bend=0.5))
    assert effect > 1
    assert not holds
    effect, holds = found(course(in_time=0.5))
    assert effect == pytest.approx(2**0.5, rel=0.2)
    assert not holds


def test_where_wider_networks_end_no_lower_there_is_no_scaling_to_collapse() -> None:
    assert unmet(outcome("supercollapse", "closer", course(wider=-0.3))) == [
        "loss at the end, widest over narrowest"
    ]


def test_updates_grow_with_the_width_and_the_rate_decays_only_in_one() -> None:
    start = Run(registry.resolve("architecture", "mlp[width=8]"), registry.resolve("task", "power_law"), 0)
    runs, constant = (Supercollapse(decay=decay).widths(start) for decay in (True, False))
    assert [str(registry.component(run.architecture)) for run in runs.values()] == [
        f"mlp[width={width}]+mup[base=8]" for width in (8, 16, 32, 64)
    ]
    steps = {scale: run.recipe.steps for scale, run in runs.items() if run.recipe}
    assert steps == {scale: round(150 * scale**0.75) for scale in SCALES}
    assert all(not run.recipe.milestones for run in constant.values() if run.recipe)
    assert all(
        0.02 < run.recipe.gamma ** len(run.recipe.milestones) < 0.03 for run in runs.values() if run.recipe
    )
