"""Sets side by side: the average is the one computed by hand, and only sets that measured one number enter."""

from __future__ import annotations

import math

import numpy as np
import pytest
from msgspec.structs import replace

from tests.judge.test_leaderboard import TOY, grid, record, result_set
from universality.judge.ideogram import REACH, average, of_board, of_sets
from universality.judge.leaderboard import leaderboard
from universality.plugin.bounds import Within
from universality.plugin.outcome import Outcome
from universality.store.cells import CellRecord, GroupRecord


def spread(architecture: str, task: str, effects: np.ndarray, name: str) -> CellRecord:
    """A cell of such effects, of runs that no other set has."""
    groups = tuple(
        GroupRecord(
            key=f"s{i}",
            units=(f"s{i}",),
            runs={"run": f"{name}-s{i}-0123456789ab"},
            state="done",
            outcome=Outcome(effect=float(effect)),
        )
        for i, effect in enumerate(effects)
    )
    return replace(record(architecture, task), groups=groups)


MANY = [record(f"net{a}", f"task{t}", 1.0 + 0.01 * a) for a in range(3) for t in range(3)]


def test_the_average_is_that_of_a_hand() -> None:
    # Weights 1, 1 and 1/4: (0 + 1 + 5/4) / (9/4) = 1.
    found = average([0.0, 1.0, 5.0], [1.0, 1.0, 2.0])
    assert (found.mean, found.error, found.scale_factor) == (pytest.approx(1.0), pytest.approx(2 / 3), None)


def test_sets_of_common_cells_are_no_further_evidence() -> None:
    for copies in (2, 4):
        found = average([1.0] * copies, [0.5] * copies, [1.0])
        assert (found.mean, found.error, found.scale_factor) == (1.0, pytest.approx(0.5), 0.0)
    apart = average([1.0, 1.0], [0.5, 0.5], [0.01, 0.02])
    # z = 2.576 and 2.326
    assert apart.scale_factor == pytest.approx(math.sqrt((2.5758**2 + 2.3263**2) / 2), rel=1e-4)
    assert apart.error == pytest.approx(0.5 * apart.scale_factor)


@pytest.mark.parametrize("seeds", [3, 5])
def test_the_scale_factor_is_one_where_sets_differ_as_their_seeds_do(seeds: int) -> None:
    random = np.random.default_rng(0)

    def cells(name: str, shift: float = 0.0) -> list[CellRecord]:
        return [
            spread(f"net{a}", f"task{t}", 1 + 0.3 * a + shift + 0.02 * random.standard_normal(seeds), name)
            for a in range(4)
            for t in range(4)
        ]

    (of,) = of_sets([result_set("a", cells("a")), result_set("b", cells("b"))])
    assert of.average.shared == 16
    assert 0.6 < of.average.scale_factor < 1.4  # sqrt(chi^2_16 / 16): .65 to 1.34 in 95 %
    (of,) = of_sets(
        [result_set("a", cells("c")), result_set("b", cells("d", 0.2))]
    )  # ten standard deviations
    assert of.average.scale_factor > 2.5


def test_a_copy_of_a_set_is_no_agreement() -> None:
    (of,) = of_sets([result_set("a", MANY), result_set("b", MANY)])
    assert (of.average.scale_factor, of.average.shared) == (0.0, 9)
    assert of.average.error == pytest.approx(of.parts[0].error)


@pytest.mark.parametrize(("values", "errors"), [([], []), ([1.0], [0.0]), ([1.0, 2.0], [1.0, -1.0])])
def test_without_errors_there_is_no_average(values: list[float], errors: list[float]) -> None:
    with pytest.raises(ValueError, match="positive errors"):
        average(values, errors)


def test_a_set_enters_by_its_pooled_effect_and_a_set_of_one_cell_by_that() -> None:
    sets = [result_set("many", MANY), result_set("one", [record("mlp", "xor", 1.05)])]
    (of,) = of_board(leaderboard(sets))
    (same,) = of_sets(sets)
    assert of.parts == same.parts
    first, second = of.parts
    pooled = sets[0].rows[0].pooled
    assert pooled is not None
    assert pooled.low is not None
    assert pooled.high is not None
    assert (first.label, first.cells, second.cells) == ("many", 9, 1)
    assert first.value == pytest.approx(pooled.estimate)
    assert first.error == pytest.approx((pooled.high - pooled.low) / 2 / REACH)
    # The one cell: 1.03, 1.05 and 1.07, whose mean has Student's interval.
    assert second.error == pytest.approx(4.302653 * 0.02 / math.sqrt(3) / REACH, rel=1e-4)


def test_claims_of_a_form_and_sets_without_an_error_are_left_out() -> None:
    line = [record(f"net{a}", "digits", 1.0 + 0.01 * a) for a in range(3)]  # one task says nothing of others
    records = {"a": MANY, "b": [record("mlp", "xor")], "c": line, "d": grid(3, 3)}  # d: without any spread
    (of,) = of_board(leaderboard([result_set(*each) for each in records.items()]))
    assert [part.label for part in of.parts] == ["a", "b"]
    assert of.left_out == ("c", "d")
    form = replace(TOY, sense="form")
    assert of_sets([result_set(name, records[name], about=form) for name in "ab"]) == []
    other = [record("mlp", "xor", claim=Within(low=0.5, unit="u"))]
    assert of_sets([result_set("a", MANY), result_set("b", other)]) == []


def test_the_curve_has_the_areas_of_the_particle_data_group() -> None:
    sets = [result_set("a", [record("mlp", "xor", 1.0)]), result_set("b", [record("mlp", "digits", 1.05)])]
    (of,) = of_sets(sets)
    x = np.linspace(0.5, 1.6, 20_001)
    area = float(np.trapezoid(of.density(x), x))
    assert area == pytest.approx(math.sqrt(2 * math.pi) * sum(1 / part.error for part in of.parts), rel=1e-6)
