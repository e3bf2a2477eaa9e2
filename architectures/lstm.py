"""Gated recurrent networks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from torch import nn

from universality.plugin import InputSpec, register
from universality.plugin.kit import require_at_least, scaled_width, sequence_adapter
from universality.plugin.kit.recurrent import Recurrent, RecurrentNetwork


@register(
    "lstm",
    family="recurrent",
    accepts={"vector", "image", "tokens", "sequence"},
    source="Hochreiter & Schmidhuber 1997; Cho et al. 2014, arXiv:1406.1078",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class LSTM(Recurrent):
    """One recurrent layer over tokens, the steps of a sequence, the pixel rows of an image or the chunks of a vector.

    On CUDA `nn.LSTM` and `nn.GRU` run in cuDNN, which has no second derivative (Hessian-vector
    products need `torch.backends.cudnn.flags(enabled=False)`) and no gradient in eval mode.

    Args:
        cell: `lstm`, or `gru` with two gates.
        width: numbers of the hidden state and of the embedding; the scaling axis.
    """

    cell: Literal["lstm", "gru"] = "lstm"
    width: int = 64

    def __post_init__(self) -> None:
        require_at_least(1, where="lstm", width=self.width)

    def build(self, inputs: InputSpec, outputs: int) -> nn.Module:
        adapter = sequence_adapter(inputs, self.width, images="rows")
        return RecurrentNetwork(adapter, outputs, cell=self.cell)

    def scaled(self, factor: float) -> LSTM:
        return replace(self, width=scaled_width(self.width, factor))
