"""AdamW's steady state on courses of size and angle that are given."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.phenomena.fake_runs import FakeRun, outcome, unmet
from universality.phenomena.weight_decay_timescale import WeightDecayTimescale
from universality.plugin import Run, registry

registry.load_plugins()
LR, DECAY = 3e-3, 1.0
STEPS = np.linspace(0, 1333, 41).astype(int)
SPEC: Any = SimpleNamespace(recipe=SimpleNamespace(steps=1333, beta1=0.9))


def course(size: float = 1.0, angle: float = 1.0, pace: float = 1.0, start: float = 3.0) -> FakeRun:
    """Multiples of theory: where size and angle end, and how fast the square of the size goes there."""
    end = size * math.sqrt(LR / (2 * DECAY))
    square = 1 + (start**2 - 1) * np.exp(-2 * LR * DECAY * pace * STEPS)
    turns = np.full(len(STEPS), angle * math.sqrt(2 * LR * DECAY * 0.1 / 1.9))
    return FakeRun(
        {"rotation.size": (STEPS, end * np.sqrt(square)), "rotation.angle": (STEPS, turns)}, spec=SPEC
    )


@pytest.mark.parametrize("times", [0.5, 0.95, 1.3])
def test_size_angle_and_time_are_told_in_units_of_theory(times: float) -> None:
    slack = 0.03  # what is left of the start in the second half
    for claim, run in {
        "size": course(size=times),
        "angle": course(angle=times),
        "timescale": course(pace=1 / times),
    }.items():
        found = outcome("weight_decay_timescale", claim, run)
        assert found.effect == pytest.approx(times, rel=slack if times < 1 else 0.1), claim
        assert found.holds(WeightDecayTimescale.claims[claim].bound) is (times == 0.95)


def test_a_start_near_the_end_tells_no_time() -> None:
    assert unmet(outcome("weight_decay_timescale", "timescale", course(start=1.5))) == [
        "size at the start over the end"
    ]


def test_a_size_that_falls_at_once_is_told_between_the_first_records() -> None:
    assert outcome("weight_decay_timescale", "timescale", course(pace=100)).effect < 0.2


def test_the_controls_change_decay_or_network_and_nothing_else() -> None:
    start = Run(registry.resolve("architecture", "mlp"), registry.resolve("task", "digits"), 0)
    run, plain, l2 = (
        WeightDecayTimescale(**changes).run(start)
        for changes in ({}, {"normalised": False}, {"decoupled": False})
    )
    assert run.recipe is not None
    assert run.recipe.steps == 1333
    assert plain.recipe == run.recipe
    assert str(registry.component(plain.architecture)) == "mlp"
    assert l2.architecture == run.architecture
    assert (run.recipe.optimizer, l2.recipe.optimizer) == ("adamw", "adam")
    (modifier,) = run.architecture.modifiers
    assert modifier.rms == pytest.approx(3 * math.sqrt(LR / 2))
