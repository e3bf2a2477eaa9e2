"""The verdict of one claim in one cell, from the outcomes of its groups of runs.

Only `present` and `absent` count as evidence. What a run could not have shown is `inconclusive`
and never absence; what ended early keeps the name of its end.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Literal, get_args

from msgspec import structs

from universality.judge.statistics import (
    Interval,
    clopper_pearson,
    clopper_pearson_p,
    distances,
    effective_trials,
    jackknife_interval,
    replicates,
    seeds_to_decide,
    student_tail,
)
from universality.measures.grokking.survival import kaplan_meier_median
from universality.plugin.bounds import Bound, Scale, Within
from universality.plugin.outcome import Check
from universality.plugin.trajectory import RunState
from universality.store.cells import CellRecord, GroupRecord
from universality.text import beside, percent

Verdict = Literal[
    "present", "absent", "inconclusive", "invalid", "not applicable",
    "diverged", "failed", "crashed", "timeout", "missing",
]  # fmt: skip
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
MEASURED: tuple[Verdict, ...] = ("present", "absent", "inconclusive")

ControlResult = Literal["passed", "failed", "not exercised"]
"""A positive control passes where it is present, else it fails. A negative one passes where it is absent and fails where
it is present; where it is neither it tells nothing."""

MIN_UNITS = 3
MAX_SEEDS = 1000

ReasonKind = Literal[
    "interval inside", "interval outside", "share", "mixed", "straddles", "gate", "censored", "no effect",
    "too few replicates", "shared unit", "undecided groups", "meaningless effect", "control failed",
    "not applicable", "ended early",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a verdict is what it is: the rule that decided, and the same for a reader, with numbers.

    `subject` names what was lacking, without numbers: the gate, or what kept a group from having an effect.
    """

    kind: ReasonKind
    text: str
    subject: str = ""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class CellVerdict:
    """What is known of one claim in one cell.

    Args:
        verdict: after its controls were taken into account; `raw` is the cell's own.
        effect, low, high: in the claim's unit; `se` is the standard error on the claim's scale.
        units: independent replicates among the decided groups; `trials`: what these groups are worth as trials of
            a share.
        decided, holding: groups that met their gates, and those of them that show the phenomenon.
        seeds_needed: replicates at which an undecided interval would clear its bound, if any do.
        details: medians over the decided groups of their secondary numbers.
        counted: whether it counts towards universality; sweeps, controls and their settings do not.
        repeated: of the same runs as an earlier cell, as the comparison of two networks in the cell of the second: not counted.
        p: of a decided verdict, one-sided: the chance of data as far on its side, were the truth on
            the bound that it had to clear.
        p_least: the smallest p that its groups could have given, whatever was measured.
        p_holm: p corrected over all counted cells and claims that were judged together.
    """

    record: CellRecord
    verdict: Verdict
    raw: Verdict
    reason: Reason
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    se: float | None = None
    groups: int = 0
    units: int = 0
    trials: float = 0.0
    decided: int = 0
    holding: int = 0
    seeds_needed: int | None = None
    details: Mapping[str, float] = field(default_factory=dict)
    counted: bool = True
    repeated: bool = False
    p: float | None = None
    p_least: float = 1.0
    p_holm: float | None = None

    @property
    def control_result(self) -> ControlResult | None:
        """What a control came to; None for a cell."""
        control = self.record.control
        if control is None:
            return None
        if self.raw == control.expects:
            return "passed"
        return "failed" if control.sign == "positive" or self.raw == "present" else "not exercised"

    @property
    def settled(self) -> bool:
        """Present or absent, once the controls are heard."""
        return self.verdict in ("present", "absent")

    @property
    def decidable(self) -> bool:
        """Whether enough replicates, and enough of the groups, were decided."""
        return self.units >= MIN_UNITS and 5 * self.decided >= 4 * self.groups

    def ruled(
        self, verdict: Verdict, kind: ReasonKind, text: str, *, subject: str = "", p: float | None = None
    ) -> CellVerdict:
        """The same cell with the cell's own verdict and its reason."""
        return replace(self, verdict=verdict, raw=verdict, reason=Reason(kind, text, subject), p=p)


