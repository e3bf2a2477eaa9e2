"""Two result sets side by side: which verdicts flipped, which effects changed, what only one has.

Cells are joined by what was asked (phenomenon with its settings, claim, architecture, task, control).
Verdicts are decided anew from the measurements of both sets; tables on disk are not read.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import stats

from universality.errors import MeasurementError, StoreError
from universality.judge.decide import CellVerdict, decided_groups, mean_effect
from universality.judge.resultset import ResultSet
from universality.judge.statistics import back, holm, jackknife_interval, on_scale, t_quantile
from universality.judge.summary import ALPHA, ClaimRow
from universality.plugin.bounds import Scale
from universality.store.cells import CellRecord, GroupRecord

Method = Literal["paired", "Welch", "log-rank"]

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """One question that both sets answer. `mismatch` says in what the two claims differ, if they do."""

    first: CellVerdict
    second: CellVerdict
    difference: Difference | None
    mismatch: str = ""

    @property
    def flipped(self) -> bool:
        return self.first.verdict != self.second.verdict

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

    @property
    def flips(self) -> tuple[Joined, ...]:
        return tuple(j for j in self.joined if j.flipped)

    @property
    def changes(self) -> tuple[Joined, ...]:
        return tuple(j for j in self.joined if j.changed)

    @property
    def differs(self) -> bool:
        """A verdict flipped, or a claim is validated in one set only."""
        return bool(self.flips) or any(row.validation_changed for row in self.rows)


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
    comparable = (type(a.claim), a.claim.unit, a.claim.scale) == (type(b.claim), b.claim.unit, b.claim.scale)
    change = difference(a, b) if comparable else None
    return Joined(first=first, second=second, difference=change, mismatch=mismatch)


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
    censored there is no mean: a log-rank test, which ignores pairing (conservative for the same runs).

    Coverage at a nominal 95 % for normal effects: .95 paired; .94 to .97 by Welch with 3 to 5 replicates on
    either side, alike or of four times the spread.

    None where a set decided fewer than two replicates, or an effect has no meaning on the scale.
    """
    scale = first.claim.scale
    ours, theirs = decided_groups(first), decided_groups(second)
    try:
        a, b = mean_effect(ours, scale), mean_effect(theirs, scale)
    except MeasurementError:
        return None
    units = (a.units, b.units)
    if any(g.censored for g in (*ours, *theirs)):
        return Difference(scale=scale, method="log-rank", units=units, p=_log_rank(ours, theirs))
    if a.se is None or b.se is None:
        return None
    own, other = (on_scale([g.effect for g in groups], scale) for groups in (ours, theirs))
    if {g.key: dict(g.runs) for g in ours} == {g.key: dict(g.runs) for g in theirs}:
        changed = dict(zip((g.key for g in theirs), other.tolist(), strict=True))
        shifts = [changed[g.key] - y for g, y in zip(ours, own.tolist(), strict=True)]
        paired = jackknife_interval(shifts, [g.units for g in ours])
        assert paired.se is not None
        return _difference("paired", scale, units, paired.estimate, paired.se, paired.units - 1)
    shift = float(other.mean() - own.mean())
    return _difference("Welch", scale, units, shift, *_welch(a.se, a.units, b.se, b.units))


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


def _log_rank(ours: Sequence[GroupRecord], theirs: Sequence[GroupRecord]) -> float | None:
    samples = []
    events = False
    for groups in (ours, theirs):
        late = [g.effect for g in groups if g.censored]
        times = [g.effect for g in groups if not g.censored]
        events = events or bool(times)
        samples.append(stats.CensoredData(uncensored=times, right=late))
    if not events:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        p = float(stats.logrank(*samples).pvalue)
    return None if math.isnan(p) else p
