"""Random features: a fixed random layer, of which only the readout is trained."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor, nn

from universality.plugin import Architecture, InputSpec, register
from universality.plugin.kit import (
    Activation,
    FlatAdapter,
    activation,
    flat_adapter,
    require_at_least,
    scaled_width,
)


class RandomFeatures(nn.Module):
    """A layer that no update changes, and a linear readout of it."""

    def __init__(self, adapter: FlatAdapter, outputs: int, *, width: int, act: str) -> None:
        super().__init__()
        self.adapter = adapter
        self.features = nn.Sequential(nn.Linear(adapter.features, width), activation(act))
        self.features.requires_grad_(False)
        self.readout = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.readout(self.features(self.adapter(x)))
        return logits


@register(
    "random_features",
    family="kernel",
    accepts={"vector", "image", "tokens", "sequence"},
    source="Rahimi & Recht 2007",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class RandomFeatureModel(Architecture):
    """Random features of the flattened input, torch's default initialisation: a convex problem in the readout.

    Args:
        width: random features; the scaling axis.
    """

    width: int = 512
    activation: Activation = "relu"

    def __post_init__(self) -> None:
        require_at_least(1, where="random_features", width=self.width)

    def build(self, inputs: InputSpec, outputs: int) -> nn.Module:
        return RandomFeatures(flat_adapter(inputs), outputs, width=self.width, act=self.activation)

    def taps(self, net: nn.Module) -> dict[str, nn.Module]:
        assert isinstance(net, RandomFeatures)
        return {"features": net.features}

    def readout(self, net: nn.Module) -> nn.Linear:
        assert isinstance(net, RandomFeatures)
        return net.readout

    def scaled(self, factor: float) -> RandomFeatureModel:
        return replace(self, width=scaled_width(self.width, factor))
