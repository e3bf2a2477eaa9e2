"""What the ansatz asks of cosines that are known, where it can be asked, and what the probe reads of weights that are known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from tests.phenomena.fake_runs import FakeRun, outcome, split, unmet
from universality.phenomena.neural_feature_ansatz import NeuralFeatureAnsatz
from universality.plugin import registry
from universality.plugin.architecture import InputSpec
from universality.plugin.phenomenon import Cell
from universality.probes.feature_ansatz import FeatureAnsatz

registry.load_plugins()

BOUND = NeuralFeatureAnsatz.claims["first_layer"].bound


def trained(cosine: float, *, loss: float = 0.01, **nulls: float) -> FakeRun:
    last = {"start": 0.1, "random": 0.0, "shuffled": 0.0, "plain": 0.9, "moved": 0.5} | nulls
    untrained = last.pop("untrained", 0.1)
    given: dict[str, Any] = {f"feature_ansatz.{k}": ((0, 9), (0.0, v)) for k, v in last.items()}
    given["feature_ansatz.cosine"] = ((0, 9), (untrained, cosine))
    return FakeRun(given | {"accuracy.train_loss": ((0, 9), (1.0, loss))})


def test_a_cosine_above_its_nulls_is_the_ansatz() -> None:
    found = outcome("neural_feature_ansatz", "first_layer", trained(0.95))
    assert found.effect == 0.95
    assert found.decided()
    assert all(check.met for check in (*found.gates, *found.criteria))


@pytest.mark.parametrize("null", ["start", "untrained", "random", "shuffled"])
def test_a_null_that_is_near_speaks_against_it_and_one_at_the_top_leaves_no_room(null: str) -> None:
    near = outcome("neural_feature_ansatz", "first_layer", trained(0.85, **{null: 0.6}))
    assert BOUND.holds(near.effect)
    assert [check.met for check in near.criteria] == [False]
    top = outcome("neural_feature_ansatz", "first_layer", trained(0.99, **{null: 0.8}))
    assert top.effect is None
    assert unmet(top) == ["room above the largest null"]


def test_a_network_that_has_not_fitted_decides_nothing() -> None:
    assert unmet(outcome("neural_feature_ansatz", "first_layer", trained(0.2, loss=0.1))) == [
        "loss at the end over the start"
    ]


def test_it_is_asked_of_networks_with_a_linear_map_before_the_readout() -> None:
    images = SimpleNamespace(inputs=InputSpec("image", (1, 8, 8)), outputs=10)
    tokens = SimpleNamespace(inputs=InputSpec("tokens", (6,), 5), outputs=10)

    def reason(address: str, signature: Any) -> str:
        return NeuralFeatureAnsatz().applies(Cell(registry.resolve("architecture", address), None, signature))

    for address in (
        "mlp",
        "cnn",
        "vit",
        "resnet",
        "mixer",
        "transformer",
        "lstm",
        "mlp+output_scale[alpha=2]",
    ):
        assert reason(address, images) == "", address
    for address in ("mlp", "cnn", "transformer"):
        assert reason(address, tokens) == "", address
    for address, signature in (("mlp[depth=0]", images), ("lstm", tokens)):
        assert reason(address, signature) == "has no linear or convolutional layer before the readout", (
            address
        )


def record(probe: FeatureAnsatz, net: nn.Sequential) -> Any:
    data = SimpleNamespace(train=split(torch.randn(30, 3).numpy(), torch.zeros(30).numpy()))
    architecture = SimpleNamespace(readout=lambda net: net[-1])
    return probe.record(
        SimpleNamespace(
            net=net,
            splits=data,
            architecture=architecture,
            device=torch.device("cpu"),
            generator=torch.Generator().manual_seed(0),
        )
    )


def test_the_probe_compares_with_the_weights_of_its_first_record() -> None:
    """With one output v^T W x, G = W^T v v^T W: a multiple of W^T W where W has rank one."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 1, bias=False))
    probe = FeatureAnsatz()
    first = record(probe, net)
    assert first["cosine"] == first["start"]
    assert first["moved"] == 0
    earlier = net[0].weight.detach().clone()
    with torch.no_grad():
        net[0].weight.copy_(torch.outer(torch.tensor([1.0, 2, 3, 4]), torch.tensor([3.0, 0, 1])))
    second = record(probe, net)
    assert second["cosine"] == pytest.approx(1)
    assert second["plain"] == pytest.approx(1)
    assert max(second["start"], second["random"], second["shuffled"]) < 0.99
    assert second["moved"] == pytest.approx(
        float((net[0].weight.detach() - earlier).norm() / earlier.norm()), rel=1e-6
    )
