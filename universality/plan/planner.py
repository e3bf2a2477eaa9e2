"""From a suite to cells, groups and the distinct trainings they need.

A training that several phenomena need is planned once, with the union of what they observe.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from msgspec import UNSET

from universality.errors import BadParameter, BadSuite, DataUnavailable
from universality.plan.cost import OPTIMIZER_SECONDS, RANGE_TEST_UPDATES, SHARPNESS_GRADIENTS
from universality.plan.groups import Group, asked_by, groups_of
from universality.plan.inquiry import Built, Inquiry
from universality.plan.plan import Job, Plan, PlannedCell, PlannedGroup
from universality.plan.requests import spec_of
from universality.plan.suite import DEFAULT_SEEDS, CrossSpec, Suite
from universality.plan.turns import give_turns
from universality.plugin import registry
from universality.plugin.architecture import Architecture
from universality.plugin.asking import ask
from universality.plugin.cell import Cell
from universality.plugin.modifier import Modified
from universality.plugin.phenomenon import Control, Cross, Phenomenon, controls_of
from universality.plugin.registry import component
from universality.plugin.runs import Request
from universality.plugin.sources import edition, split_edition
from universality.plugin.spec import SHARPNESS_ROWS, RunSpec
from universality.plugin.task import Signature, Task

RECORDING_BYTES, STEP_BYTES = 6 * 4096, 16
"""Of a recording: its files, each at least a block of the disk, and of every update the training loss."""


class Planner:
    """Builds a plan; every error that can be found without training is raised here.

    Task data is loaded once per task, and every network is built once, so that missing data and
    parameters that do not fit are found before anything is trained. Cost: O(cells + requested runs).
    """

    def __init__(self, data_root: Path, inquiry: Inquiry | None = None) -> None:
        """`inquiry`: of an earlier planner of this data, whose networks and tasks are not asked again."""
        self._inquiry = inquiry or Inquiry(data_root)
        self._cells: dict[tuple[str, str, str, str], PlannedCell] = {}
        self._steps: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._starts: set[Hashable] = set()
        self.plan = Plan(scales=self._inquiry.scales)

    def add_suite(self, suite: Suite) -> Plan:
        self._read_data(suite)
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
        if self.plan.cells and all(cell.not_applicable for cell in self.plan.cells):
            reasons = sorted({f"{c.phenomenon.name}: {c.not_applicable}" for c in self.plan.cells})
            raise BadSuite(
                "no cell of this suite is applicable",
                where=suite.name,
                got="; ".join(reasons),
                do="ask another network or another task: `universality list` says what each is made for",
            )
        for phenomenon in controlled.values() if suite.controls else ():
            for control in ask(phenomenon, "controls", partial(controls_of, phenomenon)):
                self._add_control(control, suite.control_seeds or control.seeds or DEFAULT_SEEDS)
        self.plan.cells.sort(key=lambda cell: not cell.phenomenon.calibration)
        give_turns(self.plan)
        return self.plan

    def _read_data(self, suite: Suite) -> None:
        """The names and the data of all crosses, before any network is built and timed, which takes minutes where they are
        many. Raises `DataUnavailable`, which names every task whose data is not there."""
        lacking: dict[str, DataUnavailable] = {}
        for cross in (*suite.crosses, *suite.sweeps):
            phenomena = [registry.resolve("phenomenon", p) for p in cross.phenomena]
            for address in cross.architectures:
                registry.resolve("architecture", address)
            tasks = [registry.resolve("task", address) for address in cross.tasks]
            if all(phenomenon.calibration for phenomenon in phenomena):
                continue  # asked in its own cell alone
            for task in tasks:
                try:
                    self._inquiry.signature(task)
                except DataUnavailable as error:
                    lacking.setdefault(task.name, error)
        if len(lacking) == 1:
            raise next(iter(lacking.values()))
        if lacking:
            raise DataUnavailable(
                f"data of {len(lacking)} tasks: {', '.join(lacking)}",
                where="; ".join(dict.fromkeys(error.where for error in lacking.values())),
                got="\n".join(error.what for error in lacking.values()),
                do="\n".join(dict.fromkeys(error.do for error in lacking.values())),
            )

    def _add_cross(self, cross: CrossSpec, *, swept: bool = False) -> list[Phenomenon]:
        phenomena: list[Phenomenon] = [registry.resolve("phenomenon", p) for p in cross.phenomena]
        if not cross.has_cells:
            return phenomena
        for phenomenon in phenomena:
            if phenomenon.calibration:
                self._add_cell(phenomenon, self._reference(phenomenon), Cross(cross.replicates), swept=swept)
        crossed = [phenomenon for phenomenon in phenomena if not phenomenon.calibration]
        if not crossed:
            return phenomena
        architectures: list[Architecture] = [registry.resolve("architecture", a) for a in cross.architectures]
        tasks: list[Task] = [registry.resolve("task", t) for t in cross.tasks]
        for task in tasks:
            able = [a for a in architectures if not _rejects(a, self._inquiry.signature(task))]
            cells = [self._cell(architecture, task) for architecture in architectures]
            for phenomenon in crossed:
                for cell in cells:
                    partners = [a for a in able if a != cell.architecture]
                    self._add_cell(phenomenon, cell, Cross(cross.replicates, partners), swept=swept)
        return phenomena

    def _reference(self, phenomenon: Phenomenon) -> Cell:
        """The one cell in which a calibration is asked, whatever the cross names."""
        architecture, task = phenomenon.reference
        return self._cell(registry.resolve("architecture", architecture), registry.resolve("task", task))

    def _cell(self, architecture: Architecture, task: Task) -> Cell:
        signature = self._inquiry.signature(task)
        taken = not _rejects(architecture, signature)
        built = self._inquiry.built(architecture, signature) if taken else Built(0, 0, 0)
        return Cell(architecture, task, signature, built.features, built.layers)

    def _add_control(self, control: Control, seeds: int) -> None:
        architecture = registry.resolve("architecture", control.architecture)
        cell = self._cell(architecture, registry.resolve("task", control.task))
        partners = [registry.resolve("architecture", p) for p in control.partners]
        self._add_cell(control.phenomenon, cell, Cross(range(seeds), partners), control)

    def _add_cell(
        self,
        phenomenon: Phenomenon,
        cell: Cell,
        cross: Cross,
        control: Control | None = None,
        *,
        swept: bool = False,
    ) -> None:
        names = (str(self._inquiry.component(cell.architecture)), str(self._inquiry.component(cell.task)))
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
        other = self._cells.setdefault(planned.question, planned)
        if other is not planned:
            if replace(planned, swept=other.swept) == other:  # crosses may overlap; evidence counts once
                return
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
            signature = self._inquiry.signature(request.task)
            with asked_by(run_set):
                spec = spec_of(request, signature, self._inquiry.component)
                steps = {
                    edition(o.probe): self._shared(o.at.steps(request.recipe.steps)) for o in request.observe
                }
                if isinstance(request.architecture, Modified):
                    request.architecture.check_recipe(spec.recipe)
            runs[role], observe[role] = spec.id, steps
            self._add_job(runs[role], spec, request, steps)
            self.plan.jobs[runs[role]].calibrates |= phenomenon.calibration
        return PlannedGroup(group.key, group.units, runs, observe, group.run_set, group.keys, group.left_out)

    def _shared(self, steps: tuple[int, ...]) -> tuple[int, ...]:
        """One object for equal steps: thousands of runs are observed at the same."""
        return self._steps.setdefault(steps, steps)

    def _add_job(
        self, run_id: str, spec: RunSpec, request: Request, observe: Mapping[str, tuple[int, ...]]
    ) -> None:
        job, signature = self.plan.jobs.get(run_id), self._inquiry.signature(request.task)
        self._inquiry.try_network(spec, request, observe)  # before any other call of the network
        if job is None:
            job = self.plan.jobs[run_id] = Job(spec, {})
            update = self._inquiry.gradient(request, spec.recipe.batch_size)
            updates = spec.recipe.steps + (0 if spec.recipe.lr_below_best is UNSET else RANGE_TEST_UPDATES)
            job.seconds = updates * (update.seconds + OPTIMIZER_SECONDS)
            job.parameters = self._inquiry.built(request.architecture, signature).parameters
            job.data_bytes = 8 * signature.train_rows * math.prod(signature.inputs.shape)
            batch = min(spec.recipe.batch_size or signature.train_rows, signature.train_rows)
            job.bytes = _network_bytes(job) + batch * update.row_bytes
            job.disk_bytes = RECORDING_BYTES + STEP_BYTES * spec.recipe.steps
            if spec.recipe.lr_over_stability:
                self._add_start(job, request, signature)
        full = self._inquiry.gradient(request, 0)
        for probe, steps in observe.items():
            before = job.observe.get(probe, ())
            job.observe[probe] = self._shared(tuple(sorted({*before, *steps})))
            address = split_edition(probe)[0]
            record = self._inquiry.record(address, spec.recipe, request.task, full.row_bytes, job.parameters)
            further = len(job.observe[probe]) - len(before)
            more = further * record.gradients * full.seconds
            job.seconds, job.probe_seconds = job.seconds + more, job.probe_seconds + more
            job.bytes = max(job.bytes, _network_bytes(job) + record.memory)
            job.disk_bytes += further * record.stored

    def _add_start(self, job: Job, request: Request, signature: Signature) -> None:
        """The sharpness that a rate follows from: runs that are stacked search it once for each start."""
        recipe = job.spec.recipe
        alike = job.spec.start, recipe.steps
        rows = min(signature.train_rows, SHARPNESS_ROWS) if recipe.batch_size else signature.train_rows
        full = self._inquiry.gradient(request, rows)
        job.bytes = max(job.bytes, _network_bytes(job) + 3 * rows * full.row_bytes)
        if alike not in self._starts:
            self._starts.add(alike)
            job.seconds += SHARPNESS_GRADIENTS * full.seconds


def _network_bytes(job: Job) -> float:
    """Of the data, and of weights, gradients and two numbers of an optimizer for each."""
    return 16 * job.parameters + job.data_bytes


def _rejects(architecture: Architecture, signature: Signature) -> str:
    return ask(architecture, "reject", lambda: architecture.reject(signature.inputs))
