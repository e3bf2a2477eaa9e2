"""Multiverse (Steegen et al. 2016, doi:10.1177/1745691616658637): every cell of a claim decided again, by the same rules, with
each of its thresholds stricter or laxer.

What is stored of a group is its effect and, of each gate and criterion, a number beside its bounds. So bounds can be moved;
what an effect is made of (an accuracy at which a time is read off, a null that is subtracted) cannot.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, Self

import msgspec
from msgspec import structs

from universality.judge.answers import Kind, kind_of
from universality.judge.controls import claim_of, corrected, failures, placed, places, standing
from universality.judge.decide import (
    MEASURED,
    CellVerdict,
    Verdict,
    decide,
    decide_again,
    decided_groups,
    with_p_of,
)
from universality.judge.moved import scaled, three_digits, told
from universality.judge.resultset import ResultSet
from universality.judge.summary import ClaimRow, share_of_cells
from universality.plugin.bounds import ROUNDING, Bound, Within, bounds_text, inside
from universality.plugin.outcome import Check, Outcome
from universality.store.cells import CellRecord

Role = Literal["bound", "gate", "criterion"]

FACTORS = tuple(2 ** (step / 4) for step in range(-4, 5))
"""How much stricter: below 1 laxer, at 1 as claimed."""
STEPS = 16
"""Of equal ratio from the bound as claimed to twice as strict, in which the answer is followed."""

MOVABLE: tuple[Verdict, ...] = (*MEASURED, "invalid")


@dataclass(frozen=True, slots=True)
class Threshold:
    """A bound of a claim: its own, or that of a gate or a criterion by name.

    Args:
        share: no stored value is above 1, and its lower bound below: it is moved by the odds b/(1 - b), as a bound with a
            ceiling is (`scaled`).
        needs: what is asked; of cells that differ in it the first.
    """

    role: Role
    name: str
    needs: str
    share: bool = False


@dataclass(frozen=True, slots=True)
class Moves:
    """The measured cells of a claim, by verdict, for each of `FACTORS`. `needs`: the bound there, as text."""

    threshold: Threshold
    counts: tuple[Mapping[Verdict, int], ...]
    needs: tuple[str, ...]

    @property
    def still(self) -> bool:
        """No verdict is another for any factor."""
        return all(each == self.counts[0] for each in self.counts)


@dataclass(frozen=True, slots=True)
class Reach:
    """How far the bound of a claim can move, in one direction, before its answer is another.

    Args:
        last: the last bound with the same answer.
        beyond: the next one with its answer; None where it stays up to a factor of 2.
    """

    last: Bound
    beyond: tuple[Bound, Kind] | None


@dataclass(frozen=True, slots=True)
class Multiverse:
    """One claim under other thresholds.

    Args:
        cells: how many of its counted cells were measured.
        answer: the kind of its answer, as claimed.
        laxer, stricter: None where the bound cannot be scaled.
        moves: of every threshold that can be scaled, the bound of the claim first.
        fixed: those that cannot, each with the reason.
        lost: groups of which no effect is stored since a gate was not met: no laxer gate brings one back.
    """

    row: ClaimRow
    cells: int
    answer: Kind
    laxer: Reach | None
    stricter: Reach | None
    moves: tuple[Moves, ...]
    fixed: tuple[str, ...]
    lost: int

    @property
    def reach(self) -> str:
        """One line: how far the bound can be moved before the claim's answer changes."""
        if self.laxer is None or self.stricter is None:
            return f"{self.answer}; a bound of 0 has no double, so that it is not moved"
        text = f"{self.answer} while the bound is between {_apart(self.laxer.last)} and {_apart(self.stricter.last)}"
        ends = [reach.beyond for reach in (self.laxer, self.stricter) if reach.beyond]
        changes = [f"{kind} at {_apart(bound)}" for bound, kind in ends]
        return f"{text}, {' and '.join(changes)}" if changes else f"{text}, half to twice as strict"

    @property
    def ends(self) -> str:
        """The next stricter bound at which the answer is another, with that answer; empty where there is none up to a factor of two."""
        if self.stricter is None or self.stricter.beyond is None:
            return ""
        bound, kind = self.stricter.beyond
        return f"({told(bound)}): {kind}"


def multiverses(results: ResultSet) -> list[Multiverse]:
    """Of every claim, but for calibrations, that has a measured cell which counts, in the order of the table.

    Controls are decided again too, and void the cells where they no longer come out as they must. One threshold is moved
    at a time. Cost: a cell is decided anew only where a bound comes between other groups than any before.
    """
    found = []
    for row in results.rows:
        claim = row.phenomenon, row.claim_name
        cells = results.by_claim[claim]
        measured = sum(v.counted and v.raw in MOVABLE for v in cells)
        if measured and not row.about.calibration:
            found.append(_Claim(row, [v.record for v in cells], _family(results, claim)).multiverse(measured))
    return found


