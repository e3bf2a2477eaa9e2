"""The sharpness probe against the dense float64 Hessian of the exact training loss."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from universality.plugin import registry
from universality.plugin.architecture import InputSpec
from universality.plugin.kit.losses import objective
from universality.plugin.probe import Training
from universality.plugin.spec import Recipe
from universality.plugin.task import Split, Splits
from universality.probes.sharpness import Sharpness
from universality.train.engine.optimizers import build_optimizer

registry.load_plugins()

TINY = {
    "tanh": "mlp[width=5,depth=1,activation=tanh]",
    "batch normalisation": "resnet[width=2,blocks=1,stages=1]",
    "attention": "transformer[dim=4,heads=2]",
    "recurrent": "lstm[width=3]",
}


def training(address: str, recipe: Recipe, updates: int, lr: float = 0.01) -> Training:
    """A training that has made `updates` updates by hand."""
    generator = torch.Generator().manual_seed(0)
    inputs = InputSpec("image", (1, 4, 4))

    def split(n: int) -> Split:
        images = torch.randn(n, 1, 4, 4, generator=generator)
        return Split(images, torch.randint(3, (n,), generator=generator))

    splits = Splits(split(24), split(8), split(8), inputs, 3)
    architecture = registry.resolve("architecture", address)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        net = architecture.build(inputs, 3)
    optimizer = build_optimizer(recipe, net.parameters(), lr)
    net.train()
    for _ in range(updates):
        optimizer.zero_grad()
        objective(recipe)(net(splits.train.inputs), splits.train.targets).backward()
        optimizer.step()
    seeded = torch.Generator().manual_seed(1)
    cpu = torch.device("cpu")
    return Training(net, architecture, splits, recipe, optimizer, cpu, updates, seeded)


def loss_of_weights(seen: Training) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """The training loss as a function of one float64 vector, in the mode of the update."""
    net: nn.Module = copy.deepcopy(seen.net).double().train()
    shapes = {name: p.shape for name, p in net.named_parameters()}
    train = seen.splits.train

    def loss(flat: Tensor) -> Tensor:
        parts = flat.split([s.numel() for s in shapes.values()])
        weights = {n: t.view(s) for (n, s), t in zip(shapes.items(), parts, strict=True)}
        buffers = {name: b.clone() for name, b in net.named_buffers()}
        logits = functional_call(net, {**weights, **buffers}, (train.inputs.double(),))
        if seen.recipe.loss == "mse":
            return 0.5 * (logits - F.one_hot(train.targets, 3)).square().sum(1).mean()
        return F.cross_entropy(logits, train.targets)

    start = torch.cat([p.detach().flatten() for p in net.parameters()])
    return loss, start


def dense(seen: Training) -> tuple[Tensor, Tensor]:
    """Hessian and gradient."""
    loss, start = loss_of_weights(seen)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        hessian = torch.autograd.functional.hessian(loss, start)
        point = start.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(point), point)
    return hessian, gradient


def top(matrix: Tensor) -> float:
    return float(torch.linalg.eigvalsh((matrix + matrix.T) / 2)[-1])


@pytest.mark.parametrize("net", TINY)
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_sharpness_is_the_top_eigenvalue_of_the_dense_hessian(net: str, loss: str) -> None:
    seen = training(TINY[net], Recipe(steps=1, lr=0.01, loss=loss), updates=3)
    found = Sharpness().record(seen)
    expected = top(dense(seen)[0])
    assert found["converged"] == 1
    assert found["value"] == pytest.approx(expected, rel=3e-3)
    assert found["threshold"] == pytest.approx(2 / 0.01)
    assert found["ratio"] == pytest.approx(expected * 0.01 / 2, rel=3e-3)


def test_l2_decay_is_part_of_the_hessian() -> None:
    decay = 0.7
    plain = training(TINY["tanh"], Recipe(steps=1, lr=0.01, loss="mse"), updates=0)
    decayed = training(TINY["tanh"], Recipe(steps=1, lr=0.01, loss="mse", weight_decay=decay), updates=0)
    difference = Sharpness().record(decayed)["value"] - Sharpness().record(plain)["value"]
    assert difference == pytest.approx(decay, rel=1e-2)


@pytest.mark.parametrize("updates", [0, 1, 7])
@pytest.mark.parametrize("net", ["tanh", "batch normalisation"])
def test_adams_sharpness_is_that_of_the_hessian_preconditioned_by_hand(net: str, updates: int) -> None:
    b1, b2, eps, lr = 0.9, 0.95, 1e-4, 0.01
    recipe = Recipe(steps=1, lr=lr, optimizer="adam", beta1=b1, beta2=b2, eps=eps, loss="mse")
    seen = training(TINY[net], recipe, updates, lr)
    hessian, gradient = dense(seen)
    state = [seen.optimizer.state.get(p, {}) for p in seen.net.parameters()]
    zero = [torch.zeros_like(p) for p in seen.net.parameters()]
    v = torch.cat([s.get("exp_avg_sq", z).double().flatten() for s, z in zip(state, zero, strict=True)])
    # The next update: v takes in the present gradient before it divides.
    v = (b2 * v + (1 - b2) * gradient**2) / (1 - b2 ** (updates + 1))
    root = (v.sqrt() + eps).rsqrt()
    expected = top(root[:, None] * hessian * root[None, :])
    found = Sharpness(tolerance=1e-3).record(seen)
    assert found["value"] == pytest.approx(expected, rel=3e-3)
    assert found["threshold"] == pytest.approx(2 * (1 + b1) / ((1 - b1) * lr))


@pytest.mark.parametrize("audit", [1, 3])
def test_warm_starts_and_cold_audits_agree_with_the_dense_hessian_along_training(audit: int) -> None:
    recipe = Recipe(steps=1, lr=0.3, loss="mse")
    seen = training(TINY["tanh"], recipe, updates=0, lr=0.3)
    probe = Sharpness(audit=audit)
    train = seen.splits.train
    for _ in range(8):
        assert probe.record(seen)["value"] == pytest.approx(top(dense(seen)[0]), rel=3e-3)
        seen.optimizer.zero_grad()
        objective(recipe)(seen.net(train.inputs), train.targets).backward()
        seen.optimizer.step()


def test_cold_audits_record_how_far_the_warm_solution_would_have_been() -> None:
    seen = training(TINY["tanh"], Recipe(steps=1, lr=0.3, loss="mse"), updates=0, lr=0.3)
    train, probe = seen.splits.train, Sharpness(audit=3)
    found = []
    for _ in range(7):
        found.append(probe.record(seen))
        seen.optimizer.zero_grad()
        objective(seen.recipe)(seen.net(train.inputs), train.targets).backward()
        seen.optimizer.step()
    # The first record has no warm start to audit; the fourth and seventh have.
    assert ["audit" in record for record in found] == [False, False, False, True, False, False, True]
    assert all(abs(record["audit"]) < 6e-3 for record in found if "audit" in record)


def test_an_audit_leaves_the_recorded_value_alone_and_shows_a_warm_start_that_is_wrong() -> None:
    seen = training(TINY["tanh"], Recipe(steps=1, lr=0.01, loss="mse"), updates=3)
    plain = Sharpness().record(seen)
    probe = Sharpness(audit=1)
    dim = sum(p.numel() for p in seen.net.parameters())
    probe._start = torch.zeros(dim, 6)  # no warm start at all: solved from a random vector
    seen.generator.manual_seed(1)
    audited = probe.record(seen)
    assert {key: audited[key] for key in plain} == plain
    lost = Sharpness(audit=1, tolerance=1e6)  # any Ritz value settles
    hessian, _ = dense(seen)
    lost._start = torch.linalg.eigh(hessian).eigenvectors[:, :1].float()  # of the smallest eigenvalue
    assert abs(float(lost.record(seen)["audit"])) > 1e-3
