"""Linear mode connectivity on pairs of networks whose barrier is known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from msgspec import UNSET
from torch import nn

from tests.phenomena.fake_runs import FakeRun, outcome, split, unmet
from universality.phenomena.linear_mode_connectivity import CUSTOMARY, LinearModeConnectivity
from universality.plugin import Run, registry

registry.load_plugins()
X = np.linspace(-1, 1, 101, dtype=np.float32)[:, None]
DATA = split(X, (X[:, 0] > 0).astype(np.int64))


def network(weights: list[float], out: list[float]) -> nn.Module:
    """Class 1 where sum_j out_j relu(w_j x) > 0."""
    net = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False)).eval()
    rows = torch.tensor(weights)[:, None], torch.stack([-torch.tensor(out), torch.tensor(out)])
    net.load_state_dict({"0.weight": rows[0], "2.weight": rows[1]})
    return net


class Trained(FakeRun):
    net: nn.Module

    def network(self, step: int) -> nn.Module:
        assert step == 800
        return self.net


def run(net: nn.Module, train: float = 1.0) -> Trained:
    spec: Any = SimpleNamespace(recipe=SimpleNamespace(steps=800))
    made = Trained(given={"accuracy.train": ([0, 800], [0.5, train])}, data=DATA, spec=spec)
    made.net = net
    return made


A, SWAPPED, LONGER = network([1, -1], [1, -1]), network([-1, 1], [-1, 1]), network([1.5, -1.2], [1, -1])


def found(a: FakeRun, b: FakeRun) -> Any:
    return outcome("linear_mode_connectivity", "stable", {"a": a, "b": b})


@pytest.mark.parametrize(("other", "connected"), [(LONGER, True), (SWAPPED, False)])
def test_units_in_the_other_order_are_a_barrier_and_other_lengths_are_none(
    other: Any, connected: bool
) -> None:
    result = found(run(A), run(other))
    assert result.decided()
    assert result.effect == pytest.approx(0 if connected else 0.5, abs=0.02)  # half-way f = 0
    assert result.holds(LinearModeConnectivity.claims["stable"].bound) is connected
    assert len(result.points["above"].x) == 11


def test_networks_that_learnt_nothing_or_are_one_network_tell_nothing() -> None:
    assert unmet(found(run(A, 0.5), run(LONGER))) == ["training accuracy of the weaker"]
    near = network([1.08, -1.08], [1.08, -1.08])  # .08 of the norm, and so without a barrier
    for other in (A, near):
        assert "distance of the branches, over their norm" in unmet(found(run(A), run(other)))


def test_branches_share_all_but_the_batches_after_their_fork() -> None:
    start = Run(registry.resolve("architecture", "mlp"), registry.resolve("task", "digits"), 2)
    runs = LinearModeConnectivity(steps=100, fork=0.3).branches(start)
    assert [r.fork for r in runs.values()] == [(30, 1), (30, 2)]
    assert {(r.seed, tuple(r.other_streams)) for r in runs.values()} == {(2, ())}
    apart = LinearModeConnectivity(starts="independent").branches(start)
    assert [r.other_streams for r in apart.values()] == [{}, {"init": 1002, "batches": 1002}]
    assert LinearModeConnectivity.claims["stable"].bound.ends[1] == CUSTOMARY


def test_a_range_test_takes_the_place_of_the_given_rate() -> None:
    start = Run(registry.resolve("architecture", "mlp"), registry.resolve("task", "digits"), 2)
    given, found = (
        LinearModeConnectivity(lr_below_best=below).branches(start)["a"].recipe for below in (0.0, 3.0)
    )
    assert (given.lr, given.lr_below_best) == (0.05, UNSET)
    assert (found.lr, found.lr_below_best) == (0, 3.0)
