"""The learning rate from the sharpness at initialisation: that of a dense Hessian, or none."""

from __future__ import annotations

import contextlib
import copy
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from universality.errors import MeasurementError
from universality.measures import EigenResult, top_eigenvalues
from universality.plugin import registry
from universality.plugin.architecture import InputSpec
from universality.plugin.registry import component
from universality.plugin.spec import Recipe, RunSpec
from universality.plugin.task import Split, Splits
from universality.train.engine import rate
from universality.train.engine.loop import train, train_stack
from universality.train.engine.member import Member, Trained, build_network

CPU = torch.device("cpu")
SMALL = "mlp[width=6,depth=1,activation=tanh]"


def made_up_splits(seed: int = 0, rows: int = 46, side: int = 8, classes: int = 4) -> Splits:
    generator = torch.Generator().manual_seed(seed)

    def split(n: int) -> Split:
        images = torch.randn(n, 1, side, side, generator=generator)
        return Split(images, torch.randint(classes, (n,), generator=generator))

    return Splits(split(rows), split(23), split(31), InputSpec("image", (1, side, side)), classes)


def spec_of(address: str, recipe: Recipe, seed: int = 0) -> RunSpec:
    parts = registry.resolve("architecture", address), registry.resolve("task", "digits")
    return RunSpec(component(parts[0]), component(parts[1]), recipe, seed)


def trained(address: str, recipe: Recipe, splits: Splits, seed: int = 0) -> Trained:
    architecture = registry.resolve("architecture", address)
    return train(spec_of(address, recipe, seed), architecture, splits, {}, CPU)


def half_squared_error(logits: Tensor, targets: Tensor) -> Tensor:
    onehot = torch.zeros_like(logits)
    onehot[torch.arange(len(targets)), targets] = 1.0
    return 0.5 * (logits - onehot).square().sum() / len(targets)


def dense_hessian(net: nn.Module, splits: Splits) -> Tensor:
    """Hessian of the squared-error training loss in float64, column by column from autograd."""
    net = net.double()
    params = dict(net.named_parameters())
    shapes = [p.shape for p in params.values()]
    inputs, targets = splits.train.inputs.double(), splits.train.targets

    def loss(flat: Tensor) -> Tensor:
        parts = flat.split([s.numel() for s in shapes])
        weights = {n: t.view(s) for n, t, s in zip(params, parts, shapes, strict=True)}
        return half_squared_error(functional_call(net, weights, (inputs,)), targets)

    start = torch.cat([p.detach().flatten() for p in params.values()])
    hessian: Tensor = torch.autograd.functional.hessian(loss, start)
    return hessian


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_the_learning_rate_is_derived_from_the_initial_sharpness(momentum: float, nesterov: bool) -> None:
    recipe = Recipe(steps=1, lr_over_stability=1.7, momentum=momentum, nesterov=nesterov, loss="mse")
    splits, address = made_up_splits(side=3), "mlp[width=5,depth=1,activation=tanh]"
    architecture = registry.resolve("architecture", address)
    net = build_network(spec_of(address, recipe), architecture, splits)
    sharpness = float(torch.linalg.eigvalsh(dense_hessian(net, splits))[-1])
    # Heavy ball leaves the unit circle at lr = 2(1 + b)/h, Nesterov at 2(1 + b)/((1 + 2b) h).
    stable = 2 * (1 + momentum) / sharpness / (1 + 2 * momentum if nesterov else 1)
    facts = trained(address, recipe, splits).facts
    assert facts["initial_sharpness"] == pytest.approx(sharpness, rel=1e-3)
    assert facts["lr"] == pytest.approx(stable / 1.7, rel=1e-3)


def test_a_sharpness_that_was_not_found_within_the_budget_gives_no_learning_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rate, "MAX_PRODUCTS", 3)
    with pytest.raises(MeasurementError) as caught:
        trained(SMALL, Recipe(steps=1, lr_over_stability=2.0), made_up_splits(side=3), seed=7)
    error = caught.value
    assert error.what == "no learning rate follows from the sharpness at initialisation"
    assert error.where == f"{SMALL} on digits, seed 7"
    assert re.fullmatch(r"[\d.]+, relative error estimate [\d.e-]+ after 3 products", error.got)
    assert error.expected == "a positive number, found within 3 products and known to 0.01"
    assert "`lr`" in error.do