def decide(record: CellRecord) -> CellVerdict:
    """The verdict of one cell or control from its groups.

    Deciding takes three independent replicates and 80 % of the groups; where a claim compares with several partners, of
    the groups of those that can be compared (`compared_groups`). A `Within` claim is present
    where the 95 % interval lies inside its bounds and 80 % of the decided groups hold, absent where
    the interval lies outside, or where most groups miss a criterion: the one-sided 95 % Clopper-Pearson bound
    of the share that meets all is below one half. Where effects lie is left to their interval: a share tells of a
    median, and of skewed effects most miss a bound that their mean is on. A `Most` claim is decided by the share that
    holds alone. Groups that share units count as `effective_trials` of a share.

    False presence and false absence where the true mean lies on the bound, by simulation of normal effects: at most 2.7 %
    each for one run a seed, all pairs of 4 or 5 seeds, and partners at each of 3 or 5 seeds. Of skewed effects the
    interval of a mean is off: false absence 11 % (5 seeds) and 7 % (20) for exponential ones, 18 and 13 % for log-normal
    ones, whose scale is the logarithm.
    """
    if record.not_applicable:
        reason = Reason("not applicable", record.not_applicable)
        return CellVerdict(record=record, verdict="not applicable", raw="not applicable", reason=reason)
    groups, decided = compared_groups(record), decided_groups(record)
    within = isinstance(record.claim, Within)
    trials = effective_trials([g.units for g in decided])
    cell = CellVerdict(
        record=record,
        verdict="inconclusive",
        raw="inconclusive",
        reason=Reason("too few replicates", ""),
        groups=len(groups),
        units=len(replicates([g.units for g in decided])),
        trials=trials,
        decided=len(decided),
        holding=_holding(decided, record.claim),
        details=_details(decided),
    )
    positive = record.claim.scale == "log"
    for group in decided:
        if not math.isfinite(group.effect) or (positive and group.effect <= 0):
            needs = "finite and positive" if positive else "finite"
            text = f"effect of {group.key} is {group.effect:g}, needs {needs}"
            return cell.ruled("invalid", "meaningless effect", text)
    if decided and within:
        mean = mean_effect(decided, record.claim.scale)
        cell = replace(cell, effect=mean.estimate, low=mean.low, high=mean.high, se=mean.se)
    elif decided:
        timed = timed_groups(record)
        least = 0.0 if positive else -math.inf
        survival = kaplan_meier_median([g.effect for g in timed], [g.censored for g in timed], least=least)
        cell = replace(cell, effect=survival.median)
        if effective_trials([g.units for g in timed]) == len(
            timed
        ):  # its interval is that of independent times
            cell = replace(cell, low=survival.low, high=survival.high)
    if not cell.decidable:
        return _undecidable(cell)
    cell = replace(cell, p_least=0.0 if within else 0.5**trials)
    return _told_of_partners(_decide_within(cell, decided) if within else _decide_most(cell, decided))


def decide_again(cell: CellVerdict, claim: Bound) -> CellVerdict:
    """The cell as its own groups decide it, were its claim another of the same kind and scale: its interval stays."""
    if cell.raw not in MEASURED or not cell.decidable:
        return cell
    decided = decided_groups(cell.record)
    moved = replace(cell, record=structs.replace(cell.record, claim=claim), holding=_holding(decided, claim))
    return _told_of_partners((_decide_within if isinstance(claim, Within) else _decide_most)(moved, decided))


def with_p_of(cell: CellVerdict, claim: Bound) -> CellVerdict:
    """A cell whose verdict is the same under another claim, with the p that it has there. That of a share is the same where no
    group holds that did not: the bound is not in it."""
    if cell.reason.kind in ("interval inside", "interval outside") and isinstance(claim, Within):
        assert cell.effect is not None
        assert cell.se is not None
        return replace(cell, p=_p_within(claim, cell.effect, cell.se, cell.units))
    return cell


