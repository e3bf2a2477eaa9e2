"""What settles at several rates: which count, what follows the threshold, and what has not settled yet."""

from __future__ import annotations

import math

import pytest

from universality.measures import AcrossRates, Settling, across_rates


def across(values: dict[float, float], left: float = 0.9) -> AcrossRates:
    found = {divisor: Settling(1.0, left, 1.0, median=value) for divisor, value in values.items()}
    return across_rates(found, low=0.90, high=1.15, left=0.3)


def test_a_rate_counts_where_enough_of_its_run_lies_behind_the_crossing() -> None:
    found = {k: Settling(1.0, left, 1.0, median=k) for k, left in {4.0: 0.29, 2.0: 0.3, 1.0: 0.8}.items()}
    compared = across_rates(found, low=0.90, high=1.15, left=0.3)
    assert list(compared.values) == [1.0, 2.0]
    assert compared.smallest is found[2.0]


@pytest.mark.parametrize(("values", "rates"), [({}, 0), ({1.0: 1.0}, 1)])
def test_one_rate_tells_nothing_of_another(values: dict[float, float], rates: int) -> None:
    compared = across(values)
    assert len(compared.values) == rates
    assert math.isnan(compared.slope)
    assert math.isnan(compared.nearer)
    assert (compared.smallest.start == math.inf) == (rates == 0)


@pytest.mark.parametrize(
    ("values", "slope"),
    [
        ({1.0: 1.0, 2.0: 1.0, 4.0: 1.0}, 0.0),
        ({1.0: 2.4, 2.0: 1.2, 4.0: 0.6}, -1.0),
        ({1.0: 1.26, 2.0: 1.15, 4.0: 1.06}, -0.1246),  # a CNN at the edge
        ({1.0: 0.5, 2.0: 2.0}, 2.0),
        ({1.0: 1.0, 2.0: -0.1}, math.nan),
    ],
    ids=["follows the threshold", "same at every rate", "drifts", "rises", "negative"],
)
def test_the_slope_tells_what_follows_a_threshold_from_what_does_not(
    values: dict[float, float], slope: float
) -> None:
    assert across(values).slope == pytest.approx(slope, abs=1e-4, nan_ok=True)


@pytest.mark.parametrize(
    ("before", "now", "nearer"),
    [
        (1.26, 1.20, 0.06 / 0.05),
        (1.50, 1.30, 0.20 / 0.15),
        (1.30, 1.29, 0.01 / 0.14),
        (1.20, 1.26, -0.06 / 0.11),
        (0.50, 0.80, 0.30 / 0.10),
        (0.80, 0.50, -0.30 / 0.40),
        (2.00, 1.15, 0.0),
        (2.00, 0.90, 0.0),
    ],
)
def test_the_way_into_the_bounds_is_over_what_is_left_of_it(before: float, now: float, nearer: float) -> None:
    # Of three rates the two smallest tell.
    assert across({1.0: 7.0, 2.0: before, 4.0: now}).nearer == pytest.approx(nearer)
