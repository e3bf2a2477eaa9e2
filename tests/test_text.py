"""Text for people."""

from __future__ import annotations

import math

import pytest

from universality.text import beside, clock, telling_digits


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.4, "0:59"), (59.6, "1:00"), (3599.6, "1:00:00"), (360_000, "100:00:00")],
)
def test_a_clock_rounds_to_seconds_and_carries(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("value", "bounds", "digits"),
    [
        (1.0, (0.9, 1.15), 3),
        (1.1504, (0.9, 1.15), 5),
        (1.15, (0.9, 1.15), 3),
        (0.8996, (0.9, 1.15), 4),
        (math.nextafter(1.15, 2), (0.9, 1.15), 17),
        (0.9499, (0.95, math.inf), 4),
        (math.nan, (0.95,), 3),
        (0.1234, (), 3),
    ],
)
def test_a_number_is_written_with_the_digits_that_keep_it_on_its_side(
    value: float, bounds: tuple[float, ...], digits: int
) -> None:
    assert telling_digits(value, bounds) == digits


@pytest.mark.parametrize("bound", [0.95, -0.1, 1e-6, 12345.678])
def test_a_number_beside_a_bound_never_reads_as_the_bound_or_beyond_it(bound: float) -> None:
    for step in (1e-2, 1e-4, 1e-8, 1e-12):
        assert float(beside(bound * (1 - step), bound)) != bound
        below, above = sorted(float(beside(bound * (1 + d), bound)) for d in (-step, step))
        assert below < bound < above
    assert float(beside(bound, bound, digits=17)) == bound