def _family(results: ResultSet, claim: tuple[str, str]) -> list[CellVerdict]:
    """What stands in Holm's family beside the cells of a claim."""
    return [v for v in results.verdicts if v.counted and v.raw in MEASURED and claim_of(v) != claim]


class _Claim:
    """The cells and controls of one claim, and the verdicts that its own are corrected with."""

    def __init__(self, row: ClaimRow, records: Sequence[CellRecord], others: Sequence[CellVerdict]) -> None:
        self._row, self._others = row, others
        self._cells = [_Cell.of(decide(record)) for record in records]
        self._places, self._failed = places(records), failures([cell.verdict for cell in self._cells])
        found = zip(self._cells, self._places, strict=True)
        self._frozen = [placed(cell.verdict, place, self._failed) for cell, place in found]

    def multiverse(self, measured: int) -> Multiverse:
        thresholds, fixed = self._thresholds()
        answer = self._answer(1.0)
        movable = thresholds and thresholds[0].role == "bound"
        laxer, stricter = (self._reach(answer, sign) if movable else None for sign in (-1, 1))
        moves = tuple(map(self._moves, thresholds))
        lost = sum(
            g.state == "done" and g.outcome is not None and g.outcome.effect is None
            for record in (cell.verdict.record for cell in self._cells)
            for g in record.groups
            if record.crossed
        )
        return Multiverse(self._row, measured, answer, laxer, stricter, moves, tuple(fixed), lost)

    def _thresholds(self) -> tuple[list[Threshold], list[str]]:
        """Those that can be scaled, and names with reasons of those that cannot."""
        seen: dict[tuple[Role, str], list[Check]] = {}
        for cell in self._cells:
            for named, checks in cell.checks.items():
                seen.setdefault(named, []).extend(checks)
        claim = self._row.claim
        found, fixed = [Threshold("bound", "", told(claim))] if scaled(claim, 2.0) else [], []
        for (role, name), checks in seen.items():
            first = checks[0]
            if {check.value for check in checks} <= {0.0, 1.0} and first.bounds[0] == 1:
                fixed.append(f"{name} (yes or no)")
                continue
            share = 0 < first.bounds[0] < 1 and first.at_most is None and all(c.value <= 1 for c in checks)
            threshold = Threshold(role, name, bounds_text(*map(three_digits, first.bounds)), share)
            if _scaled_check(first, threshold, 2.0) is None:
                fixed.append(f"{name} (a bound of 0)")
            else:
                found.append(threshold)
        return found, fixed

    def _moves(self, threshold: Threshold) -> Moves:
        counts, needs = [], []
        for factor in FACTORS:
            verdicts = self._universe(threshold, factor)
            counted = Counter(v.verdict for v in verdicts if v.counted and v.raw in MOVABLE)
            counts.append({verdict: counted[verdict] for verdict in MOVABLE})
            needs.append(self._needs(threshold, factor))
        return Moves(threshold, tuple(counts), tuple(needs))

    def _needs(self, threshold: Threshold, factor: float) -> str:
        if threshold.role == "bound":
            return told(scaled(self._row.claim, factor) or self._row.claim)
        named = threshold.role, threshold.name
        first = next(cell.checks[named][0] for cell in self._cells if named in cell.checks)
        moved = _scaled_check(first, threshold, factor)
        return bounds_text(*map(three_digits, (moved or first).bounds))

    def _universe(self, threshold: Threshold, factor: float, *, exact: bool = False) -> list[CellVerdict]:
        """Every cell and control with one threshold moved, and the controls heard.

        `exact`: with the p of each verdict, which follows the bound also where the verdict does not.
        """
        moved = [cell.decided(threshold, factor, exact) for cell in self._cells]
        failed = failures(moved)
        heard = failed == self._failed
        return [
            before if heard and one is cell.verdict else placed(one, place, failed)
            for one, cell, place, before in zip(moved, self._cells, self._places, self._frozen, strict=True)
        ]

    def _answer(self, factor: float) -> Kind:
        bound = Threshold("bound", "", "")
        kind, cells = self._kind(self._universe(bound, factor))
        if kind != "not yet known" or not any(v.verdict == "absent" for v in cells):
            return kind
        # One absent cell may be beyond chance: then its p counts, corrected over all cells of the set.
        return self._kind(corrected(self._universe(bound, factor, exact=True), self._others))[0]

    def _kind(self, cells: Sequence[CellVerdict]) -> tuple[Kind, list[CellVerdict]]:
        lacks = standing([v for v in cells if v.record.control])[1]
        counted = [v for v in cells if v.counted]
        return kind_of(counted, "; ".join(lacks), share_of_cells(counted)), counted

    def _reach(self, answer: Kind, sign: int) -> Reach:
        last = self._row.claim
        for step in range(1, STEPS + 1):
            factor = 2 ** (sign * step / STEPS)
            bound = scaled(self._row.claim, factor)
            assert bound is not None
            if (other := self._answer(factor)) != answer:
                return Reach(last, (bound, other))
            last = bound
        return Reach(last, None)


