"""Sinusoidal networks: perceptrons whose activation is a sine."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from universality.plugin import Architecture, InputSpec, register
from universality.plugin.kit import FlatAdapter, flat_adapter, require_at_least, scaled_width


class Sine(nn.Module):
    """sin(omega (W x + b)), initialised so that its inputs are of order 1 at every depth.

    W is uniform with variance 1/(3 fan_in) in the first layer's case of inputs of order 1, and 2/(omega^2 fan_in) in
    the others, whose inputs are sines of variance 1/2 (Sitzmann et al. 2020, section 3.2).
    """

    def __init__(self, fan_in: int, width: int, omega: float, *, first: bool) -> None:
        super().__init__()
        self.omega = omega
        self.linear = nn.Linear(fan_in, width)
        bound = math.sqrt(1 / fan_in) if first else math.sqrt(6 / fan_in) / omega
        with torch.no_grad():
            self.linear.weight.uniform_(-bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(self.omega * self.linear(x))


class SinusoidalNetwork(nn.Module):
    """`depth` sine layers of one width, then a linear readout."""

    def __init__(self, adapter: FlatAdapter, outputs: int, *, width: int, depth: int, omega: float) -> None:
        super().__init__()
        self.adapter = adapter
        sizes = [adapter.features, *[width] * depth]
        layers = (Sine(fan_in, width, omega, first=i == 0) for i, fan_in in enumerate(sizes[:-1]))
        self.hidden = nn.Sequential(*layers)
        self.readout = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.readout(self.hidden(self.adapter(x)))
        return logits


@register(
    "siren",
    family="sinusoidal",
    accepts={"vector", "image", "tokens", "sequence"},
    source="Sitzmann et al. 2020, arXiv:2006.09661",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Siren(Architecture):
    """Perceptron with sines on the flattened input.

    Args:
        width: neurons of each hidden layer; the scaling axis.
        omega: frequency; the paper takes 30 for coordinates in [-1, 1], of which a datum here has many.
    """

    width: int = 128
    depth: int = 2
    omega: float = 3.0

    def __post_init__(self) -> None:
        require_at_least(1, where="siren", width=self.width, depth=self.depth)
        require_at_least(0, where="siren", omega=self.omega)

    def build(self, inputs: InputSpec, outputs: int) -> nn.Module:
        return SinusoidalNetwork(
            flat_adapter(inputs), outputs, width=self.width, depth=self.depth, omega=self.omega
        )

    def taps(self, net: nn.Module) -> dict[str, nn.Module]:
        assert isinstance(net, SinusoidalNetwork)
        return {f"layer{i}": layer for i, layer in enumerate(net.hidden, start=1)}

    def readout(self, net: nn.Module) -> nn.Linear:
        assert isinstance(net, SinusoidalNetwork)
        return net.readout

    def scaled(self, factor: float) -> Siren:
        return replace(self, width=scaled_width(self.width, factor))
