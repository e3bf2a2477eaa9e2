"""Feature matrices against gradients of single rows and patches, and the cosine of what is left without the trace."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from universality.errors import MeasurementError
from universality.measures import feature_matrices, traceless_cosine


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def outer_products(f: Any, x: Tensor) -> Tensor:
    """1/n sum over rows, positions and outputs of the gradient by the input of each; x is [n, positions, d]."""
    total = torch.zeros(x.shape[-1], x.shape[-1], dtype=torch.float64)
    for row in x:
        J = torch.func.jacrev(lambda z: f(z[None])[0])(row)  # [outputs, positions, d]
        J = J.flatten(0, -2).double()
        total += J.T @ J
    return total / len(x)


def test_of_a_linear_layer_it_is_the_gradient_by_the_inputs() -> None:
    net = nn.Sequential(
        nn.Linear(5, 7), nn.ReLU(inplace=True), nn.Linear(7, 6), nn.Tanh(), nn.Linear(6, 3)
    ).double()
    x = torch.randn(11, 5, dtype=torch.float64)
    found = feature_matrices(net, net[-1], x)
    torch.testing.assert_close(found.gradients, outer_products(lambda z: net(z[:, 0]), x[:, None]))
    assert torch.equal(found.weight, net[0].weight.detach())


def test_of_a_layer_along_a_sequence_it_sums_over_positions() -> None:
    embed, mix = nn.Linear(4, 6).double(), nn.Linear(18, 2).double()
    net = nn.Sequential(embed, nn.GELU(), nn.Flatten(), mix)
    x = torch.randn(9, 3, 4, dtype=torch.float64)
    torch.testing.assert_close(feature_matrices(net, mix, x).gradients, outer_products(net, x))


def test_of_a_convolution_it_is_the_gradient_by_the_patches() -> None:
    stem = nn.Conv2d(2, 5, 3, stride=2, padding=1).double()
    after = nn.Sequential(nn.Tanh(), nn.Flatten(), nn.Linear(5 * 9, 3)).double()
    images = torch.randn(6, 2, 6, 6, dtype=torch.float64)
    patches = F.unfold(images, 3, padding=1, stride=2).transpose(1, 2)  # [n, 9 positions, 18]

    def of_patches(z: Tensor) -> Tensor:
        y = z @ stem.weight.flatten(1).T + stem.bias
        return after(y.transpose(1, 2).unflatten(2, (3, 3)))

    torch.testing.assert_close(of_patches(patches), nn.Sequential(stem, after)(images))
    found = feature_matrices(nn.Sequential(stem, after), after[2], images)
    torch.testing.assert_close(found.gradients, outer_products(of_patches, patches))
    assert found.weight.shape == (5, 18)


def test_the_network_is_left_as_it_was() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    feature_matrices(net, net[2], torch.randn(5, 3))
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not net[0]._forward_hooks
    assert all(p.grad is None for p in net.parameters())


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.readout = nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.readout(self.layer(self.layer(x)))
        return out


def test_layers_of_which_nothing_follows_are_refused() -> None:
    x, alone, twice = torch.randn(4, 3), nn.Linear(3, 2), Twice()
    with pytest.raises(MeasurementError, match="the readout runs first"):
        feature_matrices(alone, alone, x)
    with pytest.raises(MeasurementError, match="runs 2 times"):
        feature_matrices(twice, twice.readout, x)
    with pytest.raises(MeasurementError, match="none that runs"):
        feature_matrices(nn.Tanh(), alone, x)


def test_the_cosine_sees_neither_trace_nor_size() -> None:
    A = torch.randn(6, 6, dtype=torch.float64)
    A = A @ A.T
    assert traceless_cosine(A, 3 * A - 2 * torch.eye(6)) == pytest.approx(1)
    assert traceless_cosine(A, -A) == pytest.approx(-1)
    left, right = torch.diag(torch.tensor([1.0, -1.0, 0.0])), torch.diag(torch.tensor([1.0, 1.0, -2.0]))
    assert traceless_cosine(left + 5 * torch.eye(3), right) == pytest.approx(0, abs=1e-7)


def test_wide_random_weights_look_like_any_other_until_the_trace_is_gone() -> None:
    """The false presence of the plain cosine, which the traceless one does not share."""
    d, width = 20, 2000
    A, B = (W.T @ W for W in (torch.randn(width, d), torch.randn(width, d)))
    assert float((A * B).sum() / (A.norm() * B.norm())) > 0.98
    assert abs(traceless_cosine(A, B)) < 0.3


def test_matrices_without_a_direction_are_refused() -> None:
    with pytest.raises(MeasurementError, match="multiple of the identity"):
        traceless_cosine(torch.eye(3), torch.randn(3, 3))
