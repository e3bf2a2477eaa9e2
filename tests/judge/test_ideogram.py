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

MANY = [record(f"net{a}", f"task{t}", 1.0 + 0.01 * a) for a in range(3) for t in range(3)]


def test_the_average_is_that_of_a_hand() -> None:
    # Weights 1, 1 and 1/4: (0 + 1 + 5/4) / (9/4) = 1; chi^2 = 1 + 0 + 16/4 = 5, over two degrees of freedom.
    found = average([0.0, 1.0, 5.0], [1.0, 1.0, 2.0])
    assert found.mean == pytest.approx(1.0)
    assert found.scale_factor == pytest.approx(math.sqrt(2.5))
    assert found.error == pytest.approx(math.sqrt(2.5) * 2 / 3)


def test_values_that_agree_do_not_shrink_the_error() -> None:
    found = average([1.0, 1.1], [1.0, 1.0])
    assert found.scale_factor < 1
    assert found.error == pytest.approx(math.sqrt(0.5))
    assert average([3.0], [0.5]).scale_factor == 1


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