@pytest.mark.parametrize(("error", "good"), [(0.005, True), (0.02, False)])
def test_rounding_may_leave_a_percent_of_the_sharpness_in_doubt(
    error: float, good: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def coarse(*arguments: Any, **keywords: Any) -> EigenResult:
        top = top_eigenvalues(*arguments, **keywords)
        assert top.converged
        return replace(top, error_estimates=error * top.values, converged=False)

    monkeypatch.setattr(rate, "top_eigenvalues", coarse)
    with contextlib.nullcontext() if good else pytest.raises(MeasurementError, match="no learning rate"):
        trained(SMALL, Recipe(steps=1, lr_over_stability=2.0), made_up_splits(side=3))


def test_a_search_that_rounding_ended_is_repeated_in_double(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def coarse(operator: Any, *arguments: Any, **keywords: Any) -> EigenResult:
        top = top_eigenvalues(operator, *arguments, **keywords)
        seen.append(top.values.dtype)
        if len(seen) > 1:
            return top
        return replace(top, error_estimates=0.03 * top.values, converged=False)

    recipe, splits = Recipe(steps=1, lr_over_stability=2.0), made_up_splits(side=3)
    usual = trained(SMALL, recipe, splits)
    monkeypatch.setattr(rate, "top_eigenvalues", coarse)
    found = trained(SMALL, recipe, splits)
    assert len(seen) == 2
    assert found.facts["lr"] == pytest.approx(usual.facts["lr"], rel=1e-5)
    assert found.facts["lr"] != usual.facts["lr"], "the products were taken in another precision"
    assert {p.dtype for p in found.net.parameters()} == {torch.float32}


def test_a_loss_without_curvature_gives_no_learning_rate() -> None:
    with pytest.raises(MeasurementError) as caught:
        trained(
            "mlp[width=6,depth=1,init_scale=0,bias=false]",
            Recipe(steps=1, lr_over_stability=2.0, loss="mse"),
            made_up_splits(side=3),
        )
    assert caught.value.got.startswith("0, relative error estimate nan")


class ZeroBranch(nn.Module):
    """Two layers whose branch starts at zero, so that dead units sit on the kink of ReLU."""

    def __init__(self, outputs: int, scale: float) -> None:
        super().__init__()
        self.stem, self.branch, self.readout = nn.Linear(9, 8), nn.Linear(8, 8), nn.Linear(8, outputs)
        self.scale = nn.Parameter(torch.full((8,), scale))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.stem(x.flatten(1)).relu()
        branch = 8 * self.branch(shortcut)
        logits: Tensor = self.readout((shortcut + self.scale * branch).relu())
        return logits


def zero_branch(scale: float, splits: Splits) -> tuple[RunSpec, nn.Module]:
    torch.manual_seed(0)
    recipe = Recipe(steps=1, lr_over_stability=2.0, loss="mse")
    return spec_of(SMALL, recipe), ZeroBranch(splits.outputs, scale)


def test_on_a_kink_the_sharpness_is_that_of_the_side_that_training_goes_to() -> None:
    splits = made_up_splits(side=3, rows=100)  # more than the rows on which a kink is looked for
    spec, net = zero_branch(0.0, splits)
    before = copy.deepcopy(net.state_dict())
    found_rate, found = rate.StableRates().of(spec, net, splits.train)
    assert found.kink > 1e-3
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())

    at_kink = float(torch.linalg.eigvalsh(dense_hessian(copy.deepcopy(net), splits))[-1])
    loss = half_squared_error(net(splits.train.inputs), splits.train.targets)
    weights = list(net.parameters())
    gradients = torch.autograd.grad(loss, weights)
    size, length = (torch.cat([t.flatten() for t in ts]).norm() for ts in (gradients, weights))
    with torch.no_grad():
        for weight, gradient in zip(weights, gradients, strict=True):
            weight -= 1e-4 * length / size * gradient
    off = float(torch.linalg.eigvalsh(dense_hessian(net, splits))[-1])
    assert found.sharpness == pytest.approx(off, rel=1e-3)
    assert found_rate == pytest.approx(2 / (2 * off), rel=1e-3)
    assert abs(off / at_kink - 1) > 0.01, "another number than on the kink"


def test_off_kinks_the_rate_is_to_the_last_bit_what_it_was_without_the_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    splits = made_up_splits(side=3)
    addresses = SMALL, "mlp[width=6,depth=2]", "cnn[width=2,depth=2]"
    recipe = Recipe(steps=1, lr_over_stability=2.0, loss="mse")
    asked = [trained(address, recipe, splits).facts for address in addresses]
    monkeypatch.setattr(rate, "_kink", lambda *_: 0.0)
    for address, facts in zip(addresses, asked, strict=True):
        assert trained(address, recipe, splits).facts["lr"] == facts["lr"]
        assert "initial_kink" not in facts


def test_runs_of_a_stack_that_start_alike_share_the_search_for_the_sharpness(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    searched: list[RunSpec] = []
    start_of = rate.start_of

    def counted(spec: RunSpec, net: nn.Module, train: Split) -> rate.Start:
        searched.append(spec)
        return start_of(spec, net, train)

    monkeypatch.setattr(rate, "start_of", counted)
    recipes = [Recipe(steps=3, lr_over_stability=over, loss="mse") for over in (2.0, 4.0, 8.0)]
    specs = [replace(spec_of(SMALL, recipe), seed=seed) for seed in (0, 1) for recipe in recipes]
    splits = made_up_splits()
    members = [Member(spec, registry.resolve("architecture", SMALL), splits, {}) for spec in specs]
    together = train_stack(members, CPU)
    assert [spec.seed for spec in searched] == [0, 1]
    for member, run in zip(members, together, strict=True):
        (alone,) = train_stack([member], CPU)
        assert (run.facts["lr"], run.facts["initial_sharpness"]) == (
            alone.facts["lr"],
            alone.facts["initial_sharpness"],
        )
        assert np.array_equal(run.series["train_loss"].values, alone.series["train_loss"].values)
