"""Scales of initialisations, exactly, and nothing of it left behind."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from universality.plugin.kit import fixed_draws


def test_each_draw_shows_what_multiplies_it() -> None:
    with fixed_draws():
        normal = nn.init.normal_(torch.empty(3), mean=1.0, std=0.25)
        uniform = nn.init.uniform_(torch.empty(3), -2.0, 6.0)
        kaiming = nn.init.kaiming_normal_(torch.empty(4, 8), mode="fan_out", nonlinearity="relu")
        plain = 3 * torch.randn(2), torch.rand(2), torch.randn_like(torch.empty(2)), torch.empty(2).normal_()
    assert normal.tolist() == [1.25] * 3
    assert uniform.tolist() == [4.0] * 3
    torch.testing.assert_close(kaiming, torch.full((4, 8), math.sqrt(2 / 4)))
    assert [t[0].item() for t in plain] == [3.0, 0.75, 1.0, 1.0]


@pytest.mark.parametrize("scale", [0.5, 2.0, 16.0])
def test_a_truncated_normal_is_proportional_to_its_deviation(scale: float) -> None:
    with fixed_draws():
        one, other = (nn.init.trunc_normal_(torch.empty(4), std=std) for std in (0.01, 0.01 * scale))
    torch.testing.assert_close(other, scale * one)


def test_random_state_and_default_device_are_as_before() -> None:
    torch.manual_seed(3)
    expected = torch.randn(2)
    torch.manual_seed(3)
    with torch.device("meta"), fixed_draws():
        assert nn.Linear(2, 2).weight.device.type == "cpu"
        torch.manual_seed(5)
    assert torch.equal(torch.randn(2), expected)
