"""The Kaplan-Meier median against exact fractions, and the coverage of its interval by simulation."""

import math
from fractions import Fraction

import numpy as np
import pytest

from universality.measures.grokking.survival import kaplan_meier_median


def test_kaplan_meier_median_by_hand() -> None:
    """S falls to 4/5, 3/5 (then one censored), 3/10: the median is the third event."""
    found = kaplan_meier_median([1, 2, 3, 4, 5], [False, False, True, False, True])
    assert found.median == 4
    assert found.low == 1
    assert found.high == math.inf


def exact_median(values: list[float], censored: list[bool]) -> tuple[float | None, Fraction]:
    """min{t : S(t) <= 1/2}, and S there, in fractions."""
    survival = Fraction(1)
    for time in sorted({v for v, late in zip(values, censored, strict=True) if not late}):
        at_risk = sum(v >= time for v in values)
        events = sum(v == time and not late for v, late in zip(values, censored, strict=True))
        survival *= 1 - Fraction(events, at_risk)
        if survival <= Fraction(1, 2):
            return time, survival
    return None, survival


@pytest.mark.parametrize(
    ("values", "censored", "median"),
    [
        ([*range(1, 13), *[99] * 12], [False] * 12 + [True] * 12, 12),
        ([1, 1, 2, 2, 3, 9, 9, 9, 9, 9], [False] * 5 + [True] * 5, 3),
        ([4, 1, 3], [False, False, True], 4),
    ],
    ids=["12 of 24", "5 of 10, tied", "the last"],
)
def test_a_curve_that_falls_to_exactly_one_half_has_its_median_there(
    values: list[float], censored: list[bool], median: float
) -> None:
    assert kaplan_meier_median(values, censored).median == median
    assert exact_median(values, censored)[0] == median


def test_the_median_is_that_of_exact_fractions_whatever_the_ties_and_the_censoring() -> None:
    rng = np.random.default_rng(0)
    on_half = 0
    for _ in range(3000):
        n = int(rng.integers(1, 60))
        values = (rng.integers(1, rng.integers(2, 80), n) / 2).tolist()
        censored = (rng.random(n) < rng.choice([0.0, 0.2, 0.5])).tolist()
        expected, survival = exact_median(values, censored)
        assert kaplan_meier_median(values, censored).median == expected
        on_half += survival == Fraction(1, 2)
    assert on_half > 300


def test_the_median_of_many_values_is_exact_too() -> None:
    values = np.arange(1.0, 40_001)
    assert kaplan_meier_median(values.tolist(), (values > 20_000).tolist()).median == 20_000
    # A third censored on the way: (1 - 1/3) (1 - 1/4) = 1/2, of groups of ten thousand.
    times = np.repeat([1.0, 2.0, 3.0, 4.0], [10_000, 4000, 4000, 12_000])
    assert kaplan_meier_median(times.tolist(), np.isin(times, (2.0, 4.0)).tolist()).median == 3


def test_median_is_not_reached_when_most_are_censored() -> None:
    found = kaplan_meier_median([1, 9, 9, 9, 9], [False, True, True, True, True])
    assert found.median is None
    assert found.high == math.inf


def test_all_censored_bounds_the_median_only_with_five_values() -> None:
    assert kaplan_meier_median([3.0, 4, 5, 6], [True] * 4).low == 0
    assert kaplan_meier_median([3.0, 4, 5, 6, 7], [True] * 5).low == 3


@pytest.mark.parametrize("n", [3, 5, 10])
@pytest.mark.parametrize("shift", [10.0, 0.75, -0.35], ids=["uncensored", "30 % censored", "60 % censored"])
def test_median_interval_covers_under_censoring(n: int, shift: float) -> None:
    rng = np.random.default_rng(n)
    trials, hits = 400, 0
    for _ in range(trials):
        event, end = np.exp(rng.normal(size=n)), np.exp(rng.normal(size=n) + shift)
        found = kaplan_meier_median(np.minimum(event, end).tolist(), (event > end).tolist())
        hits += found.low <= 1 <= found.high
    # .93 to .98 from five values on; three give no bounds at all.
    assert hits / trials >= 0.95 - 0.033
    assert hits / trials == 1 if n == 3 else hits / trials <= 0.99
