"""The learning rate over a run, as its recipe says."""

from __future__ import annotations

import math

from universality.plugin.spec import Recipe


class RateSchedule:
    """The factor on lr of update `step` (counted from 0), and the steps at which it changes.

    Linear warmup, (step + 1) / w over the first w updates, times gamma per milestone passed.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._warmup = round(recipe.warmup * recipe.steps)
        self._milestones = [round(fraction * recipe.steps) for fraction in recipe.milestones]
        self._gamma = recipe.gamma
        warming = range(self._warmup) if self._warmup > 1 else range(0)
        self.changes = frozenset({*warming, *self._milestones}) - {recipe.steps}

    def factor(self, step: int) -> float:
        drops = sum(step >= milestone for milestone in self._milestones)
        return min(1.0, (step + 1) / max(1, self._warmup)) * self._gamma**drops

    def sum_until(self, step: int) -> float:
        """The sum of the factors of the updates 0 to `step` - 1: the time of training, in units of lr."""
        begins = sorted({0, *self.changes})
        pieces = zip(begins, [*begins[1:], step], strict=True)
        return math.fsum(self.factor(begin) * max(0, min(end, step) - begin) for begin, end in pieces)
