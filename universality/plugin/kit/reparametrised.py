"""A network whose weights are fixed multiples of the numbers that are trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import functional_call


@dataclass(frozen=True, slots=True)
class Multiplier:
    """m of w = m v; of the first `rows` rows of w it is m times `extra`."""

    all: float
    rows: int = 0
    extra: float = 1.0

    def __call__(self, v: Tensor) -> Tensor:
        w = self.all * v if self.all != 1 else v
        if not self.rows or self.extra == 1:
            return w
        return torch.cat([self.extra * w[: self.rows], w[self.rows :]])


class Reparametrised(nn.Module):
    """`net` at the weights w = m v, with v its parameters, which are trained.

    The symmetry of multiplier, initialisation and rate (Yang and Hu 2021, arXiv:2011.14522): with one
    global rate lr, w moves as if its own were m lr under Adam, m^2 lr under gradient descent. Weights of
    `net` as they are found are v: they are divided by nothing here. While it computes, hooks see w as the
    weights of their module; at other times they are v.

    Args:
        net: a copy whose parameters became buffers keeps its multipliers.
        multipliers: by the name of a parameter; others are their own weights.
    """

    def __init__(self, net: nn.Module, multipliers: Mapping[str, Multiplier]) -> None:
        super().__init__()
        self.net = net
        self.multipliers = dict(multipliers)

    def forward(self, x: Shaped[Tensor, "rows ..."]) -> Float[Tensor, "rows outputs"]:
        own = chain(self.net.named_parameters(), self.net.named_buffers())
        weights = {name: self.multipliers[name](v) for name, v in own if name in self.multipliers}
        logits: Tensor = functional_call(self.net, weights, (x,))
        return logits
