"""Which code made a set: what its plan says is compared with its runs and with what is at hand."""

from __future__ import annotations

from dataclasses import replace as with_
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from universality.audit.findings import Audit
from universality.audit.sources import check_sources
from universality.plan.plan_json import PlanRecord
from universality.plan.runs_file import PlannedRun
from universality.plugin.loading import Home
from universality.plugin.sources import PluginSource, sha256_of, source
from universality.plugin.spec import Component, Recipe, RunSpec
from universality.store.layout import Layout

SHA = "a" * 64
OWN = PluginSource(file="mine.py", sha256=SHA, builtin=False)


def plan(sources: Any, spec_sources: Any = UNSET, probe: str = "accuracy") -> PlanRecord:
    spec = RunSpec(Component("mine"), Component("digits"), Recipe(steps=1, lr=0.1), 0, sources=spec_sources)
    return PlanRecord(
        suite="s", description="", plugins=(), data_root=False, wall_seconds=0.0, run_seconds=0.0,
        probe_seconds=0.0, environment={}, phenomena={}, settings={}, tiers={}, cells=(),
        runs={spec.id: PlannedRun(spec=spec, observe={probe: (0,)})}, sources=sources,
    )  # fmt: skip


def found(plan: PlanRecord, *folders: Path) -> tuple[list[str], list[str]]:
    audit = Audit(Path("set"))
    check_sources(audit, Layout(Path("set")), plan, folders)
    return [fault.text for fault in audit.problems], audit.notes


def test_a_set_that_does_not_say_what_made_it_is_no_worse_for_that() -> None:
    assert found(plan(UNSET)) == ([], [])


def test_a_run_and_the_plan_agree_on_the_source() -> None:
    name = (("architecture mine", SHA),)
    sources = {"architecture": {"mine": OWN}, "probe": {"own": OWN}}
    assert found(plan(sources, name, f"own[rows=2]@{SHA[:16]}"))[0] == []


@pytest.mark.parametrize(
    ("sources", "named", "probe", "what"),
    [
        (UNSET, (("architecture mine", SHA),), "accuracy", "architecture mine"),
        (
            {"architecture": {"mine": OWN}},
            (("architecture mine", "b" * 64),),
            "accuracy",
            "architecture mine",
        ),
        ({"task": {"mine": OWN}}, (("architecture mine", SHA),), "accuracy", "architecture mine"),
        ({"architecture": {"mine": OWN}}, (("architecture mine", ""),), "accuracy", "architecture mine"),
        ({"probe": {"own": OWN}}, UNSET, f"own[rows=2]@{'b' * 16}", "probe own"),
    ],
)
def test_a_plan_that_names_another_source_than_its_runs_is_wrong(
    sources: Any, named: Any, probe: str, what: str
) -> None:
    record = plan(sources, named, probe)
    (run_id,) = record.runs
    assert found(record)[0] == [f"does not say that {what} is the one of {run_id}"]


def test_the_source_at_hand_is_compared_and_another_one_is_noted(tmp_path: Path) -> None:
    shown = "architecture mine (mine.py)"
    absent = f"made by a source that is not at hand (--plugins): {shown}"
    assert found(plan({"architecture": {"mine": OWN}})) == ([], [absent])
    (tmp_path / "mine.py").write_text("raise RuntimeError('executed')")
    edited = f"another source at hand than that which made this set: {shown}"
    assert found(plan({"architecture": {"mine": OWN}}), tmp_path) == ([], [edited])
    same = replace(OWN, sha256=sha256_of(Home(tmp_path / "mine.py", tmp_path), Path.read_bytes))
    assert found(plan({"architecture": {"mine": same}}), tmp_path) == ([], [])


def test_a_builtin_plugin_is_compared_too() -> None:
    about = source("task", "digits")
    assert about is not None
    assert found(plan({"task": {"digits": about}})) == ([], [])
    (note,) = found(plan({"task": {"digits": replace(about, sha256=SHA)}}))[1]
    assert note.endswith("made this set: task digits (tasks/digits.py)")


def test_a_run_whose_source_was_changed_has_another_id() -> None:
    record = plan(UNSET, (("architecture mine", SHA),))
    (run_id,) = record.runs
    assert with_(record.runs[run_id].spec, sources=(("architecture mine", "b" * 64),)).id != run_id
