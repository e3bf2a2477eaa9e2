"""A search for absences of a claim, and their replication on seeds that nobody chose them by.

Both are result sets of suites that this writes: planned, trained and judged like any other. Settings stand in sweeps, so that
no hunt shifts a prevalence: those that are replicated were chosen by their outcome.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from universality.errors import BadParameter, UniversalityError, unknown_name
from universality.hunting.settings import Setting, canonical
from universality.judge.decide import MIN_UNITS, CellVerdict
from universality.judge.predictions import measured_question
from universality.judge.resultset import ResultSet
from universality.plan.inquiry import Inquiry
from universality.plan.plan import PlannedCell
from universality.plan.planner import Planner
from universality.plan.suite import DEFAULT_SEEDS, CrossSpec, Suite
from universality.plugin import registry
from universality.plugin.bounds import Most
from universality.plugin.phenomenon import Phenomenon, controls_of
from universality.plugin.registry import component

ALPHA = 0.05
"""Of any false finding in all replications of a hunt together."""
MAX_REPLICATED = 25
REPLICATES = math.ceil(math.log2(MAX_REPLICATED / ALPHA))
"""Fresh seeds: of so many that all miss a claim, one half each, the p-value is below the level of one replication."""
FRESH = 1000
"""The first of them; suites and controls count theirs from 0."""
SEARCH_SHARE, LARGEST_SHARE, PLANNING_SHARE = 0.5, 0.25, 0.2
"""Of the budget: for the search, for one setting at most, and for finding out what settings cost."""
PORTION = 0.25
"""Of the search: what is trained before its speed is looked at again."""


@dataclass(frozen=True, slots=True)
class Quarry:
    """The claim that is hunted: a phenomenon by its address, and the claim's name."""

    phenomenon: str
    claim: str

    @classmethod
    def parse(cls, text: str) -> Quarry:
        """Raises `BadParameter` or `UnknownName` for what is no claim, and for one that no cell of a suite is asked."""
        address, colon, name = text.rpartition(":")
        if not colon:
            raise BadParameter(
                "a claim is named by its phenomenon, too", got=text, expected="phenomenon:claim"
            )
        phenomenon: Phenomenon = registry.resolve("phenomenon", address)
        if name not in phenomenon.claims:
            raise unknown_name(f"claim of {phenomenon.name}", name, phenomenon.claims)
        if phenomenon.calibration:
            raise BadParameter(
                "a calibration is exact theory, asked in one cell",
                got=text,
                expected="a claim about behaviours",
            )
        if compares_networks(phenomenon, name):
            others = [each for each in phenomenon.claims if not compares_networks(phenomenon, each)]
            raise BadParameter(
                "a claim that compares networks is not hunted: a setting has one network",
                where=f"{phenomenon.name}.{phenomenon.claims[name].runs.name}, of each pair of architectures",
                got=text,
                expected=", ".join(["a claim about one network", *others]),
                do=f"`universality run --phenomena '{address}' --architectures A B --tasks T` asks it",
            )
        return cls(canonical("phenomenon", address), name)

    @property
    def suite(self) -> str:
        """The name of its search."""
        return f"hunt-{self.phenomenon.partition('[')[0]}-{self.claim}"

    @property
    def reference(self) -> tuple[str, str, str]:
        """The cell in which its controls are measured."""
        network, task = registry.resolve("phenomenon", self.phenomenon).reference
        return self.phenomenon, canonical("architecture", network), canonical("task", task)

    @property
    def seeds(self) -> int:
        """The fewest with which an absence can be decided."""
        claim = registry.resolve("phenomenon", self.phenomenon).claims[self.claim]
        return DEFAULT_SEEDS if isinstance(claim.bound, Most) else MIN_UNITS


def compares_networks(phenomenon: Phenomenon, claim: str) -> bool:
    """Whether the runs of a claim are those of an architecture and of others in its suite."""
    return phenomenon.claims[claim].runs.scope == "partner"


