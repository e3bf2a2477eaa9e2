"""Convolutions that are equivariant to turns by 90 degrees."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from universality.plugin import Architecture, InputSpec, register
from universality.plugin.kit import ImageAdapter, image_adapter, require_at_least, scaled_width

TURNS = 4


class Lifting(nn.Module):
    """A convolution by each of the four turns of its filters: `[n, c, h, w]` -> `[n, 4 d, h, w]`, turns outermost."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(9 * channels)
        self.weight = nn.Parameter(torch.empty(width, channels, 3, 3).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(width).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        filters = torch.cat([torch.rot90(self.weight, turn, (2, 3)) for turn in range(TURNS)])
        return F.conv2d(x, filters, self.bias.repeat(TURNS), padding=1)


class GroupConvolution(nn.Module):
    """`[n, 4 c, h, w]` -> `[n, 4 d, h, w]`: output turn g sees input turn f through the filter of f - g, turned by g
    (Cohen and Welling 2016, section 4)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(9 * TURNS * channels)
        self.weight = nn.Parameter(torch.empty(width, TURNS, channels, 3, 3).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(width).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        turned = [
            torch.rot90(self.weight, turn, (3, 4)).roll(turn, dims=1).flatten(1, 2) for turn in range(TURNS)
        ]
        return F.conv2d(x, torch.cat(turned), self.bias.repeat(TURNS), padding=1)


class EquivariantNetwork(nn.Module):
    """Group convolutions, the mean over places and turns, readout."""

    def __init__(self, adapter: ImageAdapter, outputs: int, *, width: int, depth: int) -> None:
        super().__init__()
        self.adapter = adapter
        layers = [
            Lifting(adapter.channels, width),
            *(GroupConvolution(width, width) for _ in range(depth - 1)),
        ]
        self.layers = nn.Sequential(*(nn.Sequential(layer, nn.ReLU()) for layer in layers))
        self.readout = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.layers(self.adapter(x))
        pooled = features.mean((2, 3)).view(len(x), TURNS, self.readout.in_features).mean(1)
        logits: Tensor = self.readout(pooled)
        return logits


@register(
    "equivariant_cnn",
    family="equivariant",
    accepts={"image"},
    refuses={
        "vector": "a vector has no spatial arrangement to turn",
        "tokens": "a sequence cannot be turned by 90 degrees",
        "sequence": "a sequence cannot be turned by 90 degrees",
    },
    source="Cohen & Welling 2016, arXiv:1602.07576",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class EquivariantCNN(Architecture):
    """Convolutions 3x3 over the group of four turns (p4), all at full resolution; its logits are invariant to turns.

    Args:
        width: channels of each turn; the scaling axis.
        depth: convolutions.
    """

    width: int = 8
    depth: int = 3

    def __post_init__(self) -> None:
        require_at_least(1, where="equivariant_cnn", width=self.width, depth=self.depth)

    def build(self, inputs: InputSpec, outputs: int) -> nn.Module:
        return EquivariantNetwork(image_adapter(inputs), outputs, width=self.width, depth=self.depth)

    def taps(self, net: nn.Module) -> dict[str, nn.Module]:
        assert isinstance(net, EquivariantNetwork)
        return {f"conv{i}": layer for i, layer in enumerate(net.layers, start=1)}

    def readout(self, net: nn.Module) -> nn.Linear:
        assert isinstance(net, EquivariantNetwork)
        return net.readout

    def scaled(self, factor: float) -> EquivariantCNN:
        return replace(self, width=scaled_width(self.width, factor))
