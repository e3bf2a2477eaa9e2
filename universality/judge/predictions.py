"""Locked predictions: numbers of a theory for cells that nobody had run, and how they came out.

A locked file is JSON with the SHA-256 of everything else in it. What is scored is the effect of a cell that was decided by
the claim's own version, asked by the suite that was locked, from runs that ended after the file was locked. Whoever writes
such a file anew gives it a SHA-256 that fits, but another: it is shown beside the score, to be compared with what was
announced.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import Annotated, Literal, Self

import msgspec
from msgspec import Meta, structs

from universality.judge.decide import MEASURED, CellVerdict, timed_groups
from universality.judge.resultset import ResultSet
from universality.plan.suite import Suite, read_suite
from universality.plugin.bounds import Bound, Within
from universality.store.cells import CellRecord
from universality.store.files import encode_record
from universality.store.folder import entries_of
from universality.store.untrusted import UntrustedFile, read_record
from universality.text import short

FOLDER = "predictions"
"""Beside result sets."""
MAX_BYTES = 4 << 20

Text = Annotated[str, Meta(max_length=300)]
Question = tuple[str, str, str, str]
"""Address of a phenomenon, claim, architecture, task."""
_Cell = tuple[ResultSet, CellVerdict, str]
"""Where a question was measured, what came out, and why that is not what was locked (`_other_suite`)."""


class Prediction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The effect of one claim in one cell.

    Args:
        phenomenon, network, task: addresses, as measurements have them.
        version, bound: of the claim when this was locked.
        low, high: an interval that is to hold the effect with probability `level`.
    """

    phenomenon: Text
    claim: Text
    version: Annotated[int, Meta(ge=1)]
    bound: Bound
    network: Text
    task: Text
    value: float
    low: float
    high: float
    level: float

    def __post_init__(self) -> None:
        if wrong := unfit(self.value, self.low, self.high, self.level):
            raise ValueError(wrong)

    @property
    def question(self) -> Question:
        return self.phenomenon, self.claim, self.network, self.task


class LockedFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a theory predicted, and when.

    Args:
        suite, suite_sha256: that asks for these cells, its name and the digest of its TOML.
        locked: ISO 8601 in UTC, by the clock of the machine that locked it.
        sha256: of the file with this field empty.
    """

    format: Literal[1] = 1
    theory: Text
    author: Text
    source: Text
    suite: Text
    suite_sha256: Text
    universality: Text
    locked: Text
    predictions: Annotated[tuple[Prediction, ...], Meta(min_length=1)]
    sha256: Text = ""

    @property
    def short_sha256(self) -> str:
        """As much of it as tables show."""
        return self.sha256[:16]

    def sealed(self) -> Self:
        """The same with its SHA-256."""
        return structs.replace(self, sha256=self._digest())

    def _digest(self) -> str:
        return hashlib.sha256(encode_record(structs.replace(self, sha256=""))).hexdigest()

    @classmethod
    def read(cls, path: Path) -> Self:
        """The file at `path`. Raises `UntrustedFile` for anything that was changed after the lock."""
        found = read_record(path, cls, most=MAX_BYTES)
        if found._digest() != found.sha256:
            raise UntrustedFile("was changed after it was locked: its SHA-256 is that of other numbers")
        if _time(found.locked) is None:
            raise UntrustedFile(f"was locked at no time: {short(found.locked, 60)}")
        return found


def digest_of(suite: Suite, name: str = "") -> str:
    """SHA-256 of a suite's TOML, under another name where one is given."""
    return hashlib.sha256(structs.replace(suite, name=name or suite.name).toml().encode()).hexdigest()


def unfit(value: float, low: float, high: float, level: float) -> str:
    """Why an interval predicts nothing; empty where it does."""
    if not all(map(math.isfinite, (value, low, high, level))):
        return "a number is not finite"
    if not low < high:
        return f"the interval is upside down or empty: {low:g} to {high:g}"
    if not low <= value <= high:
        return f"the interval {low:g} to {high:g} does not hold its value {value:g}"
    return "" if 0 < level < 1 else f"a level lies between 0 and 1: {level:g}"


