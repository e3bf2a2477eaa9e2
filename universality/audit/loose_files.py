"""suite.toml and evidence.csv, on which no verdict rests."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from universality.audit.findings import Audit, Fault
from universality.plan.suite import read_suite
from universality.store.layout import Layout
from universality.store.untrusted import UntrustedFile, read_bytes
from universality.text import plain, short


def read_rows(path: Path) -> tuple[list[str], list[list[str]]]:
    """The header of a CSV file, and its rows, each as long as the header. Raises `UntrustedFile`."""
    try:
        lines = list(csv.reader(io.StringIO(read_bytes(path).decode(), newline=""), strict=True))
    except (csv.Error, ValueError) as error:
        raise UntrustedFile(f"is no table: {short(str(error), 120)}") from None
    if len(lines) < 2 or any(len(line) != len(lines[0]) for line in lines):
        raise UntrustedFile("is no table: it is empty, or its rows have different lengths")
    return lines[0], lines[1:]


def unused_damage(layout: Layout) -> list[Fault]:
    """What is wrong with suite.toml and evidence.csv: one each."""
    audit = Audit(layout.root)
    with audit.refusals(layout.suite.name):
        read_suite(layout.suite)
    with audit.refusals(layout.evidence.name):
        if "verdict" not in read_rows(layout.evidence)[0]:
            raise UntrustedFile("is no table of verdicts")
    return list(audit.problems)


def warning(layout: Layout, fault: Fault) -> str:
    """A line that says what `unused_damage` found in a result set, with everything foreign spelled out."""
    return f"warning: {plain(str(layout.root))}: {plain(f'{fault.path} {fault.text}', 400)}"
