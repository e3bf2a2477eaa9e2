"""Two result sets side by side: which verdicts contradict each other, which effects changed, what only one has.

Cells are joined by what was asked (phenomenon with its settings, claim, architecture, task, control).
Verdicts are decided anew from the measurements of both sets; tables on disk are not read.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec
import numpy as np
from scipy import stats

from universality.errors import MeasurementError, StoreError
from universality.judge.controls import claim_of
from universality.judge.decide import CellVerdict, mean_effect, telling_groups
from universality.judge.resultset import ResultSet
from universality.judge.statistics import back, holm, jackknife_interval, on_scale, t_quantile
from universality.judge.summary import ALPHA, ClaimRow
from universality.judge.transitions import BROKEN, MOVED, Transition, chance, excess_p, transition
from universality.measures.grokking.delays import permutation_logrank
from universality.plugin.bounds import Scale
from universality.store.cells import CellRecord, GroupRecord

Method = Literal["paired", "Welch", "log-rank"]

CHANGED: tuple[Transition, ...] = ("contradicted", "lost", "gained")
"""What other partners do to the verdict of a claim that compares networks."""

Question = tuple[str, str, str, str, str, str]
"""Phenomenon, variant, claim, architecture, task, control: what a cell asks, whatever its replicates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How an effect changed from the first set to the second.

    Args:
        estimate, low, high: on a linear scale second minus first, on a log scale second over first.
            None where censored times leave no mean to compare.
        p: two-sided, of no change; None where nothing varies, so that there is nothing to test with.
        p_holm: the same, corrected over all joined cells.
        least: the smallest p that this many replicates can give.
        method: `paired` over the same runs in both sets, `Welch` for independent replicates,
            `log-rank` where some times are censored.
        units: replicates, of both sets.
    """

    scale: Scale
    method: Method
    units: tuple[int, int]
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float = 1.0
    least: float = 0.0

    @property
    def telling(self) -> bool:
        """Whether a change of whatever size could be told."""
        return self.p is not None and self.least <= ALPHA


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """One question that both sets answer.

    Args:
        mismatch: in what the two claims differ, if they do.
        chance: how likely each transition is for a cell of two sets that answer alike; empty where chance is not
            what makes the difference, or the claims are not one.
        shared: where the sets compare a network with others that are not all the same, how many are in both; the
            difference is over these. None elsewhere.
    """

    first: CellVerdict
    second: CellVerdict
    difference: Difference | None
    mismatch: str = ""
    chance: Mapping[Transition, float] = field(default_factory=dict)
    shared: int | None = None

    @property
    def question(self) -> Question:
        return self.first.record.question

    @property
    def transition(self) -> Transition:
        kind = transition(self.first.verdict, self.second.verdict)
        if kind == "invalid" and "control failed" in (self.first.reason.kind, self.second.reason.kind):
            return "voided"
        return "other networks" if kind in CHANGED and self.shared is not None else kind

    @property
    def changed(self) -> bool:
        """Whether the effect changed at 5 %, corrected over all cells."""
        return self.difference is not None and self.difference.p_holm < ALPHA


@dataclass(frozen=True, slots=True)
class RowChange:
    """A row of the universality tables that both sets have."""

    first: ClaimRow
    second: ClaimRow

    @property
    def validation_changed(self) -> bool:
        return self.first.validated != self.second.validated

    @property
    def changed(self) -> bool:
        return self.validation_changed or self.first.counts != self.second.counts


@dataclass(frozen=True, slots=True)
class Comparison:
    first: ResultSet
    second: ResultSet
    joined: tuple[Joined, ...]
    only_first: tuple[CellVerdict, ...]
    only_second: tuple[CellVerdict, ...]
    rows: tuple[RowChange, ...]

    def cells(self, *kinds: Transition) -> tuple[Joined, ...]:
        return tuple(j for j in self.joined if j.transition in kinds)

    def by_chance(self, *kinds: Transition) -> float:
        """The number of such cells that chance alone would give, were both sets draws of one truth."""
        return sum(j.chance.get(kind, 0.0) for j in self.joined for kind in kinds)

    @property
    def contradictions(self) -> tuple[Joined, ...]:
        """Present in one set and absent in the other."""
        return self.cells("contradicted")

    @property
    def lost(self) -> tuple[Joined, ...]:
        """Decided in the first set only."""
        return self.cells("lost")

    @property
    def gained(self) -> tuple[Joined, ...]:
        """Decided in the second set only."""
        return self.cells("gained")

    @property
    def changes(self) -> tuple[Joined, ...]:
        return tuple(j for j in self.joined if j.changed)

    @property
    def validated_once(self) -> tuple[RowChange, ...]:
        return tuple(row for row in self.rows if row.validation_changed)

    @property
    def unsupported(self) -> tuple[RowChange, ...]:
        """Those of `validated_once` for more than a control that chance left undecided.

        A control that is present in one set and inconclusive in the other was lost as any cell is. One that
        was not run, or came out decided and wrong, is no matter of chance.
        """
        return tuple(row for row in self.validated_once if self._refuted(row))

    def _refuted(self, row: RowChange) -> bool:
        failing = row.second if row.first.validated else row.first
        controls = (
            j.second if row.first.validated else j.first
            for j in self.cells(*MOVED)
            if claim_of(j.first) == (failing.phenomenon, failing.claim_name)
        )
        lost = sum(
            control.control_result in ("failed", "not exercised") and control.raw not in ("present", "absent")
            for control in controls
        )
        return len(failing.failed_controls) > lost

    @property
    def excess_p(self) -> float:
        """A bound on the probability that chance alone moves as many verdicts into or out of indecision."""
        tried = [j for j in self.joined if j.chance]
        return excess_p(
            [j.transition in MOVED for j in tried],
            [sum(j.chance.get(kind, 0.0) for kind in MOVED) for j in tried],
            [_runs(j) for j in tried],
        )

    @property
    def differs(self) -> bool:
        """Whether the sets disagree beyond what chance does to a faithful replication.

        A verdict, of a control too, is contradicted; an effect changed; the verdicts of a claim are `unsupported`
        in one set; a cell has no answer in one set for a reason that chance is not (`BROKEN`); or more
        verdicts were lost and gained than chance explains at 5 %. Where the truth of a cell lies on a bound, each
        verdict is wrong with 2.5 % on either side of it, and chance contradicts it in 2 x .025^2, one of 800
        comparisons; elsewhere next to never. So, for the published sets, chance alone makes whole suites of normal
        effects differ in at most 5 % of all replications.
        """
        beyond = (self.contradictions, self.changes, self.unsupported, self.cells(*BROKEN))
        return any(beyond) or self.excess_p <= ALPHA


def compare(first: ResultSet, second: ResultSet, *, allow_versions: bool = False) -> Comparison:
    """Join two result sets cell by cell.

    Raises:
        StoreError: where a cell was judged by another version or another claim in the two sets,
            unless `allow_versions`; and where they have no cell in common.
    """
    ours, theirs = _by_question(first), _by_question(second)
    both = [q for q in ours if q in theirs]
    # Controls are the same everywhere; agreeing on them alone says nothing of any cell.
    if all(control for *_, control in both):
        raise StoreError(
            "these result sets have no cell in common",
            where=f"{first.label} and {second.label}",
            got=f"{len(ours)} and {len(theirs)} cells",
            expected="the same phenomena, architectures and tasks, under the same parameters",
        )
    pairs = [_join(ours[q], theirs[q]) for q in both]
    mismatches = [j for j in pairs if j.mismatch]
    if mismatches and not allow_versions:
        asked = mismatches[0].first.record
        raise StoreError(
            "these result sets were judged by different claims",
            where=f"{asked.phenomenon}.{asked.claim_name}, and {len(mismatches) - 1} more cells",
            got=mismatches[0].mismatch,
            expected="one version and one bound on both sides",
            do="measure one of them again with the other's version, or --allow-versions",
        )
    rows = _rows(second)
    return Comparison(
        first,
        second,
        tuple(_corrected(pairs)),
        tuple(v for q, v in ours.items() if q not in theirs),
        tuple(v for q, v in theirs.items() if q not in ours),
        tuple(RowChange(row, rows[key]) for key, row in _rows(first).items() if key in rows),
    )


def _by_question(results: ResultSet) -> Mapping[Question, CellVerdict]:
    return {v.record.question: v for v in results.verdicts}


def _rows(results: ResultSet) -> Mapping[tuple[str, str, frozenset[str]], ClaimRow]:
    """Rows by phenomenon, claim and the settings of its cells: a row of other settings is another row."""
    settings: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for r in results.records:
        if r.crossed:
            settings[r.phenomenon, r.claim_name].add(r.variant)
    return {
        (r.phenomenon, r.claim_name, frozenset(settings[r.phenomenon, r.claim_name])): r for r in results.rows
    }


def _join(first: CellVerdict, second: CellVerdict) -> Joined:
    a, b = first.record, second.record
    mismatch = ""
    if a.version != b.version:
        mismatch = f"version {a.version} and version {b.version}"
    elif a.claim != b.claim:
        mismatch = f"{a.claim} ({a.claim.unit}) and {b.claim} ({b.claim.unit})"
    became = transition(first.verdict, second.verdict)
    comparable = (type(a.claim), a.claim.unit, a.claim.scale) == (type(b.claim), b.claim.unit, b.claim.scale)
    *both, shared = _of_shared_partners(a, b)
    change = difference(*both) if comparable else None
    by_chance = (
        not mismatch
        and shared is None
        and became not in BROKEN
        and "invalid" not in (first.verdict, second.verdict)
    )
    alike = chance(a, b) if by_chance else {}
    return Joined(
        first=first, second=second, difference=change, mismatch=mismatch, chance=alike, shared=shared
    )


def _of_shared_partners(a: CellRecord, b: CellRecord) -> tuple[CellRecord, CellRecord, int | None]:
    """Both cells with the groups of those partners that have a group of the same runs in both, and their number.

    None and all groups where these are all partners, and where no group has the same runs: then nobody knows who is who.
    """
    of_runs = [{_same(g): g.partner for g in r.groups} for r in (a, b)]
    same = of_runs[0].keys() & of_runs[1].keys()
    shared = [{of[runs] for runs in same} for of in of_runs]
    if not same or all(kept == set(of.values()) for kept, of in zip(shared, of_runs, strict=True)):
        return a, b, None
    first, second = (
        msgspec.structs.replace(r, groups=tuple(g for g in r.groups if g.partner in kept))
        for r, kept in zip((a, b), shared, strict=True)
    )
    return first, second, len(shared[0])


def _runs(joined: Joined) -> frozenset[str]:
    groups = (*joined.first.record.groups, *joined.second.record.groups)
    return frozenset(run for group in groups for run in group.runs.values())


def _corrected(joined: Sequence[Joined]) -> Iterator[Joined]:
    """Holm's correction over every cell that both sets measured; those without a p-value count as 1."""
    corrected = iter(holm([j.difference.p for j in joined if j.difference]))
    for j in joined:
        yield replace(j, difference=replace(j.difference, p_holm=next(corrected))) if j.difference else j


