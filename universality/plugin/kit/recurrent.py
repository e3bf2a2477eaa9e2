"""One recurrent layer between an embedding and a readout."""

from __future__ import annotations

from torch import Tensor, nn

from universality.plugin.architecture import Architecture
from universality.plugin.kit.adapters import SequenceAdapter


class HiddenStates(nn.Module):
    """`[rows, length, width]` -> the hidden state after every element, without the tuple of `nn.LSTM`."""

    def __init__(self, width: int, cell: str) -> None:
        super().__init__()
        self.cell = (nn.LSTM if cell == "lstm" else nn.GRU)(width, width, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        states: Tensor = self.cell(x)[0]
        return states


class RecurrentNetwork(nn.Module):
    """Embed, run one recurrent layer, read out the last hidden state."""

    def __init__(self, adapter: SequenceAdapter, outputs: int, *, cell: str) -> None:
        super().__init__()
        self.adapter = adapter
        self.states = HiddenStates(adapter.dim, cell)
        self.readout = nn.Linear(adapter.dim, outputs)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.readout(self.states(self.adapter(x))[:, -1])
        return logits


class Recurrent(Architecture):
    """An architecture that builds a `RecurrentNetwork`."""

    __slots__ = ()

    def taps(self, net: nn.Module) -> dict[str, nn.Module]:
        assert isinstance(net, RecurrentNetwork)
        return {"states": net.states}

    def readout(self, net: nn.Module) -> nn.Linear:
        assert isinstance(net, RecurrentNetwork)
        return net.readout
