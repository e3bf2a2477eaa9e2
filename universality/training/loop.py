"""The one training loop.

Everything that can happen at a step, a probe or a change of the learning rate, is an event known
before the loop starts. Between two events runs a bare inner loop.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from universality import registry
from universality.architecture import Architecture
from universality.errors import MeasurementError
from universality.measures import HessianOperator, preserved, stability_threshold, top_eigenvalues
from universality.probe import Probe, Training
from universality.records import RunState, Series
from universality.spec import Recipe, RunSpec, derive_seed
from universality.task import Splits
from universality.training.batches import Batches
from universality.training.objective import objective
from universality.training.optimizers import RateSchedule, build_optimizer

_BLOCK = 200
"""Updates between two checks for a loss that is not finite."""


@dataclass(slots=True)
class Trained:
    """What a training leaves: series, arrays, facts, and the network itself."""

    state: RunState
    series: dict[str, Series]
    arrays: dict[tuple[str, int], NDArray[Any]]
    facts: dict[str, Any]
    net: nn.Module
    seconds: float


def build_network(spec: RunSpec, architecture: Architecture, splits: Splits) -> nn.Module:
    """The network of a run at initialisation; depends on the architecture and the seed only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("init", *map(str, spec.architecture.identity()), spec.seed))
        return architecture.build(splits.inputs, splits.outputs)


def train(
    spec: RunSpec,
    architecture: Architecture,
    splits: Splits,
    observe: Mapping[str, Sequence[int]],
    device: torch.device,
) -> Trained:
    """Train one run and record what `observe` asks: probe addresses and their steps.

    The same spec gives bit-identical weights on a CPU whatever is observed. A loss or a weight that
    is not finite ends the run with the state `diverged`; what was recorded until then is kept.
    """
    with torch.random.fork_rng(devices=[]):
        # Dropout draws from the global generator, which otherwise knows what this process ran before.
        torch.manual_seed(derive_seed("noise", spec.seed))
        return _train(spec, architecture, splits, observe, device)


def _train(
    spec: RunSpec,
    architecture: Architecture,
    splits: Splits,
    observe: Mapping[str, Sequence[int]],
    device: torch.device,
) -> Trained:
    started = time.perf_counter()
    recipe = spec.recipe
    splits = splits.to(device)
    net = build_network(spec, architecture, splits).to(device)
    net.train()
    facts: dict[str, Any] = {
        "parameters": sum(p.numel() for p in net.parameters()),
        "taps": list(architecture.taps(net)),
    }
    lr = recipe.lr or _stable_rate(spec, net, splits, facts)
    facts |= {"lr": lr, "train_rows": len(splits.train), "outputs": splits.outputs}
    optimizer = build_optimizer(recipe, net.parameters(), lr)

    recorder = _Recorder(spec, observe, net, architecture, splits, optimizer, device)
    step_once = _stepper(recipe, spec.seed, net, splits, optimizer, device)
    losses: list[Tensor] = []
    series_of_losses: list[NDArray[np.float64]] = []
    rates = RateSchedule(recipe)
    events = sorted(
        {s for steps in observe.values() for s in steps}
        | rates.changes
        | set(range(0, recipe.steps, _BLOCK))
        | {recipe.steps}
    )
    state: RunState = "done"
    for begin, end in zip(events, [*events[1:], recipe.steps], strict=True):
        if not recorder.record(begin):
            state = "diverged"
            break
        if begin in rates.changes:
            for group in optimizer.param_groups:
                group["lr"] = lr * rates.factor(begin)
        for step in range(begin, end):
            losses.append(step_once(step))
        if losses:
            block = torch.stack(losses).to("cpu", torch.float64).numpy()
            losses.clear()
            series_of_losses.append(block)
            if not np.isfinite(block).all():
                state = "diverged"
                break

    if not _finite_weights(net):
        state = "diverged"  # in the last update, which no later loss betrays
    loss = np.concatenate(series_of_losses) if series_of_losses else np.empty(0)
    if state == "diverged":
        facts["diverged_at"] = int(np.argmin(np.isfinite(loss))) if not np.isfinite(loss).all() else len(loss)
    series = recorder.series()
    series["train_loss"] = Series(np.arange(len(loss), dtype=np.int64), loss)
    seconds = time.perf_counter() - started
    facts |= {"probe_seconds": round(recorder.seconds, 3), "seconds": round(seconds, 3)}
    return Trained(state, series, recorder.arrays, facts, net, seconds)


@torch.no_grad()
def _finite_weights(net: nn.Module) -> bool:
    return all(bool(p.isfinite().all()) for p in net.parameters())


