"""Gated recurrent units: recurrence with two gates and no separate cell."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from universality.plugin import InputSpec, register
from universality.plugin.kit import require_at_least, scaled_width, sequence_adapter
from universality.plugin.kit.recurrent import Recurrent, RecurrentNetwork


@register(
    "gru",
    family="gated recurrent",
    accepts={"vector", "image", "tokens", "sequence"},
    source="Cho et al. 2014, arXiv:1406.1078",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class GRU(Recurrent):
    """One layer of gated units over tokens, the steps of a sequence, the pixel rows of an image or the chunks of a vector.

    Args:
        width: numbers of the hidden state and of the embedding; the scaling axis.
    """

    width: int = 64

    def __post_init__(self) -> None:
        require_at_least(1, where="gru", width=self.width)

    def build(self, inputs: InputSpec, outputs: int) -> nn.Module:
        return RecurrentNetwork(sequence_adapter(inputs, self.width, images="rows"), outputs, cell="gru")

    def scaled(self, factor: float) -> GRU:
        return replace(self, width=scaled_width(self.width, factor))
