"""Output and initial scales, as closed forms on any architecture."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from universality.errors import BadParameter
from universality.plugin import registry
from universality.plugin.architecture import InputSpec

IMAGE = InputSpec("image", (1, 8, 8))
NETS = [
    "mlp[width=8]",
    "cnn[width=4]",
    "lstm[width=8]",
    "transformer[dim=8,depth=2]",
    "vit[dim=8,depth=1]",
    "mixer[dim=8]",
    "resnet[width=4,blocks=1,stages=2,norm=group]",
]


def built(address: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    net: nn.Module = registry.resolve("architecture", address).build(IMAGE, 3)
    return net


def images(rows: int = 6) -> Tensor:
    return torch.randn(rows, *IMAGE.shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("address", NETS)
def test_a_centred_output_is_alpha_times_the_change_of_the_plain_one(address: str) -> None:
    plain, moved = built(address), built(address)
    net = built(f"{address}+output_scale[alpha=2.5,centred=true]")
    assert torch.equal(net(images()), torch.zeros(6, 3))
    for p, q in zip(net.parameters(), moved.parameters(), strict=True):
        step = 0.1 * torch.randn_like(p)
        with torch.no_grad():
            p.add_(step)
            q.add_(step)
    torch.testing.assert_close(net(images()), 2.5 * (moved(images()) - plain(images())), rtol=1e-4, atol=1e-5)


def test_on_mlp_it_is_the_parameter_of_that_name() -> None:
    own, modified = built("mlp[output_scale=3,centred=true]"), built("mlp+output_scale[alpha=3,centred=true]")
    for tensor, expected in zip(modified.state_dict().values(), own.state_dict().values(), strict=True):
        assert torch.equal(tensor, expected)
    for net in (own, modified):
        with torch.no_grad():
            next(net.parameters()).add_(0.1)
    assert torch.equal(modified(images()), own(images()))


@pytest.mark.parametrize("address", NETS)
def test_an_initial_scale_multiplies_what_has_two_axes(address: str) -> None:
    plain, net = dict(built(address).named_parameters()), built(f"{address}+init_scale[scale=3]")
    assert {p.ndim for p in plain.values()} >= {1, 2}
    for name, p in net.named_parameters():
        assert torch.equal(p, 3 * plain[name] if p.ndim >= 2 else plain[name]), name


@pytest.mark.parametrize(
    "address",
    ["mlp[centred=true]+init_scale[scale=3]", "cnn[width=4]+output_scale[centred=true]+init_scale[scale=3]"],
)
def test_what_is_scaled_after_centring_is_centred_again(address: str) -> None:
    assert torch.equal(built(address)(images()), torch.zeros(6, 3))


def test_a_negative_initial_scale_is_refused() -> None:
    with pytest.raises(BadParameter) as caught:
        registry.resolve("architecture", "mlp+init_scale[scale=-1]")
    assert str(caught.value) == (
        "scale is too small\n  where:    init_scale\n  got:      scale=-1.0\n  expected: scale >= 0"
    )
