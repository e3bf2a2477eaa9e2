"""Verdicts and tables, decided anew from the measurements, are those of the files."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING

from universality.audit.findings import Audit, quoted
from universality.audit.loose_files import read_rows
from universality.errors import UniversalityError
from universality.judge.resultset import ResultSet
from universality.output import tables
from universality.store.untrusted import UntrustedFile, read_bytes
from universality.text import short

if TYPE_CHECKING:
    import pandas as pd

MAX_LISTED = 5
"""Differences listed of one table."""
NAMING = ("phenomenon", "claim", "architecture", "task", "control")
"""Columns that name a row, where a table has them."""
TOLERANCE = 1e-6
"""Relative; statistics libraries differ in their last digits."""


def check_derived(audit: Audit, results: ResultSet) -> None:
    layout = results.layout
    try:
        verdicts, rows = results.verdicts, results.rows
    except UniversalityError as error:
        audit.problem(layout.measurements.name, f"{error.what}: {error.where} {error.got}")
        return
    controls = sum(v.record.control is not None for v in verdicts)
    audit.counts.update(cells=len(verdicts) - controls, controls=controls)
    for row in rows:
        if not row.validated:
            audit.note(f"{row.phenomenon}.{row.claim_name} is unvalidated: {'; '.join(row.failed_controls)}")
    _check_table(audit, layout.evidence, tables.evidence_table(results))
    _check_table(audit, layout.universality, tables.universality_table(results))
    name = layout.table_markdown.relative_to(layout.root).as_posix()
    with audit.refusals(name):
        if read_bytes(layout.table_markdown) != tables.markdown(results).encode(errors="backslashreplace"):
            audit.problem(name, "is not what `universality report` makes of the measurements")


def _check_table(audit: Audit, path: Path, table: pd.DataFrame) -> None:
    """Compare a CSV file with what it should hold: text exactly, numbers up to rounding."""
    columns, *truths = csv.reader(io.StringIO(tables.csv(table), newline=""))
    try:
        header, rows = read_rows(path)
    except UntrustedFile as problem:
        audit.problem(path.name, problem)
        return
    if header != columns:
        other = ", ".join(sorted({*header} ^ {*columns})) or "in another order, or one of them twice"
        audit.problem(path.name, f"has other columns: {short(other, 120)}; `universality report` mends it")
    if len(rows) != len(truths):
        audit.problem(path.name, f"has {len(rows)} rows, the measurements give {len(truths)}")
        return
    wrong = []
    for row, truth in zip(rows, truths, strict=True):
        texts, trues = dict(zip(header, row, strict=True)), dict(zip(columns, truth, strict=True))
        name = ", ".join(trues[column] for column in NAMING if trues.get(column))
        for column, true in trues.items():
            text = texts.get(column, true)
            if not _same(text, true):
                wrong.append(f"{name}: {column} is {quoted(text)}, the measurements give {quoted(true)}")
    for text in wrong[:MAX_LISTED]:
        audit.problem(path.name, text)
    if len(wrong) > MAX_LISTED:
        audit.problem(path.name, f"{len(wrong) - MAX_LISTED} more entries differ")


def _same(text: str, true: str) -> bool:
    if text == true:
        return True
    try:
        return math.isclose(float(text), float(true), rel_tol=TOLERANCE, abs_tol=1e-300)
    except ValueError:
        return False
