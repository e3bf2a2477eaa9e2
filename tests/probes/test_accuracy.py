"""The accuracy probe against a brute-force count in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from universality.plugin import registry
from universality.plugin.architecture import InputSpec
from universality.plugin.probe import Training
from universality.plugin.spec import Recipe
from universality.plugin.task import Split, Splits
from universality.probes import accuracy as probe

registry.load_plugins()


def training(address: str, recipe: Recipe, train_rows: int, validation_rows: int) -> Training:
    generator = torch.Generator().manual_seed(0)

    def split(n: int) -> Split:
        images = torch.randn(n, 1, 4, 4, generator=generator)
        return Split(images, torch.randint(5, (n,), generator=generator))

    inputs = InputSpec("image", (1, 4, 4))
    splits = Splits(split(train_rows), split(validation_rows), split(4), inputs, 5)
    architecture = registry.resolve("architecture", address)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = architecture.build(inputs, 5)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    cpu = torch.device("cpu")
    return Training(net, architecture, splits, recipe, optimizer, cpu, 0, torch.Generator())


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
@pytest.mark.parametrize("rows", [1, probe._ROWS, 2 * probe._ROWS + 137])
def test_accuracy_and_loss_are_those_of_one_pass_over_all_rows(loss: str, rows: int) -> None:
    seen = training("mlp[width=8]", Recipe(steps=1, lr=1.0, loss=loss), rows, rows + 1)
    found = probe.Accuracy().record(seen)
    for name in ("train", "validation"):
        split: Split = getattr(seen.splits, name)
        with torch.no_grad():
            logits = seen.net.double()(split.inputs.double()).numpy()
        seen.net.float()
        targets = split.targets.numpy()
        own = np.arange(len(targets)), targets
        if loss == "mse":
            residual = logits.copy()
            residual[own] -= 1
            expected = 0.5 * (residual**2).sum(1).mean()
        else:
            top = logits.max(1)
            expected = (np.log(np.exp(logits - top[:, None]).sum(1)) + top - logits[own]).mean()
        assert found[name] == pytest.approx((logits.argmax(1) == targets).mean(), abs=1e-12)
        assert found[f"{name}_loss"] == pytest.approx(expected, rel=1e-5)


def test_in_regression_only_losses_are_recorded() -> None:
    seen = training("mlp[width=8]", Recipe(steps=1, lr=1.0, loss="mse"), probe._ROWS + 3, 7)
    generator = torch.Generator().manual_seed(1)
    parts = {
        name: Split(split.inputs, torch.randn(len(split), 5, generator=generator))
        for name in ("train", "validation", "reference")
        for split in [getattr(seen.splits, name)]
    }
    seen.splits = replace(seen.splits, **parts)
    found = probe.Accuracy().record(seen)
    assert set(found) == {"train_loss", "validation_loss"}
    for name in ("train", "validation"):
        with torch.no_grad():
            distance = seen.net.double()(parts[name].inputs.double()) - parts[name].targets
        seen.net.float()
        assert found[f"{name}_loss"] == pytest.approx(0.5 * float(distance.square().sum(1).mean()), rel=1e-5)


def test_batch_normalisation_is_evaluated_with_its_running_statistics() -> None:
    recipe = Recipe(steps=1, lr=1.0)
    seen = training("resnet[width=4,blocks=1,stages=1]", recipe, 64, 5)
    found = probe.Accuracy().record(seen)["train_loss"]
    train = seen.splits.train

    def loss_in(mode: bool) -> float:
        seen.net.train(mode)
        with torch.no_grad():
            return float(torch.nn.functional.cross_entropy(seen.net(train.inputs), train.targets))

    assert found == pytest.approx(loss_in(False), rel=1e-6)
    assert found != pytest.approx(loss_in(True), rel=1e-3)
