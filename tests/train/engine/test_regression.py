"""Regression on numbers is, to the last bit, the torch loop that one would write by hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from universality.plugin import registry
from universality.plugin.architecture import InputSpec
from universality.plugin.registry import component
from universality.plugin.spec import Recipe, RunSpec, derive_seed
from universality.plugin.task import Split, Splits, Task
from universality.train.engine.fused_steps import Capture
from universality.train.engine.loop import train_stack
from universality.train.engine.member import Member, build_network
from universality.train.messages import Engine
from universality.train.shared_data import load_shared

CPU = torch.device("cpu")
TANH = "mlp[width=8,depth=1,activation=tanh]"
FULL = Recipe(steps=25, lr=0.05, momentum=0.9, loss="mse")
BATCHES = Recipe(steps=25, lr=0.05, momentum=0.9, loss="mse", batch_size=10)


@dataclass(frozen=True, kw_only=True)
class Sines(Task):
    """y_j = sin(2 pi j x + phase_j), j = 1 .. waves, at points of [-1, 1)."""

    name: ClassVar[str] = "sines"
    waves: int = 1

    def read(self, rng: np.random.Generator, root: Path) -> Splits:
        phase = rng.uniform(0, 2 * np.pi, self.waves)

        def split(rows: int, phase: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Split:
            x = 2 * np.arange(rows)[:, None] / rows - 1
            y = np.sin(2 * np.pi * x * np.arange(1, self.waves + 1) + phase)
            return Split(*(torch.from_numpy(v.astype(np.float32)) for v in (x, y)))

        reference = split(8, np.zeros(self.waves))
        return Splits(split(33, phase), split(16, phase), reference, InputSpec("vector", (1,)), self.waves)


def member(recipe: Recipe, waves: int, seed: int) -> Member:
    task, net = Sines(waves=waves), registry.resolve("architecture", TANH)
    splits = task.load(np.random.default_rng(seed), Path("nowhere"))
    spec = RunSpec(component(net), component(task), recipe, seed)
    probes = dict.fromkeys(("accuracy", "sharpness", "taps", "weights"), (0, recipe.steps))
    return Member(spec, net, splits, probes)


def by_hand(one: Member) -> tuple[nn.Module, list[float]]:
    """The network and the losses of a plain loop."""
    recipe, data, seed = one.spec.recipe, one.splits.train, one.spec.seed
    net = build_network(one.spec, one.architecture, one.splits)
    optimizer = torch.optim.SGD(net.parameters(), lr=recipe.lr, momentum=recipe.momentum)
    size = recipe.batch_size or len(data)
    losses = []
    for step in range(recipe.steps):
        x, y = data.inputs, data.targets
        if recipe.batch_size:
            epoch, turn = divmod(step, len(data) // size)
            order = torch.Generator().manual_seed(derive_seed("batches", seed, epoch))
            rows = torch.randperm(len(data), generator=order)[turn * size :][:size]
            x, y = x[rows], y[rows]
        optimizer.zero_grad()
        loss = 0.5 * (net(x) - y).square().sum() / size
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return net, losses


def numbers(net: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()])


@pytest.mark.parametrize("waves", [1, 3])
@pytest.mark.parametrize("recipe", [FULL, BATCHES], ids=["full batch", "batches"])
@pytest.mark.parametrize("engine", ["separate", "loop"])
def test_regression_is_a_hand_written_loop(engine: Engine, recipe: Recipe, waves: int) -> None:
    members = [member(recipe, waves, seed) for seed in range(3)]
    for one, run in zip(members, train_stack(members, CPU, engine), strict=True):
        net, losses = by_hand(one)
        assert run.facts["engine"]["mode"] == engine
        assert torch.equal(numbers(run.net), numbers(net))
        assert run.series["train_loss"].values.tolist() == losses
        assert "accuracy.train" not in run.series
        with torch.no_grad():
            rest = 0.5 * (net(one.splits.train.inputs) - one.splits.train.targets).square().sum(1).mean()
        assert run.series["accuracy.train_loss"].at(recipe.steps) == pytest.approx(float(rest), rel=1e-5)
        assert run.arrays["taps.labels", 0].tolist() == one.splits.reference.targets.tolist()


@pytest.mark.parametrize("waves", [1, 3])
@pytest.mark.parametrize("recipe", [FULL, BATCHES], ids=["full batch", "batches"])
@pytest.mark.parametrize("capture", [None, lambda update: update], ids=["as it is", "captured"])
@pytest.mark.parametrize("shared", [False, True])
def test_fused_regression_is_a_hand_written_loop_up_to_rounding(
    capture: Capture | None, recipe: Recipe, waves: int, shared: bool
) -> None:
    members = [member(recipe, waves, seed) for seed in range(3)]
    if shared:
        members = [Member(m.spec, m.architecture, members[0].splits, m.observe) for m in members]
    for one, run in zip(members, train_stack(members, CPU, "fused", capture=capture), strict=True):
        net, losses = by_hand(one)
        assert run.facts["engine"]["mode"] == "fused"
        torch.testing.assert_close(numbers(run.net), numbers(net), rtol=1e-4, atol=1e-6)
        assert run.series["train_loss"].values == pytest.approx(losses, rel=1e-4)


def test_a_rate_is_derived_from_the_sharpness_of_a_regression() -> None:
    one = member(Recipe(steps=3, lr_over_stability=4.0, loss="mse"), 2, 0)
    (run,) = train_stack([one], CPU)
    net = build_network(one.spec, one.architecture, one.splits).double()
    params, data = dict(net.named_parameters()), one.splits.train

    def loss(flat: Tensor) -> Tensor:
        sizes = [p.numel() for p in params.values()]
        parts = zip(params, flat.split(sizes), params.values(), strict=True)
        weights = {name: part.view_as(p) for name, part, p in parts}
        outputs = torch.func.functional_call(net, weights, (data.inputs.double(),))
        return 0.5 * (outputs - data.targets.double()).square().sum(1).mean()

    hessian = torch.autograd.functional.hessian(loss, numbers(net))
    sharpness = float(torch.linalg.eigvalsh(hessian)[-1])
    assert run.facts["initial_sharpness"] == pytest.approx(sharpness, rel=1e-2)
    assert run.facts["lr"] == pytest.approx(2 / (4 * sharpness), rel=1e-2)
    assert run.series["sharpness.value"].at(0) == pytest.approx(sharpness, rel=1e-2)


@pytest.mark.parametrize("waves", [1, 3])
def test_numbers_are_shared_among_workers_to_the_last_bit(waves: int, tmp_path: Path) -> None:
    splits = member(FULL, waves, 0).splits
    for _ in range(2):
        found = load_shared(tmp_path, "sines", lambda: splits)
        assert found is not splits
        for part in ("train", "validation", "reference"):
            a, b = getattr(found, part), getattr(splits, part)
            assert torch.equal(a.targets, b.targets)
            assert (a.targets.dtype, a.regression) == (torch.float32, True)
