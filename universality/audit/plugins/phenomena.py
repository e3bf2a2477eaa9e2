"""Questions to a phenomenon."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from universality.audit.plugins.questions import Finding, finding
from universality.audit.plugins.rehearsal import SEEDS, rehearse
from universality.plan.groups import groups_of
from universality.plan.suite import DEFAULT_SEEDS
from universality.plugin import registry
from universality.plugin.cell import Cell
from universality.plugin.checks import check_phenomenon
from universality.plugin.phenomenon import Control, Cross, Phenomenon, controls_of


def check_phenomenon_plugin(plugin: Phenomenon, data_root: Path) -> Iterator[Finding]:
    """Claims, sense, strand and controls; that every control can be planned; and a rehearsal of each claim."""
    consistency = finding("claims, sense, strand and controls", lambda: check_phenomenon(type(plugin)))
    yield consistency
    yield Finding("it names its source", "" if plugin.source else "source is empty")
    yield Finding("it has a title", "" if plugin.title else "title is empty")
    if consistency.wrong:
        return
    controls = controls_of(plugin)
    for sign in ("positive", "negative"):
        has = any(control.sign == sign for control in controls)
        yield Finding(f"it has a {sign} control", "" if has else "without one no claim is ever validated")
    settings: dict[str, _Setting] = {}
    for control in controls:
        planned: list[_Setting] = []
        yield finding(
            f"{control.sign} control '{control.name}' can be planned",
            partial(_plan, control, data_root, planned),
        )
        for claim in control.claims:
            if planned:
                settings.setdefault(claim, planned[0])
    cells = {
        claim: (s.control.phenomenon, s.cell, Cross(range(SEEDS), s.cross.partners))
        for claim, s in settings.items()
    }
    yield from rehearse(plugin, cells, data_root)


@dataclass(frozen=True, slots=True)
class _Setting:
    """A control with the cell in which it is measured."""

    control: Control
    cell: Cell
    cross: Cross


def _setting(control: Control, data_root: Path) -> _Setting:
    architecture = registry.resolve("architecture", control.architecture)
    task = registry.resolve("task", control.task)
    signature = task.signature(data_root)
    features = layers = 0
    if not architecture.reject(signature.inputs):
        with torch.random.fork_rng(devices=[]):
            net = architecture.build(signature.inputs, signature.outputs)
        features, layers = architecture.readout(net).in_features, len(architecture.taps(net))
    partners = [registry.resolve("architecture", p) for p in control.partners]
    cross = Cross(range(control.seeds or DEFAULT_SEEDS), partners)
    return _Setting(control, Cell(architecture, task, signature, features, layers), cross)


def _plan(control: Control, data_root: Path, planned: list[_Setting]) -> str:
    """What is wrong with a control; one that can be planned is added to `planned`."""
    setting = _setting(control, data_root)
    cell, phenomenon = setting.cell, control.phenomenon
    if why := cell.architecture.reject(cell.signature.inputs) or phenomenon.applies(cell):
        return f"it does not apply to its own control: {why}"
    left_out = phenomenon.left_out(cell)
    for claim in control.claims:
        if claim in left_out:
            return f"{claim} does not apply to its own control: {left_out[claim]}"
    groups = groups_of(phenomenon, cell, setting.cross)
    requests = [request for group in groups for request in group.runs.values()]
    for observe, steps in ((o, r.recipe.steps) for r in requests for o in r.observe):
        registry.resolve("probe", observe.probe)
        if not observe.at.steps(steps):
            return f"{observe.probe} is observed at no step"
    for claim in control.claims:
        if not any(group.bears_on(phenomenon.claims[claim]) for group in groups):
            return f"no runs for {claim}"
    planned.append(setting)
    return ""
