"""A plan: the cells that a suite asks for, and the distinct trainings that they need."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from universality.plan.groups import Replicate
from universality.plan.stacks import alike
from universality.plan.suite import Suite
from universality.plugin.outcome import missing_signs
from universality.plugin.phenomenon import Control, Phenomenon
from universality.plugin.readings import Key
from universality.plugin.registry import component
from universality.plugin.spec import RunSpec
from universality.store.cells import CellRecord


@dataclass(slots=True)
class Job:
    """One training and everything that is to be observed in it."""

    spec: RunSpec
    observe: dict[str, tuple[int, ...]]
    seconds: float = 0.0
    """Predicted cost on one CPU core."""
    probe_seconds: float = 0.0
    """Of these, what its probes take."""
    parameters: int = 0
    data_bytes: int = 0
    """Of the training set, at most."""
    bytes: float = 0.0
    """Predicted memory, beside that of torch itself."""
    calibrates: bool = False
    """Whether a calibration asks for it: these are trained first."""
    turn: int = 0
    """Of these, lower ones are trained first (`plan.turns`)."""
    disk_bytes: float = 0.0
    """Predicted size of its recording."""
    stack: int = 1
    """How many runs of its kind a worker may train side by side."""

    @property
    def kind(self) -> Hashable:
        return alike(self.spec)


@dataclass(frozen=True, slots=True)
class PlannedGroup(Replicate):
    """A group with its requests turned into run ids and what each must have observed; the rest is the `Group`'s."""

    key: str
    units: tuple[str, ...]
    runs: Mapping[str, str]
    observe: Mapping[str, Mapping[str, tuple[int, ...]]]
    run_set: str
    keys: Mapping[str, Key] | None
    left_out: int | None = None


Question = tuple[str, str, str, str]
"""Phenomenon, architecture, task and control of a cell."""


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """A phenomenon in one cell of the cross, or one of its controls.

    `not_applicable` is why none of its claims can be tested there, `left_out` why some cannot.
    """

    phenomenon: Phenomenon
    architecture: str
    task: str
    groups: tuple[PlannedGroup, ...] = ()
    not_applicable: str = ""
    left_out: Mapping[str, str] = field(default_factory=dict)
    control: Control | None = None
    swept: bool = False

    @property
    def question(self) -> Question:
        """What is asked, whatever the replicates."""
        control = "" if self.control is None else str(self.control.id)
        return str(component(self.phenomenon)), self.architecture, self.task, control


@dataclass(slots=True)
class Plan:
    cells: list[PlannedCell] = field(default_factory=list)
    jobs: dict[str, Job] = field(default_factory=dict)
    scales: dict[str, float] = field(default_factory=dict)
    """Of the inputs of each task, by address (`Signature.scale`)."""
    adopted: dict[Question, list[CellRecord]] = field(default_factory=dict)
    """What another result set has measured of a cell (`judge.adopted`)."""

    @property
    def open_jobs(self) -> dict[str, Job]:
        """All but the runs that adopted cells alone need."""
        settled, needed = set[str](), set[str]()
        for cell in self.cells if self.adopted else ():
            runs = settled if cell.question in self.adopted else needed
            runs.update(run_id for group in cell.groups for run_id in group.runs.values())
        closed = settled - needed
        return {run_id: job for run_id, job in self.jobs.items() if run_id not in closed}


MAX_SCALE = 30.0
"""Networks are initialised for inputs of about 1."""


def unscaled(plan: Plan) -> list[str]:
    """A line for each task whose inputs are far larger or smaller than networks are initialised for."""
    return [
        f"{task}: inputs have root mean squares up to {scale:.3g}, networks are initialised for about 1 and may train "
        "badly: scale each column by (x - mean) / std of the training rows, as arrays[standardise=true] does"
        for task, scale in plan.scales.items()
        if not 1 / MAX_SCALE <= scale <= MAX_SCALE
    ]


def unvalidated(plan: Plan, suite: Suite) -> list[str]:
    """A line for each claim that no controls can validate, before anything is trained."""
    signs: dict[tuple[str, str], set[str]] = {}
    for cell in plan.cells:
        for claim in cell.phenomenon.claims if cell.control is None else cell.control.claims:
            present = signs.setdefault((cell.phenomenon.name, claim), set())
            if cell.control is not None:
                present.add(cell.control.sign)
    where = "" if suite.controls else " in this suite"
    return [
        f"{name}.{claim} has no {' and no '.join(lacking)} control{where}: its row will be unvalidated"
        for (name, claim), present in signs.items()
        if (lacking := missing_signs(present))
    ]
