"""From the outcomes of runs to a verdict per cell, and from verdicts to how universal a claim is.

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

from universality.errors import MeasurementError
from universality.judge.statistics import (
    Pooled,
    Prevalence,
    clopper_pearson,
    clopper_pearson_p,
    holm,
    jackknife_interval,
    pool,
    prevalence,
    replicates,
    seeds_to_decide,
    student_tail,
)
from universality.measures.grokking.survival import kaplan_meier_median
from universality.plugin.claims import Claim, Within
from universality.plugin.records import CellRecord, GroupRecord, RunState, missing_signs

Verdict = Literal[
    "present",
    "absent",
    "inconclusive",
    "invalid",
    "not applicable",
    "diverged",
    "failed",
    "crashed",
    "timeout",
    "missing",
]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
MEASURED: tuple[Verdict, ...] = ("present", "absent", "inconclusive")

LEAST_UNITS = 3
MOST_SEEDS = 1000


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
    reason: str
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
    def passed(self) -> bool | None:
        """Whether a control came out as it must; None for a cell."""
        return self.raw in self.record.expects if self.record.control else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Universality:
    """One claim over all cells that it was asked in."""

    phenomenon: str
    claim_name: str
    claim: Claim
    counts: Mapping[Verdict, int]
    prevalence: Prevalence | None
    pooled: Pooled | None
    controls: int
    failed_controls: tuple[str, ...]
    confirmed: Mapping[str, int]
    """Cells present and absent that survive Holm's correction at 5 %."""

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

    @property
    def validated(self) -> bool:
        """At least one positive and one negative control were run, and all came out as they must."""
        return not self.failed_controls


def decide(record: CellRecord) -> CellVerdict:
    """The verdict of one cell or control from its groups.

    Deciding takes three independent replicates and 80 % of the groups. A `Within` claim is present
    where the 95 % interval lies inside its bounds and 80 % of the decided groups hold, absent where
    the interval lies outside, or where most groups miss: the one-sided 95 % Clopper-Pearson bound
    of the share that holds is below one half. A `Most` claim is decided by that bound alone.
    """
    if record.not_applicable:
        return _verdict(record, "not applicable", record.not_applicable)
    groups = record.groups
    within = isinstance(record.claim, Within)
    # A censored effect is a lower bound: under `Within` it cannot enter a mean.
    decided = [g for g in groups if _decided(g) and not (within and _censored(g))]
    effects = [_effect(g) for g in decided]
    units = len(replicates([g.units for g in decided]))
    base = _verdict(
        record,
        "inconclusive",
        "",
        groups=len(groups),
        units=units,
        decided=len(decided),
        holding=sum(_holds(g, record.claim) for g in decided),
        details=_details(decided),
    )
    positive = record.claim.scale == "log"
    for group, effect in zip(decided, effects, strict=True):
        if not math.isfinite(effect) or (positive and effect <= 0):
            needs = "finite and positive" if positive else "finite"
            return _as(base, "invalid", f"effect of {group.key} is {effect:g}, needs {needs}")
    base = _within_effect(base, decided) if within else _most_effect(base, decided)
    if units < LEAST_UNITS or 5 * len(decided) < 4 * len(groups) or not groups:
        return _undecidable(base)
    return _decide_within(base) if within else _decide_most(base, decided)


def judge(records: Sequence[CellRecord]) -> list[CellVerdict]:
    """Decide every record; where a control of a claim fails, its measured cells become invalid.

    A cell with the network and the task of a positive control is decided but not counted: that
    setting was chosen because it shows the phenomenon.

    Raises `MeasurementError` where a cell or control occurs twice, which would count it twice.
    """
    seen = Counter(
        (r.variant, r.phenomenon, r.claim_name, r.architecture, r.task, r.control) for r in records
    )
    twice = [key for key, count in seen.items() if count > 1]
    if twice:
        raise MeasurementError(
            "a cell was recorded twice",
            where=" / ".join(filter(None, twice[0])),
            expected="one record per phenomenon, claim, architecture, task and control",
        )
    verdicts = [decide(record) for record in records]
    failed: dict[tuple[str, str], list[str]] = {}
    for v in verdicts:
        if v.passed is False:
            failed.setdefault(_claim_key(v), []).append(_failure(v))
    known = {_setting(v) for v in verdicts if v.record.control and _sign(v) == "positive"}
    judged = []
    for v in verdicts:
        v = replace(v, counted=v.record.crossed and _setting(v) not in known)
        if not v.record.control and v.raw in MEASURED and _claim_key(v) in failed:
            why = f"control failed ({'; '.join(failed[_claim_key(v)])}); alone: {v.raw}"
            v = replace(_as(v, "invalid", why, v.raw), p=None)
        judged.append(v)
    return _corrected(judged)


