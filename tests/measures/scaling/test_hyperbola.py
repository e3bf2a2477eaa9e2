"""The hyperbola of updates against batch size: exact, noisy and without a knee."""

from __future__ import annotations

import numpy as np
import pytest

from universality.errors import MeasurementError
from universality.measures import critical_batch_size

B = 2.0 ** np.arange(2, 10)


@pytest.mark.parametrize("critical", [6.0, 50.0, 400.0])
def test_it_is_exact_on_a_hyperbola_and_the_pareto_front_is_its_own(critical: float) -> None:
    S = 20 * (1 + critical / B)
    found = critical_batch_size(B, S)
    assert found.critical == pytest.approx(critical, rel=1e-6)
    assert found.least == pytest.approx(20, rel=1e-6)
    assert found.off == pytest.approx(0, abs=1e-6)
    E = B * S
    front = (S / found.least - 1) * (E / (found.least * found.critical) - 1)
    assert front == pytest.approx(np.ones(8), rel=1e-4)


def test_noise_of_ten_percent_moves_the_knee_by_little_and_is_told() -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal((60, 8))
    found = [critical_batch_size(B, 20 * (1 + 50 / B) * np.exp(n)) for n in noise]
    logs = np.log([each.critical / 50 for each in found])
    assert abs(logs.mean()) < 4 * logs.std() / 60**0.5 + 0.01
    assert logs.std() < 0.25
    assert all(0 < each.off < 0.5 for each in found)


@pytest.mark.parametrize(("S", "low", "high"), [(np.full(8, 20.0), 0, 0.1), (400 / B, 5e4, 6e5)])
def test_without_a_knee_it_is_at_an_end_of_the_search(S: np.ndarray, low: float, high: float) -> None:
    assert low < critical_batch_size(B, S).critical < high


@pytest.mark.parametrize(
    ("batches", "updates"),
    [(B[:3], B[:3]), (np.ones(4), B[:4]), (B, -B), (B, np.full(8, np.inf))],
)
def test_too_few_or_impossible_numbers_are_refused(batches: np.ndarray, updates: np.ndarray) -> None:
    with pytest.raises(MeasurementError, match="no hyperbola"):
        critical_batch_size(batches, updates)
