"""A measurement as it is stored: one claim in one cell of the cross, or in one of its controls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

import msgspec
from msgspec import Meta

from universality.plugin.bounds import Bound, unfit
from universality.plugin.controls import ControlId, Decidable
from universality.plugin.outcome import Outcome
from universality.plugin.spec import digest
from universality.plugin.trajectory import RunState
from universality.store.files import encode_line
from universality.store.untrusted import UntrustedFile, check_written, converted, parse
from universality.text import short

MAX_NAME = 300
Name = Annotated[str, Meta(max_length=MAX_NAME)]


class Problem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a group has no outcome: its runs did not end well, or they could not be measured."""

    stage: Literal["training", "measuring"]
    text: str


class GroupRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The outcome of one group, or the state that kept it from being measured.

    `units` names the independent replicates in it (seeds); groups that share a unit are dependent.
    `runs` holds run ids by role.
    """

    key: str
    units: Annotated[tuple[str, ...], Meta(min_length=1)]
    runs: Annotated[Mapping[str, str], Meta(min_length=1)]
    state: RunState
    outcome: Outcome | None = None
    problem: Problem | None = None

    @property
    def partner(self) -> str:
        """The runs that it belongs to, with the number of the partner that they are compared with where there are several."""
        return self.key.rpartition("/")[0]

    @property
    def decided(self) -> bool:
        return self.state == "done" and self.outcome is not None and self.outcome.decided()

    @property
    def censored(self) -> bool:
        return self.outcome is not None and self.outcome.censored

    @property
    def effect(self) -> float:
        """Of a group that is decided."""
        assert self.outcome is not None
        assert self.outcome.effect is not None
        return self.outcome.effect


class CellRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All groups of one claim in one cell, or of one control.

    `variant` is the phenomenon's address with the parameters that differ from its defaults.
    `swept` marks a cell that only maps where a claim ends; it is not counted. `expects` holds the verdict with which a
    control passes, which its sign says; files of earlier versions name others beside it, which count no longer.
    """

    phenomenon: Name
    version: Annotated[int, Meta(ge=1, lt=10**6)]
    claim_name: Name
    claim: Bound
    architecture: Name
    task: Name
    groups: tuple[GroupRecord, ...] = ()
    not_applicable: str = ""
    control: ControlId | None = None
    expects: tuple[Decidable, ...] = ()
    variant: Name = ""
    swept: bool = False

    def __post_init__(self) -> None:
        if (self.control is not None) != bool(self.expects):
            raise ValueError("a control without verdicts that are right, or no control with some")
        if self.control is not None and self.control.expects not in self.expects:
            raise ValueError(f"a {self.control.sign} control that does not expect {self.control.expects}")
        if self.control is not None and self.swept:
            raise ValueError("both a control and swept")
        if len({group.key for group in self.groups}) < len(self.groups):
            raise ValueError("two groups of one name")

    @property
    def crossed(self) -> bool:
        """Whether it is a cell of a cross, neither a control nor part of a sweep."""
        return self.control is None and not self.swept

    @property
    def id(self) -> str:
        """Identity of the measurement: what was asked, not what came out."""
        _, variant, *rest = self.question
        return digest([variant, self.version, *rest, [[g.key, dict(g.runs)] for g in self.groups]])

    @property
    def question(self) -> tuple[str, str, str, str, str, str]:
        """What is asked, without the version that judges it and the replicates that answer it: phenomenon,
        variant, claim, architecture, task, control."""
        control = "" if self.control is None else str(self.control)
        return self.phenomenon, self.variant, self.claim_name, self.architecture, self.task, control

    def line(self) -> bytes:
        """This measurement as a line of JSON, with its id."""
        return encode_line(self, id=self.id)

    @classmethod
    def read(cls, line: bytes) -> Self:
        """The cell in a line. Raises `UntrustedFile` for anything that `line` does not write."""
        raw = parse(line)
        if not isinstance(raw, dict):
            raise UntrustedFile("is no measurement")
        name = raw.pop("id", None)
        record = converted(raw, cls)
        control = "" if record.control is None else record.control.name
        if max(len(control), len(record.claim.unit)) > MAX_NAME:
            raise UntrustedFile(f"has a control or a unit of more than {MAX_NAME} characters")
        if wrong := unfit(record.claim):
            raise UntrustedFile(f"claims what no effect can meet or every one does: {wrong}")
        if record.id != name:
            raise UntrustedFile(f"holds the measurement {record.id}, and is named {short(str(name), 120)}")
        check_written(line, map(cls.line, [record]))
        return record