def interval_score(low: float, high: float, level: float, seen: float) -> float:
    """S = (u - l) + 2/a (l - x) 1[x < l] + 2/a (x - u) 1[x > u], a = 1 - level, in the unit of x; smaller is better.

    Proper: expected to be least where l and u are the quantiles a/2 and 1 - a/2 of x (Gneiting and Raftery 2007, eq. 43).

    >>> interval_score(1.0, 2.0, 0.9, 1.5), round(interval_score(1.0, 2.0, 0.9, 2.5), 6)
    (1.0, 11.0)
    """
    return (high - low) + 2 / (1 - level) * (max(0.0, low - seen) + max(0.0, seen - high))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One prediction beside what was measured; `why` it has no score, empty where it has one.

    Args:
        at_least: what was predicted was not seen until `seen`, which lies beyond the interval: a miss, and a score that is at
            least this.
    """

    prediction: Prediction
    label: str = ""
    seen: float | None = None
    at_least: bool = False
    why: str = ""

    @property
    def score(self) -> float | None:
        p = self.prediction
        return None if self.seen is None else interval_score(p.low, p.high, p.level, self.seen)

    @property
    def hit(self) -> bool:
        return self.seen is not None and self.prediction.low <= self.seen <= self.prediction.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Theory:
    """A locked file with its predictions scored, or the reason why none of it is."""

    name: str
    file: LockedFile | None = None
    scored: tuple[Scored, ...] = ()
    refused: str = ""

    @property
    def concerned(self) -> bool:
        """Whether the sets have any of its cells, or it was refused."""
        return bool(self.refused or any(each.label for each in self.scored))

    @property
    def claims(self) -> dict[tuple[str, str], list[Scored]]:
        """Predictions that were scored, by phenomenon and claim: their effects have one unit."""
        found: dict[tuple[str, str], list[Scored]] = {}
        for each in self.scored:
            if each.seen is not None:
                found.setdefault((each.prediction.phenomenon, each.prediction.claim), []).append(each)
        return found


def mean_score(scored: Iterable[Scored]) -> float:
    return fmean(each.score for each in scored if each.score is not None)


def theories(sets: Sequence[ResultSet], folders: Sequence[Path] | None = None) -> tuple[Theory, ...]:
    """The locked files beside result sets, or in `folders`, scored by what the sets measured."""
    if folders is None:
        folders = list(dict.fromkeys(each.layout.root.resolve().parent / FOLDER for each in sets))
    found = []
    for folder in folders:
        for entry in sorted(entries_of(folder), key=lambda entry: entry.name):
            if entry.name.endswith(".json"):
                name = Path(entry.name).stem
                try:
                    file = LockedFile.read(Path(entry.path))
                except UntrustedFile as problem:
                    found.append(Theory(name=name, refused=str(problem)))
                else:
                    found.append(Theory(name=name, file=file, scored=tuple(_scored(file, sets))))
    return tuple(found)


def measured_question(verdict: CellVerdict) -> Question:
    r = verdict.record
    return r.variant, r.claim_name, r.architecture, r.task


def _scored(file: LockedFile, sets: Sequence[ResultSet]) -> list[Scored]:
    wanted = {p.question for p in file.predictions}
    cells: dict[Question, list[_Cell]] = {}
    for results in sets:
        asked = [v for v in results.verdicts if v.record.control is None and measured_question(v) in wanted]
        other_suite = _other_suite(file, results) if asked else ""
        for verdict in asked:
            cells.setdefault(measured_question(verdict), []).append((results, verdict, other_suite))
    return [_best(p, file.locked, cells.get(p.question, ())) for p in file.predictions]


def _other_suite(file: LockedFile, results: ResultSet) -> str:
    """Why what a set measured is not what was locked: chosen later, seeds or options would be chosen by what comes out.
    Empty where it is the same suite, under whatever name it was run."""
    try:
        suite = read_suite(results.layout.suite)
    except UntrustedFile as problem:
        return f"it is not known by which suite it was measured: {results.layout.suite.name} {problem}"
    here = digest_of(suite, file.suite)
    if here == file.suite_sha256:
        return ""
    return (
        f"measured by another suite than {file.suite} was when this was locked: its SHA-256 is {here[:16]}, "
        f"not {file.suite_sha256[:16]}"
    )


def _best(p: Prediction, locked: str, cells: Sequence[_Cell]) -> Scored:
    """By the cell with the most groups of those that can be used; how many were asked for does not depend on what came
    out. Without any, the first reason why."""
    answers = [(_one(p, locked, *cell), len(cell[1].record.groups)) for cell in cells]
    usable = [pair for pair in answers if pair[0].seen is not None]
    if usable:
        return max(usable, key=lambda pair: pair[1])[0]
    return answers[0][0] if answers else Scored(prediction=p, why="not measured yet")


def _one(
    p: Prediction, locked: str, results: ResultSet, verdict: CellVerdict, other_suite: str = ""
) -> Scored:
    record, ended = verdict.record, results.plan.times.get(verdict.record.id, "")
    why = ""
    if all(group.state == "missing" for group in record.groups):
        why = record.not_applicable or "not measured yet"
    elif (record.version, record.claim) != (p.version, p.bound):
        why = f"measured by version {record.version} of the claim ({record.claim}), predicted of {p.version} ({p.bound})"
    elif other_suite:
        why = other_suite
    elif not _after(ended, locked):
        why = (
            f"its runs ended at {ended}, not after the lock"
            if ended
            else "it is not known when its runs ended"
        )
    elif verdict.verdict not in MEASURED or not verdict.decidable:
        why = f"{verdict.verdict}: {verdict.reason}"
    seen = verdict.effect
    if not why and seen is None:
        seen = _at_least(verdict.record)
        if seen is None or seen <= p.high:
            why = f"{verdict.verdict}: {verdict.reason}"
    if why:
        return Scored(prediction=p, label=results.label, why=why)
    return Scored(prediction=p, label=results.label, seen=seen, at_least=verdict.effect is None)


def _at_least(record: CellRecord) -> float | None:
    """What the median of times exceeds of which too many were not seen: the median with these at their bounds."""
    times = sorted(group.effect for group in timed_groups(record))
    return times[(len(times) - 1) // 2] if times and not isinstance(record.claim, Within) else None


def _after(ended: str, locked: str) -> bool:
    one, other = _time(ended), _time(locked)
    return one is not None and other is not None and one > other


def _time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else None
