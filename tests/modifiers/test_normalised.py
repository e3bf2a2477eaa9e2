"""Normalised weights: the same network at the start, and at any length of its rows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from universality.errors import BadParameter
from universality.plugin import registry
from universality.plugin.architecture import InputSpec

IMAGE = InputSpec("image", (1, 8, 8))
NETS = ["mlp[width=8]", "cnn[width=4]", "lstm[width=8]", "transformer[dim=8,depth=2]", "vit[dim=8,depth=1]"]


def built(address: str) -> nn.Module:
    torch.manual_seed(0)
    net: nn.Module = registry.resolve("architecture", address).build(IMAGE, 3)
    return net.double()


def images() -> Tensor:
    return torch.randn(6, *IMAGE.shape, generator=torch.Generator().manual_seed(1)).double()


@pytest.mark.parametrize("rms", [0, 0.5])
@pytest.mark.parametrize("address", NETS)
def test_it_starts_as_the_plain_network_and_forgets_the_length_of_every_row(address: str, rms: float) -> None:
    plain, net = built(address), built(f"{address}+normalised[rms={rms}]")
    torch.testing.assert_close(net(images()), plain(images()), rtol=1e-5, atol=1e-6)
    maps = [p for p in net.parameters() if p.ndim >= 2 and bool(p.any())]
    if rms:
        assert all(p.square().mean().sqrt().item() == pytest.approx(rms) for p in maps)
    with torch.no_grad():
        for p in maps:
            p.mul_(torch.rand(len(p), *[1] * (p.ndim - 1)).double() + 0.5)
    torch.testing.assert_close(net(images()), plain(images()), rtol=1e-5, atol=1e-6)


def test_the_gradient_is_orthogonal_to_each_row_and_falls_with_its_length() -> None:
    sizes = {}
    for rms in (0.5, 1.0):
        net = built(f"mlp[width=8]+normalised[rms={rms}]")
        net(images()).square().mean().backward()
        weight = net.get_parameter("net.readout.weight")
        assert weight.grad is not None
        assert (weight.grad * weight).sum(1).abs().max() < 1e-12
        sizes[rms] = weight.grad.norm()
    assert float(sizes[0.5] / sizes[1.0]) == pytest.approx(2)


def test_rows_that_start_at_zero_are_trained_as_they_are() -> None:
    net = built("mlp[width=8,depth=1]+init_scale[scale=0]+normalised")
    net(images()).square().sum().backward()
    for p in net.parameters():
        assert p.grad is not None
        assert bool(p.grad.isfinite().all())
    with torch.no_grad():
        net.get_parameter("net.readout.weight").fill_(2.0)
        hidden = net.net.hidden(net.net.adapter(images()))
        expected = 2 * hidden.sum(1, keepdim=True) + net.get_parameter("net.readout.bias")
    torch.testing.assert_close(net(images()), expected)


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(BadParameter, match="expected: rms >= 0"):
        registry.resolve("architecture", "mlp+normalised[rms=-1]")
