"""Turns: controls first, then cell by cell, the longest first within one; nothing changes for a short suite."""

from __future__ import annotations

from dataclasses import replace

import pytest

from universality.plan.plan import Job, Plan, PlannedCell, PlannedGroup
from universality.plan.turns import TURN_SECONDS, complete_after, give_turns, ordered
from universality.plugin import registry
from universality.plugin.phenomenon import controls_of
from universality.plugin.spec import Component, Recipe, RunSpec

registry.load_plugins()
GROKKING = registry.resolve("phenomenon", "grokking")
CONTROL = controls_of(GROKKING)[0]


def job(seed: int, seconds: float, **more: bool) -> Job:
    spec = RunSpec(Component("mlp"), Component("digits"), Recipe(steps=1, lr=0.1), seed)
    return Job(spec, {}, seconds=seconds, **more)


def cell(jobs: list[Job], *, control: bool = False) -> PlannedCell:
    groups = tuple(
        PlannedGroup(f"s{i}", (f"s{i}",), {"run": j.spec.id}, {}, "run", None) for i, j in enumerate(jobs)
    )
    return PlannedCell(GROKKING, "mlp", "digits", groups, control=CONTROL if control else None)


def planned(*cells: tuple[list[Job], bool]) -> Plan:
    plan = Plan(
        [cell(jobs, control=control) for jobs, control in cells],
        {j.spec.id: j for jobs, _ in cells for j in jobs},
    )
    give_turns(plan)
    return plan


def test_a_suite_of_one_turn_is_trained_longest_first() -> None:
    first, second = [job(0, 10), job(1, 30)], [job(2, 20)]
    plan = planned((first, False), (second, False))
    assert [j.seconds for j in ordered(plan.jobs.values())] == [30, 20, 10]


def test_controls_come_first_then_cells_in_the_order_of_the_suite() -> None:
    half = TURN_SECONDS / 2
    cells = [[job(0, half), job(1, half)], [job(2, 3 * half)], [job(3, half / 2), job(4, half)]]
    plan = planned((cells[0], False), (cells[1], False), (cells[2], True))
    assert [j.spec.seed for j in ordered(plan.jobs.values())] == [0, 4, 3, 2, 1]
    assert [plan.jobs[j.spec.id].turn for part in cells for j in part] == [0, 1, 1, 0, 0]


def test_calibrations_come_before_all() -> None:
    plan = planned(([job(0, TURN_SECONDS)], True), ([job(1, 1.0, calibrates=True)], False))
    assert [j.spec.seed for j in ordered(plan.jobs.values())] == [1, 0]


@pytest.mark.parametrize(("seconds", "complete"), [(0, 1), (25, 1), (35, 3), (1000, 3)])
def test_cells_that_an_hour_completes(seconds: float, complete: int) -> None:
    stored, short, long = job(0, 5), job(1, 10), job(2, 20)
    plan = planned(([stored], False), ([short, stored], False), ([long, short], False))
    plan.cells.append(replace(plan.cells[0], groups=()))
    assert complete_after(plan, [short, long], seconds) == complete
