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


def test_quantiles_are_of_the_records_and_the_loss_is_of_the_updates_behind_the_crossing() -> None:
    steps, values = np.arange(0, 110, 10), np.array([0.1, 0.5, 1.0, 1.1, 0.9, 1.0, 1.2, 0.8, 1.0, 1.0, 1.3])
    loss = np.r_[np.full(20, 9.0), np.tile([2.0, 3.0], 20), np.tile([1.0, 2.0], 20)]
    found = settling(steps, values, loss, level=0.95)
    assert found.start == 20
    assert [found.low, found.median, found.high] == pytest.approx(
        list(np.quantile(values[2:], [0.1, 0.5, 0.9]))
    )
    # Of 79 single steps every second rises; the first tenth is 2, 3, 2, 3, ..., the last 1, 2, 1, 2, ...
    assert found.rising == pytest.approx(40 / 79)
    assert found.falling == pytest.approx(1.5 / 2.5)
