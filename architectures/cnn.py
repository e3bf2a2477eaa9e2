"""Plain convolutional networks: no normalisation, no shortcuts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor, nn

from universality.plugin import Architecture, InputSpec, register
from universality.plugin.kit import (
    ImageAdapter,
    activation,
    global_average,
    image_adapter,
    require_at_least,
    scaled_width,
)


class ConvolutionalNetwork(nn.Module):
    """3x3 convolutions; from the second on each halves the side and doubles the channels."""

    def __init__(self, adapter: ImageAdapter, outputs: int, *, width: int, depth: int, act: str) -> None:
        super().__init__()
        self.adapter = adapter
        channels = [adapter.channels, *(width * 2**i for i in range(depth))]
        self.convolutions = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(channels[i], channels[i + 1], 3, stride=1 if i == 0 else 2, padding=1),
                    activation(act),
                )
                for i in range(depth)
            )
        )
        self.readout = nn.Linear(channels[-1], outputs)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.convolutions(self.adapter(x))
        logits: Tensor = self.readout(global_average(features))
        return logits


@register(
    "cnn",
    family="convolutional",
    accepts={"image", "tokens", "sequence"},
    refuses={"vector": "a vector has no spatial arrangement to convolve"},
    source="LeCun et al. 1989",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class CNN(Architecture):
    """Convolutions 3x3, global average pool, linear readout; tokens and sequences are a 1 x length image.

    Args:
        width: channels of the first convolution, doubled by each later one; the scaling axis.
        depth: convolutions.
    """

    width: int = 16
    depth: int = 3
    activation: Literal["relu", "tanh", "gelu"] = "relu"

    def __post_init__(self) -> None:
        require_at_least(1, where="cnn", width=self.width, depth=self.depth)

    def build(self, inputs: InputSpec, outputs: int) -> nn.Module:
        return ConvolutionalNetwork(
            image_adapter(inputs), outputs, width=self.width, depth=self.depth, act=self.activation
        )

    def taps(self, net: nn.Module) -> dict[str, nn.Module]:
        assert isinstance(net, ConvolutionalNetwork)
        return {f"conv{i}": block for i, block in enumerate(net.convolutions, start=1)}

    def readout(self, net: nn.Module) -> nn.Linear:
        assert isinstance(net, ConvolutionalNetwork)
        return net.readout

    def scaled(self, factor: float) -> CNN:
        return replace(self, width=scaled_width(self.width, factor))
