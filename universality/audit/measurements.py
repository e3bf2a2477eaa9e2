"""Every measurement can be read, has the id of what it asks, and names that are addresses."""

from __future__ import annotations

from universality.audit.findings import Audit, quoted
from universality.errors import BadParameter
from universality.plan.plan_json import PlanRecord
from universality.plugin.spec import parse_address, split_address
from universality.store.cells import CellRecord
from universality.store.layout import Layout
from universality.store.untrusted import UntrustedFile
from universality.text import is_printable


def check_measurements(audit: Audit, layout: Layout, plan: PlanRecord | None) -> dict[str, CellRecord]:
    """Every usable measurement by id. Those that the plan does not name, and those it names in vain, are
    problems."""
    folder = layout.measurements
    if not folder.is_dir() or folder.is_symlink():
        audit.problem(folder.name, "is missing")
        return {}
    records: dict[str, CellRecord] = {}
    asked = set(plan.cells if plan is not None else ())
    for path in sorted(p for p in folder.iterdir() if p.suffix == ".json"):
        name = f"{folder.name}/{path.name}"
        with audit.refusals(name):
            record = CellRecord.read(path)
            _check_names(audit, name, record)
            if plan is not None and path.stem not in asked:
                audit.problem(name, "is not in the plan")
            if plan is not None and record.phenomenon not in plan.phenomena:
                raise UntrustedFile(f"is of {quoted(record.phenomenon)}, of which the plan says nothing")
            records[record.id] = record
    for cell in plan.cells if plan is not None else ():
        if not layout.measurement(cell).exists():
            audit.problem(f"{folder.name}/{cell}.json", "is missing; the plan asks for it")
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
