"""Numbers read from runs, and the bounds on them."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from universality.errors import MeasurementError
from universality.plugin import Runs, at_end, at_start, end_over_start, highest, lowest, mean, need, require
from universality.plugin.readings import UnmetError, needs
from universality.plugin.trajectory import Series


def a_run(*values: float) -> Any:
    recorded = Series(np.arange(len(values)), np.array(values))
    return SimpleNamespace(series=lambda name: recorded, facts={"outputs": 4})


@pytest.mark.parametrize(
    ("reading", "value"),
    [(at_start, 4.0), (at_end, 2.0), (end_over_start, 0.5), (mean, 4.0), (highest, 6.0), (lowest, 2.0)],
)
def test_a_reading_is_one_number_of_one_series(reading: Any, value: float) -> None:
    read = reading("probe.key")
    assert read(a_run(4.0, 6.0, 2.0)) == value
    assert read.series == "probe.key"
    assert type(read(a_run(4.0, 6.0, 2.0))) is float


def test_of_a_sweep_a_reading_is_one_number_by_key() -> None:
    runs = Runs({10.0: a_run(1.0, 3.0), 30.0: a_run(1.0, 5.0)})
    assert runs.read(at_end("p.k")) == {10.0: 3.0, 30.0: 5.0}


@pytest.mark.parametrize(
    ("bounds", "worst"),
    [
        ({"at_least": 2.0}, 1.0),
        ({"at_most": 2.0}, 9.0),
        ({"at_least": 2.0, "at_most": 8.5}, 1.0),
        ({"at_least": 0.5, "at_most": 8.5}, 9.0),
    ],
)
def test_of_several_runs_the_worst_counts(bounds: dict[str, float], worst: float) -> None:
    runs = Runs({"a": a_run(1.0), "b": a_run(3.0), "c": a_run(9.0)})
    (check,) = require("value", at_end("p.k"), **bounds).checks(runs, {})
    assert (check.value, check.met) == (worst, False)


def test_what_is_no_number_is_worse_than_any() -> None:
    runs = Runs({"a": a_run(1.0), "b": a_run(math.nan)})
    (check,) = require("value", at_end("p.k"), at_least=2.0).checks(runs, {})
    assert math.isnan(check.value)
    assert not check.met


def test_a_requirement_may_be_of_some_runs_only() -> None:
    runs = Runs({"a": a_run(3.0), "null": a_run(0.0)})
    (check,) = require("value", at_end("p.k"), at_least=2.0, keys=("a",)).checks(runs, {})
    assert (check.value, check.met) == (3.0, True)


def test_a_requirement_may_be_of_a_detail_and_says_when_there_is_none() -> None:
    (check,) = require("value", "error", at_most=2.0).checks(a_run(0.0), {"error": 1.0})
    assert (check.value, check.met) == (1.0, True)
    with pytest.raises(KeyError, match="'value' bounds the detail 'error', of which the outcome has none"):
        require("value", "error", at_most=2.0).checks(a_run(0.0), {"other": 1.0})


def test_a_requirement_may_be_a_function_and_its_bound_may_follow_from_the_run() -> None:
    ratio = require("ratio", lambda runs: runs["a"].series("x").values[-1] / 2, at_least=1.0)
    assert ratio.checks(Runs({"a": a_run(3.0)}), {})[0].value == 1.5
    (check,) = require("features", at_end("p.k"), at_least=lambda run: run.facts["outputs"] - 1).checks(
        a_run(3.0), {}
    )
    assert (check.at_least, check.met) == (3.0, True)


def test_a_requirement_that_does_not_apply_is_no_check() -> None:
    assert require("v", at_end("p.k"), at_least=1.0, when=lambda run: False).checks(a_run(0.0), {}) == ()


def test_what_is_needed_is_kept_and_ends_the_effect_where_it_is_not_met() -> None:
    with needs() as collected:
        need("first", 1.0, at_least=0.5)
        with pytest.raises(UnmetError) as caught:
            need("second", 1.0, at_most=0.5, label="too late")
    assert [(check.name, check.met) for check in collected] == [("first", True), ("second", False)]
    assert caught.value.label == "too late"


def test_needs_of_one_effect_are_not_those_of_another() -> None:
    with needs() as outer:
        need("outer", 1.0, at_least=0.5)
        with needs() as inner:
            need("inner", 1.0, at_least=0.5)
        need("outer again", 1.0, at_least=0.5)
    assert [check.name for check in outer] == ["outer", "outer again"]
    assert [check.name for check in inner] == ["inner"]


def test_a_series_without_a_value_is_named() -> None:
    run = a_run()
    run.spec = SimpleNamespace(id="mlp-digits-s0")
    for reading in (at_end, at_start, end_over_start, mean, highest, lowest):
        with pytest.raises(MeasurementError, match=r"the series train_loss has no value") as caught:
            reading("train_loss")(run)
        assert caught.value.where == "mlp-digits-s0"


def test_a_requirement_whose_function_gives_no_number_is_named() -> None:
    with pytest.raises(TypeError, match="fitted, value is a number, got None"):
        require("fitted", lambda run: None, at_least=0.9).checks(a_run(1.0), {})  # type: ignore[arg-type, return-value]
