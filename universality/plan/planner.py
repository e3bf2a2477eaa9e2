"""From a suite to cells, groups and the distinct trainings they need.

A training that several phenomena need is planned once, with the union of what they observe.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from universality.errors import BadParameter, BadSuite
from universality.plan.cost import OPTIMIZER_SECONDS, gradient_seconds
from universality.plan.plan import Job, Plan, PlannedCell, PlannedGroup
from universality.plan.suite import DEFAULT_SEEDS, CrossSpec, Suite
from universality.plugin import registry
from universality.plugin.architecture import Architecture, InputSpec
from universality.plugin.checks import ask, check_groups, check_phenomenon
from universality.plugin.phenomenon import Cell, Control, Cross, Group, Phenomenon, Request
from universality.plugin.registry import component
from universality.plugin.sources import edition, sources_of, split_edition
from universality.plugin.spec import RunSpec, canonical
from universality.plugin.task import Signature, Task


class Planner:
    """Builds a plan; every error that can be found without training is raised here.

    Task data is loaded once per task, and every network is built once, so that missing data and
    parameters that do not fit are found before anything is trained.
    """

    def __init__(self, data_root: Path) -> None:
        self._data_root = data_root
        self._signatures: dict[str, Signature] = {}
        self._parameters: dict[tuple[str, InputSpec, int], int] = {}
        self._step_seconds: dict[str, float] = {}
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
        for phenomenon in controlled.values():
            controls = check_phenomenon(phenomenon)
            for control in controls if suite.controls else ():
                self._add_control(control)
        return self.plan

    def _add_cross(self, cross: CrossSpec, *, swept: bool = False) -> list[Phenomenon]:
        phenomena: list[Phenomenon] = [registry.resolve("phenomenon", p) for p in cross.phenomena]
        architectures: list[Architecture] = [registry.resolve("architecture", a) for a in cross.architectures]
        tasks: list[Task] = [registry.resolve("task", t) for t in cross.tasks]
        for task in tasks:
            signature = self._signature(task)
            able = [a for a in architectures if not _rejects(a, signature)]
            for architecture in able:
                self._check_builds(architecture, signature)
            for phenomenon in phenomena:
                for architecture in architectures:
                    partners = [a for a in able if a != architecture]
                    self._add_cell(
                        phenomenon,
                        Cell(architecture, task, signature),
                        Cross(range(cross.seeds), partners),
                        swept=swept,
                    )
        return phenomena

    def _add_control(self, control: Control) -> None:
        architecture = registry.resolve("architecture", control.architecture)
        task = registry.resolve("task", control.task)
        cell = Cell(architecture, task, self._signature(task))
        partners = [registry.resolve("architecture", p) for p in control.partners]
        self._add_cell(control.phenomenon, cell, Cross(range(DEFAULT_SEEDS), partners), control)

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
        claims = phenomenon.claims if control is None else control.expects
        answer = [] if reason else ask(phenomenon, "groups", lambda: list(phenomenon.groups(cell, cross)))
        groups = [
            self._add_group(group)
            for group in check_groups(phenomenon, answer)
            if any(phenomenon.speaks_to(group.key, claim) for claim in claims)
        ]
        if control is not None and not reason and not groups:
            raise BadParameter(
                f"a control of phenomenon '{phenomenon.name}' asks for nothing",
                where=f"{control.sign} control '{control.name}'",
                got="groups() gave no group that speaks to its claims",
            )
        planned = PlannedCell(phenomenon, *names, tuple(groups), reason, control, swept)
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

    def _add_group(self, group: Group) -> PlannedGroup:
        runs: dict[str, str] = {}
        observe: dict[str, dict[str, tuple[int, ...]]] = {}
        for role, request in group.runs.items():
            spec = RunSpec(
                component(request.architecture),
                component(request.task),
                request.recipe,
                request.seed,
                self._signature(request.task).content,
                sources_of(
                    ("architecture", component(request.architecture)), ("task", component(request.task))
                ),
            )
            steps = {edition(o.probe): o.at.steps(request.recipe.steps) for o in request.observe}
            runs[role], observe[role] = spec.id, steps
            self._add_job(spec, request, steps)
        return PlannedGroup(group.key, group.units, runs, observe)

    def _add_job(self, spec: RunSpec, request: Request, observe: Mapping[str, tuple[int, ...]]) -> None:
        job = self.plan.jobs.get(spec.id)
        if job is None:
            job = self.plan.jobs[spec.id] = Job(spec, {})
            job.seconds = spec.recipe.steps * (self._gradient_seconds(request) + OPTIMIZER_SECONDS)
            signature = self._signature(request.task)
            job.parameters = self._check_builds(request.architecture, signature)
            job.data_bytes = 8 * signature.train_rows * math.prod(signature.inputs.shape)
        full = self._gradient_seconds(replace(request, recipe=replace(spec.recipe, batch_size=0)))
        for probe, steps in observe.items():
            before = job.observe.get(probe, ())
            job.observe[probe] = tuple(sorted({*before, *steps}))
            cost = registry.resolve("probe", split_edition(probe)[0]).gradients
            more = (len(job.observe[probe]) - len(before)) * cost * full
            job.seconds, job.probe_seconds = job.seconds + more, job.probe_seconds + more

    def _signature(self, task: Task) -> Signature:
        key = canonical(component(task).identity())
        if key not in self._signatures:
            self._signatures[key] = ask(task, "read", lambda: task.signature(self._data_root))
        return self._signatures[key]

    def _check_builds(self, architecture: Architecture, signature: Signature) -> int:
        """How many parameters the network has."""
        key = (canonical(component(architecture).identity()), signature.inputs, signature.outputs)
        if key not in self._parameters:
            self._parameters[key] = ask(architecture, "build", lambda: _parameters(architecture, signature))
        return self._parameters[key]

    def _gradient_seconds(self, request: Request) -> float:
        """CPU seconds of one gradient here, measured once per network, data shape and batch size."""
        signature = self._signature(request.task)
        rows = min(request.recipe.batch_size or signature.train_rows, signature.train_rows)
        key = canonical(
            [component(request.architecture).identity(), repr(signature.inputs), signature.outputs, rows]
        )
        if key not in self._step_seconds:
            self._step_seconds[key] = ask(
                request.architecture, "forward", lambda: gradient_seconds(request, signature, rows)
            )
        return self._step_seconds[key]


def _rejects(architecture: Architecture, signature: Signature) -> str:
    return ask(architecture, "reject", lambda: architecture.reject(signature.inputs))


def _parameters(architecture: Architecture, signature: Signature) -> int:
    """How many parameters the network has, which is built. Raises `BadParameter` where it cannot be."""
    try:
        with torch.random.fork_rng(devices=[]):
            _check_fits(architecture, signature)
            net = architecture.build(signature.inputs, signature.outputs)
    except (RuntimeError, MemoryError, OverflowError, TypeError) as error:
        raise BadParameter(
            "a network cannot be built",
            where=str(component(architecture)),
            got=str(error).partition("\n")[0],
            expected=f"parameters that suit inputs {list(signature.inputs.shape)}, and fit in memory",
        ) from error
    return sum(p.numel() for p in net.parameters())


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
        raise MemoryError(f"training needs {needed / 2**30:.3g} GiB, this machine has {memory / 2**30:.3g}")
