"""What a series is of: a network and its data where they are known, else features alone, or weights alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from universality.errors import BadParameter, MeasurementError
from universality.plugin import registry
from universality.plugin.architecture import Architecture, InputSpec
from universality.plugin.cell import Cell
from universality.plugin.randomness import seeded
from universality.plugin.settings import default_settings
from universality.plugin.spec import Component, Recipe, RunSpec
from universality.plugin.task import Split, Splits, Task
from universality.replaying.features import splits_of, taps_of
from universality.replaying.loading import NO_NETWORK, BareWeights
from universality.replaying.stored import StoredSeries
from universality.train.worker import load_splits
from universality.watching.rows import input_spec, take_rows
from universality.watching.subject import WatchedData, check_network, watched_net

WHERE = "replay"
OWN_DATA = Component("data", (("label_noise", 0.0), ("random_labels", False), ("subset", 0)))
"""Rows of the user's own in specs, with the parameters that every task has."""


class NoNetwork(Architecture):
    """Of features, or of weights alone."""

    def __init__(self, name: str, layers: tuple[str, ...]) -> None:
        self.label, self.layers = name, layers

    def build(self, inputs: InputSpec, outputs: int) -> nn.Module:
        raise MeasurementError(NO_NETWORK)

    def taps(self, net: nn.Module) -> dict[str, nn.Module]:
        raise MeasurementError(NO_NETWORK)

    def readout(self, net: nn.Module) -> nn.Linear:
        raise MeasurementError(NO_NETWORK)


NoNetwork.name = "this network"


@dataclass(frozen=True, slots=True)
class UnknownLabels(Split):
    """Rows of which the labels that the network was trained on are not known."""

    @property
    def regression(self) -> bool:
        return False

    def __len__(self) -> int:
        return len(self.inputs)

    def __getattribute__(self, name: str) -> Any:
        if name == "targets":
            raise MeasurementError(
                "the random labels of this series are not known",
                do="give the task by its address, which draws them again, or store features with their labels",
            )
        return object.__getattribute__(self, name)


@dataclass(frozen=True, slots=True)
class Subject:
    """One network on its data.

    Args:
        architecture, task: as run sets are asked about them; `parts` names them in specs.
        splits_of: the data of a series.
        make: a network to put weights into; None where none is known.
        layers: names of its taps.
        features: numbers that the readout sees of a row.
        held_out: whether there are validation rows.
    """

    architecture: Architecture
    task: Task
    parts: tuple[Component, Component]
    splits_of: Callable[[StoredSeries], Splits]
    make: Callable[[], nn.Module] | None
    layers: tuple[str, ...]
    features: int
    held_out: bool
    cell: Cell | None


def bare(series: StoredSeries) -> Subject:
    """Of a series alone: its features, or weights that nothing computes with."""
    first = next(iter(series.steps.values()))
    label = Component(series.manifest.network or "network"), OWN_DATA
    if not first.features:
        architecture = NoNetwork(series.manifest.network, ())
        nothing = Split(torch.zeros(1, 1), torch.zeros(1, dtype=torch.int64))
        splits = Splits(nothing, nothing, nothing, InputSpec("vector", (1,)), 1)
        make = lambda: BareWeights(first.weights)  # noqa: E731
        task = WatchedData(splits=splits)
        return Subject(architecture, task, label, lambda _: splits, make, (), 0, False, None)
    layers, splits = taps_of(series), splits_of(series)
    architecture, task = NoNetwork(series.manifest.network, layers), WatchedData(splits=splits)
    width = first.features.shapes.get(
        "train.penultimate", first.features.shapes.get("reference.penultimate", (0, 0))
    )[-1]
    cell = Cell(architecture, task, task.signature(Path()), width, len(layers))
    held = "validation.penultimate" in first.features.files
    return Subject(architecture, task, label, splits_of, None, layers, width, held, cell)


def of_address(architecture: str, task: str, data_root: Path) -> Subject:
    """An architecture and a task by their addresses, as the benchmark trains them.

    Raises what the registry and the task raise, and `BadParameter` for inputs that the architecture refuses.
    """
    net_plugin: Architecture = registry.resolve("architecture", architecture)
    task_plugin: Task = registry.resolve("task", task)
    signature = task_plugin.signature(data_root)
    if reason := net_plugin.reject(signature.inputs):
        raise BadParameter(
            "an architecture that refuses these inputs",
            where=WHERE,
            got=reason,
            do="name another architecture or task",
        )

    def make() -> nn.Module:
        with default_settings(), seeded(0):
            return net_plugin.build(signature.inputs, signature.outputs)

    def splits(series: StoredSeries) -> Splits:
        own = registry.component(replace(task_plugin, random_labels=series.manifest.random_labels))
        spec = RunSpec(parts[0], own, Recipe(steps=0), series.seed)
        return load_splits(spec, data_root)

    parts = registry.component(net_plugin), registry.component(task_plugin)
    net = make()
    layers, width = tuple(net_plugin.taps(net)), net_plugin.readout(net).in_features
    cell = Cell(net_plugin, task_plugin, signature, width, len(layers))
    return Subject(net_plugin, task_plugin, parts, splits, make, layers, width, True, cell)


def of_own(net: nn.Module, data: Any, validation: Any, rows: int, notes: list[str]) -> Subject:
    """A module and rows of the user's own; rows are taken once, and sentences on them are added to the notes.

    Raises what `watch` raises of such.
    """
    device = torch.device("cpu")
    net = copy.deepcopy(net).to(device)
    taken = take_rows(data, rows, device, where=f"{WHERE}, data")
    notes.append(f"training rows: {taken.note}")
    train = held = taken.split
    if validation is not None:
        other = take_rows(validation, rows, device, where=f"{WHERE}, validation")
        notes.append(f"validation rows: {other.note}, which are the reference rows too")
        held = other.split
    spec = input_spec(train.inputs, where=f"{WHERE}, data")
    splits = Splits(train, held, held, spec, outputs=0)
    splits = replace(splits, outputs=check_network(net, splits, device, notes, where=WHERE))
    architecture, task = watched_net(net, spec, splits.outputs, where=WHERE), WatchedData(splits=splits)
    if architecture.missing is not None:
        notes.append(f"no layers are known of this network: {architecture.missing.what}")
    width = architecture.readout(net).in_features if architecture.missing is None else 0
    cell = Cell(architecture, task, task.signature(Path()), width, len(architecture.places))

    def of(series: StoredSeries) -> Splits:
        if not series.manifest.random_labels:
            return splits
        unknown = [UnknownLabels(each.inputs, each.targets) for each in (splits.train, splits.validation)]
        return replace(splits, train=unknown[0], validation=unknown[1])

    parts = Component("network"), OWN_DATA
    make = lambda: copy.deepcopy(net)  # noqa: E731
    held_out = validation is not None
    return Subject(architecture, task, parts, of, make, architecture.places, width, held_out, cell)
