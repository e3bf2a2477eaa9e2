"""One row per claim: how universal it is over all cells that it was asked in."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from universality.judge import moved
from universality.judge.controls import Standing, claim_of, standing
from universality.judge.crossed import Pooled, Prevalence, pool, prevalence
from universality.judge.decide import (
    MEASURED,
    VERDICTS,
    CellVerdict,
    Verdict,
    pooled,
    telling_groups,
)
from universality.judge.statistics import clopper_pearson_p, effective_trials, holm
from universality.plugin.bounds import Bound, Scale, Within
from universality.plugin.phenomenon import About
from universality.store.cells import CellRecord, GroupRecord

ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Joint:
    """All groups of the counted cells of a claim that tell anything together, which can tell what no cell of few groups can.

    Args:
        trials: what they are worth; see `share_of_groups`.
        p: two-sided, of a share of one half; `p_holm` corrected over the claims of a set, None where so few trials
            could not survive the correction whatever holds.
    """

    holding: int
    decided: int
    trials: float
    p: float
    p_holm: float | None = None

    @property
    def p_least(self) -> float:
        """The p of all groups holding, or none."""
        return min(1.0, 2 * math.pow(0.5, self.trials))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """One claim over many cells: how often each verdict was found, and what that says of all cells."""

    phenomenon: str
    about: About
    claim_name: str
    claim: Bound
    counts: Mapping[Verdict, int]
    prevalence: Prevalence | None
    pooled: Pooled | None

    @property
    def title(self) -> str:
        """The claim's, for people."""
        return self.about.claims.get(self.claim_name, self.claim_name)

    @property
    def decided(self) -> int:
        return self.counts["present"] + self.counts["absent"]

    @property
    def applicable(self) -> int:
        return sum(self.counts.values()) - self.counts["not applicable"]

    @property
    def coverage(self) -> float:
        """Share of the applicable cells that were decided."""
        return self.decided / self.applicable if self.applicable else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRow(Tally):
    """One claim over all cells that it was asked in; not `asked` in any where a suite wants its controls alone."""

    asked: bool
    controls: int
    standing: Standing
    failed_controls: tuple[str, ...]
    """Everything that its controls lack: those that failed, were not run or, negative, not exercised."""
    confirmed: Mapping[str, int | None]
    """Cells present and absent that survive Holm's correction at 5 %; None where no cell of the claim could, whatever
    was measured."""
    joint: Joint | None
    moved: tuple[moved.Moved, ...]
    """The cells under a claim twice as strict and one twice as lax, where these are defined."""

    @property
    def validated(self) -> bool:
        """At least one positive and one negative control were run, all positive are present and all negative absent."""
        return self.standing == "validated"

    @property
    def distrusted(self) -> bool:
        """Whether it is a calibration that does not come out as exact theory says: what is measured then is something else."""
        return self.about.calibration and self.standing in ("controls failed", "negative not exercised")


def summarise(verdicts: Sequence[CellVerdict], phenomena: Mapping[str, About]) -> list[ClaimRow]:
    """A row per phenomenon and claim, calibrations first, in order of first appearance, from what `judge` returned."""
    rows: dict[tuple[str, str], list[CellVerdict]] = {}
    for verdict in verdicts:
        rows.setdefault(claim_of(verdict), []).append(verdict)
    confirmable = _confirmable(verdicts)
    found = [_row(members, phenomena[name], confirmable) for (name, _), members in rows.items()]
    joints = [row.joint for row in found if row.joint]
    possible = survivable([joint.p_least for joint in joints])
    corrected = iter(
        replace(joint, p_holm=p if joint.p_least in possible else None)
        for joint, p in zip(joints, holm([joint.p for joint in joints]), strict=True)
    )
    rows_of = [replace(row, joint=next(corrected)) if row.joint else row for row in found]
    return sorted(rows_of, key=lambda row: not row.about.calibration)


def _confirmable(verdicts: Sequence[CellVerdict]) -> set[str]:
    """Ids of the counted cells that could survive Holm's correction."""
    family = [v for v in verdicts if _in_family(v)]
    possible = survivable([v.p_least for v in family])
    return {v.record.id for v in family if v.p_least in possible}


def survivable(least: Sequence[float]) -> set[float]:
    """Of the smallest p that each test of a family can have, those that Holm's correction leaves at 5 % or below.

    A p is multiplied by at least the number of tests that cannot have a smaller one.

    >>> survivable([0.25, 0.03, 0.001])
    {0.001}
    """
    places = {p: i + 1 for i, p in enumerate(sorted(least, reverse=True))}
    return {p for p, place in places.items() if p * place <= ALPHA}


