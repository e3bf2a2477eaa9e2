"""Recipes that several phenomena share, so that their runs train once."""

from __future__ import annotations

from dataclasses import replace

from universality.spec import Recipe
from universality.task import Task


def terminal_phase(steps: int, weight_decay: float, batch_size: int) -> Recipe:
    """Training far beyond 100 % training accuracy, as in Papyan, Han, Donoho 2020 (arXiv:2008.08186).

    SGD with momentum 0.9, L2 decay, lr divided by ten at one and two thirds. lr is derived: its
    stability threshold starts at four times the sharpness at initialisation.
    """
    return Recipe(
        steps=steps,
        optimizer="sgd",
        momentum=0.9,
        weight_decay=weight_decay,
        lr_over_stability=4.0,
        milestones=(1 / 3, 2 / 3),
        batch_size=batch_size,
        loss="cross_entropy",
    )


def with_random_labels(task: Task) -> Task:
    """The same inputs with labels that mean nothing."""
    return replace(task, random_labels=True)
