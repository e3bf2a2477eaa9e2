"""torch's own optimizers from a recipe."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from universality.spec import Recipe


def build_optimizer(recipe: Recipe, params: Iterable[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """The recipe's optimizer at learning rate `lr`, with torch's semantics of weight decay.

    `sgd`, `adam` and `rmsprop` add decay to the gradient (L2), `adamw` decouples it.
    """
    betas, decay = (recipe.beta1, recipe.beta2), recipe.weight_decay
    parameters = list(params)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr, momentum=recipe.momentum, nesterov=recipe.nesterov, weight_decay=decay
        )
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, lr, betas=betas, eps=recipe.eps, weight_decay=decay)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr, betas=betas, eps=recipe.eps, weight_decay=decay)
    return torch.optim.RMSprop(
        parameters, lr, alpha=recipe.beta2, eps=recipe.eps, weight_decay=decay, momentum=recipe.momentum
    )


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
        passed = sum(step >= milestone for milestone in self._milestones)
        return min(1.0, (step + 1) / max(1, self._warmup)) * self._gamma**passed
