"""Deep Sets: every piece of an input alike, then what they sum to; their order does not matter."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor, nn

from universality.plugin import Architecture, InputSpec, Link, register
from universality.plugin.kit import SequenceAdapter, links, require_at_least, scaled_width, sequence_adapter


class SetNetwork(nn.Module):
    """rho(mean over pieces of phi(piece)), phi and rho perceptrons of one hidden layer."""

    def __init__(self, adapter: SequenceAdapter, outputs: int) -> None:
        super().__init__()
        dim = adapter.dim
        self.adapter = adapter
        self.each = nn.Sequential(nn.GELU(), nn.Linear(dim, dim), nn.GELU())
        self.together = nn.Sequential(nn.Linear(dim, dim), nn.GELU())
        self.readout = nn.Linear(dim, outputs)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.each(self.adapter(x)).mean(1)
        logits: Tensor = self.readout(self.together(pooled))
        return logits


@register(
    "deep_sets",
    family="set",
    accepts={"vector", "image", "tokens", "sequence"},
    source="Zaheer et al. 2017, arXiv:1703.06114",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class DeepSets(Architecture):
    """A function of the set of tokens, steps, patches of an image or chunks of a vector, whatever their order.

    The mean in place of the sum, so that outputs keep their size over sets of any.

    Args:
        width: of all hidden layers; the scaling axis.
    """

    width: int = 128

    def __post_init__(self) -> None:
        require_at_least(1, where="deep_sets", width=self.width)

    def build(self, inputs: InputSpec, outputs: int) -> nn.Module:
        return SetNetwork(sequence_adapter(inputs, self.width), outputs)

    def taps(self, net: nn.Module) -> dict[str, nn.Module]:
        assert isinstance(net, SetNetwork)
        return {"each": net.each, "together": net.together}

    def readout(self, net: nn.Module) -> nn.Linear:
        assert isinstance(net, SetNetwork)
        return net.readout

    def chain(self, net: nn.Module) -> tuple[Link, ...]:
        """The perceptron of the whole set."""
        assert isinstance(net, SetNetwork)
        return links(net.together, net.readout)

    def scaled(self, factor: float) -> DeepSets:
        return replace(self, width=scaled_width(self.width, factor))
