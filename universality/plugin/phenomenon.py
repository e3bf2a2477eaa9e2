"""The contract of a phenomenon: what it claims, of which runs, under which conditions, with which controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import msgspec

from universality.plugin.architecture import Architecture
from universality.plugin.cell import Cell
from universality.plugin.charts import Charts
from universality.plugin.claim import Ask, Claim
from universality.plugin.controls import ControlId, Setting, Sign
from universality.plugin.readings import Requirement
from universality.plugin.runs import RunSet

Sense = Literal["number", "form", "sign"]
"""In which sense a behaviour may be universal: the same number, the same form with constants of
its own, or only the same sign."""

Strand = Literal["solvable", "limits", "laws", "hyperparameters", "universality"]
"""The five strands of learning mechanics (arXiv:2604.21691, sections 2.1 to 2.5)."""


class About(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What outputs say of a phenomenon. `claims` holds a short title for each claim, `charts` how it is drawn.

    What it leaves at a default is left out of files too, so that those of before there was such a field stay as they are.
    """

    title: str
    strand: Strand
    sense: Sense
    source: str
    claims: Mapping[str, str]
    charts: Mapping[str, Charts] | msgspec.UnsetType = msgspec.UNSET
    dispute: str = ""
    calibration: bool = False


@dataclass(frozen=True, slots=True)
class Control:
    """A setting with a known answer, measured by the same code within the same budget.

    Args:
        sign: `positive` where the literature shows the phenomenon, `negative` where it must not show.
        claims: those that it judges.
        partners: the other architectures, for claims that compare architectures.
        seeds: replicates; 0 is the number of a suite.
    """

    name: str
    sign: Sign
    phenomenon: Phenomenon
    architecture: str
    task: str
    claims: tuple[str, ...]
    why: str
    partners: tuple[str, ...] = ()
    seeds: int = 0

    @property
    def id(self) -> ControlId:
        return ControlId(self.sign, self.name)


@dataclass(frozen=True, slots=True)
class Cross:
    """What a phenomenon is asked about, beyond one cell."""

    seeds: Sequence[int]
    partners: Sequence[Architecture] = field(default=())
    """The other architectures that the suite puts on the cell's task."""


@dataclass(frozen=True, kw_only=True)
class Phenomenon:
    """Falsifiable claims about training. Subclasses are frozen dataclasses, registered by name.

    Their fields are parameters, their methods run sets (`per_seed`, ...) and effects (`claim`), their class
    attributes declarations:

        version: of claims, gates and criteria; changing any of them makes a new version.
        title, strand, sense: for tables.
        dispute: in one line, what the literature disputes of it.
        calibration: it is exact theory, which a build and a machine are tested with. Asked on its `reference` alone, it
            is no behaviour that could be universal; where a control of it does not pass, no table is to be trusted.
        asks: conditions on a cell, asked before anything is trained.
        gates: requirements of every claim.
        reference: addresses of the architecture and the task on which controls are measured.
        controls: settings with a known answer, `positive` and `negative`.

    `claims` is collected from the class: every attribute that `claim` made, by its name, those of its bases too. Where
    a subclass has a run set of its own in the place of one that it inherits, inherited claims are about that.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    version: ClassVar[int] = 1
    strand: ClassVar[Strand]
    sense: ClassVar[Sense]
    source: ClassVar[str] = ""
    dispute: ClassVar[str] = ""
    calibration: ClassVar[bool] = False
    asks: ClassVar[Sequence[Ask]] = ()
    gates: ClassVar[Sequence[Requirement]] = ()
    reference: ClassVar[tuple[str, str]] = ("", "")
    controls: ClassVar[Sequence[Setting]] = ()
    claims: ClassVar[Mapping[str, Claim]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # Of bases and mixins too, as attributes are inherited: what a subclass puts in their place counts.
        names = dict.fromkeys(name for base in reversed(cls.__mro__) for name in vars(base))
        values = {name: getattr(cls, name) for name in names if name != "claims"}
        cls.claims = {
            name: replace(claim, runs=_inherited(cls, claim.runs))
            for name, claim in values.items()
            if isinstance(claim, Claim)
        }

    @property
    def about(self) -> About:
        return About(
            title=self.title or self.name,
            strand=self.strand,
            sense=self.sense,
            source=self.source,
            claims={name: claim.title or name for name, claim in self.claims.items()},
            charts={name: claim.charts for name, claim in self.claims.items()},
            dispute=self.dispute,
            calibration=self.calibration,
        )

    def applies(self, cell: Cell) -> str:
        """Empty where the claims can be tested in this cell, else the reason why not."""
        return _first_reason(self.asks, cell)

    def left_out(self, cell: Cell) -> dict[str, str]:
        """The claims that cannot be tested in a cell where the phenomenon applies, each with the reason why not."""
        reasons = {name: _first_reason(claim.asks, cell) for name, claim in self.claims.items()}
        return {name: reason for name, reason in reasons.items() if reason}


def _first_reason(asks: Sequence[Ask], cell: Cell) -> str:
    for ask in asks:
        reason = ask(cell)
        if not isinstance(reason, str):
            raise TypeError(f"an ask answers with the reason why not, or an empty text, got {reason!r}")
        if reason:
            return reason
    return ""


def _inherited(cls: type[Phenomenon], runs: RunSet[Any]) -> RunSet[Any]:
    """The run set that a class has in the place of one of a base, which a claim of that base is about."""
    name = getattr(getattr(runs, "method", None), "__name__", "")
    before = [vars(base).get(name) for base in cls.__mro__]
    own = getattr(cls, name, None) if name and runs in before else None
    return own if isinstance(own, RunSet) else runs


def controls_of(phenomenon: Phenomenon) -> list[Control]:
    """The controls that a phenomenon declares, each with the phenomenon at its own setting."""
    cls, controls = type(phenomenon), []
    for setting in phenomenon.controls:
        start = phenomenon if setting.follows else cls()
        changes = {k: v(phenomenon) if callable(v) else v for k, v in setting.changes.items()}
        architecture, task = phenomenon.reference
        controls.append(
            Control(
                name=setting.name,
                sign=setting.sign,
                phenomenon=replace(start, **changes),
                architecture=setting.architecture or architecture,
                task=setting.task or task,
                claims=tuple(phenomenon.claims if setting.claims is None else setting.claims),
                why=setting.why,
                partners=setting.partners,
                seeds=setting.seeds,
            )
        )
    return controls