def difference(first: CellRecord, second: CellRecord) -> Difference | None:
    r"""The change of a cell's effect, on its claim's scale y (logarithms on a log scale).

    Where both sets decided the same groups of the same runs, the differences y_2 - y_1 of the groups
    are one sample, with the jackknife interval over replicates of a cell. Else, with m and s^2 the mean
    and the squared jackknife error of each set over n replicates, m_2 - m_1 has the variance s_1^2 + s_2^2
    and (s_1^2 + s_2^2)^2 / sum_i s_i^4 / (n_i - 1) degrees of freedom (Welch 1947). Where times are
    censored there is no mean: the exact permutation test on log-rank scores, which ignores pairing (conservative
    for the same runs; sign flips within pairs could tell nothing below six). Three against three give no p below .1.

    Coverage at a nominal 95 % for normal effects: .95 paired; .94 to .97 by Welch with 3 to 5 replicates on
    either side, alike or of four times the spread.

    False alarms of a suite of 76 to 150 cells after Holm's correction, 3 to 5 replicates of one distribution on
    either side: by Welch .02 to .03 for normal effects and for those with long tails (exponential, log-normal, Student's t
    of 3, one in ten from ten times the spread), .06 to .09 for uniform ones, .07 to .13 where one set has four times
    the spread of the other; paired .05, .01 to .04 and .06. **Not for effects in two lumps**: with 3 runs that
    end at one of two values, all cells alike, the sets are wholly apart in one cell of 32, and each such suite of 76
    has one false alarm on average (paired .23); with 5 runs .15. No test of so few can tell that from a change.

    None where a set decided fewer than two replicates, or an effect has no meaning on the scale.
    """
    scale = first.claim.scale
    ours, theirs = telling_groups(first), telling_groups(second)
    try:
        a, b = mean_effect(ours, scale), mean_effect(theirs, scale)
    except MeasurementError:
        return None
    units = (a.units, b.units)
    if any(g.censored for g in (*ours, *theirs)):
        return _log_rank(ours, theirs, scale, units)
    if a.se is None or b.se is None:
        return None
    own, other = (on_scale([g.effect for g in groups], scale) for groups in (ours, theirs))
    before, after = list(map(_same, ours)), list(map(_same, theirs))
    if set(before) == set(after):
        changed = dict(zip(after, other.tolist(), strict=True))
        shifts = [changed[runs] - y for runs, y in zip(before, own.tolist(), strict=True)]
        paired = jackknife_interval(shifts, [g.units for g in ours])
        assert paired.se is not None
        return _difference("paired", scale, units, paired.estimate, paired.se, paired.units - 1)
    shift = float(other.mean() - own.mean())
    return _difference("Welch", scale, units, shift, *_welch(a.se, a.units, b.se, b.units))