def _corrected(verdicts: Sequence[CellVerdict]) -> list[CellVerdict]:
    """Holm's correction (Holm 1979): any one false verdict among all has at most the stated chance.

    The family is every counted cell that was measured: an undecided one was a test as well, lost at
    p = 1. Cells that a control voided keep their place in it.
    """
    family = [i for i, v in enumerate(verdicts) if v.counted and v.raw in MEASURED]
    corrected = holm([verdicts[i].p for i in family])
    result = list(verdicts)
    for i, p in zip(family, corrected, strict=True):
        if verdicts[i].p is not None:
            result[i] = replace(verdicts[i], p_holm=p)
    return result


Facts = Mapping[str, Mapping[str, str]]
"""Per phenomenon: its title, strand, sense of universality, and source."""


def claims_a_number(claim: Claim, about: Mapping[str, str]) -> bool:
    """Whether one value over all cells is claimed, so that a pooled one means something.

    A claim of the same form or sign leaves its effect to the cell: a mean over cells would estimate the
    choice of cells, and its interval from a handful of them spans decades.
    """
    return isinstance(claim, Within) and about.get("sense") == "number"


def universality(verdicts: Sequence[CellVerdict], facts: Facts) -> list[Universality]:
    """One row per phenomenon and claim, in order of first appearance, from what `judge` returned."""
    rows: dict[tuple[str, str], list[CellVerdict]] = {}
    for verdict in verdicts:
        rows.setdefault(_claim_key(verdict), []).append(verdict)
    return [_universality(members, facts.get(name, {})) for (name, _), members in rows.items()]


def _universality(members: Sequence[CellVerdict], about: Mapping[str, str]) -> Universality:
    controls = [v for v in members if v.record.control]
    cells = [v for v in members if v.counted]
    counts = Counter(v.verdict for v in cells)
    decided = [v for v in cells if v.verdict in ("present", "absent")]
    signs = {_sign(v) for v in controls}
    failures = [_failure(v) for v in controls if not v.passed]
    failures += [f"no {sign} control was run" for sign in missing_signs(signs)]
    first = members[0].record
    # Cells that straddle a bound are measured too; without them the mean would be selected by its outcome.
    measured = [v for v in cells if v.verdict in MEASURED and v.effect is not None and v.se is not None]
    return Universality(
        phenomenon=first.phenomenon,
        claim_name=first.claim_name,
        claim=first.claim,
        counts={verdict: counts[verdict] for verdict in VERDICTS},
        prevalence=prevalence(
            [v.verdict == "present" for v in decided],
            [v.record.architecture for v in decided],
            [v.record.task for v in decided],
        )
        if decided
        else None,
        pooled=pool(
            [v.effect for v in measured if v.effect is not None],
            [v.se**2 for v in measured if v.se is not None],
            [v.record.architecture for v in measured],
            [v.record.task for v in measured],
            scale=first.claim.scale,
        )
        if measured and claims_a_number(first.claim, about)
        else None,
        controls=len(controls),
        failed_controls=tuple(failures),
        confirmed={
            verdict: sum(v.verdict == verdict and v.p_holm is not None and v.p_holm <= 0.05 for v in cells)
            for verdict in ("present", "absent")
        },
    )


def _within_effect(base: CellVerdict, decided: Sequence[GroupRecord]) -> CellVerdict:
    if not decided:
        return base
    interval = jackknife_interval(
        [_effect(g) for g in decided], [g.units for g in decided], scale=base.record.claim.scale
    )
    return replace(base, effect=interval.estimate, low=interval.low, high=interval.high, se=interval.se)


def _most_effect(base: CellVerdict, decided: Sequence[GroupRecord]) -> CellVerdict:
    if not decided:
        return base
    survival = kaplan_meier_median([_effect(g) for g in decided], [_censored(g) for g in decided])
    return replace(base, effect=survival.median, low=survival.low, high=survival.high)


