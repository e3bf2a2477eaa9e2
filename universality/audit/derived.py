"""Verdicts and tables, decided anew from the measurements, are those of the files."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from universality.audit.findings import Audit
from universality.errors import UniversalityError
from universality.judge.boundary import swept
from universality.judge.resultset import AskedPlan, Unreadable, clipped, judge_all, read_bytes
from universality.judge.verdicts import CellVerdict, universality
from universality.plugin.records import CellRecord
from universality.report import tables
from universality.store.layout import Layout

MOST_SAID = 5
"""Differences listed of one table."""
TOLERANCE = 1e-6
"""Relative; statistics libraries differ in their last digits."""


def check_derived(found: Audit, layout: Layout, plan: AskedPlan, records: Sequence[CellRecord]) -> None:
    """Verdicts and tables, decided anew, agree with the files."""
    try:
        verdicts = judge_all(records)
        rows = universality(verdicts, plan.phenomena)
    except UniversalityError as error:
        found.say("measurements", f"{error.what}: {error.where} {error.got}")
        return
    found.counted["cells"] += sum(not v.record.control for v in verdicts)
    found.counted["controls"] += sum(bool(v.record.control) for v in verdicts)
    for row in rows:
        if not row.validated:
            why = "; ".join(row.failed_controls)
            found.notes.append(f"{row.phenomenon}.{row.claim_name} is unvalidated: {why}")
    facts = plan.phenomena
    _table(
        found,
        layout.evidence,
        lambda: tables.evidence_table(verdicts, plan.tiers).to_csv(index=False),
        _cell(verdicts),
    )
    _table(
        found,
        layout.universality,
        lambda: tables.universality_table(rows, facts).to_csv(index=False),
        lambda i: f"{rows[i].phenomenon}, {rows[i].claim_name}",
    )
    path = layout.report / "universality.md"
    name = path.relative_to(layout.root).as_posix()
    try:
        ends = swept(verdicts, {"variants": plan.variants, "specs": plan.specs})
        if read_bytes(path).decode() != tables.markdown(rows, facts, ends):
            found.say(name, "is not what `universality report` makes of the measurements")
    except Unreadable as problem:
        found.say(name, problem)
    except UnicodeDecodeError:
        found.say(name, "is no text")


def _cell(verdicts: Sequence[CellVerdict]) -> Callable[[int], str]:
    def name(i: int) -> str:
        r = verdicts[i].record
        return ", ".join(filter(None, (r.phenomenon, r.claim_name, r.architecture, r.task, r.control)))

    return name


def _table(found: Audit, path: Path, make: Callable[[], str], name: Callable[[int], str]) -> None:
    """Compare a CSV file with what it should hold: text exactly, numbers up to rounding."""
    try:
        held = list(csv.DictReader(io.StringIO(read_bytes(path).decode(), newline=""), strict=True))
        expected = list(csv.DictReader(io.StringIO(make(), newline="")))
    except Unreadable as problem:
        found.say(path.name, problem)
        return
    except (csv.Error, UnicodeDecodeError) as error:
        found.say(path.name, f"is no table: {clipped(str(error))}")
        return
    columns = list(expected[0])
    if odd := {str(c) for row in held for c in row} ^ set(columns):
        found.say(
            path.name, f"has other columns: {clipped(', '.join(sorted(odd)))}; `universality report` mends it"
        )
    if len(held) != len(expected):
        found.say(path.name, f"has {len(held)} rows, the measurements give {len(expected)}")
        return
    wrong = [
        f"{name(i)}: {column} is {clipped(repr(row[column]))}, the measurements give {clipped(repr(true[column]))}"
        for i, (row, true) in enumerate(zip(held, expected, strict=True))
        for column in columns
        if column in row and not _same(row[column], true[column])
    ]
    for text in wrong[:MOST_SAID]:
        found.say(path.name, text)
    if len(wrong) > MOST_SAID:
        found.say(path.name, f"{len(wrong) - MOST_SAID} more entries differ")


def _same(held: object, true: str) -> bool:
    if held == true:
        return True
    try:
        return math.isclose(float(str(held)), float(true), rel_tol=TOLERANCE, abs_tol=1e-300)
    except ValueError:
        return False
