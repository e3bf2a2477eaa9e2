"""A result set that somebody else made, checked as a whole."""

from __future__ import annotations

from pathlib import Path

from universality.audit.asked import check_asked, check_names, check_plan, check_specs, check_suite
from universality.audit.claimed import check_checks, check_claims
from universality.audit.derived import check_derived
from universality.audit.files import check_files
from universality.audit.findings import Audit
from universality.audit.measured import check_measurements
from universality.audit.recorded import check_runs
from universality.store.layout import Layout


def audit(root: Path) -> Audit:
    """Check the result set in `root`; nothing in it is executed, and no link is followed."""
    found = Audit(root)
    layout = Layout(root)
    if not check_files(found, layout):
        return found
    plan = check_plan(found, layout)
    suite = check_suite(found, layout)
    records = check_measurements(found, layout, plan)
    if plan is None:
        return found
    check_names(found, layout, plan, suite)
    known = [records[cell] for cell in plan.cells if cell in records]
    if suite is not None:
        check_asked(found, suite, known)
    check_specs(found, plan, known)
    check_claims(found, known)
    check_checks(found, known)
    check_runs(found, layout, plan, known)
    if len(known) == len(plan.cells):
        check_derived(found, layout, plan, known)
    else:
        found.notes.append("tables were not recomputed, because measurements are missing")
    return found