def _decide_within(base: CellVerdict) -> CellVerdict:
    claim, low, high, effect = base.record.claim, base.low, base.high, base.effect
    assert isinstance(claim, Within)
    if low is None or high is None or effect is None or base.se is None:
        return _as(base, "inconclusive", "every group shares a unit, so there is no interval")
    shares = f"{base.holding} of {base.decided} hold"
    interval = f"95% interval {low:.3g} to {high:.3g}"
    inside = claim.low <= low and high <= claim.high
    outside = high < claim.low or low > claim.high
    p_inside, p_outside = _p_within(claim, effect, base.se, base.units)
    if inside and 5 * base.holding >= 4 * base.decided:
        return replace(_as(base, "present", f"{interval} inside {claim}; {shares}"), p=p_inside)
    if outside:
        return replace(_as(base, "absent", f"{interval} outside {claim}; {shares}"), p=p_outside)
    # With few groups, a run of misses is what a mean on the bound gives too: 1 in 8 for three.
    most_miss = clopper_pearson(base.holding, base.decided, side="upper")[1] < 0.5
    if most_miss:
        p = clopper_pearson_p(base.holding, base.decided, side="upper")
        return replace(_as(base, "absent", f"{shares}; {interval}, claim {claim}"), p=p)
    if inside:
        return _as(base, "inconclusive", f"mixed: {interval} inside {claim}, but {shares}")
    needed = seeds_to_decide(
        effect,
        base.se * math.sqrt(base.units),
        claim.low,
        claim.high,
        scale=claim.scale,
        limit=MOST_SEEDS,
    )
    decide_by = f"about {needed} seeds would decide" if needed else f"over {MOST_SEEDS} seeds to decide"
    reason = f"straddles: {interval}, claim {claim}; {decide_by}"
    return replace(_as(base, "inconclusive", reason), seeds_needed=needed)


def _p_within(claim: Within, effect: float, se: float, units: int) -> tuple[float, float]:
    """One-sided p-values of "inside the bounds" (of both: Schuirmann 1987) and of "outside"."""
    scaled = math.log if claim.scale == "log" else float
    bounds = [
        b for b in (claim.low, claim.high) if math.isfinite(b) and not (claim.scale == "log" and b <= 0)
    ]
    distances = [abs(scaled(effect) - scaled(b)) for b in bounds]
    if not distances:
        return 0.0, 1.0
    tails = [student_tail(d, se, units - 1) for d in distances]
    return max(tails), min(tails)


def _decide_most(base: CellVerdict, decided: Sequence[GroupRecord]) -> CellVerdict:
    """Presence or absence by the share of groups that hold.

    A censored group whose gates are met counts as its phenomenon says it does. Groups that share a
    unit are worth as many trials as would fit without sharing. Undecided groups forbid absence.
    """
    k, n = base.holding, base.decided
    touched = [unit for g in decided for unit in set(g.units)]
    sharing = len(set(touched)) < len(touched)
    trials = min(n, len(set(touched)) / max(len(set(g.units)) for g in decided)) if sharing else n
    low = clopper_pearson(k / n * trials, trials, side="lower")[0]
    high = clopper_pearson(k / n * trials, trials, side="upper")[1]
    bounds = f"{k} of {n} hold"
    if low > 0.5:
        p = clopper_pearson_p(k / n * trials, trials, side="lower")
        return replace(_as(base, "present", f"{bounds}; one-sided 95% bound {low:.2f} > 0.5"), p=p)
    open_groups = base.groups - n
    if high < 0.5 and not open_groups:
        p = clopper_pearson_p(k / n * trials, trials, side="upper")
        return replace(_as(base, "absent", f"{bounds}; one-sided 95% bound {high:.2f} < 0.5"), p=p)
    if high < 0.5:
        return _as(base, "inconclusive", f"{bounds}, but {open_groups} undecided")
    needed = _trials_to_decide(k / n)
    more = f"; about {math.ceil(needed * n / trials)} groups would decide" if needed else ""
    share = "{:.0%} to {:.0%}".format(*clopper_pearson(k / n * trials, trials))
    verdict = _as(base, "inconclusive", f"mixed: {bounds}, 95% interval of the share {share}{more}")
    return replace(verdict, seeds_needed=None if needed is None else math.ceil(needed * base.units / trials))


