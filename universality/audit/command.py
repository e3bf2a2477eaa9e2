"""`universality check`: a result set that somebody else made, or a plugin."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from universality.audit.asked import check_asked, check_names, check_plan, check_specs, check_suite
from universality.audit.claimed import check_checks, check_claims
from universality.audit.derived import check_derived
from universality.audit.files import check_files
from universality.audit.findings import Audit
from universality.audit.measured import check_measurements
from universality.audit.recorded import check_runs
from universality.errors import StoreError
from universality.layout import Layout
from universality.report.text import plain


def show(targets: Sequence[str], plugins: Sequence[str], data_root: str | None) -> int:
    """`universality check`: each target is a folder, or else the address of a plugin.

    Returns 1 where something is wrong. Folders never cause a plugin, or torch, to be loaded.
    """
    code = 0
    for target in targets:
        if Path(target).is_dir():
            found = audit(Path(target))
            print("\n".join(found.lines()))
            code = max(code, 1 if found.problems else 0)
        elif "/" in target.partition("[")[0]:
            raise StoreError("there is no such folder", where=target, do="check the path")
        else:
            code = max(code, _show_plugin(target, plugins, data_root))
    return code


def _show_plugin(address: str, plugins: Sequence[str], data_root: str | None) -> int:
    # Imported here: checking a folder needs neither torch nor any plugin.
    from universality import conformance, registry
    from universality.data import data_root as resolved

    registry.load_plugins(Path(p) for p in plugins)
    findings = conformance.check(address, resolved(data_root))
    for kind, answers in findings.items():
        print(f"{kind} {plain(address)}")
        for finding in answers:
            print(f"  {plain(str(finding), 400)}")
    return 1 if any(f.wrong for answers in findings.values() for f in answers) else 0


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
