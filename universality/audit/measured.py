"""Every measurement can be read, has the id of what it asks, and names that are addresses."""

from __future__ import annotations

import re

from universality.audit.findings import Audit
from universality.errors import BadParameter
from universality.judge.resultset import (
    AskedPlan,
    Unreadable,
    clipped,
    read_measurement,
)
from universality.plugin.records import CellRecord
from universality.plugin.spec import parse_address
from universality.store.layout import Layout
from universality.text import plain


def check_measurements(found: Audit, layout: Layout, plan: AskedPlan | None) -> dict[str, CellRecord]:
    """Every measurement that can be read, by id; those that the plan lacks, and lacking ones, are said."""
    folder = layout.measurements
    if not folder.is_dir() or folder.is_symlink():
        found.say(folder.name, "is missing")
        return {}
    records: dict[str, CellRecord] = {}
    for path in sorted(folder.iterdir()):
        name = f"{folder.name}/{path.name}"
        if path.suffix != ".json":
            continue
        try:
            record = read_measurement(path)
        except Unreadable as problem:
            found.say(name, problem)
            continue
        records[path.stem] = record
        _addresses(found, name, record)
        if plan is not None and path.stem not in plan.cells:
            found.say(name, "is not in the plan")
    for cell in plan.cells if plan is not None else ():
        if cell not in records and not (folder / f"{cell}.json").exists():
            found.say(f"{folder.name}/{cell}.json", "is missing; the plan asks for it")
    return records


def _addresses(found: Audit, name: str, record: CellRecord) -> None:
    for what in ("variant", "architecture", "task"):
        address = getattr(record, what)
        try:
            bare = parse_address(address)[0]
        except BadParameter:
            bare = ""
        if not bare or plain(address, 1000) != address or re.search(r"[<>\"'&`\\]", address):
            found.say(name, f"its {what} is no address: {clipped(repr(address))}")
        elif what == "variant" and bare != record.phenomenon:
            found.say(name, f"is of {record.phenomenon!r} and of {clipped(repr(address))}")
    for text in (record.phenomenon, record.claim_name, record.control, record.claim.unit):
        if plain(text, 1000) != text:
            found.say(name, f"has unprintable text: {clipped(repr(text))}")
