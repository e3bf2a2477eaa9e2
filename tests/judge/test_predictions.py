"""Predictions against cells in which the predicted time never comes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.judge.toy_cells import cell, group
from universality.judge.decide import decide
from universality.judge.predictions import Prediction, Scored, _one, interval_score
from universality.plugin.bounds import Most
from universality.store.cells import GroupRecord

DELAY = Most(at_least=5.0, unit="steps")


def scored(groups: list[GroupRecord], low: float, high: float) -> Scored:
    verdict = decide(cell(groups, DELAY))
    prediction = Prediction(
        phenomenon="edge", claim="ratio", version=1, bound=DELAY, network="mlp", task="digits",
        value=(low + high) / 2, low=low, high=high, level=0.9,
    )  # fmt: skip
    times = {verdict.record.id: "2999-01-01T00:00:00+00:00"}
    results = SimpleNamespace(label="set", plan=SimpleNamespace(times=times))
    return _one(prediction, "2020-01-01T00:00:00+00:00", results, verdict)  # type: ignore[arg-type]


def test_a_time_that_never_came_is_a_miss_that_costs_at_least_its_bound() -> None:
    never = [group(i, 400.0, censored=True, criterion=False) for i in range(5)]
    assert decide(cell(never, DELAY)).verdict == "absent"
    found = scored(never, 10.0, 14.0)
    assert (found.seen, found.at_least, found.hit) == (400.0, True, False)
    assert found.score == pytest.approx(interval_score(10.0, 14.0, 0.9, 400.0))


def test_a_bound_that_the_prediction_reaches_tells_nothing() -> None:
    found = scored([group(i, 400.0, censored=True, criterion=False) for i in range(5)], 300.0, 500.0)
    assert found.seen is None
    assert found.why.startswith("absent: most miss")
    seen = scored([group(i, 12.0 + i / 10) for i in range(5)], 10.0, 14.0)
    assert (seen.at_least, seen.hit) == (False, True)