def suite_of(quarry: Quarry, settings: Iterable[Setting], *, again: bool = False) -> Suite:
    """The settings as sweeps beside the reference of the phenomenon, whose controls judge them.

    The reference has the seeds of the search, so that a replication does not train it; unless it is to be replicated.
    """
    reference = quarry.reference
    cells = [each.addresses for each in settings]

    def cross(cell: tuple[str, str, str], *, fresh: bool) -> CrossSpec:
        phenomenon, network, task = cell
        return CrossSpec(
            phenomena=(phenomenon,),
            architectures=(network,),
            tasks=(task,),
            seeds=REPLICATES if fresh else quarry.seeds,
            first_seed=FRESH if fresh else 0,
        )

    what = "replication of absences" if again else "search for absences"
    return Suite(
        name=f"{quarry.suite}-again" if again else quarry.suite,
        crosses=(cross(reference, fresh=again and reference in cells),),
        sweeps=tuple(cross(each, fresh=again) for each in cells),
        description=f"{what} of {quarry.phenomenon}:{quarry.claim}",
    )


def known_absences(quarry: Quarry) -> set[tuple[str, str, str]]:
    """The settings of negative controls: that the claim is absent there is no finding."""
    return {
        (
            str(component(each.phenomenon)),
            canonical("architecture", each.architecture),
            canonical("task", each.task),
        )
        for each in controls_of(registry.resolve("phenomenon", quarry.phenomenon))
        if each.sign == "negative" and quarry.claim in each.claims
    }


