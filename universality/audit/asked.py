"""What a result set was asked: its manifest, plan and suite agree, and nothing was left out."""

from __future__ import annotations

from collections.abc import Sequence

from universality.audit.findings import Audit
from universality.errors import UniversalityError
from universality.judge.resultset import (
    NO_CELL,
    AskedPlan,
    Unreadable,
    check_schema,
    clipped,
    parse_plan,
    read_bytes,
    read_record,
)
from universality.plan import suite as suites
from universality.plan.suite import Suite
from universality.plugin.records import CellRecord
from universality.plugin.spec import RunSpec
from universality.store.layout import Layout
from universality.text import plain


def check_plan(found: Audit, layout: Layout) -> AskedPlan | None:
    try:
        manifest = read_record(layout.manifest)
        check_schema(manifest)
        if not isinstance(manifest.get("created"), str) or not isinstance(manifest.get("environment"), dict):
            found.say(layout.manifest.name, "lacks when and on what the set was made")
    except Unreadable as problem:
        if str(problem) != "is missing":
            found.say(layout.manifest.name, problem)
    try:
        plan = parse_plan(read_record(layout.plan))
        if not plan.cells:
            raise Unreadable(NO_CELL)
    except Unreadable as problem:
        found.say(layout.plan.name, problem)
        return None
    commit = plan.environment.get("commit")
    if not isinstance(commit, str):
        found.notes.append("the commit that made this set is not known")
    elif commit.endswith("+changes"):
        found.notes.append(f"made from {clipped(commit)}: the working tree was not that of the commit")
    return plan


def check_suite(found: Audit, layout: Layout) -> Suite | None:
    try:
        text = read_bytes(layout.suite, most=1 << 20).decode()
        return suites.parse(text, where=layout.suite.name)
    except Unreadable as problem:
        found.say(layout.suite.name, problem)
    except UniversalityError as error:
        found.say(layout.suite.name, f"{error.what}: {error.got}")
    except (RecursionError, ValueError) as error:
        found.say(layout.suite.name, f"cannot be parsed: {type(error).__name__}")
    return None


def check_names(found: Audit, layout: Layout, plan: AskedPlan, suite: Suite | None) -> None:
    folder = layout.root.resolve().name
    if plan.suite != folder:
        found.say(layout.plan.name, f"is of the suite {clipped(repr(plan.suite))}, the folder is {folder!r}")
    if suite is not None and suite.name != plan.suite:
        found.say(layout.suite.name, f"is called {suite.name!r}, the plan {clipped(repr(plan.suite))}")
    for name, about in plan.phenomena.items():
        for text in (name, *about.values()):
            if plain(text, 1000) != text:
                found.say(layout.plan.name, f"describes a phenomenon with unprintable text: {clipped(text)}")


def check_asked(found: Audit, suite: Suite, records: Sequence[CellRecord]) -> None:
    """Nothing that the suite asks for was left out, as far as names tell without the plugins.

    Which parameters are defaults is not known here, so cells are counted by their bare names.
    """
    asked: dict[tuple[str, str, str], set[tuple[str, str, str]]] = {}
    for cross in (*suite.crosses, *suite.sweeps):
        for phenomenon in cross.phenomena:
            for architecture in cross.architectures:
                for task in cross.tasks:
                    cell = (phenomenon, architecture, task)
                    asked.setdefault(_bare(cell), set()).add(cell)
    held: dict[tuple[str, str, str], set[tuple[str, str, str]]] = {}
    for r in records:
        if not r.control:
            held.setdefault(_bare((r.phenomenon, r.architecture, r.task)), set()).add(
                (r.variant, r.architecture, r.task)
            )
    for name, cells in asked.items():
        if len(held.get(name, ())) < len(cells):
            have = len(held.get(name, ()))
            found.say("suite.toml", f"asks for {len(cells)} cells of {', '.join(name)}; {have} are here")
    for name in held.keys() - asked.keys():
        found.say("plan.json", f"holds a cell that the suite does not ask for: {', '.join(name)}")


def _bare(cell: tuple[str, str, str]) -> tuple[str, str, str]:
    a, b, c = (address.partition("[")[0].strip() for address in cell)
    return a, b, c


def check_specs(found: Audit, plan: AskedPlan, records: Sequence[CellRecord]) -> None:
    """Runs that measurements name are in the plan, and ids follow from what the plan says of them."""
    for record in records:
        for group in record.groups:
            for run in group.runs.values():
                if run not in plan.runs:
                    found.say(
                        f"measurements/{record.id}.json",
                        f"draws on a run that is not planned: {clipped(run)}",
                    )
    specs = plan.specs
    for run_id, raw in specs.items():
        try:
            spec = RunSpec.from_record(raw)
            if spec.id != run_id or spec.record() != raw:
                found.say("plan.json", f"the settings of {clipped(run_id)} are those of {clipped(spec.id)}")
        except (UniversalityError, KeyError, TypeError, ValueError, AttributeError) as error:
            found.say(
                "plan.json", f"the settings of {clipped(run_id)} cannot be read: {type(error).__name__}"
            )
    if lost := sorted(plan.runs.keys() - specs.keys()) if specs else []:
        found.say("plan.json", f"says nothing of the settings of {len(lost)} runs, e.g. {clipped(lost[0])}")
