"""Every measurement can be read, has the id of what it asks, and names that are addresses."""

from __future__ import annotations

from universality.audit.findings import Audit, file_of, quoted
from universality.errors import BadParameter
from universality.plan.plan_json import PlanRecord
from universality.plugin.spec import parse_address, split_address
from universality.store.cells import CellRecord
from universality.store.layout import Layout
from universality.store.measurements import lines
from universality.store.untrusted import UntrustedFile
from universality.text import is_printable


def check_measurements(audit: Audit, layout: Layout, plan: PlanRecord | None) -> dict[str, CellRecord]:
    """Every usable measurement by id. Those that the plan does not name, and those it names in vain, are
    problems."""
    file = layout.measurements
    records: dict[str, CellRecord] = {}
    with audit.refusals(file.name):
        for number, line in enumerate(lines(file), start=1):
            audit.counts["measurements"] += 1
            with audit.refusals(f"{file.name}, line {number}"):
                record = CellRecord.read(line)
                _check_names(audit, file_of(record), record)
                if plan is not None and record.phenomenon not in plan.phenomena:
                    raise UntrustedFile(f"is of {quoted(record.phenomenon)}, of which the plan says nothing")
                if record.id in records:
                    raise UntrustedFile(f"holds {record.id} a second time")
                records[record.id] = record
    if plan is None:
        return records
    for measurement_id in sorted(records.keys() - set(plan.cells)):
        audit.problem(file_of(records[measurement_id]), "is not in the plan")
    for missing in sorted(set(plan.cells) - records.keys()):
        audit.problem(file.name, f"lacks {missing}; the plan asks for it")
    if set(records) == set(plan.cells) and tuple(records) != plan.cells:
        audit.problem(file.name, "is in another order than the plan")
    return records


def _check_names(audit: Audit, name: str, record: CellRecord) -> None:
    for what in ("variant", "architecture", "task"):
        address = getattr(record, what)
        try:
            bare, *modifiers = (parse_address(part)[0] for part in split_address(address))
            bare = "" if modifiers and what != "architecture" else bare
        except BadParameter:
            bare = ""
        if not bare or address != address.strip():
            audit.problem(name, f"its {what} is no address: {quoted(address)}")
        elif what == "variant" and bare != record.phenomenon:
            audit.problem(name, f"is of {record.phenomenon!r} and of {quoted(address)}")
    control = "" if record.control is None else record.control.name
    for text in (record.phenomenon, record.claim_name, control, record.claim.unit):
        if not is_printable(text):
            audit.problem(name, f"has unprintable text: {quoted(text)}")
