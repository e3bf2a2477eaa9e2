"""What weight decay has left of where training started."""

from __future__ import annotations

import math

from universality.plugin.trajectory import Trajectory


def memory_of_start(run: Trajectory) -> float:
    """exp(-2 wd T), with T the summed learning rates over 1 - momentum: the share that L2 decay leaves of the
    conserved quantities of gradient flow (Kunin et al. 2021, arXiv:2012.04728)."""
    recipe = run.spec.recipe
    duration = recipe.rate_sum(float(run.facts["lr"])) / (1 - recipe.momentum)
    return math.exp(-2 * recipe.weight_decay * duration)
