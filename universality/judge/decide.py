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

from universality.judge.statistics import (
    Interval,
    clopper_pearson,
    clopper_pearson_p,
    distances,
    jackknife_interval,
    replicates,
    seeds_to_decide,
    student_tail,
)
from universality.measures.grokking.survival import kaplan_meier_median
from universality.plugin.bounds import Scale, Within
from universality.plugin.trajectory import RunState
from universality.store.cells import CellRecord, GroupRecord

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
        units: independent replicates among the decided groups.
        decided, holding: groups that met their gates, and those of them that show the phenomenon.
        seeds_needed: replicates at which an undecided interval would clear its bound, if any do.
        details: medians over the decided groups of their secondary numbers.
        counted: whether it counts towards universality; sweeps, controls and their settings do not.
        p: of a decided verdict, one-sided: the chance of data as far on its side, were the truth on
            the bound that it had to clear.
        p_holm: the same, corrected over all counted cells and claims that were judged together.
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
    decided: int = 0
    holding: int = 0
    seeds_needed: int | None = None
    details: Mapping[str, float] = field(default_factory=dict)
    counted: bool = True
    p: float | None = None
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

    def ruled(
        self, verdict: Verdict, kind: ReasonKind, text: str, *, subject: str = "", p: float | None = None
    ) -> CellVerdict:
        """The same cell with the cell's own verdict and its reason."""
        return replace(self, verdict=verdict, raw=verdict, reason=Reason(kind, text, subject), p=p)


