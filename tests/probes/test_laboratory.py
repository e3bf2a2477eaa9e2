"""Forks: independent copies on which a probe may train, while the run itself stays what it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from universality.plugin import registry
from universality.plugin.kit import updates
from universality.plugin.kit.losses import objective
from universality.plugin.probe import Probe, Training
from universality.plugin.registry import component
from universality.plugin.spec import Recipe, RunSpec
from universality.train.engine.loop import train_stack
from universality.train.engine.member import Member, Trained

CPU = torch.device("cpu")
SGD: dict[str, Any] = {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3}
ADAM: dict[str, Any] = {"lr": 0.01, "optimizer": "adam"}


@dataclass(kw_only=True)
class Branching(Probe):
    """Trains a fork for `steps` updates of its own optimizer, and another with plain steps."""

    steps: int = 3

    def record(self, training: Training) -> Mapping[str, float | Tensor]:
        fork, plain = training.fork(), training.fork()
        assert fork.net is not training.net
        batches = updates.minibatches(fork)
        for _ in range(self.steps):
            updates.optimizer_step(fork, updates.flat_gradient(fork, next(batches)))
            gradient = updates.flat_gradient(plain, plain.splits.train)
            updates.shift(plain.net, gradient, -0.1)
        return {"own": updates.flat_weights(fork.net), "plain": updates.flat_weights(plain.net)}


@pytest.fixture
def branching(clean_registry: None) -> None:
    registry.register("branching")(Branching)


def members(address: str, settings: dict[str, Any], observe: Mapping[str, tuple[int, ...]]) -> list[Member]:
    architecture, task = (
        registry.resolve("architecture", address),
        registry.resolve("task", "digits[subset=60]"),
    )
    splits = task.load(np.random.default_rng(0), None)
    recipe = Recipe(steps=6, batch_size=20, **settings)
    return [
        Member(RunSpec(component(architecture), component(task), recipe, seed), architecture, splits, observe)
        for seed in range(2)
    ]


def trained(
    address: str, settings: dict[str, Any], observe: Mapping[str, tuple[int, ...]], engine: Any = "loop"
) -> list[Trained]:
    return train_stack(members(address, settings, observe), CPU, engine)


@pytest.mark.usefixtures("branching")
@pytest.mark.parametrize("engine", ["loop", "fused", "separate"])
@pytest.mark.parametrize("settings", [SGD, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("address", ["mlp[width=6]", "resnet[width=4,blocks=1,stages=1]"])
def test_training_on_forks_leaves_the_run_as_it_is_to_the_last_bit(
    address: str, settings: dict[str, Any], engine: Any
) -> None:
    runs = trained(address, settings, {"branching": (0, 2, 5)}, engine)
    for run, alone in zip(runs, trained(address, settings, {}, engine), strict=True):
        assert run.state == "done"
        for name, tensor in alone.net.state_dict().items():
            assert torch.equal(run.net.state_dict()[name], tensor), name
        assert np.array_equal(run.series["train_loss"].values, alone.series["train_loss"].values)
        start, later = run.arrays["branching.own", 0], run.arrays["branching.own", 2]
        assert not np.array_equal(start, later)


@pytest.mark.usefixtures("branching")
@pytest.mark.parametrize("settings", [SGD, ADAM], ids=["sgd", "adam"])
def test_a_fork_takes_the_steps_that_the_run_would_take_with_its_optimizers_state(
    settings: dict[str, Any],
) -> None:
    # On the full set there is one batch: three steps of the fork from step 2 are those of the run.
    architecture = registry.resolve("architecture", "mlp[width=6]")
    task = registry.resolve("task", "digits[subset=60]")
    splits = task.load(np.random.default_rng(0), None)
    recipe = Recipe(steps=6, **settings)
    specs = [RunSpec(component(architecture), component(task), recipe, seed) for seed in range(2)]
    observe = {"branching": (2,), "weights": (5,)}
    runs = train_stack([Member(spec, architecture, splits, observe) for spec in specs], CPU, "loop")
    for run in runs:
        names = [name for name, _ in run.net.named_parameters()]
        expected = np.concatenate([run.arrays[f"weights.{name}", 5].ravel() for name in names])
        np.testing.assert_allclose(run.arrays["branching.own", 2], expected, rtol=0, atol=2e-7)


def a_training(address: str = "mlp[width=5,activation=tanh]", loss: Any = "mse") -> Training:
    member = members(address, {"lr": 0.1, "loss": loss}, {})[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = member.architecture.build(member.splits.inputs, member.splits.outputs)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(3)
    return Training(net, member.architecture, member.splits, member.spec.recipe, optimizer, CPU, 0, generator)


def test_two_forks_see_the_same_batches_and_leave_the_generator_alone() -> None:
    seen = a_training()
    before = seen.generator.get_state()
    first, second = (updates.minibatches(seen.fork()) for _ in range(2))
    drawn = [next(first).targets for _ in range(7)]
    assert all(torch.equal(a, next(second).targets) for a in drawn)
    assert torch.equal(seen.generator.get_state(), before)
    # 60 rows in batches of 20: an epoch shows every row once.
    epoch = torch.cat(drawn[:3]).sort().values
    assert torch.equal(epoch, seen.splits.train.targets.sort().values)
    assert not torch.equal(drawn[0], drawn[3])


@pytest.mark.parametrize("size", [0, 60, 1000])
def test_a_batch_that_holds_the_set_is_the_set(size: int) -> None:
    seen = a_training()
    batches = updates.minibatches(seen, size)
    assert next(batches) is next(batches) is seen.splits.train


def test_a_batch_that_does_not_divide_the_set_leaves_a_rest_out() -> None:
    batches = updates.minibatches(a_training(), 25)
    assert [len(next(batches)) for _ in range(4)] == [25] * 4


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_the_flat_gradient_is_that_of_central_differences_in_float64(loss: Any) -> None:
    seen = a_training("mlp[width=3,depth=1,activation=tanh]", loss)
    seen.net.double()
    train = seen.splits.train
    rows = type(train)(train.inputs[:7].double(), train.targets[:7])
    gradient = updates.flat_gradient(seen, rows)
    direction = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    values = []
    for sign in (1, -1):
        fork = seen.fork()
        updates.shift(fork.net, direction, sign * 1e-5)
        with torch.no_grad():
            values.append(float(objective(seen.recipe)(fork.net(rows.inputs), rows.targets)))
    assert float(gradient @ direction) == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-6)


def test_a_vector_is_the_part_inside_a_basis_and_the_part_outside() -> None:
    generator = torch.Generator().manual_seed(0)
    V, g = updates.random_basis(20, 4, generator), torch.randn(20, generator=generator)
    inside = updates.projected(g, V)
    torch.testing.assert_close(V.T @ (g - inside), torch.zeros(4), atol=1e-5, rtol=0)
    expected, *_ = np.linalg.lstsq(V.double().numpy(), g.double().numpy(), rcond=None)
    np.testing.assert_allclose(inside.numpy(), V.double().numpy() @ expected, atol=1e-5)
