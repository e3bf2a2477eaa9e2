"""The losses against their definitions, on both sides of every rule about layout."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from universality.plugin.kit.losses import cross_entropy, half_squared_error, objective
from universality.plugin.spec import Recipe


@pytest.mark.parametrize("rows", [1, 255, 256, 700])
@pytest.mark.parametrize("classes", [2, 15, 16, 40])
def test_cross_entropy_and_its_derivatives_are_torchs_in_every_layout(rows: int, classes: int) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 5 * torch.randn(rows, classes, dtype=torch.float64, generator=generator)
    direction = torch.randn(rows, classes, dtype=torch.float64, generator=generator)
    targets = torch.randint(classes, (rows,), generator=generator)
    found = [
        (
            loss(logits, targets),
            *torch.autograd.functional.vhp(lambda z, f=loss: f(z, targets), logits, direction),
        )
        for loss in (cross_entropy, F.cross_entropy)
    ]
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-15)
    (ours,) = torch.autograd.grad(cross_entropy(z := logits.clone().requires_grad_(), targets), z)
    expected = (logits.softmax(1) - F.one_hot(targets, classes)) / rows
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-15)


def test_cross_entropy_of_a_stack_is_that_of_each_network() -> None:
    logits, targets = torch.randn(3, 300, 10), torch.randint(10, (3, 300))
    stacked = torch.func.vmap(cross_entropy)(logits, targets)
    torch.testing.assert_close(
        stacked, torch.stack([F.cross_entropy(a, b) for a, b in zip(logits, targets, strict=True)])
    )


def test_half_squared_error_of_a_known_case() -> None:
    logits, targets = torch.tensor([[1.0, 0.0], [0.0, -1.0]]), torch.tensor([0, 1])
    assert half_squared_error(logits, targets) == 1.0  # 0 and 4/2, over two rows


def test_half_squared_error_of_numbers_is_their_distance_in_a_stack_as_alone() -> None:
    outputs, targets = torch.tensor([[1.0, 0.0], [0.5, -1.0]]), torch.tensor([[0.0, 2.0], [0.5, 1.0]])
    assert half_squared_error(outputs, targets) == 2.25  # 1/2 of 1 + 4 and of 0 + 4, over two rows
    stacked = torch.func.vmap(half_squared_error)(torch.stack([outputs, targets]), torch.stack([targets] * 2))
    assert stacked.tolist() == [2.25, 0.0]


def test_a_recipe_names_its_loss() -> None:
    assert objective(Recipe(steps=1, lr=1.0)) is cross_entropy
    assert objective(Recipe(steps=1, lr=1.0, loss="mse")) is half_squared_error