def compared_groups(record: CellRecord) -> tuple[GroupRecord, ...]:
    """The groups of partners of which 80 % are decided; all groups where that are fewer than half of the partners.

    A claim of two networks that do equally well says nothing of a partner that does not. It is the pair that
    is no evidence, and not the network: one partner that fails would leave the cell of every other one open.
    """
    of: dict[str, list[GroupRecord]] = {}
    for group in record.groups:
        of.setdefault(group.partner, []).append(group)
    if len(of) == 1:
        return record.groups
    kept = {p for p, groups in of.items() if 5 * sum(g.decided for g in groups) >= 4 * len(groups)}
    if 2 * len(kept) < len(of):
        return record.groups
    return tuple(group for group in record.groups if group.partner in kept)


def decided_groups(record: CellRecord) -> list[GroupRecord]:
    """The groups whose effects make the cell's.

    A censored effect is a lower bound: under `Within` it cannot enter a mean.
    """
    within = isinstance(record.claim, Within)
    return [g for g in compared_groups(record) if g.decided and not (within and g.censored)]


def timed_groups(record: CellRecord) -> list[GroupRecord]:
    """The groups that a median of times is of: those decided, and those that were not seen in a budget too short to decide.

    Without the latter, which are lower bounds whatever they miss, a median of few early ones would stand for all.
    """

    def bounded_below(group: GroupRecord) -> bool:
        outcome = group.outcome
        if outcome is None or not outcome.censored or outcome.effect is None:
            return False
        return 0 < outcome.effect < math.inf

    return [g for g in compared_groups(record) if g.decided or bounded_below(g)]


def pooled(record: CellRecord) -> bool:
    """Whether each group is of all runs, its effect a pseudo-value of the jackknife: an interval follows from these, and a
    share of groups that hold means nothing."""
    groups = record.groups
    return len(groups) > 1 and all(len(g.runs) > 1 and g.runs == groups[0].runs for g in groups)


def telling_groups(record: CellRecord) -> list[GroupRecord]:
    """The groups that say something of the effect: of times also those that were not seen within a budget too short to decide."""
    return decided_groups(record) if isinstance(record.claim, Within) else timed_groups(record)


def _holding(decided: Sequence[GroupRecord], claim: Bound) -> int:
    return sum(g.outcome is not None and g.outcome.holds(claim) for g in decided)


def mean_effect(groups: Sequence[GroupRecord], scale: Scale) -> Interval:
    return jackknife_interval([g.effect for g in groups], [g.units for g in groups], scale=scale)


def _decide_within(cell: CellVerdict, decided: Sequence[GroupRecord]) -> CellVerdict:
    claim, low, high, effect = cell.record.claim, cell.low, cell.high, cell.effect
    assert isinstance(claim, Within)
    if low is None or high is None or effect is None or cell.se is None:
        text = "every group shares a unit, so there is no interval"
        return cell.ruled("inconclusive", "shared unit", text)
    bounds = claim.low, claim.high
    together = pooled(cell.record)
    met = sum(g.outcome is not None and all(check.met for check in g.outcome.criteria) for g in decided)
    agreeing = met if together else cell.holding
    shares = f"{agreeing} of {cell.decided} {'meet all criteria' if together else 'hold'}"
    interval = f"95% interval {beside(low, *bounds)} to {beside(high, *bounds)}"
    seen = f"{interval}, claimed {claim}"
    inside = claim.low <= low and high <= claim.high
    p = _p_within(claim, effect, cell.se, cell.units)
    if inside and 5 * agreeing >= 4 * cell.decided:
        return cell.ruled("present", "interval inside", f"inside the claim: {seen}; {shares}", p=p)
    if high < claim.low or low > claim.high:
        side = "below" if high < claim.low else "above"
        return cell.ruled("absent", "interval outside", f"{side} the claim: {seen}; {shares}", p=p)
    share, failed = met / cell.decided * cell.trials, _most_missed(decided, claim)
    if clopper_pearson(share, cell.trials, side="upper")[1] < 0.5:
        p = clopper_pearson_p(share, cell.trials, side="upper")
        return cell.ruled("absent", "share", f"most miss a criterion: {shares}, {failed}; {seen}", p=p)
    if inside:
        text = f"mixed: {interval} is inside {claim}, but {shares}, {failed}"
        return cell.ruled("inconclusive", "mixed", text)
    below, above = low < claim.low, high > claim.high
    sides = "both bounds" if below and above else "the lower bound" if below else "the upper bound"
    if met < cell.decided:  # then more seeds of this spread would not decide by their interval alone
        return cell.ruled("inconclusive", "straddles", f"straddles {sides}: {seen}; {shares}, {failed}")
    if claim.holds(effect) and 5 * agreeing < 4 * cell.decided:  # an interval inside would be "mixed"
        text = f"straddles {sides}: {seen}; {shares}, too few for presence with however many seeds of this spread"
        return cell.ruled("inconclusive", "straddles", text)
    sd = cell.se * math.sqrt(cell.units)
    seeds = seeds_to_decide(effect, sd, claim.low, claim.high, scale=claim.scale, limit=MAX_SEEDS)
    decide_by = f"about {seeds} seeds would decide" if seeds else f"over {MAX_SEEDS} seeds to decide"
    return replace(
        cell.ruled("inconclusive", "straddles", f"straddles {sides}: {seen}; {decide_by}"), seeds_needed=seeds
    )


