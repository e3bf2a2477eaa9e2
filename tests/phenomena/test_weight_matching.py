"""Weight matching on pairs of networks that differ by the order of their units, or by what they compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.phenomena.fake_runs import FakeRun, outcome, split, unmet
from universality.measures import permute_units
from universality.phenomena.weight_matching import WeightMatching, hidden
from universality.plugin import Run, registry
from universality.plugin.cell import Cell
from universality.plugin.registry import component
from universality.plugin.spec import Recipe, RunSpec
from universality.plugin.task import InputSpec, Signature

registry.load_plugins()
ADDRESS = "mlp[width=16,depth=2]"
ARCHITECTURE = registry.resolve("architecture", ADDRESS)
SPEC = RunSpec(
    component(ARCHITECTURE), component(registry.resolve("task", "digits")), Recipe(steps=400, lr=0.05), 0
)
INPUTS = np.random.default_rng(0).standard_normal((200, 8)).astype(np.float32)


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net: nn.Module = ARCHITECTURE.build(InputSpec("vector", (8,)), 2)
    for p in net.parameters():
        p.data.mul_(3)
    return net.eval()


A = network(0)
SHUFFLED = permute_units(A, lambda net: hidden(ARCHITECTURE, net), torch.Generator().manual_seed(5)).net
LABELS = A(torch.from_numpy(INPUTS)).argmax(1).numpy()


class Trained(FakeRun):
    net: nn.Module

    def network(self, step: int) -> nn.Module:
        assert step == 400
        return self.net


def run(net: nn.Module, accuracy: float = 1.0) -> Trained:
    made = Trained({"accuracy.train": ([0, 400], [0.5, accuracy])}, data=split(INPUTS, LABELS), spec=SPEC)
    made.net = net
    return made


def found(a: FakeRun, b: FakeRun, **parameters: Any) -> Any:
    return outcome("weight_matching", "joined", {"a": a, "b": b}, **parameters)


def test_a_network_in_another_order_is_put_back_and_an_order_at_random_is_not() -> None:
    matched = found(run(A), run(SHUFFLED))
    assert matched.decided()
    assert matched.effect == 0
    assert matched.details["barrier as trained"] > 0.04
    assert max(matched.points["reordered"].y) == pytest.approx(0, abs=1e-9)
    random = found(run(A), run(SHUFFLED), order="random")
    assert not random.holds(WeightMatching.claims["joined"].bound)
    assert random.details["barrier as trained"] == matched.details["barrier as trained"]


def test_networks_that_no_barrier_parts_or_that_learnt_nothing_tell_nothing() -> None:
    assert unmet(found(run(A), run(A))) == ["barrier as trained"]
    assert unmet(found(run(A, 0.5), run(SHUFFLED))) == ["training accuracy of the weaker"]


def test_two_runs_share_the_data_and_nothing_else() -> None:
    start = Run(ARCHITECTURE, registry.resolve("task", "digits"), 2)
    a, b = WeightMatching().two(start).values()
    assert (a.recipe, a.seed, a.other_streams) == (b.recipe, b.seed, {})
    assert b.other_streams == {"init": 1002, "batches": 1002}


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("mlp", ""),
        ("mlp+mup[base=32]", ""),
        ("mlp[depth=0]", "weights outside its chain"),
        ("cnn", "weights outside its chain"),
        ("transformer", "weights outside its chain"),
    ],
)
def test_units_outside_a_chain_are_not_asked_about(address: str, reason: str) -> None:
    signature = Signature(InputSpec("image", (1, 8, 8)), 10, 1000, 100, 512)
    cell = Cell(registry.resolve("architecture", address), registry.resolve("task", "digits"), signature)
    assert WeightMatching().applies(cell).startswith(reason)
    assert bool(WeightMatching().applies(cell)) is bool(reason)