def decide(record: CellRecord) -> CellVerdict:
    """The verdict of one cell or control from its groups.

    Deciding takes three independent replicates and 80 % of the groups. A `Within` claim is present
    where the 95 % interval lies inside its bounds and 80 % of the decided groups hold, absent where
    the interval lies outside, or where most groups miss: the one-sided 95 % Clopper-Pearson bound
    of the share that holds is below one half. A `Most` claim is decided by that bound alone.
    """
    if record.not_applicable:
        reason = Reason("not applicable", record.not_applicable)
        return CellVerdict(record=record, verdict="not applicable", raw="not applicable", reason=reason)
    groups, decided = record.groups, decided_groups(record)
    within = isinstance(record.claim, Within)
    units = len(replicates([g.units for g in decided]))
    cell = CellVerdict(
        record=record,
        verdict="inconclusive",
        raw="inconclusive",
        reason=Reason("too few replicates", ""),
        groups=len(groups),
        units=units,
        decided=len(decided),
        holding=sum(g.outcome is not None and g.outcome.holds(record.claim) for g in decided),
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
        survival = kaplan_meier_median([g.effect for g in decided], [g.censored for g in decided])
        cell = replace(cell, effect=survival.median, low=survival.low, high=survival.high)
    if units < MIN_UNITS or 5 * len(decided) < 4 * len(groups) or not groups:
        return _undecidable(cell)
    return _decide_within(cell) if within else _decide_most(cell, decided)


def decided_groups(record: CellRecord) -> list[GroupRecord]:
    """The groups whose effects make the cell's.

    A censored effect is a lower bound: under `Within` it cannot enter a mean.
    """
    within = isinstance(record.claim, Within)
    return [g for g in record.groups if g.decided and not (within and g.censored)]


def mean_effect(groups: Sequence[GroupRecord], scale: Scale) -> Interval:
    return jackknife_interval([g.effect for g in groups], [g.units for g in groups], scale=scale)


def _decide_within(cell: CellVerdict) -> CellVerdict:
    claim, low, high, effect = cell.record.claim, cell.low, cell.high, cell.effect
    assert isinstance(claim, Within)
    if low is None or high is None or effect is None or cell.se is None:
        text = "every group shares a unit, so there is no interval"
        return cell.ruled("inconclusive", "shared unit", text)
    shares = f"{cell.holding} of {cell.decided} hold"
    interval = f"95% interval {low:.3g} to {high:.3g}"
    inside = claim.low <= low and high <= claim.high
    outside = high < claim.low or low > claim.high
    p_inside, p_outside = _p_within(claim, effect, cell.se, cell.units)
    if inside and 5 * cell.holding >= 4 * cell.decided:
        return cell.ruled("present", "interval inside", f"{interval} inside {claim}; {shares}", p=p_inside)
    if outside:
        return cell.ruled("absent", "interval outside", f"{interval} outside {claim}; {shares}", p=p_outside)
    # With few groups, a run of misses is what a mean on the bound gives too: 1 in 8 for three.
    if clopper_pearson(cell.holding, cell.decided, side="upper")[1] < 0.5:
        p = clopper_pearson_p(cell.holding, cell.decided, side="upper")
        return cell.ruled("absent", "share", f"{shares}; {interval}, claim {claim}", p=p)
    if inside:
        return cell.ruled("inconclusive", "mixed", f"mixed: {interval} inside {claim}, but {shares}")
    sd = cell.se * math.sqrt(cell.units)
    seeds = seeds_to_decide(effect, sd, claim.low, claim.high, scale=claim.scale, limit=MAX_SEEDS)
    decide_by = f"about {seeds} seeds would decide" if seeds else f"over {MAX_SEEDS} seeds to decide"
    text = f"straddles: {interval}, claim {claim}; {decide_by}"
    return replace(cell.ruled("inconclusive", "straddles", text), seeds_needed=seeds)


def _p_within(claim: Within, effect: float, se: float, units: int) -> tuple[float, float]:
    """One-sided p-values of "inside the bounds" (of both: Schuirmann 1987) and of "outside"."""
    gaps = distances(effect, claim.low, claim.high, claim.scale)
    tails = [student_tail(gap, se, units - 1) for gap in gaps]
    return max(tails, default=0.0), min(tails, default=1.0)


def _decide_most(cell: CellVerdict, decided: Sequence[GroupRecord]) -> CellVerdict:
    """Presence or absence by the share of groups that hold.

    A censored group whose gates are met counts as its phenomenon says it does. Groups that share a
    unit are worth as many trials as would fit without sharing. Undecided groups forbid absence.
    """
    k, n = cell.holding, cell.decided
    units = [unit for g in decided for unit in set(g.units)]
    sharing = len(set(units)) < len(units)
    trials = min(n, len(set(units)) / max(len(set(g.units)) for g in decided)) if sharing else n
    low = clopper_pearson(k / n * trials, trials, side="lower")[0]
    high = clopper_pearson(k / n * trials, trials, side="upper")[1]
    bounds = f"{k} of {n} hold"
    if low > 0.5:
        p = clopper_pearson_p(k / n * trials, trials, side="lower")
        return cell.ruled("present", "share", f"{bounds}; one-sided 95% bound {low:.2f} > 0.5", p=p)
    undecided = cell.groups - n
    if high < 0.5 and not undecided:
        p = clopper_pearson_p(k / n * trials, trials, side="upper")
        return cell.ruled("absent", "share", f"{bounds}; one-sided 95% bound {high:.2f} < 0.5", p=p)
    if high < 0.5:
        return cell.ruled("inconclusive", "undecided groups", f"{bounds}, but {undecided} undecided")
    enough = _trials_to_decide(k / n)
    more = f"; about {math.ceil(enough * n / trials)} groups would decide" if enough else ""
    share = "{:.0%} to {:.0%}".format(*clopper_pearson(k / n * trials, trials))
    text = f"mixed: {bounds}, 95% interval of the share {share}{more}"
    seeds = None if enough is None else math.ceil(enough * cell.units / trials)
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
    obstacles: dict[tuple[ReasonKind, str], list[str | tuple[float, str]]] = {}
    for group in groups:
        outcome = group.outcome
        if group.state != "done":
            continue
        if outcome is None:
            text = group.problem.text if group.problem else "nothing was measured"
            obstacles.setdefault(("no effect", text), []).append("")
        elif outcome.decided():
            if not (outcome.censored and isinstance(cell.record.claim, Within)):
                continue
            obstacles.setdefault(("censored", "not seen within the budget"), []).append("")
        else:
            unmet = [gate for gate in outcome.gates if not gate.met]
            for gate in unmet:
                obstacles.setdefault(("gate", gate.name), []).append((gate.value, gate.needs))
            if not unmet:
                obstacles.setdefault(("no effect", "there was no effect to measure"), []).append("")
    if not obstacles:
        text = f"{cell.units} independent units, needs {MIN_UNITS}"
        return cell.ruled("inconclusive", "too few replicates", text)
    (kind, subject), cases = max(obstacles.items(), key=lambda item: len(item[1]))
    values = [case for case in cases if isinstance(case, tuple)]
    numbers = f" = {median(v for v, _ in values):.3g}, needs {values[0][1]}" if values else ""
    text = f"{subject}{numbers} (in {len(cases)} of {len(groups)} groups)"
    return cell.ruled("inconclusive", kind, text, subject=subject)


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
