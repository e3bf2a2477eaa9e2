"""The contract of a phenomenon: a claim, what must be trained to test it, and how it is measured."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import msgspec

from universality.plugin.architecture import Architecture
from universality.plugin.claims import Claim
from universality.plugin.outcome import Outcome
from universality.plugin.schedules import Schedule
from universality.plugin.spec import Recipe
from universality.plugin.streams import Axis
from universality.plugin.task import Signature, Task
from universality.plugin.trajectory import Trajectory

Sense = Literal["number", "form", "sign"]
"""In which sense a behaviour may be universal: the same number, the same form with constants of
its own, or only the same sign."""

Strand = Literal["solvable", "limits", "laws", "hyperparameters", "universality"]
"""The five strands of learning mechanics (arXiv:2604.21691, sections 2.1 to 2.5)."""


class About(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What tables say of a phenomenon. `claims` holds a short title for each claim, by its name."""

    title: str
    strand: Strand
    sense: Sense
    source: str
    claims: Mapping[str, str]


Sign = Literal["positive", "negative"]


class ControlId(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which control of a phenomenon."""

    sign: Sign
    name: str

    def __str__(self) -> str:
        return f"{self.sign}: {self.name}"


@dataclass(frozen=True, slots=True)
class Cell:
    """One square of the cross: an architecture on a task, and what is known of the task's data."""

    architecture: Architecture
    task: Task
    signature: Signature


@dataclass(frozen=True, slots=True)
class Observe:
    """A probe by address (`sharpness`, `taps[rows=512]`) and when it records."""

    probe: str
    at: Schedule


@dataclass(frozen=True, slots=True)
class Request:
    """A training that a phenomenon needs, and what must be observed in it.

    Args:
        streams: axes of randomness (`init`, `batches`, `data`) that follow another seed than `seed`.
        fork: (step, branch): from update `step` on, batches are those of branch `branch` >= 1. Branches
            of one run share its weights, to the last bit, up to that step.
    """

    architecture: Architecture
    task: Task
    recipe: Recipe
    seed: int
    observe: tuple[Observe, ...]
    streams: Mapping[Axis, int] = field(default_factory=dict)
    fork: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Runs that are measured together, by role. This carries every scope of a claim:

    one run `{"run": ...}`; a pair of networks `{"a": ..., "b": ...}`; a sweep
    `{"width=64": ..., "width=128": ...}`; a run with its own control `{"run": ..., "null": ...}`.

    `units` names the independent replicates it draws on, usually seeds: groups that share a unit
    are not independent, and intervals are formed by leaving units out.
    """

    key: str
    runs: Mapping[str, Request]
    units: tuple[str, ...]


Decidable = Literal["present", "absent", "inconclusive"]
"""Verdicts that a control may be asked for."""

NOT_SHOWN: frozenset[Decidable] = frozenset({"absent", "inconclusive"})
"""What a negative control may come out as: it fails where it shows the phenomenon."""


@dataclass(frozen=True, slots=True)
class Control:
    """A setting with a known answer, measured by the same code within the same budget.

    Args:
        sign: `positive` where the literature shows the phenomenon, `negative` where it must not show.
        expects: per claim, the verdicts that are right. Claims that are left out are not judged.
        partners: the other architectures, for claims that compare architectures.
    """

    name: str
    sign: Sign
    phenomenon: Phenomenon
    architecture: str
    task: str
    expects: Mapping[str, frozenset[Decidable]]
    why: str
    partners: tuple[str, ...] = ()

    @property
    def id(self) -> ControlId:
        return ControlId(self.sign, self.name)


@dataclass(frozen=True, slots=True)
class Cross:
    """What a phenomenon is asked about, beyond one cell."""

    seeds: Sequence[int]
    partners: Sequence[Architecture] = field(default=())
    """The other architectures that the suite puts on the cell's task."""


def run_by_seed(
    cell: Cell, cross: Cross, recipe: Recipe, observe: Sequence[Observe], role: str = "run", prefix: str = ""
) -> list[Group]:
    """A group for every seed, of one run: the commonest scope of a claim."""
    return [
        Group(
            f"{prefix}s{seed}",
            {role: Request(cell.architecture, cell.task, recipe, seed, tuple(observe))},
            (f"s{seed}",),
        )
        for seed in cross.seeds
    ]


@dataclass(frozen=True, kw_only=True)
class Phenomenon(ABC):
    """A falsifiable claim about training. Subclasses are frozen dataclasses, registered by name.

    Class attributes:
        version: of claims, gates and criteria; changing any of them makes a new version.
        claims: by name; each is decided on its own.
        claim_titles: what a reader is shown beside a claim's name, in a few words.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    version: ClassVar[int] = 1
    strand: ClassVar[Strand]
    sense: ClassVar[Sense]
    source: ClassVar[str] = ""
    claims: ClassVar[Mapping[str, Claim]] = {}
    claim_titles: ClassVar[Mapping[str, str]] = {}

    @property
    def about(self) -> About:
        titles = {name: self.claim_titles.get(name, name) for name in self.claims}
        return About(
            title=self.title or self.name,
            strand=self.strand,
            sense=self.sense,
            source=self.source,
            claims=titles,
        )

    def applies(self, cell: Cell) -> str:
        """Empty where the claim can be tested in this cell, else the reason why not."""
        return ""

    @abstractmethod
    def groups(self, cell: Cell, cross: Cross) -> Sequence[Group]:
        """The groups of runs to measure."""

    @abstractmethod
    def measure(self, runs: Mapping[str, Trajectory]) -> Mapping[str, Outcome]:
        """Outcomes by claim, from the stored trajectories of one group; a pure function.

        A group may speak to only some of the claims.
        """

    def speaks_to(self, key: str, claim: str) -> bool:
        """Whether the group called `key` bears on `claim`; asked where it could not be measured."""
        return True

    @abstractmethod
    def controls(self) -> Sequence[Control]:
        """At least one positive and one negative control."""
