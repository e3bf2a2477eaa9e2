"""Questions to a phenomenon."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from universality.audit.plugins.questions import Finding, finding
from universality.plan.groups import groups_of
from universality.plan.suite import DEFAULT_SEEDS
from universality.plugin import registry
from universality.plugin.checks import check_phenomenon
from universality.plugin.phenomenon import Cell, Control, Cross, Phenomenon, controls_of


def check_phenomenon_plugin(plugin: Phenomenon, data_root: Path) -> Iterator[Finding]:
    """Claims, sense, strand and controls; then that every control can be planned."""

    def consistent() -> None:
        check_phenomenon(type(plugin))

    consistency = finding("claims, sense, strand and controls", consistent)
    yield consistency
    yield Finding("it names its source", "" if plugin.source else "source is empty")
    yield Finding("it has a title", "" if plugin.title else "title is empty")
    if consistency.wrong:
        return
    controls = controls_of(plugin)
    for sign in ("positive", "negative"):
        has = any(control.sign == sign for control in controls)
        yield Finding(f"it has a {sign} control", "" if has else "without one no claim is ever validated")
    for control in controls:
        yield finding(
            f"{control.sign} control '{control.name}' can be planned", partial(_planned, control, data_root)
        )


def _planned(control: Control, data_root: Path) -> str:
    architecture = registry.resolve("architecture", control.architecture)
    task = registry.resolve("task", control.task)
    cell, phenomenon = Cell(architecture, task, task.signature(data_root)), control.phenomenon
    if why := architecture.reject(cell.signature.inputs) or phenomenon.applies(cell):
        return f"it does not apply to its own control: {why}"
    partners = [registry.resolve("architecture", p) for p in control.partners]
    cross = Cross(range(control.seeds or DEFAULT_SEEDS), partners)
    groups = groups_of(phenomenon, cell, cross)
    requests = [request for group in groups for request in group.runs.values()]
    for observe, steps in ((o, r.recipe.steps) for r in requests for o in r.observe):
        registry.resolve("probe", observe.probe)
        if not observe.at.steps(steps):
            return f"{observe.probe} is observed at no step"
    for claim in control.expects:
        if not any(group.bears_on(phenomenon.claims[claim]) for group in groups):
            return f"no runs for {claim}"
    return ""
