"""A mixture of experts: perceptrons side by side, weighted by what a gate makes of the input."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from universality.plugin import Architecture, InputSpec, register
from universality.plugin.kit import FlatAdapter, flat_adapter, require_at_least, scaled_width


class Experts(nn.Module):
    """sum_e g_e(x) relu(W_e x + b_e) with g = softmax of the `chosen` largest of a linear gate, 0 for the others."""

    def __init__(self, features: int, width: int, experts: int, chosen: int) -> None:
        super().__init__()
        self.experts, self.chosen = experts, chosen
        self.gate = nn.Linear(features, experts)
        self.hidden = nn.Linear(features, experts * width)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.gate(x)
        least = scores.topk(self.chosen, dim=1).values[:, -1:]
        shares = scores.masked_fill(scores < least, -torch.inf).softmax(1)
        units = self.hidden(x).relu().unflatten(1, (self.experts, -1))
        mixed: Tensor = (shares.unsqueeze(2) * units).sum(1)
        return mixed


class ExpertNetwork(nn.Module):
    """A layer of experts and a linear readout of their mixture."""

    def __init__(self, adapter: FlatAdapter, outputs: int, *, width: int, experts: int, chosen: int) -> None:
        super().__init__()
        self.adapter = adapter
        self.mixture = Experts(adapter.features, width, experts, chosen)
        self.readout = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.readout(self.mixture(self.adapter(x)))
        return logits


@register(
    "mixture_of_experts",
    family="mixture",
    accepts={"vector", "image", "tokens", "sequence"},
    source="Jacobs et al. 1991; Shazeer et al. 2017, arXiv:1701.06538",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureOfExperts(Architecture):
    """Sparse mixture of experts on the flattened input, without noise in the gate and without a balancing loss.

    Args:
        width: units of an expert; the scaling axis.
        experts: how many there are, of which `chosen` answer for an example.
    """

    width: int = 64
    experts: int = 4
    chosen: int = 2

    def __post_init__(self) -> None:
        require_at_least(
            1, where="mixture_of_experts", width=self.width, experts=self.experts, chosen=self.chosen
        )
        require_at_least(self.chosen, where="mixture_of_experts", experts=self.experts)

    def build(self, inputs: InputSpec, outputs: int) -> nn.Module:
        return ExpertNetwork(
            flat_adapter(inputs), outputs, width=self.width, experts=self.experts, chosen=self.chosen
        )

    def taps(self, net: nn.Module) -> dict[str, nn.Module]:
        assert isinstance(net, ExpertNetwork)
        return {"mixture": net.mixture}

    def readout(self, net: nn.Module) -> nn.Linear:
        assert isinstance(net, ExpertNetwork)
        return net.readout

    def scaled(self, factor: float) -> MixtureOfExperts:
        return replace(self, width=scaled_width(self.width, factor))
