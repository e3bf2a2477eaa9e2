"""Where a series settles behind its first upward crossing of a level."""

from __future__ import annotations

import math

import numpy as np
import pytest

from universality.measures import settling

CROSSINGS: dict[str, tuple[list[float], int | None, float]] = {
    "rises to the level": ([0.1, 0.5, 0.95], 2, 0.95),
    "stays just below": ([0.1, 0.5, 0.9499], None, 0.9499),
    "never below": ([2.0, 1.5, 1.0], None, -math.inf),
    "falls below and never comes back": ([2.0, 0.9, 0.3, 0.5], None, 0.9),
    "starts above, falls and rises, as Adam does": ([2.0, 0.9, 0.9, 1.2, 0.3, 1.0], 3, 1.2),
    "starts above and higher than it rises": ([20.0, 0.1, 1.0], 2, 1.0),
    "one record, below": ([0.1], None, 0.1),
    "one record, above": ([1.0], None, -math.inf),
    "no number at the start": ([math.nan, 0.1, 1.0], 2, 1.0),
    "no number instead of the crossing": ([0.1, math.nan, 1.0], 2, math.nan),
    "no number at all": ([math.nan, math.nan], None, -math.inf),
    "no record": ([], None, -math.inf),
}


@pytest.mark.parametrize("case", CROSSINGS)
def test_an_upward_crossing_is_a_record_at_or_above_after_one_below(case: str) -> None:
    values, step, highest = CROSSINGS[case]
    found = settling(np.arange(len(values)), np.array(values, dtype=float), np.ones(9), level=0.95)
    assert found.start == (math.inf if step is None else step)
    assert found.highest == pytest.approx(highest, nan_ok=True)


def test_quantiles_are_of_the_last_half_of_what_follows_the_crossing() -> None:
    steps = np.arange(0, 130, 10)
    values = np.array([0.1, 0.5, 1.0, 4.0, 3.0, 2.0, 1.1, 0.9, 1.0, 1.2, 0.8, 1.0, 1.3])
    found = settling(steps, values, np.ones(120), level=0.95)
    assert (found.start, found.left, found.highest) == (20, 100 / 120, 4.0)
    # (20 + 120) / 2 = 70: the overshoot behind the crossing is no part of it.
    assert [found.low, found.median, found.high] == pytest.approx(
        list(np.quantile(values[steps >= 70], [0.1, 0.5, 0.9]))
    )


def test_the_loss_falls_over_all_steps_and_rises_on_single_steps_of_the_last_half() -> None:
    # Crossed at step 20 of 100: the window begins at 60, in which every second of 39 single steps rises.
    loss = np.r_[np.full(20, 9.0), np.full(40, 4.0), np.tile([1.0, 2.0], 20)]
    found = settling(np.array([0, 20, 60, 100]), np.array([0.5, 1.0, 1.0, 1.0]), loss, level=0.95)
    assert found.rising == pytest.approx(20 / 39)
    assert found.falling == pytest.approx(1.5 / 9.0)


def test_a_crossing_on_the_last_record_leaves_nothing_behind() -> None:
    found = settling(np.array([0, 5, 10]), np.array([0.1, 0.5, 1.0]), np.ones(10), level=0.95)
    assert (found.start, found.left, found.median) == (10, 0.0, 1.0)
    assert math.isnan(found.rising)
    assert found.falling == 1
