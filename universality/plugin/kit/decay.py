"""What weight decay has left of where training started."""

from __future__ import annotations

import math

from universality.plugin.rates import RateSchedule
from universality.plugin.trajectory import Trajectory


def memory_of_start(run: Trajectory) -> float:
    """exp(-2 wd T), with T the learning rates of all updates, summed, over 1 - momentum: the share that L2 decay leaves of
    the conserved quantities of gradient flow (Kunin et al. 2021, arXiv:2012.04728)."""
    recipe = run.spec.recipe
    duration = float(run.facts["lr"]) * RateSchedule(recipe).sum_until(recipe.steps) / (1 - recipe.momentum)
    return math.exp(-2 * recipe.weight_decay * duration)