def _in_family(v: CellVerdict) -> bool:
    return v.counted and v.raw in MEASURED


def _row(members: Sequence[CellVerdict], about: About, confirmable: Collection[str]) -> ClaimRow:
    controls = [v for v in members if v.record.control]
    cells = [v for v in members if v.counted]
    counts = Counter(v.verdict for v in cells)
    stands, lacks = standing(controls)
    first = members[0].record
    family = [v for v in cells if _in_family(v)]
    hopeless = bool(family) and not any(v.record.id in confirmable for v in family)
    others = [moved.scaled(first.claim, factor) for factor in (2.0, 0.5)]
    return ClaimRow(
        phenomenon=first.phenomenon,
        about=about,
        claim_name=first.claim_name,
        claim=first.claim,
        counts={verdict: counts[verdict] for verdict in VERDICTS},
        prevalence=share_of_cells(cells),
        pooled=pool_cells(cells, first.claim.scale) if claims_a_number(first.claim, about) else None,
        asked=len(controls) < len(members),
        controls=len(controls),
        standing=stands,
        failed_controls=lacks,
        confirmed={
            verdict: None
            if hopeless
            else sum(v.verdict == verdict and v.p_holm is not None and v.p_holm <= ALPHA for v in cells)
            for verdict in ("present", "absent")
        },
        joint=share_of_groups(cells),
        moved=tuple(moved.under(claim, cells) for claim in others if claim is not None),
    )


def share_of_groups(cells: Sequence[CellVerdict]) -> Joint | None:
    """Whether most groups hold, over all measured cells together; None where no group is decided.

    Of a cell all groups that tell anything count, where these are four fifths of those that were planned: groups that a gate
    leaves are a choice. What was not seen within a budget too short to decide is a miss where the test asks whether most
    hold, and no miss where it asks whether most miss.

    The binomial test of one half, two-sided, at the effective number of trials: groups of one task and seed share
    their data and are taken as one trial, whatever the architecture. Null: over the cells asked, the shares that hold
    are on average one half. Cells with shares of their own make a sum of smaller variance than equal ones, so that the
    test stays conservative (Hoeffding 1956). False alarms at a nominal 5 %, simulated: at most 2 %, where groups follow
    their task and seed nearly entirely, and near 0 where they are independent.
    """
    groups: list[tuple[CellRecord, GroupRecord]] = []
    for v in cells:
        telling = telling_groups(v.record) if v.verdict in MEASURED and not pooled(v.record) else []
        if 5 * len(telling) >= 4 * v.groups:
            groups += [(v.record, g) for g in telling]
    if not any(g.decided for _, g in groups):
        return None
    holding = sum(g.decided and g.outcome is not None and g.outcome.holds(r.claim) for r, g in groups)
    open_ = sum(not g.decided for _, g in groups)
    trials = effective_trials([tuple(f"{u} of {record.task}" for u in g.units) for record, g in groups])
    most, least = (count / len(groups) * trials for count in (holding, holding + open_))
    tails = clopper_pearson_p(most, trials, side="lower"), clopper_pearson_p(least, trials, side="upper")
    return Joint(holding, len(groups), trials, min(1.0, 2 * min(tails)))


def claims_a_number(claim: Bound, about: About) -> bool:
    """Whether one value over all cells is claimed, so that a pooled one means something.

    A claim of the same form or sign leaves its effect to the cell: a mean over cells would estimate the
    choice of cells, and its interval from a handful of them spans decades.
    """
    return isinstance(claim, Within) and about.sense == "number"


def share_of_cells(cells: Sequence[CellVerdict]) -> Prevalence | None:
    """The prevalence of a claim among its decided cells; None where none is."""
    decided = [v for v in cells if v.settled]
    if not decided:
        return None
    return prevalence(
        [v.verdict == "present" for v in decided],
        [v.record.architecture for v in decided],
        [v.record.task for v in decided],
    )


def pool_cells(cells: Sequence[CellVerdict], scale: Scale) -> Pooled | None:
    """The effects of all measured cells that have an error; None where there are none.

    Cells that straddle a bound are measured too: without them the mean would be selected by its outcome.
    """
    measured = [
        (v.effect, v.se**2, v.record.architecture, v.record.task)
        for v in cells
        if v.verdict in MEASURED and v.effect is not None and v.se is not None
    ]
    return pool(*map(list, zip(*measured, strict=True)), scale=scale) if measured else None
