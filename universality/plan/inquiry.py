"""What planning asks of plugins, each question once: data, networks, what gradients and probes cost."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch

from universality.errors import BadParameter
from universality.plan.cost import GradientCost, gradient_cost, timed_gradient, try_request
from universality.plugin import registry
from universality.plugin.architecture import Architecture, InputSpec
from universality.plugin.asking import ask
from universality.plugin.probe import Probe
from universality.plugin.registry import Plugin, component
from universality.plugin.runs import Request
from universality.plugin.settings import default_settings
from universality.plugin.sources import split_edition
from universality.plugin.spec import Component, Recipe, RunSpec, canonical
from universality.plugin.task import Signature, Task
from universality.store.environment import memory_bytes
from universality.text import beside


class Built(NamedTuple):
    """What is known of a network that was built."""

    parameters: int
    features: int
    layers: int


class RecordCost(NamedTuple):
    """What one record of a probe takes: gradients of the full training loss, bytes of memory, and of disk."""

    gradients: float
    memory: float
    stored: float


class Inquiry:
    """Answers of plugins, kept: task data is loaded once per task, and every network is built once.

    Attributes:
        scales: of the inputs of each task, by address (`Signature.scale`).
    """

    def __init__(self, data_root: Path) -> None:
        self._data_root = data_root
        self._parts: dict[int, tuple[Plugin, Component, str]] = {}
        self._signatures: dict[str, Signature] = {}
        self._built: dict[tuple[str, InputSpec, int], Built] = {}
        self._gradients: dict[tuple[str, InputSpec, int, int], GradientCost] = {}
        self._probes: dict[str, Probe] = {}
        self._records: dict[tuple[str, Recipe, str, float, int], RecordCost] = {}
        self._tried: set[tuple[str, InputSpec, int, str, bool]] = set()
        self.scales: dict[str, float] = {}

    def component(self, plugin: Plugin) -> Component:
        """As `registry.component`; one object for one plugin."""
        return self._part(plugin)[1]

    def _part(self, plugin: Plugin) -> tuple[Plugin, Component, str]:
        """The plugin itself, so that no other gets its place in memory, its component, and what identifies it."""
        if (part := self._parts.get(id(plugin))) is None:
            described = component(plugin)
            part = self._parts[id(plugin)] = plugin, described, canonical(described.identity())
        return part

    def signature(self, task: Task) -> Signature:
        _, described, key = self._part(task)
        if key not in self._signatures:
            with default_settings():
                self._signatures[key] = ask(task, "read", lambda: task.signature(self._data_root))
            self.scales[str(described)] = self._signatures[key].scale
        return self._signatures[key]

    def built(self, architecture: Architecture, signature: Signature) -> Built:
        """Raises `BadParameter` for a network that cannot be built, or not be trained on this machine."""
        key = (self._part(architecture)[2], signature.inputs, signature.outputs)
        if key not in self._built:
            self._built[key] = ask(architecture, "build", lambda: _built(architecture, signature))
        return self._built[key]

    def try_network(self, spec: RunSpec, request: Request, observe: Iterable[str]) -> None:
        """Raises `MeasurementError` for a network that no update would reach, or a probe cannot look at."""
        if not spec.recipe.steps:
            return
        probes = [self._probe(split_edition(probe)[0]) for probe in observe]
        curvature = bool(spec.recipe.lr_over_stability) or any(probe.curvature for probe in probes)
        signature = self.signature(request.task)
        network = self._part(request.architecture)[2]
        key = (network, signature.inputs, signature.outputs, spec.recipe.loss, curvature)
        if key not in self._tried:
            self._tried.add(key)
            ask(
                request.architecture,
                "forward",
                lambda: try_request(request, signature, spec.recipe, curvature=curvature),
            )

    def gradient(self, request: Request, batch_size: int) -> GradientCost:
        """What one gradient costs here, measured once per network, data shape and number of rows; 0 is all rows."""
        signature = self.signature(request.task)
        network = self._part(request.architecture)[2], signature.inputs, signature.outputs

        def timed(rows: int) -> GradientCost:
            if (*network, rows) not in self._gradients:
                self._gradients[*network, rows] = ask(
                    request.architecture, "forward", lambda: timed_gradient(request, signature, rows)
                )
            return self._gradients[*network, rows]

        return gradient_cost(min(batch_size or signature.train_rows, signature.train_rows), timed)

    def record(
        self, address: str, recipe: Recipe, task: Task, row_bytes: float, parameters: int
    ) -> RecordCost:
        """Raises `BadParameter` where the probe cannot tell."""
        key = (address, recipe, self._part(task)[2], row_bytes, parameters)
        if key not in self._records:
            probe = self._probe(address)
            self._records[key] = _probe_cost(probe, recipe, self.signature(task), row_bytes, parameters)
        return self._records[key]

    def _probe(self, address: str) -> Probe:
        if address not in self._probes:
            self._probes[address] = registry.resolve("probe", address)
        return self._probes[address]


def _probe_cost(
    probe: Probe, recipe: Recipe, signature: Signature, row_bytes: float, parameters: int
) -> RecordCost:
    cost = ask(probe, "cost", lambda: float(probe.cost(recipe, signature)))
    needed = ask(probe, "memory", lambda: float(probe.memory(recipe, signature, row_bytes)))
    stored = ask(probe, "stored", lambda: float(probe.stored(signature, row_bytes, parameters)))
    for method, got, unit in (
        ("cost", cost, "gradients of the full training loss"),
        ("memory", needed, "bytes"),
        ("stored", stored, "bytes"),
    ):
        if not 0 <= got < math.inf:
            raise BadParameter(
                f"probe '{probe.name}' cannot be planned",
                where=f"{type(probe).__module__}, {method}()",
                got=f"{got:g}",
                expected=f"{unit}, 0 or more",
            )
    return RecordCost(cost, needed, stored)


def _built(architecture: Architecture, signature: Signature) -> Built:
    """Raises `BadParameter` for a network that cannot be built, or not be trained on this machine."""
    try:
        with default_settings(), torch.random.fork_rng(devices=[]):
            _check_fits(architecture, signature)
            net = architecture.build(signature.inputs, signature.outputs)
    except (RuntimeError, MemoryError, OverflowError, TypeError) as error:
        raise BadParameter(
            "a network cannot be built",
            where=str(component(architecture)),
            got=str(error).partition("\n")[0],
            expected=f"parameters that suit inputs {list(signature.inputs.shape)}, and fit in memory",
        ) from error
    parameters = sum(p.numel() for p in net.parameters())
    return Built(parameters, architecture.readout(net).in_features, len(architecture.taps(net)))


def _check_fits(architecture: Architecture, signature: Signature) -> None:
    """Raises `MemoryError` for a network that this machine cannot train, before it is given memory.

    Weights, gradients and two numbers of an optimizer for each make four times the parameters.
    """
    try:
        with torch.device("meta"):
            net = architecture.build(signature.inputs, signature.outputs)
        needed = 4 * sum(p.numel() * p.element_size() for p in net.parameters())
    except (OverflowError, MemoryError):
        raise
    except Exception:
        return  # the network needs numbers to be built: it is tried
    memory = memory_bytes()
    if memory is not None and needed > memory:
        asked, there = needed / 2**30, memory / 2**30
        raise MemoryError(
            f"training needs {beside(asked, there)} GiB, this machine has {beside(there, asked)}"
        )
