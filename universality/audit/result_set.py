"""A result set that somebody else made, checked as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from universality.audit.claims import check_claims
from universality.audit.files import check_files
from universality.audit.findings import Audit
from universality.audit.measurements import check_measurements
from universality.audit.plan import check_cells, check_names, check_runs_planned, read_parts
from universality.audit.runs import check_runs
from universality.audit.sources import check_sources
from universality.audit.tables import check_derived
from universality.judge.resultset import ResultSet
from universality.plugin.loading import plugin_folder
from universality.store.layout import Layout


def audit(root: Path, plugins: Sequence[Path] = ()) -> Audit:
    """Check the result set in `root`; nothing in it is executed, and no link is followed.

    Args:
        plugins: folders whose files are compared with those that made the set.

    Raises:
        BadParameter: where one of these folders does not exist.
    """
    folders = list(map(plugin_folder, plugins))
    result, layout = Audit(root), Layout(root)
    if not check_files(result, layout):
        return result
    parts = read_parts(result, layout)
    if parts is None:
        return result
    manifest, plan, suite = parts
    measurements = check_measurements(result, layout, plan)
    if plan is None:
        return result
    records = [measurements[cell] for cell in plan.cells if cell in measurements]
    check_names(result, layout, plan, suite)
    if suite is not None:
        check_cells(result, layout, suite, plan, records)
    check_runs_planned(result, layout, plan, records)
    check_sources(result, layout, plan, folders)
    check_claims(result, records)
    check_runs(result, layout, plan, records)
    if manifest is not None and len(records) == len(plan.cells):
        check_derived(result, ResultSet(layout, plan.suite, manifest, plan, tuple(records)))
    else:
        result.note("tables were not recomputed, because the manifest or measurements cannot be used")
    return result
