"""What weight decay has left of where training started."""

from __future__ import annotations

import math

from msgspec import UNSET

from universality.plugin.rates import RateSchedule
from universality.plugin.spec import Recipe
from universality.plugin.trajectory import Trajectory


def decay_of(run: Trajectory) -> float:
    """The weight decay of a run, given by its recipe or derived."""
    return float(run.facts.get("weight_decay", run.spec.recipe.weight_decay))


def memory_of_start(run: Trajectory) -> float:
    """exp(-2 wd T), with T the learning rates of all updates, summed, over 1 - momentum: the share that L2 decay leaves of
    the conserved quantities of gradient flow (Kunin et al. 2021, arXiv:2012.04728)."""
    return math.exp(-2 * decay_of(run) * _duration(run.spec.recipe, float(run.facts["lr"])))


def decay_for(recipe: Recipe, rate: float) -> float:
    """The weight decay at which `memory_of_start` is the `memory` of a recipe."""
    assert recipe.memory is not UNSET
    return -math.log(recipe.memory) / (2 * _duration(recipe, rate))


def _duration(recipe: Recipe, rate: float) -> float:
    return rate * RateSchedule(recipe).sum_until(recipe.steps) / (1 - recipe.momentum)
