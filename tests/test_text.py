"""Text for people."""

from __future__ import annotations

import pytest

from universality.text import clock


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.4, "0:59"), (59.6, "1:00"), (3599.6, "1:00:00"), (360_000, "100:00:00")],
)
def test_a_clock_rounds_to_seconds_and_carries(seconds: float, text: str) -> None:
    assert clock(seconds) == text
