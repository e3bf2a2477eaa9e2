"""What a caller, or a plugin, has set in torch changes no training and comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from universality.plugin import registry
from universality.plugin.registry import component
from universality.plugin.spec import Recipe, RunSpec
from universality.train.engine.loop import train
from universality.train.engine.member import Trained


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    yield
    torch.set_default_dtype(before)


@contextmanager
def default_device() -> Iterator[None]:
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


SETTINGS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "another device": default_device,
}


def trained() -> Trained:
    architecture = registry.resolve("architecture", "mlp[width=8,depth=2]")
    task = registry.resolve("task", "gaussian_mixture[dim=4,classes=3,subset=40]")
    recipe = Recipe(steps=6, lr=0.05, optimizer="adam", batch_size=16)
    spec = RunSpec(component(architecture), component(task), recipe, 0)
    observe = {"accuracy": (0, 6), "sharpness": (0, 6)}
    return train(
        spec, architecture, task.load(np.random.default_rng(0), Path()), observe, torch.device("cpu")
    )


@pytest.mark.parametrize("name", SETTINGS)
def test_no_setting_of_the_caller_changes_a_training(name: str) -> None:
    plain = trained()
    with SETTINGS[name]():
        before = torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled()
        found = trained()
        assert (torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled()) == before
    for key, weight in plain.net.state_dict().items():
        assert torch.equal(weight, found.net.state_dict()[key])
        assert found.net.state_dict()[key].dtype == torch.float32
