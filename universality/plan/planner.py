"""From a suite to cells, groups and the distinct trainings they need.

A training that several phenomena need is planned once, with the union of what they observe.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from universality.errors import BadParameter, BadSuite
from universality.plan.cost import OPTIMIZER_SECONDS, GradientCost, gradient_cost, try_request
from universality.plan.groups import Group, asked_by, groups_of
from universality.plan.plan import Job, Plan, PlannedCell, PlannedGroup
from universality.plan.requests import spec_of
from universality.plan.suite import DEFAULT_SEEDS, CrossSpec, Suite
from universality.plugin import registry
from universality.plugin.architecture import Architecture, InputSpec
from universality.plugin.asking import ask
from universality.plugin.cell import Cell
from universality.plugin.modifier import Modified
from universality.plugin.phenomenon import Control, Cross, Phenomenon, controls_of
from universality.plugin.probe import Probe
from universality.plugin.registry import component
from universality.plugin.runs import Request
from universality.plugin.settings import default_settings
from universality.plugin.sources import edition, split_edition
from universality.plugin.spec import Recipe, RunSpec, canonical
from universality.plugin.task import Signature, Task
from universality.text import beside


class _Built(NamedTuple):
    """What is known of a network that was built."""

    parameters: int
    features: int
    layers: int


class Planner:
    """Builds a plan; every error that can be found without training is raised here.

    Task data is loaded once per task, and every network is built once, so that missing data and
    parameters that do not fit are found before anything is trained.
    """

    def __init__(self, data_root: Path) -> None:
        self._data_root = data_root
        self._signatures: dict[str, Signature] = {}
        self._built: dict[tuple[str, InputSpec, int], _Built] = {}
        self._gradients: dict[str, GradientCost] = {}
        self._tried: set[str] = set()
        self.plan = Plan()

    def add_suite(self, suite: Suite) -> Plan:
        controlled: dict[str, Phenomenon] = {}
        for cross in suite.crosses:
            for phenomenon in self._add_cross(cross):
                if controlled.setdefault(phenomenon.name, phenomenon) != phenomenon:
                    raise BadSuite(
                        "one phenomenon in two settings",
                        where=suite.name,
                        got=f"{component(controlled[phenomenon.name])} and {component(phenomenon)}",
                        do="put further settings into a [[sweep]], which is not counted, or make it two "
                        "suites: the controls of one setting do not validate another",
                    )
        for sweep in suite.sweeps:
            for phenomenon in self._add_cross(sweep, swept=True):
                if phenomenon.name not in controlled:
                    raise BadSuite(
                        "a sweep of a phenomenon that no cross asks for",
                        where=suite.name,
                        got=str(component(phenomenon)),
                        do=f"add a [[cross]] of {phenomenon.name}: its controls judge the sweep",
                    )
        if all(cell.not_applicable for cell in self.plan.cells):
            reasons = sorted({f"{c.phenomenon.name}: {c.not_applicable}" for c in self.plan.cells})
            raise BadSuite("no cell of this suite is applicable", where=suite.name, got="; ".join(reasons))
        for phenomenon in controlled.values() if suite.controls else ():
            for control in ask(phenomenon, "controls", partial(controls_of, phenomenon)):
                self._add_control(control)
        self.plan.cells.sort(key=lambda cell: not cell.phenomenon.calibration)
        return self.plan

    def _add_cross(self, cross: CrossSpec, *, swept: bool = False) -> list[Phenomenon]:
        phenomena: list[Phenomenon] = [registry.resolve("phenomenon", p) for p in cross.phenomena]
        for phenomenon in phenomena:
            if phenomenon.calibration:
                self._add_cell(
                    phenomenon, self._reference(phenomenon), Cross(range(cross.seeds)), swept=swept
                )
        crossed = [phenomenon for phenomenon in phenomena if not phenomenon.calibration]
        if not crossed:
            return phenomena
        architectures: list[Architecture] = [registry.resolve("architecture", a) for a in cross.architectures]
        tasks: list[Task] = [registry.resolve("task", t) for t in cross.tasks]
        for task in tasks:
            able = [a for a in architectures if not _rejects(a, self._signature(task))]
            cells = [self._cell(architecture, task) for architecture in architectures]
            for phenomenon in crossed:
                for cell in cells:
                    partners = [a for a in able if a != cell.architecture]
                    self._add_cell(phenomenon, cell, Cross(range(cross.seeds), partners), swept=swept)
        return phenomena

    def _reference(self, phenomenon: Phenomenon) -> Cell:
        """The one cell in which a calibration is asked, whatever the cross names."""
        architecture, task = phenomenon.reference
        return self._cell(registry.resolve("architecture", architecture), registry.resolve("task", task))

    def _cell(self, architecture: Architecture, task: Task) -> Cell:
        signature = self._signature(task)
        taken = not _rejects(architecture, signature)
        built = self._build(architecture, signature) if taken else _Built(0, 0, 0)
        return Cell(architecture, task, signature, built.features, built.layers)

    def _add_control(self, control: Control) -> None:
        architecture = registry.resolve("architecture", control.architecture)
        cell = self._cell(architecture, registry.resolve("task", control.task))
        partners = [registry.resolve("architecture", p) for p in control.partners]
        self._add_cell(
            control.phenomenon, cell, Cross(range(control.seeds or DEFAULT_SEEDS), partners), control
        )

    def _add_cell(
        self,
        phenomenon: Phenomenon,
        cell: Cell,
        cross: Cross,
        control: Control | None = None,
        *,
        swept: bool = False,
    ) -> None:
        names = (str(component(cell.architecture)), str(component(cell.task)))
        reason = _rejects(cell.architecture, cell.signature)
        reason = reason or ask(phenomenon, "applies", lambda: phenomenon.applies(cell))
        claims = phenomenon.claims if control is None else control.claims
        left_out = {} if reason else ask(phenomenon, "asks", lambda: phenomenon.left_out(cell))
        groups = [
            self._add_group(phenomenon, group)
            for group in ([] if reason else groups_of(phenomenon, cell, cross))
            if any(group.bears_on(phenomenon.claims[claim]) for claim in claims if claim not in left_out)
        ]
        if control is not None and not reason and not groups:
            raise BadParameter(
                f"a control of phenomenon '{phenomenon.name}' asks for nothing",
                where=f"{control.sign} control '{control.name}'",
                got="its run sets gave no runs for its claims",
            )
        planned = PlannedCell(phenomenon, *names, tuple(groups), reason, left_out, control, swept)
        for other in self.plan.cells:
            if replace(planned, swept=other.swept) == other:  # crosses may overlap; evidence counts once
                return
            if planned.question == other.question:
                raise BadSuite(
                    "two crosses ask for one cell in different ways",
                    where=f"{component(phenomenon)}, {names[0]}, {names[1]}",
                    got="different seeds or different partner architectures",
                    do="give both crosses the same seeds and architectures, or keep them apart",
                )
        self.plan.cells.append(planned)

    def _add_group(self, phenomenon: Phenomenon, group: Group) -> PlannedGroup:
        runs: dict[str, str] = {}
        observe: dict[str, dict[str, tuple[int, ...]]] = {}
        run_set = next(c.runs for c in phenomenon.claims.values() if group.bears_on(c))
        for role, request in group.runs.items():
            signature = self._signature(request.task)
            with asked_by(run_set):
                spec = spec_of(request, signature)
                steps = {edition(o.probe): o.at.steps(request.recipe.steps) for o in request.observe}
                if isinstance(request.architecture, Modified):
                    request.architecture.check_recipe(spec.recipe)
            runs[role], observe[role] = spec.id, steps
            self._add_job(spec, request, steps)
            self.plan.jobs[spec.id].calibrates |= phenomenon.calibration
        return PlannedGroup(group.key, group.units, runs, observe, group.run_set, group.keys, group.left_out)

    def _add_job(self, spec: RunSpec, request: Request, observe: Mapping[str, tuple[int, ...]]) -> None:
        job, signature = self.plan.jobs.get(spec.id), self._signature(request.task)
        self._try(spec, request, observe)  # before any other call of the network
        if job is None:
            job = self.plan.jobs[spec.id] = Job(spec, {})
            update = self._gradient(request)
            job.seconds = spec.recipe.steps * (update.seconds + OPTIMIZER_SECONDS)
            job.parameters = self._build(request.architecture, signature).parameters
            job.data_bytes = 8 * signature.train_rows * math.prod(signature.inputs.shape)
            batch = min(spec.recipe.batch_size or signature.train_rows, signature.train_rows)
            job.bytes = _network_bytes(job) + batch * update.row_bytes
        full = self._gradient(replace(request, recipe=replace(spec.recipe, batch_size=0)))
        for probe, steps in observe.items():
            before = job.observe.get(probe, ())
            job.observe[probe] = tuple(sorted({*before, *steps}))
            cost, needed = _probe_cost(split_edition(probe)[0], spec.recipe, signature, full.row_bytes)
            more = (len(job.observe[probe]) - len(before)) * cost * full.seconds
            job.seconds, job.probe_seconds = job.seconds + more, job.probe_seconds + more
            job.bytes = max(job.bytes, _network_bytes(job) + needed)

    def _signature(self, task: Task) -> Signature:
        key = canonical(component(task).identity())
        if key not in self._signatures:
            with default_settings():
                self._signatures[key] = ask(task, "read", lambda: task.signature(self._data_root))
            self.plan.scales[str(component(task))] = self._signatures[key].scale
        return self._signatures[key]

    def _build(self, architecture: Architecture, signature: Signature) -> _Built:
        """Raises `BadParameter` for a network that cannot be built, or not be trained on this machine."""
        key = (canonical(component(architecture).identity()), signature.inputs, signature.outputs)
        if key not in self._built:
            self._built[key] = ask(architecture, "build", lambda: _built(architecture, signature))
        return self._built[key]

    def _try(self, spec: RunSpec, request: Request, observe: Mapping[str, tuple[int, ...]]) -> None:
        """Raises `MeasurementError` for a network that no update would reach, or a probe cannot look at."""
        if not spec.recipe.steps:
            return
        probes = [registry.resolve("probe", split_edition(probe)[0]) for probe in observe]
        curvature = bool(spec.recipe.lr_over_stability) or any(probe.curvature for probe in probes)
        signature = self._signature(request.task)
        network = component(request.architecture).identity()
        key = canonical(
            [network, repr(signature.inputs), signature.outputs, spec.recipe.loss, int(curvature)]
        )
        if key not in self._tried:
            self._tried.add(key)
            ask(
                request.architecture,
                "forward",
                lambda: try_request(request, signature, spec.recipe, curvature=curvature),
            )

    def _gradient(self, request: Request) -> GradientCost:
        """What one gradient costs here, measured once per network, data shape and batch size."""
        signature = self._signature(request.task)
        rows = min(request.recipe.batch_size or signature.train_rows, signature.train_rows)
        key = canonical(
            [component(request.architecture).identity(), repr(signature.inputs), signature.outputs, rows]
        )
        if key not in self._gradients:
            self._gradients[key] = ask(
                request.architecture, "forward", lambda: gradient_cost(request, signature, rows)
            )
        return self._gradients[key]


def _network_bytes(job: Job) -> float:
    """Of the data, and of weights, gradients and two numbers of an optimizer for each."""
    return 16 * job.parameters + job.data_bytes


def _probe_cost(address: str, recipe: Recipe, signature: Signature, row_bytes: float) -> tuple[float, float]:
    """Of one record: gradients of the full training loss, and bytes. Raises `BadParameter` where the probe cannot
    tell."""
    probe: Probe = registry.resolve("probe", address)
    cost = ask(probe, "cost", lambda: float(probe.cost(recipe, signature)))
    needed = ask(probe, "memory", lambda: float(probe.memory(recipe, signature, row_bytes)))
    for method, got, unit in (
        ("cost", cost, "gradients of the full training loss"),
        ("memory", needed, "bytes"),
    ):
        if not 0 <= got < math.inf:
            raise BadParameter(
                f"probe '{probe.name}' cannot be planned",
                where=f"{type(probe).__module__}, {method}()",
                got=f"{got:g}",
                expected=f"{unit}, 0 or more",
            )
    return cost, needed


def _rejects(architecture: Architecture, signature: Signature) -> str:
    return ask(architecture, "reject", lambda: architecture.reject(signature.inputs))


def _built(architecture: Architecture, signature: Signature) -> _Built:
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
    return _Built(parameters, architecture.readout(net).in_features, len(architecture.taps(net)))


def _check_fits(architecture: Architecture, signature: Signature) -> None:
    """Raises `MemoryError` for a network that this machine cannot train, before it is given memory.

    Weights, gradients and two numbers of an optimizer for each make four times the parameters.
    """
    try:
        with torch.device("meta"):
            net = architecture.build(signature.inputs, signature.outputs)
        needed = 4 * sum(p.numel() * p.element_size() for p in net.parameters())
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OverflowError, MemoryError):
        raise
    except Exception:
        return  # the network needs numbers to be built, or the system does not tell: it is tried
    if needed > memory:
        asked, there = needed / 2**30, memory / 2**30
        raise MemoryError(
            f"training needs {beside(asked, there)} GiB, this machine has {beside(there, asked)}"
        )
