"""Matching of hidden units: an order that was shuffled is found again, and no output changes."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn

from universality.errors import MeasurementError
from universality.measures import match_weights, permute_units

X = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))


def network(seed: int, *widths: int, bias: bool = True) -> nn.Sequential:
    torch.manual_seed(seed)
    sizes = [3, *widths, 2]
    layers = [nn.Linear(a, b, bias=bias) for a, b in itertools.pairwise(sizes)]
    return nn.Sequential(*(part for layer in layers for part in (layer, nn.Tanh())))


def pairs(net: nn.Module) -> list[tuple[nn.Linear, nn.Linear]]:
    linear = [module for module in net if isinstance(module, nn.Linear)]  # type: ignore[attr-defined]
    return list(itertools.pairwise(linear))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("bias", [True, False])
def test_a_shuffled_network_is_put_back_to_the_last_bit(bias: bool) -> None:
    net = network(0, 6, 7, 5, bias=bias)
    shuffled = permute_units(net, pairs, seeded(1))
    assert shuffled.moved > 0.5
    torch.testing.assert_close(shuffled.net(X), net(X))
    found = match_weights(net, shuffled.net, pairs)
    for name, weight in net.state_dict().items():
        assert torch.equal(found.net.state_dict()[name], weight), name
    assert found.moved > 0.5
    assert match_weights(net, net, pairs).moved == 0


def test_it_changes_no_output_leaves_its_arguments_and_gains_likeness() -> None:
    a, b = network(0, 6, 7), network(1, 6, 7)
    kept = copy.deepcopy(b.state_dict())
    found = match_weights(a, b, pairs, seeded(3))
    torch.testing.assert_close(found.net(X), b(X))
    assert all(torch.equal(b.state_dict()[name], weight) for name, weight in kept.items())

    def likeness(net: nn.Module) -> float:
        return sum(
            float((p * q).detach().sum()) for p, q in zip(a.parameters(), net.parameters(), strict=True)
        )

    assert likeness(found.net) > likeness(b)
    # Of one layer the order is the best of all.
    a, b = network(0, 4), network(1, 4)
    into = torch.cat([a[0].weight, a[0].bias[:, None], a[2].weight.T], 1).detach()
    out = torch.cat([b[0].weight, b[0].bias[:, None], b[2].weight.T], 1).detach()
    best = max(float((into * out[list(order)]).sum()) for order in itertools.permutations(range(4)))
    assert likeness(match_weights(a, b, pairs).net) - float(
        a[2].bias.detach() @ b[2].bias.detach()
    ) == pytest.approx(best)


@pytest.mark.parametrize(
    ("other", "why"),
    [(network(1, 6, 5), "no hidden units to match"), (network(1, 6), "no hidden units to match")],
)
def test_networks_of_other_shapes_are_refused(other: nn.Module, why: str) -> None:
    with pytest.raises(MeasurementError, match=why):
        match_weights(network(0, 6, 7), other, pairs)


def test_a_network_without_hidden_units_and_weights_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(MeasurementError, match="no hidden units"):
        permute_units(network(0), pairs, seeded(0))
    broken = network(0, 6)
    with torch.no_grad():
        broken[0].weight[0, 0] = float("nan")  # type: ignore[index]
    with pytest.raises(MeasurementError, match="not finite"):
        match_weights(network(0, 6), broken, pairs)