def _p_within(claim: Within, effect: float, se: float, units: int) -> float:
    """One-sided p-value at the bound that is nearest to the effect.

    That is the p of "inside", where both bounds must be cleared (Schuirmann 1987), and of "outside", where it is the
    one that was.
    """
    gaps = distances(effect, claim.low, claim.high, claim.scale)
    return max((student_tail(gap, se, units - 1) for gap in gaps), default=0.0)


def _most_missed(decided: Sequence[GroupRecord], claim: Bound) -> str:
    """What kept most groups from holding: the side of the bounds, or the criterion with its median value."""
    misses: dict[str, list[str | Check]] = {}
    for group in decided:
        assert group.outcome is not None
        if not claim.holds(group.effect):
            side = "above" if isinstance(claim, Within) and group.effect > claim.high else "below"
            misses.setdefault(f"{side} the claim", []).append("")
        for check in group.outcome.criteria:
            if not check.met:
                misses.setdefault(check.name, []).append(check)
    if not misses:
        return "none misses"
    name, cases = max(misses.items(), key=lambda item: len(item[1]))
    checks = [case for case in cases if isinstance(case, Check)]
    return f"{name}{_told(checks)} (in {len(cases)} of {len(decided)} groups)"


def _told(checks: Sequence[Check]) -> str:
    """The median of what a check found where it was not met, on its side of what it needs; empty for none."""
    if not checks:
        return ""
    # Of an even number the lower: a mean of two could lie on the other side.
    middle = sorted(checks, key=lambda check: check.value)[(len(checks) - 1) // 2]
    return f" = {middle.shown}, needs {middle.needs}"


def _decide_most(cell: CellVerdict, decided: Sequence[GroupRecord]) -> CellVerdict:
    """Presence or absence by the share of groups that hold.

    A censored group whose gates are met counts as its phenomenon says it does. Groups that share a
    unit are worth as many trials as `effective_trials`. Undecided groups forbid absence; for presence those that were not
    seen within the budget count as misses, else the early ones alone would speak.
    """
    k, n, trials = cell.holding, cell.decided, cell.trials
    share = k / n * trials
    timed = timed_groups(cell.record)
    all_trials = effective_trials([g.units for g in timed])
    seen = k / len(timed) * all_trials
    low = clopper_pearson(seen, all_trials, side="lower")[0]
    high = clopper_pearson(share, trials, side="upper")[1]
    bounds, limit = f"{k} of {n} hold", "one-sided 95% bound of the share"
    if len(timed) > n:
        bounds += f", {len(timed) - n} not seen within the budget"
    if low > 0.5:
        p = clopper_pearson_p(seen, all_trials, side="lower")
        return cell.ruled("present", "share", f"most hold: {bounds}; {limit} {beside(low, 0.5)} > 0.5", p=p)
    undecided, failed = cell.groups - n, _most_missed(decided, cell.record.claim)
    if high < 0.5 and not undecided:
        p = clopper_pearson_p(share, trials, side="upper")
        text = f"most miss: {bounds}, {failed}; {limit} {beside(high, 0.5)} < 0.5"
        return cell.ruled("absent", "share", text, p=p)
    if high < 0.5:
        text = f"most miss: {bounds}, {failed}; but {undecided} undecided"
        return cell.ruled("inconclusive", "undecided groups", text)
    enough = _trials_to_decide(k / n)
    seeds = None if enough is None else math.ceil(enough * cell.units / trials)
    more = f"; about {seeds} seeds would decide" if seeds else ""
    interval = " to ".join(map(percent, clopper_pearson(share, trials)))
    told = bounds if k == n else f"{bounds}, {failed}"
    text = f"too few to tell: {told}; 95% interval of the share {interval}{more}"
    return replace(cell.ruled("inconclusive", "mixed", text), seeds_needed=seeds)


def _trials_to_decide(share: float) -> int | None:
    """The fewest trials at which `share` would be told from one half."""
    for n in range(MIN_UNITS, MAX_SEEDS + 1):
        k = round(share * n)
        if clopper_pearson(k, n, side="lower")[0] > 0.5 or clopper_pearson(k, n, side="upper")[1] < 0.5:
            return n
    return None


def _undecidable(cell: CellVerdict) -> CellVerdict:
    """Too few groups decided: a failure state if that is why, else what stopped most of them."""
    groups = cell.record.groups
    if not groups:
        return cell.ruled("missing", "ended early", "no groups")
    ended = [g for g in groups if g.state != "done"]
    if 5 * len(ended) > len(groups):
        return _ended(cell, ended)
    obstacle = _obstacle(groups, cell.record.claim)
    if obstacle is None:
        text = f"{cell.units} independent units, needs {MIN_UNITS}"
        return cell.ruled("inconclusive", "too few replicates", text)
    kind, subject, text = obstacle
    return cell.ruled("inconclusive", kind, text, subject=subject)


def _obstacle(groups: Sequence[GroupRecord], claim: Bound) -> tuple[ReasonKind, str, str] | None:
    """What kept most of the groups from deciding, with its subject and with its numbers; None where nothing did."""
    obstacles: dict[tuple[ReasonKind, str], list[str | Check]] = {}
    for group in groups:
        outcome = group.outcome
        if group.state != "done":
            continue
        if outcome is None:
            text = group.problem.text if group.problem else "nothing was measured"
            obstacles.setdefault(("no effect", text), []).append("")
        elif outcome.decided():
            if not (outcome.censored and isinstance(claim, Within)):
                continue
            obstacles.setdefault(("censored", "not seen within the budget"), []).append("")
        else:
            unmet = [gate for gate in outcome.gates if not gate.met]
            for gate in unmet:
                obstacles.setdefault(("gate", gate.name), []).append(gate)
            if not unmet:
                obstacles.setdefault(("no effect", "there was no effect to measure"), []).append("")
    if not obstacles:
        return None
    (kind, subject), cases = max(obstacles.items(), key=lambda item: len(item[1]))
    told = _told([case for case in cases if isinstance(case, Check)])
    return kind, subject, f"{subject}{told} (in {len(cases)} of {len(groups)} groups)"


def _told_of_partners(cell: CellVerdict) -> CellVerdict:
    """The cell with the partners in its reason that could not be compared, and why."""
    if len(groups := compared_groups(cell.record)) == len(cell.record.groups):
        return cell
    kept = {group.partner for group in groups}
    left = [group for group in cell.record.groups if group.partner not in kept]
    out, obstacle = len({group.partner for group in left}), _obstacle(left, cell.record.claim)
    why = obstacle[2] if obstacle else "they did not end"
    text = f"{cell.reason.text}; {out} of {out + len(kept)} partners left out: {why}"
    return replace(cell, reason=replace(cell.reason, text=text))


def _ended(cell: CellVerdict, ended: Sequence[GroupRecord]) -> CellVerdict:
    """The commonest end of groups that did not finish."""
    counts = Counter(g.state for g in ended)
    state = max(get_args(RunState), key=lambda s: counts[s])
    why = next((g.problem.text for g in ended if g.state == state and g.problem), "")
    text = f"{counts[state]} of {cell.groups} groups {state}"
    return cell.ruled(state, "ended early", f"{text}: {why}" if why else text)


def _details(decided: Sequence[GroupRecord]) -> dict[str, float]:
    collected: dict[str, list[float]] = {}
    for group in decided:
        assert group.outcome is not None
        for name, value in group.outcome.details.items():
            collected.setdefault(name, []).append(value)
    return {name: median(values) for name, values in collected.items()}