def _trials_to_decide(share: float) -> int | None:
    """The fewest trials at which `share` would be told from one half."""
    for n in range(LEAST_UNITS, MOST_SEEDS + 1):
        k = round(share * n)
        if clopper_pearson(k, n, side="lower")[0] > 0.5 or clopper_pearson(k, n, side="upper")[1] < 0.5:
            return n
    return None


def _undecidable(base: CellVerdict) -> CellVerdict:
    """Too few groups decided: a failure state if that is why, else the gate that stopped most."""
    groups = base.record.groups
    if not groups:
        return _as(base, "missing", "no groups")
    ended = [g for g in groups if g.state != "done"]
    if 5 * len(ended) > len(groups):
        counts = Counter(g.state for g in ended)
        state = max(get_args(RunState), key=lambda s: counts[s])
        message = next((g.message for g in ended if g.state == state and g.message), "")
        text = f"{counts[state]} of {len(groups)} groups {state}"
        return _as(base, state, f"{text}: {message}" if message else text)
    unmet: dict[str, list[tuple[float, str]]] = {}
    for group in groups:
        outcome = group.outcome
        if group.state != "done":
            continue
        if outcome is None:
            unmet.setdefault(group.message or "nothing was measured", []).append((math.nan, ""))
        elif not outcome.decided():
            failed = [gate for gate in outcome.gates if not gate.met]
            for gate in failed:
                unmet.setdefault(gate.name, []).append((gate.value, gate.needs))
            if not failed:
                unmet.setdefault("there was no effect to measure", []).append((math.nan, ""))
        elif outcome.censored and isinstance(base.record.claim, Within):
            unmet.setdefault("not seen within the budget", []).append((math.nan, ""))
    if unmet:
        name, cases = max(unmet.items(), key=lambda item: len(item[1]))
        value, needs = cases[0][0], cases[0][1]
        if needs:
            value = median(v for v, _ in cases)
            name = f"{name} = {value:.3g}, needs {needs}"
        return _as(base, "inconclusive", f"{name} (in {len(cases)} of {len(groups)} groups)")
    return _as(base, "inconclusive", f"{base.units} independent units, needs {LEAST_UNITS}")


def _details(decided: Sequence[GroupRecord]) -> dict[str, float]:
    collected: dict[str, list[float]] = {}
    for group in decided:
        assert group.outcome is not None
        for name, value in group.outcome.details.items():
            collected.setdefault(name, []).append(value)
    return {name: median(values) for name, values in collected.items()}


def _decided(group: GroupRecord) -> bool:
    return group.state == "done" and group.outcome is not None and group.outcome.decided()


def _censored(group: GroupRecord) -> bool:
    return group.outcome is not None and group.outcome.censored


def _holds(group: GroupRecord, claim: Claim) -> bool:
    return group.outcome is not None and group.outcome.holds(claim)


def _effect(group: GroupRecord) -> float:
    assert group.outcome is not None
    assert group.outcome.effect is not None
    return group.outcome.effect


def _claim_key(verdict: CellVerdict) -> tuple[str, str]:
    return verdict.record.phenomenon, verdict.record.claim_name


def _setting(verdict: CellVerdict) -> tuple[str, ...]:
    return (*_claim_key(verdict), verdict.record.architecture, verdict.record.task)


def _sign(control: CellVerdict) -> str:
    return control.record.control.partition(":")[0].strip()


def _failure(control: CellVerdict) -> str:
    expected = " or ".join(control.record.expects)
    return f"{control.record.control} is {control.raw}, expected {expected}"


def _verdict(
    record: CellRecord,
    verdict: Verdict,
    reason: str,
    *,
    groups: int = 0,
    units: int = 0,
    decided: int = 0,
    holding: int = 0,
    details: Mapping[str, float] | None = None,
) -> CellVerdict:
    return CellVerdict(
        record=record,
        verdict=verdict,
        raw=verdict,
        reason=reason,
        groups=groups,
        units=units,
        decided=decided,
        holding=holding,
        details=details or {},
    )


def _as(base: CellVerdict, verdict: Verdict, reason: str, raw: Verdict | None = None) -> CellVerdict:
    return replace(base, verdict=verdict, raw=raw or verdict, reason=reason)
