"""What a result set was asked: its manifest, plan and suite agree, and nothing was left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, product, starmap

from universality.audit.findings import Audit, file_of, quoted
from universality.judge.resultset import read_manifest
from universality.plan.plan_json import PlanRecord
from universality.plan.suite import Suite, read_suite
from universality.plugin.charts import texts_of
from universality.plugin.spec import bare_name
from universality.store.cells import CellRecord
from universality.store.folder import Manifest
from universality.store.layout import Layout
from universality.store.untrusted import OtherSchema, UntrustedFile
from universality.text import is_printable, short

Parts = tuple[Manifest | None, PlanRecord | None, Suite | None]


def read_parts(audit: Audit, layout: Layout) -> Parts | None:
    """Manifest, plan and suite, as far as they can be read; None for a set of another schema."""
    manifest, plan, suite = None, None, None
    try:
        manifest = read_manifest(layout)
    except OtherSchema as problem:
        audit.problem(layout.manifest.name, problem)
        return None
    except UntrustedFile as problem:
        # Where it is missing, `check_files` has said so.
        if layout.manifest.exists():
            audit.problem(layout.manifest.name, problem)
    for outdated in layout.outdated:
        if outdated.exists():
            audit.problem(
                outdated.name, "is of an earlier version; the same `universality run` makes it anew"
            )
    with audit.refusals(layout.plan.name):
        plan = PlanRecord.read(layout.plan)
    with audit.refusals(layout.suite.name):
        suite = read_suite(layout.suite)
    if plan is not None and not plan.cells:
        audit.problem(layout.plan.name, "asks for no cell")
        plan = None
    return manifest, plan, suite


def check_names(audit: Audit, layout: Layout, plan: PlanRecord, suite: Suite | None) -> None:
    """The suite, the plan and the folder have one name, and what the plan tells of phenomena can be printed."""
    folder, name = layout.root.resolve().name, quoted(plan.suite)
    if plan.suite != folder:
        audit.problem(layout.plan.name, f"is of the suite {name}, the folder is {folder!r}")
    if suite is not None and suite.name != plan.suite:
        audit.problem(layout.suite.name, f"is called {suite.name!r}, the plan {name}")
    for phenomenon, about in plan.phenomena.items():
        charts = about.charts or {}
        for claim in charts.keys() - about.claims.keys():
            audit.problem(
                layout.plan.name, f"draws a claim that {quoted(phenomenon)} does not make: {quoted(claim)}"
            )
        drawn = (text for of in charts.values() for chart in of for text in texts_of(chart))
        own = phenomenon, about.title, about.source, about.dispute
        for text in (*own, *about.claims, *about.claims.values(), *drawn):
            if not is_printable(text):
                audit.problem(
                    layout.plan.name, f"describes a phenomenon with unprintable text: {quoted(text)}"
                )
    commit = plan.environment.get("commit")
    if not isinstance(commit, str):
        audit.note("the commit that made this set is not known")
    elif commit.endswith("+changes"):
        audit.note(f"made from {short(commit, 120)}: the working tree was not that of the commit")


def check_cells(
    audit: Audit, layout: Layout, suite: Suite, plan: PlanRecord, records: Sequence[CellRecord]
) -> None:
    """Nothing that the suite asks for was left out, as far as names tell without the plugins.

    Which parameters are defaults is not known here, so cells are counted by their bare names. A calibration is asked in
    one cell, which the suite does not name.
    """

    def place(phenomenon: str, *cell: str) -> Addresses:
        about = plan.phenomena.get(bare_name(phenomenon))
        return (phenomenon, "", "") if about and about.calibration else (phenomenon, *cell)

    crosses = (product(c.phenomena, c.architectures, c.tasks) for c in (*suite.crosses, *suite.sweeps))
    questions = _by_bare_names(starmap(place, chain.from_iterable(crosses)))
    answers = _by_bare_names(place(r.variant, r.architecture, r.task) for r in records if r.control is None)
    for names, cells in questions.items():
        if (here := len(answers.get(names, ()))) < len(cells):
            audit.problem(
                layout.suite.name, f"asks for {len(cells)} cells of {', '.join(names)}; {here} are here"
            )
    for names in answers.keys() - questions.keys():
        audit.problem(layout.plan.name, f"holds a cell that the suite does not ask for: {', '.join(names)}")


Addresses = tuple[str, ...]
"""Of a phenomenon, an architecture and a task."""


def _by_bare_names(cells: Iterable[Addresses]) -> dict[Addresses, set[Addresses]]:
    groups: dict[Addresses, set[Addresses]] = {}
    for cell in cells:
        groups.setdefault(tuple(map(bare_name, cell)), set()).add(cell)
    return groups


def check_runs_planned(audit: Audit, layout: Layout, plan: PlanRecord, records: Sequence[CellRecord]) -> None:
    """Runs that measurements name are in the plan, and ids follow from what the plan says of them."""
    for record in records:
        for run_id in sorted({i for group in record.groups for i in group.runs.values()} - plan.runs.keys()):
            audit.problem(file_of(record), f"draws on a run that is not planned: {short(run_id, 120)}")
    for run_id, run in plan.runs.items():
        name = short(run_id, 120)
        try:
            true = run.spec.id
        except ValueError:  # NaN and the infinities have no place in an id
            audit.problem(layout.plan.name, f"a setting of {name} is no finite number")
            continue
        if true != run_id:
            audit.problem(layout.plan.name, f"the settings of {name} are those of {short(true, 120)}")
