"""Two result sets side by side: which verdicts flipped, which effects changed, what only one has.

Cells are joined by what was asked (phenomenon with its settings, claim, architecture, task, control).
Verdicts are decided anew from the measurements of both sets; tables on disk are not read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import stats

from universality.errors import MeasurementError, StoreError
from universality.judge.resultset import ResultSet
from universality.judge.statistics import Interval, holm, jackknife_interval
from universality.judge.verdicts import CellVerdict, Universality
from universality.plugin.claims import Scale, Within
from universality.plugin.records import CellRecord, GroupRecord

Method = Literal["paired", "Welch", "log-rank"]
ALPHA = 0.05

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

    @property
    def changed(self) -> bool:
        return self.p_holm < ALPHA


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """One question that both sets answer. `mismatch` says in what the two claims differ, if they do."""

    question: Question
    first: CellVerdict
    second: CellVerdict
    difference: Difference | None
    mismatch: str = ""

    @property
    def flipped(self) -> bool:
        return self.first.verdict != self.second.verdict


@dataclass(frozen=True, slots=True)
class RowChange:
    """A row of the universality tables that both sets have."""

    first: Universality
    second: Universality

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
        """Cells whose effect changed at 5 %, corrected over all cells."""
        return tuple(j for j in self.joined if j.difference is not None and j.difference.changed)

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
    joined = [_join(q, ours[q], theirs[q]) for q in both]
    mismatched = [j for j in joined if j.mismatch]
    if mismatched and not allow_versions:
        worst = mismatched[0]
        raise StoreError(
            "these result sets were judged by different claims",
            where=f"{worst.question[0]}.{worst.question[2]}, and {len(mismatched) - 1} more cells",
            got=worst.mismatch,
            expected="one version and one bound on both sides",
            do="measure one of them again with the other's version, or --allow-versions",
        )
    rows = _rows(second)
    return Comparison(
        first,
        second,
        tuple(_corrected(joined)),
        tuple(v for q, v in ours.items() if q not in theirs),
        tuple(v for q, v in theirs.items() if q not in ours),
        tuple(RowChange(row, rows[asked]) for asked, row in _rows(first).items() if asked in rows),
    )


def question(record: CellRecord) -> Question:
    """What is asked, without the version that judges it and the replicates that answer it."""
    return (
        record.phenomenon,
        record.variant,
        record.claim_name,
        record.architecture,
        record.task,
        record.control,
    )


def _by_question(results: ResultSet) -> Mapping[Question, CellVerdict]:
    return {question(v.record): v for v in results.verdicts}


def _rows(results: ResultSet) -> Mapping[tuple[str, str, frozenset[str]], Universality]:
    """Rows by phenomenon, claim and the settings of its cells: a row of other settings is another row."""
    settings: dict[tuple[str, str], set[str]] = {}
    for r in results.records:
        if r.crossed:
            settings.setdefault((r.phenomenon, r.claim_name), set()).add(r.variant)
    keys = [(row.phenomenon, row.claim_name) for row in results.rows]
    return {
        (*key, frozenset(settings.get(key, ()))): row for key, row in zip(keys, results.rows, strict=True)
    }


def _join(asked: Question, first: CellVerdict, second: CellVerdict) -> Joined:
    a, b = first.record, second.record
    mismatch = ""
    if a.version != b.version:
        mismatch = f"version {a.version} and version {b.version}"
    elif a.claim != b.claim:
        mismatch = f"{a.claim} ({a.claim.unit}) and {b.claim} ({b.claim.unit})"
    comparable = (type(a.claim), a.claim.unit, a.claim.scale) == (type(b.claim), b.claim.unit, b.claim.scale)
    return Joined(
        question=asked,
        first=first,
        second=second,
        difference=difference(a, b) if comparable else None,
        mismatch=mismatch,
    )


def _corrected(joined: Sequence[Joined]) -> Iterator[Joined]:
    """Holm's correction over every cell that both sets measured; those without a p-value count as 1."""
    tested = [j for j in joined if j.difference is not None]
    corrected = iter(holm([j.difference.p for j in tested if j.difference is not None]))
    for j in joined:
        yield (
            j
            if j.difference is None
            else replace(j, difference=replace(j.difference, p_holm=next(corrected)))
        )


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
    ours, theirs = _decided(first), _decided(second)
    try:
        a, b = _mean(ours, scale), _mean(theirs, scale)
    except MeasurementError:
        return None
    units = (a.units, b.units)
    if any(g.outcome is not None and g.outcome.censored for g in (*ours, *theirs)):
        return Difference(scale=scale, method="log-rank", units=units, p=_log_rank(ours, theirs))
    if a.se is None or b.se is None:
        return None
    runs = {g.key: dict(g.runs) for g in ours}
    if runs == {g.key: dict(g.runs) for g in theirs}:
        other = dict(zip((g.key for g in theirs), _scaled(theirs, scale), strict=True))
        own = zip((g.key for g in ours), _scaled(ours, scale), strict=True)
        paired = jackknife_interval([other[key] - y for key, y in own], [g.units for g in ours])
        assert paired.se is not None
        return _difference("paired", scale, units, paired.estimate, paired.se, paired.units - 1)
    shift = float(np.mean(_scaled(theirs, scale)) - np.mean(_scaled(ours, scale)))
    return _difference("Welch", scale, units, shift, *_welch(a.se, a.units, b.se, b.units))


def _mean(groups: Sequence[GroupRecord], scale: Scale) -> Interval:
    return jackknife_interval([_effect(g) for g in groups], [g.units for g in groups], scale=scale)


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
    half = float(stats.t.ppf(0.975, degrees)) * se
    p: float | None = 2 * float(stats.t.sf(abs(shift) / se, degrees)) if se > 0 else None
    if se == 0 and shift == 0:
        p = 1.0
    low, high = shift - half, shift + half
    back = (lambda y: math.exp(y) if y < 700 else math.inf) if scale == "log" else float
    return Difference(
        scale=scale, method=method, units=units, estimate=back(shift), low=back(low), high=back(high), p=p
    )


def _log_rank(ours: Sequence[GroupRecord], theirs: Sequence[GroupRecord]) -> float | None:
    samples = []
    seen_any = False
    for groups in (ours, theirs):
        late = [_effect(g) for g in groups if g.outcome is not None and g.outcome.censored]
        seen = [_effect(g) for g in groups if g.outcome is not None and not g.outcome.censored]
        seen_any = seen_any or bool(seen)
        samples.append(stats.CensoredData(uncensored=seen, right=late))
    if not seen_any:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        p = float(stats.logrank(*samples).pvalue)
    return None if math.isnan(p) else p


def _decided(record: CellRecord) -> list[GroupRecord]:
    """The groups whose effects make the cell's: as in `verdicts.decide`."""
    within = isinstance(record.claim, Within)
    return [
        g
        for g in record.groups
        if g.state == "done"
        and g.outcome is not None
        and g.outcome.decided()
        and not (within and g.outcome.censored)
    ]


def _effect(group: GroupRecord) -> float:
    assert group.outcome is not None
    assert group.outcome.effect is not None
    return group.outcome.effect


def _scaled(groups: Sequence[GroupRecord], scale: Scale) -> list[float]:
    return [math.log(_effect(g)) if scale == "log" else _effect(g) for g in groups]
