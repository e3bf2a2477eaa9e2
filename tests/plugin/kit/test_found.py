"""Taps and readout of a network that no plugin describes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from universality.errors import BadParameter
from universality.plugin.architecture import InputSpec
from universality.plugin.kit import found

VECTOR = InputSpec("vector", (5,))


class Wrapped(nn.Module):
    """A trunk with a list of blocks, inside of another module; one activation is shared, one layer is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.ModuleDict({"stem": nn.Linear(5, 4), "readout": nn.Linear(4, 3)})
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)) for _ in range(2)])
        self.act = nn.ReLU()
        self.normed = nn.BatchNorm1d(4)
        self.unused = nn.Linear(4, 4)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        x = self.act(self.inner["stem"](x))
        for block in self.blocks:
            x = self.act(block(x))
        logits: Tensor = self.inner["readout"](self.normed(x))
        return logits


def test_containers_are_opened_and_what_runs_twice_or_never_is_no_tap() -> None:
    net = Wrapped()
    seen = found(net, VECTOR, 3, where="here")
    taps = ["inner.stem", "blocks.0.0", "blocks.0.1", "blocks.1.0", "blocks.1.1", "normed"]
    assert list(seen.taps()) == taps
    assert seen.readout() is net.inner["readout"]
    assert list(found(net, VECTOR, 3, where="here", stages=["blocks.1", "act"]).taps()) == ["blocks.1"]
    assert list(found(net, VECTOR, 3, where="here", stages=["gone"]).taps()) == taps


def test_watching_leaves_no_trace() -> None:
    net = Wrapped()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    found(net, VECTOR, 3, where="here")
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert net.calls == 0
    assert net.training
    assert not any(module._forward_hooks for module in net.modules())


class Pooled(nn.Module):
    """A linear map of every step, then a mean: the map does not return the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.read = nn.Embedding(7, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.read(self.embed(x)).mean(1))


def test_a_linear_map_that_does_not_return_the_logits_is_no_readout() -> None:
    with pytest.raises(BadParameter, match="readout is not found"):
        found(Pooled(), InputSpec("tokens", (6,), 7), 3, where="here")


def test_a_network_is_described_without_memory() -> None:
    with torch.device("meta"):
        seen = found(nn.Sequential(nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 3)), VECTOR, 3, where="here")
    assert (list(seen.taps()), seen.last) == (["0", "1"], "2")
