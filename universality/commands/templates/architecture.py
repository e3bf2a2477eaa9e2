"""One hidden layer, multiplied by gates."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor, nn

from universality import plugin as u
from universality.plugin.kit import FlatAdapter, flat_adapter, require_at_least, scaled_width


class GatedNet(nn.Module):
    def __init__(self, adapter: FlatAdapter, outputs: int, width: int) -> None:
        super().__init__()
        self.adapter = adapter  # flattens images, turns tokens one-hot
        self.value = nn.Linear(adapter.features, width)
        self.gate = nn.Sequential(nn.Linear(adapter.features, width), nn.Sigmoid())
        self.hidden = nn.Identity()  # a module whose output is the representation
        self.readout = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.adapter(x)
        logits: Tensor = self.readout(self.hidden(self.value(x) * self.gate(x)))
        return logits


@u.register(
    "example",
    family="feedforward",
    accepts={"vector", "image", "tokens", "sequence"},
    source="van den Oord 2016",
)
@dataclass(frozen=True, kw_only=True)
class Example(u.Architecture):
    """W (V x * sigmoid(U x)).

    Args:
        width: hidden units.
    """

    width: int = 64

    def __post_init__(self) -> None:
        require_at_least(1, where="example", width=self.width)

    # Its randomness comes from torch's global generator only.
    def build(self, inputs: u.InputSpec, outputs: int) -> nn.Module:
        return GatedNet(flat_adapter(inputs), outputs, self.width)

    # The representations, from input to output.
    def taps(self, net: nn.Module) -> dict[str, nn.Module]:
        assert isinstance(net, GatedNet)
        return {"hidden": net.hidden}

    # The last linear layer.
    def readout(self, net: nn.Module) -> nn.Linear:
        assert isinstance(net, GatedNet)
        return net.readout

    # Optional: the same, so many times as wide.
    def scaled(self, factor: float) -> Example:
        return replace(self, width=scaled_width(self.width, factor))
