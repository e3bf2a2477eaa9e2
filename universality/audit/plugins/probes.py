"""Questions to a probe."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from universality.audit.plugins.questions import Finding, NotAskedError, finding
from universality.errors import MeasurementError
from universality.plugin import registry
from universality.plugin.probe import Probe
from universality.plugin.registry import component
from universality.plugin.spec import Recipe, RunSpec
from universality.plugin.task import Splits, Task
from universality.train.engine.loop import train
from universality.train.engine.member import Trained

ARCHITECTURE, TASK = "mlp[width=8,depth=2]", "gaussian_mixture[subset=48]"
RECIPE = Recipe(steps=3, lr=0.01, optimizer="adam", batch_size=16)
"""Of momentum and batches: what a probe does to optimizer or randomness shows in the updates after it."""
STEPS = (0, 2)


def check_probe(plugin: Probe, data_root: Path) -> Iterator[Finding]:
    """What it records of a tiny training at two steps, and that the training does not notice."""
    task: Task = registry.resolve("task", TASK)
    splits = task.load(np.random.default_rng(0), data_root)
    yield finding("its cost is a number of gradients", lambda: _cost(plugin, task, data_root))
    address, runs = str(component(plugin)), list[Trained]()

    def record() -> None:
        try:
            runs.extend(_trained(copy.deepcopy(splits), {address: STEPS}) for _ in range(2))
        except MeasurementError as error:
            raise NotAskedError(f"it refuses {ARCHITECTURE} on {TASK}: {error.got or error.what}") from error

    recording = finding(f"it records at steps {STEPS[0]} and {STEPS[1]} of a tiny training", record)
    yield recording
    if recording.wrong or recording.skipped:
        return
    first, again = runs
    yield finding("it gives numbers or tensors by name", lambda: _given(first, address))
    yield finding("what it gives is finite", lambda: _finite(first))
    yield Finding("the same training gives the same", "" if _same(first, again) else "two trainings differ")
    seen = copy.deepcopy(splits)
    watched, alone = _trained(seen, {address: STEPS}), _trained(copy.deepcopy(splits), {})
    left_alone = all(
        torch.equal(a, b)
        for a, b in zip(watched.net.state_dict().values(), alone.net.state_dict().values(), strict=True)
    )
    yield Finding(
        "the training is left alone",
        "" if left_alone else "the training ends at other weights with it: experiment on training.fork()",
    )
    yield Finding(
        "the data is left alone", "" if _same_data(seen, splits) else "it writes to training.splits"
    )


def _trained(splits: Splits, observe: Mapping[str, Sequence[int]]) -> Trained:
    architecture, task = registry.resolve("architecture", ARCHITECTURE), registry.resolve("task", TASK)
    spec = RunSpec(component(architecture), component(task), RECIPE, 0)
    return train(spec, architecture, splits, observe, torch.device("cpu"))


def _cost(plugin: Probe, task: Task, data_root: Path) -> str:
    cost = float(plugin.cost(RECIPE, task.signature(data_root)))
    return "" if 0 <= cost < math.inf else f"got {cost:g}, expected gradients of the full loss, 0 or more"


def _given(run: Trained, address: str) -> str:
    names = {*run.series, *(name for name, _ in run.arrays)}
    return "" if any(name.startswith(f"{address}.") for name in names) else "record() returns nothing"


def _finite(run: Trained) -> str:
    """Infinite is wrong; no number is a probe's way of saying that there is none, which it should explain."""
    for name, series in run.series.items():
        if np.isinf(series.values).any():
            return f"{name} is infinite at step {series.steps[np.isinf(series.values)][0]}"
        if np.isnan(series.values).any():
            step = series.steps[np.isnan(series.values)][0]
            raise NotAskedError(f"{name} is no number at step {step}: let its docstring say when that is")
    for (name, step), array in run.arrays.items():
        if np.issubdtype(array.dtype, np.inexact) and not np.isfinite(array).all():
            return f"{name} is not finite at step {step}"
    return ""


def _same(a: Trained, b: Trained) -> bool:
    series = a.series.keys() == b.series.keys() and all(
        np.array_equal(a.series[name].values, b.series[name].values, equal_nan=True) for name in a.series
    )
    arrays = a.arrays.keys() == b.arrays.keys() and all(
        np.array_equal(x, b.arrays[key], equal_nan=np.issubdtype(x.dtype, np.inexact))
        for key, x in a.arrays.items()
    )
    return series and arrays


def _same_data(a: Splits, b: Splits) -> bool:
    parts = [(getattr(a, name), getattr(b, name)) for name in ("train", "validation", "reference")]
    return all(torch.equal(x.inputs, y.inputs) and torch.equal(x.targets, y.targets) for x, y in parts)
