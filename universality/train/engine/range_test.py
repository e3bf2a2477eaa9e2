"""The learning rate from a range test: short trainings at several rates (`lr_below_best`)."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import NamedTuple

import torch
from msgspec import UNSET
from torch import nn

from universality.errors import MeasurementError
from universality.plugin.kit.losses import objective
from universality.plugin.randomness import seeded
from universality.plugin.rates import RateSchedule
from universality.plugin.spec import RANGE_TEST, RunSpec, derive_seed
from universality.plugin.task import Split
from universality.train.engine.batches import Batches
from universality.train.engine.optimizers import build_optimizer, trainable
from universality.train.engine.pulse import beat

FIRST, LOWEST, HIGHEST = -3, -12, 3
"""Rates are 10 to the power of half of these: one from 0.03, and from 1e-6 to 30."""

WARMUP, LAST = 0.3, 0.2
"""Of the updates of a trial, those over which the rate rises, and those of which the losses count."""


class RangeTest(NamedTuple):
    """Rates that were tried, in rising order, the mean loss of the last updates at each (infinite where it diverged), and the best."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    best: float


def range_test(spec: RunSpec, net: nn.Module, train: Split) -> RangeTest:
    """The rate of the grid from which a short training ends with the lowest loss (Smith 2017, arXiv:1506.01186).

    Rates are half a decade apart. From 0.03 the test climbs while the loss falls, else it descends while it does. Each trial trains
    a copy of the network for `RANGE_TEST` updates on the batches that the run will see first, with its optimizer, a linear warmup and no
    decay. Costs four to six such trainings for most networks.

    Raises:
        MeasurementError: the loss falls at no rate.
    """
    losses: dict[int, float] = {}

    def loss(k: int) -> float:
        if k not in losses:
            losses[k] = _trial(spec, net, train, 10 ** (k / 2))
        return losses[k]

    step = 1 if loss(FIRST + 1) < loss(FIRST) else -1
    best = FIRST + (step > 0)
    while LOWEST < best < HIGHEST and (loss(best + step) < loss(best) or loss(best) == math.inf):
        best += step
    if not loss(best) < math.inf:
        raise MeasurementError(
            "no learning rate was found by a range test",
            where=f"{spec.architecture} on {spec.task}, seed {spec.seed}",
            got=f"the loss is not finite after {RANGE_TEST} updates at any rate from {10 ** (LOWEST / 2):.0e} to {10 ** (HIGHEST / 2):.0f}",
            do="give the recipe `lr`",
        )
    tried = sorted(losses)
    return RangeTest(tuple(10 ** (k / 2) for k in tried), tuple(losses[k] for k in tried), 10 ** (best / 2))


def _trial(spec: RunSpec, net: nn.Module, train: Split, rate: float) -> float:
    """The mean loss of the last updates of a training at this rate."""
    steps = min(RANGE_TEST, spec.recipe.steps)
    recipe = replace(spec.recipe.at(rate, 0.0), steps=steps, warmup=WARMUP, milestones=(), fitted=UNSET)
    network, loss_of, schedule = copy.deepcopy(net), objective(recipe), RateSchedule(recipe)
    device, rows = train.targets.device, len(train)
    size = recipe.batch_size if recipe.sees_batches(rows) else rows
    # Without its fork: a branch has the rate of its run, whose weights it shares until then.
    batches = Batches(rows, size, spec.seed_of("batches"), device).table(0, recipe.steps)
    losses = []
    with seeded(derive_seed("range_test", spec.seed)):
        optimizer = build_optimizer(recipe, trainable(network), rate)
        for step, batch in enumerate(batches):
            for group in optimizer.param_groups:
                group["lr"] = rate * schedule.factor(step)
            loss = loss_of(network(train.inputs[batch]), train.targets[batch])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.detach())
            if step % 50 == 0:
                beat()
    last = torch.stack(losses)[-max(1, round(LAST * recipe.steps)) :].mean().item()
    return last if math.isfinite(last) else math.inf