def _same(group: GroupRecord) -> tuple[tuple[str, ...], frozenset[tuple[str, str]]]:
    """What a group has in common with the group of the same runs in another set, where its partner may have another number."""
    return group.units, frozenset(group.runs.items())


def _welch(se_a: float, n_a: int, se_b: float, n_b: int) -> tuple[float, float]:
    """Standard error and degrees of freedom of a difference of two independent means."""
    se = math.hypot(se_a, se_b)
    if se == 0:
        return 0.0, 1.0
    # Shares of the variance, so that fourth powers of large errors cannot overflow.
    share_a, share_b = (se_a / se) ** 2, (se_b / se) ** 2
    return se, 1 / (share_a**2 / (n_a - 1) + share_b**2 / (n_b - 1))


def _difference(
    method: Method, scale: Scale, units: tuple[int, int], shift: float, se: float, degrees: float
) -> Difference:
    half = t_quantile(degrees) * se
    p: float | None = 2 * float(stats.t.sf(abs(shift) / se, degrees)) if se > 0 else None
    if se == 0 and shift == 0:
        p = 1.0
    estimate, low, high = (back(y, scale) for y in (shift, shift - half, shift + half))
    return Difference(scale=scale, method=method, units=units, estimate=estimate, low=low, high=high, p=p)


def _log_rank(
    ours: Sequence[GroupRecord], theirs: Sequence[GroupRecord], scale: Scale, units: tuple[int, int]
) -> Difference:
    samples = [
        (np.array([g.effect for g in groups]), np.array([g.censored for g in groups]))
        for groups in (ours, theirs)
    ]
    p, least = None, 1.0
    if not all(late.all() for _, late in samples):
        (a, late_a), (b, late_b) = samples
        found = permutation_logrank(a, late_a, b, late_b, np.random.default_rng(0))
        p, least = found.p, found.least
    return Difference(scale=scale, method="log-rank", units=units, p=p, least=least)
