"""How large weights are, and how far an update turns them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor, nn

from universality.plugin import MeasurementError, Probe, Recipe, Signature, Training, register
from universality.plugin.kit.updates import as_updated, flat_gradient, minibatches, optimizer_step


@register("rotation", source="Kosson et al. 2024, arXiv:2305.17212")
@dataclass(kw_only=True)
class Rotation(Probe):
    """Of all trained parameters with two axes or more that do not start at 0, whose rows w_i are what their first axis
    counts:

    `size`   root mean square of the elements of a parameter, geometric mean over parameters
    `spread` the largest of these over the smallest
    `angle`  by which an update turns a row, in radians: root mean square over its rows and over the next `updates`
             updates of a fork, by the optimizer of the run; geometric mean over parameters

    Cost: `updates` gradients of batches, and two copies of the weights.
    """

    updates: int = 4
    _kept: list[str] = field(default_factory=list, init=False, repr=False)

    def cost(self, recipe: Recipe, signature: Signature) -> float:
        batch = min(recipe.batch_size or signature.train_rows, signature.train_rows)
        return 1.5 * self.updates * batch / signature.train_rows

    def record(self, training: Training) -> Mapping[str, float | Tensor]:
        fork = training.fork()
        as_updated(fork.net)
        self._kept = self._kept or [name for name, w in maps(fork.net).items() if bool(w.any())]
        sizes = [float(w.double().square().mean().sqrt()) for w in self._weights(fork)]
        if not sizes or not min(sizes) > 0:
            raise MeasurementError(
                "weights without a direction",
                where="rotation",
                got=f"{len(sizes)} parameters, the smallest of root mean square {min(sizes, default=0):g}",
                expected="trained parameters with two axes, which are not 0",
            )
        squares: list[list[float]] = []
        before = [directions(w) for w in self._weights(fork)]
        for batch in islice(minibatches(fork), self.updates):
            optimizer_step(fork, flat_gradient(fork, batch))
            after = [directions(w) for w in self._weights(fork)]
            squares.append([turned(u, v) for u, v in zip(before, after, strict=True)])
            before = after
        means = [sum(of) / len(of) for of in zip(*squares, strict=True)]
        angle = math.exp(sum(math.log(max(m, 1e-300)) for m in means) / (2 * len(means)))
        size = math.exp(sum(map(math.log, sizes)) / len(sizes))
        return {"size": size, "spread": max(sizes) / min(sizes), "angle": angle}

    def _weights(self, fork: Training) -> list[Tensor]:
        found = maps(fork.net)
        return [found[name] for name in self._kept]


def maps(net: nn.Module) -> dict[str, Tensor]:
    return {n: p.detach() for n, p in net.named_parameters() if p.requires_grad and p.ndim >= 2}


def directions(w: Tensor) -> Tensor:
    """Rows over their lengths, float64; rows of 0 stay so."""
    rows = w.flatten(1).double()
    units: Tensor = rows / rows.norm(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
    return units


def turned(u: Tensor, v: Tensor) -> float:
    """Mean square of the angles between unit rows, which the chord keeps where a cosine would round."""
    return float((2 * torch.asin(((u - v).norm(dim=1) / 2).clamp(max=1))).square().mean())
