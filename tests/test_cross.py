"""Every architecture with every task: which pairs apply, and that a gradient reaches every parameter of these."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from universality.plugin import registry
from universality.plugin.architecture import InputSpec
from universality.plugin.kit.data import spaced

registry.load_plugins()

ROWS = 24
NARROW = {"resnet": "resnet[width=8,blocks=1]", "cnn": "cnn[width=8]", "kan": "kan[width=8]"}
ARCHITECTURES = registry.bare_addresses("architecture")
TASKS = registry.names("task")

FILES: dict[str, tuple[InputSpec, int]] = {
    "adult": (InputSpec("vector", (108,)), 2),
    "arrays": (InputSpec("image", (1, 16, 16)), 10),
    "california_housing": (InputSpec("vector", (8,)), 1),
    "char_lm": (InputSpec("tokens", (32,), 65), 65),
    "cifar10": (InputSpec("image", (3, 32, 32)), 10),
    "fashion_mnist": (InputSpec("image", (1, 28, 28)), 10),
    "hub_text": (InputSpec("tokens", (64,), 1002), 4),
    "kmnist": (InputSpec("image", (1, 28, 28)), 10),
    "mnist": (InputSpec("image", (1, 28, 28)), 10),
    "mnist1d": (InputSpec("sequence", (40, 1)), 10),
    "spoken_digits": (InputSpec("sequence", (64, 32)), 10),
    "spelling_to_sound": (InputSpec("tokens", (12,), 27), 15),
    "svhn": (InputSpec("image", (3, 32, 32)), 10),
    "ucr": (InputSpec("sequence", (150, 1)), 2),
    "word_lm": (InputSpec("tokens", (16,), 1001), 1001),
}
"""What the tasks look like that need files, as their own tests say; all others are loaded."""

REFUSED = {
    "cnn": {"vector"},
    "convnext": {"vector"},
    "resnet": {"vector"},
    "equivariant_cnn": {"vector", "tokens", "sequence"},
    "vit": {"vector", "tokens", "sequence"},
}

ONE_STEP = {(name, task) for name in ("gru", "lstm", "state_space") for task in ("sines", "zipf")}
"""One number, or one symbol, is a sequence of one step: there is no next one, to which a state is carried by parameters."""

UNSEEN = {"mixer": "tokens.2.bias"}
"""Added to all channels alike, which every normalisation after it takes out: its gradient is rounding."""


@cache
def examples(task: str) -> tuple[InputSpec, int, Tensor, Tensor]:
    """Shape, outputs, and rows of a task: some of its training rows, or made up where these are in files."""
    torch.manual_seed(0)
    if task not in FILES:
        splits = registry.resolve("task", task).load(np.random.default_rng(0), Path("/nowhere"))
        rows = splits.train.take(torch.from_numpy(spaced(len(splits.train), ROWS)))
        return splits.inputs, splits.outputs, rows.inputs, rows.targets
    spec, outputs = FILES[task]
    shape = (ROWS, *spec.shape)
    x = torch.randint(spec.vocabulary, shape) if spec.kind == "tokens" else torch.randn(shape)
    return spec, outputs, x, torch.arange(ROWS) % outputs if outputs > 1 else torch.randn(ROWS, 1)


def test_kinds_are_taken_or_refused_with_a_reason_and_most_pairs_apply() -> None:
    applies = {}
    for name in ARCHITECTURES:
        architecture = registry.resolve("architecture", name)
        for task in TASKS:
            spec = examples(task)[0]
            reason = architecture.reject(spec)
            assert bool(reason) == (spec.kind in REFUSED.get(name, set())), (name, task)
            assert "does not take" not in reason, "the generic reason explains nothing"
            applies[name, task] = not reason and (name, task) not in ONE_STEP
    assert {examples(task)[0].kind for task in TASKS} == {"vector", "image", "tokens", "sequence"}
    # Tasks of exact theory are made for one network, and no part of a grid.
    grid = [
        on for (_, task), on in applies.items() if registry.plugin_class("task", task).family != "calibration"
    ]
    assert sum(grid) >= 0.85 * len(grid)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_gradient_reaches_every_parameter_on_every_task_that_applies(name: str) -> None:
    architecture = registry.resolve("architecture", NARROW.get(name, name))
    # Of tasks that look alike, whose data are made up alike, one.
    for task in {FILES.get(task, task): task for task in TASKS}.values():
        spec, outputs, x, y = examples(task)
        if architecture.reject(spec):
            continue
        torch.manual_seed(0)
        net = architecture.build(spec, outputs)
        logits = net(x)
        assert logits.shape == (len(x), outputs), task
        loss = (functional.mse_loss if y.is_floating_point() else functional.cross_entropy)(logits, y)
        loss.backward()
        assert loss.isfinite(), task
        for path, parameter in net.named_parameters():
            if parameter.requires_grad and not path.endswith(UNSEEN.get(name, "(none)")):
                assert parameter.grad is not None, (task, path)
                assert parameter.grad.isfinite().all(), (task, path)
                assert parameter.grad.abs().max() > 0 or (name, task) in ONE_STEP, (task, path)
