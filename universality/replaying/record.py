"""Probes beside a stored training: each is called at the steps that are stored, by the code of the benchmark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from universality.errors import MeasurementError, described
from universality.plugin import registry
from universality.plugin.kit.updates import as_updated
from universality.plugin.randomness import undisturbed
from universality.plugin.rates import RateSchedule
from universality.plugin.settings import default_settings
from universality.plugin.spec import Loss, Recipe, RunSpec, derive_seed
from universality.plugin.task import Splits
from universality.plugin.trajectory import Series
from universality.replaying.features import StoredFeatures
from universality.replaying.features import record as record_features
from universality.replaying.loading import BareWeights, load_weights
from universality.replaying.manifest import recipe_of
from universality.replaying.stored import StoredSeries
from universality.replaying.subject import Subject
from universality.train.engine.member import Member
from universality.train.engine.optimizers import build_optimizer, trainable
from universality.train.engine.recorder import Recorder

FROM_FEATURES = ("taps", "outputs", "collapse", "accuracy")
STAND_IN_RATE = 1e-12


@dataclass(slots=True)
class Observed:
    """What was recorded of one series.

    Args:
        spec: its recipe is an `UnknownRecipe` where the manifest has none.
        failures: what probes raised, by address.
        unused: stored names that the network has no place for.
    """

    series: StoredSeries
    spec: RunSpec
    splits: Splits
    recorded: dict[str, Series] = field(default_factory=dict)
    arrays: dict[tuple[str, int], NDArray[Any]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()


class NoState(Mapping[Any, Any]):
    """The state of an optimizer that checkpoints do not hold: reading it is an error."""

    def __getitem__(self, key: Any) -> Any:
        raise MeasurementError("it needs the optimizer's state, such as its momenta, which is not stored")

    def __iter__(self) -> Iterator[Any]:
        return self[0]  # type: ignore[no-any-return]

    def __len__(self) -> int:
        return self[0]  # type: ignore[no-any-return]


def spec_of(series: StoredSeries, subject: Subject) -> RunSpec:
    loss: Loss = "mse" if subject.splits_of(series).train.regression else "cross_entropy"
    recipe: Any = recipe_of(series.manifest, series.last, loss, where=str(series.folder))
    architecture, task = subject.parts
    labels = {"random_labels": series.manifest.random_labels}
    task = replace(task, params=tuple({**dict(task.params), **labels}.items()))
    return RunSpec(architecture, task, recipe, series.seed)


def observe(series: StoredSeries, subject: Subject, at: Mapping[str, tuple[int, ...]]) -> Observed:
    """Call each probe at its steps; what one raises ends it, and is kept.

    Cost: of a step, its weights read once, and the probes.

    Raises:
        BadParameter: weights of another network than the subject's.
    """
    spec, splits = spec_of(series, subject), subject.splits_of(series)
    out = Observed(series, spec, splits)
    from_features = subject.make is None
    of_net = {a: s for a, s in at.items() if not from_features or _name(a) not in FROM_FEATURES}
    of_features = {a: s for a, s in at.items() if a not in of_net}
    _observe_features(series, out, of_features)
    weights = next(iter(series.steps.values())).weights
    if of_net and not weights:
        out.failures |= dict.fromkeys(of_net, "it needs weights, and features alone are stored")
    elif of_net:
        make = subject.make or (lambda: BareWeights(weights))
        _observe_net(series, subject, out, make(), of_net)
    if not subject.held_out:
        for name, each in out.recorded.items():
            if name.rpartition(".")[2].startswith("validation"):
                out.recorded[name] = Series(each.steps, np.full(len(each), np.nan))
    return out


def _observe_features(series: StoredSeries, out: Observed, at: Mapping[str, tuple[int, ...]]) -> None:
    points: dict[str, list[tuple[int, float]]] = {}
    for address, steps in at.items():
        probe = registry.resolve("probe", address)
        for step in steps:
            generator = torch.Generator().manual_seed(derive_seed("probe", address, out.series.name, step))
            try:
                with default_settings():
                    values = record_features(probe, StoredFeatures(series.steps[step].features), generator)
            except Exception as error:
                out.failures[address] = _told(step, error)
                break
            for key, value in values.items():
                name = f"{address}.{key}"
                if isinstance(value, Tensor):
                    out.arrays[name, step] = value.numpy()
                else:
                    points.setdefault(name, []).append((step, float(value)))
    for name, each in points.items():
        out.recorded[name] = Series(
            np.array([step for step, _ in each], np.int64), np.array([value for _, value in each], np.float64)
        )


def _observe_net(
    series: StoredSeries, subject: Subject, out: Observed, net: nn.Module, at: Mapping[str, tuple[int, ...]]
) -> None:
    recipe: Any = out.spec.recipe
    known = isinstance(recipe, Recipe)
    # An unknown recipe goes by the one that least is derived for, as an optimizer that `watch` does not know.
    told = (
        recipe
        if known
        else Recipe(steps=max(1, recipe.steps), optimizer="adamw", lr=STAND_IN_RATE, loss=recipe.loss)
    )
    member = Member(replace(out.spec, recipe=told), subject.architecture, out.splits, at)
    device = torch.device("cpu")
    recorder = Recorder(member, net, out.splits, device)
    recorder.recipe = recipe
    as_updated(net)
    with undisturbed(device), default_settings():
        optimizer: Any = _optimizer(told, net) if known else _NoOptimizer()
        for step in sorted({step for steps in at.values() for step in steps}):
            where = f"{series.folder}, step {step}"
            out.unused = load_weights(net, series.steps[step].weights, where=where)
            if known:
                rate = told.lr * RateSchedule(told).factor(min(step, told.steps - 1))
                for group in optimizer.param_groups:
                    group["lr"] = rate
            for address in recorder.due[step]:
                if address not in out.failures:
                    _record(recorder, address, step, optimizer, out)
    out.recorded |= recorder.series()
    out.arrays |= recorder.arrays


def _record(recorder: Recorder, address: str, step: int, optimizer: Any, out: Observed) -> None:
    try:
        recorder.record_one(address, step, optimizer)
    except Exception as error:
        out.failures[address] = _told(step, error)


def _optimizer(recipe: Recipe, net: nn.Module) -> torch.optim.Optimizer:
    """As a recipe names it, without the state that it had."""
    optimizer = build_optimizer(recipe, trainable(net), recipe.lr)
    if recipe.optimizer != "sgd" or recipe.momentum:
        optimizer.state = NoState()  # type: ignore[assignment]
    return optimizer


class _NoOptimizer(torch.optim.Optimizer):
    def __init__(self) -> None:
        """It has no parameters, no settings and no state."""

    def __getattr__(self, name: str) -> Any:
        raise MeasurementError(
            "it needs the optimizer of the training, which nobody told", do='"recipe" in manifest.json'
        )


def _told(step: int, error: Exception) -> str:
    return f"at step {step}: {error if isinstance(error, MeasurementError) else described(error)}"


def _name(address: str) -> str:
    return address.partition("[")[0]