@dataclass
class Costs:
    """Seconds on one core that settings would take beside what was counted so far, by the forecast of the planner.

    Args:
        stored: ids of runs that cost nothing any more.
        counted: of each run.
        prices: of each setting that was counted, beside those before it.
    """

    quarry: Quarry
    data_root: Path
    stored: Collection[str] = ()
    counted: dict[str, float] = field(default_factory=dict)
    prices: dict[Setting, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._inquiry = Inquiry(self.data_root)

    def of(
        self, settings: Sequence[Setting], *, controls: bool = False, again: bool = False
    ) -> dict[str, float] | None:
        """Seconds of each run that is not counted yet; None for a setting in which the claim cannot be asked.

        Raises:
            UniversalityError: as the planner, for data that is not there and networks that do not fit.
        """
        suite = suite_of(self.quarry, settings, again=again)
        if not controls:  # the settings alone
            suite = Suite(name=suite.name, crosses=suite.sweeps, controls=False)
        plan = Planner(self.data_root, self._inquiry).add_suite(suite)
        if not controls and not all(map(self._asks, plan.cells)):
            return None
        return {
            run_id: 0.0 if run_id in self.stored else job.seconds
            for run_id, job in plan.jobs.items()
            if run_id not in self.counted
        }

    def _asks(self, cell: PlannedCell) -> bool:
        """Whether a cell has runs of the claim: those of other claims say nothing of it."""
        claim = cell.phenomenon.claims[self.quarry.claim]
        return self.quarry.claim not in cell.left_out and any(g.bears_on(claim) for g in cell.groups)

    def count(self, more: dict[str, float] | None, of: Setting | None = None) -> None:
        self.counted |= more or {}
        if of is not None:
            self.prices[of] = sum((more or {}).values())

    @property
    def total(self) -> float:
        return sum(self.counted.values())


def chosen(
    costs: Costs, kept: Sequence[Setting], candidates: Iterable[Setting], seconds: float, patience: float
) -> list[Setting]:
    """The settings of a search: those of an earlier sitting, and as many more as are worth `seconds` on one core, controls
    with them.

    Args:
        patience: wall seconds in which no more settings are priced.

    Raises:
        BadParameter: where the controls alone take longer, or no setting can be asked.
    """
    end = monotonic() + patience
    costs.count(costs.of((), controls=True))
    if (least := costs.total) > seconds:
        raise BadParameter(
            "the budget is too small for the controls of this phenomenon, without which nothing is validated",
            where=costs.quarry.phenomenon,
            got=f"{seconds / 60:.1f} minutes of one core for the search",
            expected=f"{math.ceil(least / 60)} or more",
            do="raise --budget",
        )
    taken = list(kept)
    for setting in kept:
        costs.count(costs.of([setting]), setting)
    known, refused = {each.addresses for each in kept} | known_absences(costs.quarry), set[str]()
    for setting in candidates:
        if monotonic() > end or costs.total > 0.98 * seconds:
            break
        if setting.addresses in known or setting.task in refused:
            continue
        try:
            more = costs.of([setting])
        except UniversalityError as error:
            if error.where and setting.task.partition("[")[0] in error.where:
                refused.add(setting.task)
            continue
        price = sum((more or {}).values())
        if more is not None and price <= LARGEST_SHARE * seconds and costs.total + price <= seconds:
            costs.count(more, setting)
            taken.append(setting)
    if not taken:
        raise BadParameter(
            "no setting of this claim can be asked within the budget",
            where=f"{costs.quarry.phenomenon}:{costs.quarry.claim}",
            do="raise --budget, or name --architectures and --tasks",
        )
    return taken


def trained_within(
    costs: Costs,
    kept: Sequence[Setting],
    fresh: Sequence[Setting],
    train: Callable[[Sequence[Setting]], object],
    *,
    wall: float,
    slots: int,
) -> tuple[list[Setting], float]:
    """Train controls and settings, the `fresh` ones in portions and none that, as fast as it went so far, would not end
    within `wall` seconds: a busy machine is slower than any forecast. What began is finished.

    Args:
        train: trains what is missing of these settings and of the controls.

    Returns:
        the settings that are trained, and the seconds on one core that were forecast for what was trained now.
    """
    began, pace, trained = monotonic(), 1.0, 0.0
    taken, left = list(kept), list(fresh)
    due = costs.total - sum(costs.prices[each] for each in left)
    while left or due:
        room = (wall - (monotonic() - began)) * slots / pace
        while left:
            next_due = due + costs.prices[left[0]]
            if next_due > room or (due and next_due > PORTION * costs.total):
                break
            due = next_due
            taken.append(left.pop(0))
        if not due:
            break
        train(taken)
        trained, due = trained + due, 0.0
        pace = max(1.0, (monotonic() - began) * slots / trained)
    return taken, trained


def to_replicate(
    costs: Costs, before: Sequence[Setting], absent: Iterable[Setting], seconds: float
) -> list[Setting]:
    """The settings of an earlier replication, and as many more, the most ordinary first, as are worth `seconds` on one core:
    at least one, at most `MAX_REPLICATED` of all sittings."""
    taken = list(before)
    for setting in sorted(set(absent) - set(before), key=lambda each: (len(each.changes), each)):
        more = costs.of([setting], again=True) or {}
        if len(taken) == MAX_REPLICATED or (taken and costs.total + sum(more.values()) > seconds):
            break
        costs.count(more)
        taken.append(setting)
    return taken


def absences(results: ResultSet, quarry: Quarry) -> dict[tuple[str, str, str], CellVerdict]:
    """Settings in which the claim is absent, with gates met and controls right, by their addresses."""
    found = {}
    for verdict in results.verdicts:
        phenomenon, claim, network, task = measured_question(verdict)
        if verdict.record.control is None and claim == quarry.claim and verdict.verdict == "absent":
            found[phenomenon, network, task] = verdict
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A counterexample: where it is, and what was seen on the seeds of the search and on fresh ones."""

    setting: Setting
    first: CellVerdict
    again: CellVerdict


def is_confirmed(again: CellVerdict) -> bool:
    """Whether a replication shows an absence: each at 5 % over the most that a hunt replicates (Bonferroni), so that the
    chance of any false finding of a hunt is below 5 %, however many settings were searched."""
    return again.verdict == "absent" and again.p is not None and again.p <= ALPHA / MAX_REPLICATED


@dataclass(frozen=True, slots=True, kw_only=True)
class Hunted:
    """What a hunt found.

    Args:
        searched: settings of the search; `absent`, those of them in which the claim did not hold.
        replicated: of these, those that were asked again on fresh seeds; `findings`, those in which it did not hold again.
        search, again: the result sets; None of a dry run, and where there was nothing to replicate.
        unbegun: settings that the forecast had room for and the time had not.
        seconds, budget: how long it took, and was to take.
    """

    quarry: Quarry
    searched: tuple[Setting, ...]
    absent: tuple[Setting, ...] = ()
    replicated: tuple[Setting, ...] = ()
    findings: tuple[Finding, ...] = ()
    search: ResultSet | None = None
    again: ResultSet | None = None
    unbegun: int = 0
    seconds: float = 0.0
    budget: float = 0.0


def findings(
    settings: Iterable[Setting],
    first: dict[tuple[str, str, str], CellVerdict],
    again: ResultSet,
    quarry: Quarry,
) -> list[Finding]:
    """Absences that were confirmed on fresh seeds, the most ordinary first."""
    seen = absences(again, quarry)
    found = [
        Finding(setting=each, first=first[each.addresses], again=verdict)
        for each in settings
        if each.addresses in first
        and (verdict := seen.get(each.addresses)) is not None
        and is_confirmed(verdict)
    ]
    return sorted(
        found, key=lambda finding: (len(finding.setting.changes), finding.again.p or 0.0, finding.setting)
    )
