"""Phase maps: only crossed parameters make one, each cell in its place."""

from __future__ import annotations

from tests.judge.test_boundary import ABSENT, DIGITS, PRESENT
from tests.judge.toy_cells import cell, effects, plan_of
from universality.judge.controls import judge
from universality.judge.phases import Phase, phases
from universality.plugin.controls import ControlId
from universality.plugin.spec import Component
from universality.store.cells import CellRecord


def crossed(
    pairs: list[tuple[float, int]], control: bool = False
) -> tuple[list[CellRecord], list[tuple[Component, Component]]]:
    """Cells of networks with these scales on tasks with these rows, present where scale times rows is at most 20, and the
    components of a plan that asks for them."""
    networks = {s: Component("mlp", (("act", "tanh"), ("scale", s)), f"mlp[scale={s:g}]") for s, _ in pairs}
    tasks = {n: Component("t", (("rows", n),), f"t[rows={n}]") for _, n in pairs}
    components = [(networks[s], tasks[n]) for s, n in pairs] + [(networks[pairs[0][0]], DIGITS)]
    records = [
        cell(
            effects(*(PRESENT if s * n <= 20 else ABSENT)),
            architecture=str(networks[s]),
            task=str(tasks[n]),
            control=ControlId("positive", f"{s} {n}") if control else None,
            expects=("present",) if control else (),
        )
        for s, n in pairs
    ]
    return records, components


def found(pairs: list[tuple[float, int]], control: bool = False) -> list[Phase]:
    records, components = crossed(pairs, control)
    return phases(judge(records), plan_of(components=components))


def test_a_grid_of_two_parameters_is_one_map_with_the_longer_axis_across() -> None:
    (phase,) = found([(s, n) for s in (1.0, 10.0) for n in (1, 2, 5)])
    assert phase.across == ("t", "rows", (1.0, 2.0, 5.0))
    assert phase.down == ("mlp", "scale", (1.0, 10.0))
    assert {place: v.verdict for place, v in phase.cells.items()} == {
        (1.0, 1.0): "present", (2.0, 1.0): "present", (5.0, 1.0): "present",
        (1.0, 10.0): "present", (2.0, 10.0): "present", (5.0, 10.0): "absent",
    }  # fmt: skip


def test_two_sweeps_that_meet_in_a_cell_are_no_map() -> None:
    assert found([(1.0, 1), (1.0, 2), (1.0, 5), (10.0, 1), (30.0, 1)]) == []


def test_a_grid_may_have_gaps_and_controls_are_no_part_of_it() -> None:
    pairs = [(s, n) for s in (1.0, 10.0, 30.0) for n in (1, 2, 5) if (s, n) != (10.0, 2)]
    (phase,) = found(pairs)
    assert len(phase.cells) == 8
    assert found(pairs, control=True) == []