def _stepper(
    recipe: Recipe,
    seed: int,
    net: nn.Module,
    splits: Splits,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
) -> Any:
    """The update as a function of the step; returns the loss before it, still on the device."""
    inputs, targets, loss_of = splits.train.inputs, splits.train.targets, objective(recipe)

    def update(batch: Tensor, labels: Tensor) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(net(batch), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    if recipe.batch_size == 0 or recipe.batch_size >= len(targets):
        return lambda step: update(inputs, targets)
    batches = Batches(len(targets), recipe.batch_size, seed, device)

    def update_rows(step: int) -> Tensor:
        rows = batches.rows(step)
        return update(inputs.index_select(0, rows), targets.index_select(0, rows))

    return update_rows


def _stable_rate(spec: RunSpec, net: nn.Module, splits: Splits, facts: dict[str, Any]) -> float:
    """lr at which the stability threshold is `lr_over_stability` times the initial sharpness.

    The threshold is inversely proportional to lr, so its value at lr = 1 gives the rate. Where
    updates see batches, at most 4096 rows scale the rate; a full-batch run needs all of them.
    """
    recipe = spec.recipe
    train, most = splits.train, 4096
    if recipe.batch_size and len(train) > most:
        order = torch.Generator().manual_seed(derive_seed("stable_rate_rows", spec.seed))
        train = train.take(torch.randperm(len(train), generator=order)[:most].to(train.targets.device))
    params = [p for p in net.parameters() if p.requires_grad]
    loss_of = objective(recipe)
    with preserved(net):
        hessian = HessianOperator(lambda: loss_of(net(train.inputs), train.targets), params)
        generator = torch.Generator().manual_seed(derive_seed("stable_rate", spec.seed))
        top = top_eigenvalues(
            hessian, hessian.dim, generator=generator, tolerance=1e-3, device=params[0].device
        )
    sharpness = float(top.values[0])
    facts["initial_sharpness"] = sharpness
    if not sharpness > 0 or not math.isfinite(sharpness):
        raise ValueError(f"initial sharpness is {sharpness}: no learning rate follows from it")
    at_unit_rate = stability_threshold(build_optimizer(recipe, params, lr=1.0))
    return at_unit_rate / (recipe.lr_over_stability * sharpness)


class _Recorder:
    """Calls probes at their steps and keeps what they return."""

    def __init__(
        self,
        spec: RunSpec,
        observe: Mapping[str, Sequence[int]],
        net: nn.Module,
        architecture: Architecture,
        splits: Splits,
        optimizer: torch.optim.Optimizer,
        device: torch.device,
    ) -> None:
        self._spec, self._net, self._device = spec, net, device
        self._context = (architecture, splits, spec.recipe, optimizer)
        self._at: dict[int, list[str]] = defaultdict(list)
        self._probes: dict[str, Probe] = {}
        for address, steps in sorted(observe.items()):
            self._probes[address] = registry.resolve("probe", address)
            for step in steps:
                self._at[step].append(address)
        self._points: dict[str, list[tuple[int, float]]] = defaultdict(list)
        self.arrays: dict[tuple[str, int], NDArray[Any]] = {}
        self.seconds = 0.0

    def record(self, step: int) -> bool:
        """False where the network has left the finite numbers, so that nothing can be measured."""
        for address in self._at.get(step, ()):
            started = time.perf_counter()
            seed = derive_seed("probe", address, self._spec.id, step)
            architecture, splits, recipe, optimizer = self._context
            training = Training(
                net=self._net,
                architecture=architecture,
                splits=splits,
                recipe=recipe,
                optimizer=optimizer,
                device=self._device,
                step=step,
                generator=torch.Generator().manual_seed(seed),
            )
            with preserved(self._net):
                try:
                    found = self._probes[address].record(training)
                except MeasurementError:
                    if self._finite():
                        raise
                    return False
            for key, value in found.items():
                if isinstance(value, Tensor):
                    self.arrays[f"{address}.{key}", step] = value.detach().cpu().numpy()
                else:
                    self._points[f"{address}.{key}"].append((step, float(value)))
            self.seconds += time.perf_counter() - started
        return True

    @torch.no_grad()
    def _finite(self) -> bool:
        _, splits, recipe, _ = self._context
        loss = objective(recipe)(self._net(splits.train.inputs), splits.train.targets)
        return bool(loss.isfinite())

    def series(self) -> dict[str, Series]:
        return {
            name: Series(
                np.array([s for s, _ in points], dtype=np.int64),
                np.array([v for _, v in points], dtype=np.float64),
            )
            for name, points in self._points.items()
        }