@dataclass(frozen=True, slots=True)
class _Cell:
    """A verdict with what it could hang on: `marks` are the effects of its groups and the ends of its interval, rising.

    `known`: what it was decided under other bounds, by the marks between which they lie: under all of them it is the same.
    """

    verdict: CellVerdict
    marks: tuple[float, ...]
    checks: Mapping[tuple[Role, str], Sequence[Check]]
    known: dict[tuple[int, ...], CellVerdict]

    @classmethod
    def of(cls, verdict: CellVerdict) -> Self:
        marks = [g.effect for g in decided_groups(verdict.record)]
        marks += [x for x in (verdict.low, verdict.high) if x is not None]
        checks: dict[tuple[Role, str], list[Check]] = {}
        for role, check in _checks(verdict.record):
            checks.setdefault((role, check.name), []).append(check)
        cell = cls(verdict, tuple(sorted(marks)), checks, {})
        if (between := cell._between(verdict.record.claim)) is not None:
            cell.known[between] = verdict
        return cell

    def decided(self, threshold: Threshold, factor: float, exact: bool) -> CellVerdict:
        """With one threshold moved; the same verdict where every group meets and misses what it did before."""
        verdict, record = self.verdict, self.verdict.record
        if factor == 1 or verdict.raw not in MOVABLE:
            return verdict
        if threshold.role == "bound":
            claim = scaled(record.claim, factor)
            return self._under(claim, exact) if claim else verdict
        role, name = threshold.role, threshold.name
        checks = self.checks.get((role, name), ())
        if all(check.met == _meets(check, threshold, factor) for check in checks):
            return verdict

        def moved(check: Check) -> Check:
            return _moved(check, threshold, factor) if check.name == name else check

        groups = tuple(
            structs.replace(group, outcome=_with_checks(group.outcome, role, moved))
            if group.outcome
            else group
            for group in record.groups
        )
        return replace(decide(structs.replace(record, groups=groups)), record=record)

    def _under(self, claim: Bound, exact: bool) -> CellVerdict:
        """What it is under another claim."""
        between = self._between(claim)
        if between is None:
            return decide_again(self.verdict, claim)
        if between not in self.known:
            self.known[between] = decide_again(self.verdict, claim)
        return with_p_of(self.known[between], claim) if exact else self.known[between]

    def _between(self, claim: Bound) -> tuple[int, ...] | None:
        """How many marks lie below each end of a claim; None where one lies on an end, up to rounding."""
        below = []
        for end in claim.ends:
            room = 2 * ROUNDING * abs(end) if math.isfinite(end) else 0.0
            below.append(bisect_left(self.marks, end - room))
            if bisect_right(self.marks, end + room) != below[-1] and math.isfinite(end):
                return None
        return tuple(below)


def _moved(check: Check, threshold: Threshold, factor: float) -> Check:
    return _scaled_check(check, threshold, factor) or check


def _meets(check: Check, threshold: Threshold, factor: float) -> bool:
    """What `_moved` would find, without making a check of it."""
    ends = _scaled_ends(*check.bounds, threshold.share, factor)
    return inside(check.value, *(ends or check.bounds))


def _with_checks(outcome: Outcome, role: Role, moved: Callable[[Check], Check]) -> Outcome:
    if role == "gate":
        return structs.replace(outcome, gates=tuple(map(moved, outcome.gates)))
    return structs.replace(outcome, criteria=tuple(map(moved, outcome.criteria)))


def _checks(record: CellRecord) -> Iterator[tuple[Role, Check]]:
    for group in record.groups:
        if group.outcome:
            yield from (("gate", check) for check in group.outcome.gates)
            yield from (("criterion", check) for check in group.outcome.criteria)


def _scaled_check(check: Check, threshold: Threshold, factor: float) -> Check | None:
    """The check `factor` times as strict, by the rule of bounds; None where a single bound is 0."""
    ends = _scaled_ends(*check.bounds, threshold.share, factor)
    return ends and Check(
        check.name,
        check.value,
        at_least=None if check.at_least is None else ends[0],
        at_most=None if check.at_most is None else ends[1],
    )


@cache
def _scaled_ends(low: float, high: float, share: bool, factor: float) -> tuple[float, float] | None:
    moved = scaled(Within(low=low, high=high, ceiling=1.0 if share and low < 1 else msgspec.UNSET), factor)
    return moved.ends if moved else None


def _apart(bound: Bound) -> str:
    """The same inside a sentence: a window in brackets."""
    return f"({told(bound)})" if all(map(math.isfinite, bound.ends)) else told(bound)
