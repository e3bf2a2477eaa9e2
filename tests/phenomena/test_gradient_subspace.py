"""What the claims make of branches whose losses are known, and what the probe makes of a quadratic loss."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.phenomena.fake_runs import FakeRun, outcome, split, unmet
from universality.phenomena.gradient_subspace import GradientSubspace
from universality.plugin import registry
from universality.plugin.kit.updates import random_part
from universality.plugin.probe import Training
from universality.plugin.spec import Recipe
from universality.probes.projected_updates import ProjectedUpdates, energy

registry.load_plugins()

SONG = {"sgd": 0.2, "dom": 0.0, "bulk": 0.2, "random": 0.1, "rest": 0.12, "random_2": 0.11, "rest_2": 0.118}


class Branches(FakeRun):
    def array(self, name: str, step: int) -> np.ndarray:
        end = self.arrays[step][name.removeprefix("projected_updates.loss_")]
        return np.array([1.0, 1.0 - end / 2, 1.0 - end])


def branches(progress: dict[str, float], share: float = 0.5) -> Branches:
    series = {"share": share, "share_random": 0.01, "converged": 1.0}
    given = {f"projected_updates.{name}": ((300,), (value,)) for name, value in series.items()}
    return Branches(given, arrays={300: progress})


def test_what_song_et_al_found_is_none_and_all() -> None:
    found = {name: outcome("gradient_subspace", name, branches(SONG)) for name in ("share", "dom", "bulk")}
    assert {name: o.effect for name, o in found.items()} == pytest.approx({"share": 0.5, "dom": 0, "bulk": 1})
    assert all(o.decided() for o in found.values())
    assert found["dom"].details["random"] == pytest.approx(0.5)
    assert found["bulk"].points["loss:bulk"].x == (0, 30, 60)
    assert found["bulk"].points["loss:bulk"].y == pytest.approx((1, 0.9, 0.8))
    assert set(found["dom"].points) == {"loss:sgd", "loss:dom", "loss:random"}


def test_directions_that_are_not_special_are_one_and_nothing() -> None:
    """As a control judges: others of equal energy against the null, which differ from it by their draws."""
    for name, effect in (("share", 0.01), ("dom", 1.1), ("bulk", -0.025)):
        found = outcome("gradient_subspace", name, branches(SONG), null=True)
        assert found.effect == pytest.approx(effect)
        assert found.decided()
        assert not GradientSubspace.claims[name].bound.holds(found.effect)


def test_without_progress_or_something_to_lose_nothing_is_decided() -> None:
    still = branches(SONG | {"sgd": 0.01})
    for name in ("dom", "bulk"):
        assert unmet(outcome("gradient_subspace", name, still)) == ["progress of SGD over the loss"]
    assert unmet(outcome("gradient_subspace", "dom", branches(SONG | {"random": 0.0}))) == [
        "progress by random directions, over that of SGD"
    ]
    assert unmet(outcome("gradient_subspace", "bulk", branches(SONG | {"rest": 0.19}))) == [
        "progress that random directions lose"
    ]


def test_it_is_not_asked_of_many_classes() -> None:
    for outputs, reason in (
        (10, ""),
        (65, "takes an eigenvector for each class: at most 20, the task has 65"),
    ):
        cell: Any = SimpleNamespace(signature=SimpleNamespace(outputs=outputs, regression=False))
        assert GradientSubspace().applies(cell) == reason


@pytest.mark.parametrize("share", [0.0, 0.2, 0.7, 1.0])
def test_a_random_part_has_the_length_and_the_product_of_a_projection(share: float) -> None:
    g = torch.randn(500, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    v = random_part(g, share, torch.Generator().manual_seed(2))
    assert float(v @ v) == pytest.approx(share * float(g @ g), abs=1e-9)
    assert float(v @ g) == pytest.approx(share * float(g @ g), abs=1e-9)
    assert torch.equal(random_part(torch.zeros(3), share, torch.Generator()), torch.zeros(3))


def test_a_random_part_is_like_the_projection_on_a_random_subspace() -> None:
    """Coordinates of P g for uniform subspaces of half of the dimensions, and of its stand-in: mean and variance."""
    generator = torch.Generator().manual_seed(0)
    g = torch.zeros(8, dtype=torch.float64)
    g[0] = 1
    projections, parts = [], []
    for _ in range(3000):
        Q, _ = torch.linalg.qr(torch.randn(8, 4, generator=generator, dtype=torch.float64))
        inside = Q @ (Q.T @ g)
        projections.append(inside)
        parts.append(random_part(g, energy(inside, g), generator))
    P, V = torch.stack(projections), torch.stack(parts)
    torch.testing.assert_close(V.mean(0), P.mean(0), atol=0.02, rtol=0)
    torch.testing.assert_close(V.T @ V / 3000, P.T @ P / 3000, atol=0.02, rtol=0)


def test_on_a_quadratic_each_branch_follows_its_part_exactly() -> None:
    """One output W x, half squared error, full batch: w <- w - lr H w, in the leading eigenvector or outside."""
    x = torch.diag(torch.tensor([3.0, 1.0, 0.5, 0.2]))
    net = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        net.weight.fill_(1.0)
    data = SimpleNamespace(train=split(x.numpy(), np.zeros((4, 1), np.float32)), outputs=1)
    training = Training(
        net,
        None,  # type: ignore[arg-type]
        data,  # type: ignore[arg-type]
        Recipe(steps=1, lr=0.2, loss="mse"),
        torch.optim.SGD(net.parameters(), lr=0.2),
        torch.device("cpu"),
        0,
        torch.Generator().manual_seed(0),
    )
    found = ProjectedUpdates(steps=6, refresh=3).record(training)
    h = np.array([9, 1, 0.25, 0.04]) / 4
    shrunk = {"sgd": [1, 1, 1, 1], "dom": [1, 0, 0, 0], "bulk": [0, 1, 1, 1]}
    for name, moves in shrunk.items():
        expected = [0.5 * float(h @ (1 - 0.2 * np.array(moves) * h) ** (2 * t)) for t in (0, 3, 6)]
        np.testing.assert_allclose(found[f"loss_{name}"], expected, rtol=1e-4)
    shares = [(h[0] * w[0]) ** 2 / ((h * w) @ (h * w)) for w in ((1 - 0.2 * h) ** t for t in range(6))]
    assert found["share"] == pytest.approx(np.mean(shares), rel=1e-4)
    assert found["converged"] == 1
    assert found["share_random"] < found["share"]
    assert torch.equal(net.weight, torch.ones(1, 4))
