"""Schedules: sorted distinct steps inside the budget, with the ends where they are promised."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from universality.plugin.schedules import At, Every, LogSpaced, Schedule

budgets = st.integers(1, 20_000)
schedules = st.one_of(
    st.lists(st.floats(0, 1)).map(lambda f: At(*f)),
    st.builds(Every, st.integers(1, 300)),
    st.builds(LogSpaced, dense=st.integers(0, 50), per_decade=st.integers(1, 50)),
)


@given(schedules, budgets)
def test_steps_are_sorted_distinct_integers_within_the_budget(schedule: Schedule, budget: int) -> None:
    steps = schedule.steps(budget)
    assert list(steps) == sorted(set(steps))
    assert all(type(s) is int and 0 <= s <= budget for s in steps)


@given(st.integers(1, 300), budgets)
def test_every_has_both_ends_and_intervals_that_differ_by_at_most_one_rounding(
    count: int, budget: int
) -> None:
    steps = Every(count).steps(budget)
    assert (steps[0], steps[-1]) == (0, budget)
    assert len(steps) == min(count, budget) + 1
    gaps = [b - a for a, b in pairwise(steps)]
    assert max(gaps) - min(gaps) <= 2


def test_every_step_is_recorded_where_there_are_more_intervals_than_steps() -> None:
    assert Every(1000).steps(5) == (0, 1, 2, 3, 4, 5)


def test_at_names_fractions_of_the_budget_in_any_order_and_merges_equals() -> None:
    assert At(1.0, 0.0, 0.25, 0.25).steps(200) == (0, 50, 200)
    assert At(0.5, 0.5001).steps(100) == (50,)
    assert At().steps(100) == ()


def test_log_spacing_has_its_promised_density_and_both_ends() -> None:
    # 10**(k/2) for k = 0..6, rounded, with every step to 3 and the end.
    assert LogSpaced(dense=3, per_decade=2).steps(1500) == (0, 1, 2, 3, 10, 32, 100, 316, 1000, 1500)


def test_log_spacing_of_a_budget_shorter_than_its_dense_part_is_every_step() -> None:
    assert LogSpaced(dense=20).steps(4) == (0, 1, 2, 3, 4)


@pytest.mark.parametrize("fraction", [-0.01, 1.01, float("nan"), float("inf")])
def test_a_fraction_outside_of_the_budget_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match=r"fractions of the budget lie in \[0, 1\]"):
        At(0.5, fraction)


@pytest.mark.parametrize("count", [0, -1])
def test_every_refuses_to_record_never(count: int) -> None:
    with pytest.raises(ValueError, match=f"at least one interval, got count={count}"):
        Every(count)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("per_decade", [0, -3])
def test_log_spacing_refuses_a_density_that_would_never_reach_the_end(per_decade: int) -> None:
    with pytest.raises(ValueError, match=f"at least one step, got per_decade={per_decade}"):
        LogSpaced(per_decade=per_decade)


def test_schedules_are_values_that_can_be_compared_and_hashed() -> None:
    assert At(0.0, 1.0) == At(0.0, 1.0)
    assert len({Every(3), Every(3), Every(4), LogSpaced(), LogSpaced(dense=20)}) == 3
