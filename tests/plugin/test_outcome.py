"""Checks whose bounds are written once, and outcomes that are numbers or refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from universality.plugin.bounds import Within
from universality.plugin.outcome import Check, Matrix, Outcome, missing_signs

MET, UNMET = Check("c", 1.0, at_least=1), Check("c", 0.0, at_least=1)

# ---------------------------------------------------------------------------------------------- checks


@pytest.mark.parametrize(
    ("bounds", "inside", "outside", "needs"),
    [
        (
            {"at_least": 0.999},
            [0.999, math.nextafter(0.999, 0), 1.0, math.inf],
            [0.99899999, -math.inf],
            ">= 0.999",
        ),
        (
            {"at_most": 0.05},
            [0.05, math.nextafter(0.05, 1), -1.0, -math.inf],
            [0.0500001, math.inf],
            "<= 0.05",
        ),
        ({"at_least": 0.8, "at_most": 1.4}, [0.8, 1.0, 1.4], [0.79, 1.41], "0.8 to 1.4"),
        ({"at_least": 0}, [0, 1], [-1], ">= 0"),
    ],
    ids=["at least", "at most", "both", "zero"],
)
def test_a_check_is_met_within_its_bounds_ends_included(
    bounds: dict[str, float], inside: list[float], outside: list[float], needs: str
) -> None:
    assert all(Check("x", value, **bounds).met for value in inside)
    assert not any(Check("x", value, **bounds).met for value in outside)
    assert Check("x", 0.0, **bounds).needs == needs


def test_what_is_no_number_meets_no_check() -> None:
    for bounds in ({"at_least": 0.0}, {"at_most": 0.0}, {"at_least": -math.inf, "at_most": 1.0}):
        assert not Check("x", math.nan, **bounds).met


def test_a_check_without_bounds_is_refused() -> None:
    with pytest.raises(ValueError, match="the check 'loss' has no bound, give it at_least or at_most"):
        Check("loss", 1.0)


@pytest.mark.parametrize("value", [True, False, np.bool_(True), "1.0", None, [1.0]], ids=repr)
@pytest.mark.parametrize("field", ["value", "at_least", "at_most"])
def test_a_check_of_what_is_no_number_is_refused(field: str, value: Any) -> None:
    if value is None and field != "value":
        return  # no bound on this side
    given = {"value": 1.0, "at_least": 0.0, "at_most": 2.0} | {field: value}
    with pytest.raises(TypeError, match=f"loss, {field} is a number, got"):
        Check("loss", **given)


@pytest.mark.parametrize(
    "value", [1, np.float32(1.0), np.int64(1), np.array(1.0), torch.tensor(1.0), torch.tensor(1)], ids=repr
)
def test_numbers_of_numpy_and_torch_become_floats(value: Any) -> None:
    check = Check("x", value, at_least=value, at_most=value)
    outcome = Outcome(effect=value, details={"x": value})
    numbers = (check.value, check.at_least, check.at_most, outcome.effect, outcome.details["x"])
    assert [(type(number), number) for number in numbers] == [(float, 1.0)] * 5
    assert check == Check("x", 1.0, at_least=1.0, at_most=1.0)
    assert check.met


# -------------------------------------------------------------------------------------------- outcomes


def test_an_outcome_holds_only_with_an_effect_inside_and_every_criterion_met() -> None:
    claim = Within(low=0.0)
    assert Outcome(effect=1.0, criteria=(MET,)).holds(claim)
    assert not Outcome(effect=1.0, criteria=(MET, UNMET)).holds(claim)
    assert not Outcome(effect=-1.0, criteria=(MET,)).holds(claim)
    assert not Outcome(effect=None).holds(claim)
    # Gates decide whether it counts, not what it is.
    assert Outcome(effect=1.0, gates=(UNMET,)).holds(claim)


def test_an_outcome_is_decided_only_with_an_effect_and_every_gate_met() -> None:
    assert Outcome(effect=-1.0, gates=(MET,), criteria=(UNMET,)).decided()
    assert not Outcome(effect=1.0, gates=(MET, UNMET)).decided()
    assert not Outcome(effect=None, gates=(MET,)).decided()


@pytest.mark.parametrize("value", [True, "1.0", None, np.bool_(True), [1.0]], ids=repr)
def test_what_is_no_number_is_refused_where_it_is_made(value: Any) -> None:
    """Written to disk it could not be read back: all of a results folder would seem damaged."""
    with pytest.raises(TypeError, match="loss is a number"):
        Outcome(effect=1.0, details={"loss": value})
    if value is not None:
        with pytest.raises(TypeError, match="an effect is a number"):
            Outcome(effect=value)


def test_gates_and_criteria_are_checks() -> None:
    for given in ({"gates": (True,)}, {"criteria": ("loss falls",)}):
        with pytest.raises(TypeError, match="gates and criteria are Checks"):
            Outcome(effect=1.0, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("values", [(), ((1.0,),), ((1.0, 2.0), (1.0,))], ids=["none", "narrow", "ragged"])
def test_a_matrix_of_another_size_than_its_labels_is_refused(values: tuple[tuple[float, ...], ...]) -> None:
    with pytest.raises(ValueError, match="a matrix of another size than its labels"):
        Matrix(("a", "b"), ("c", "d"), values)


def test_a_matrix_of_whole_numbers_is_one_of_floats() -> None:
    assert Matrix(("a",), ("b", "c"), ((1, np.float32(2)),)).values == ((1.0, 2.0),)
    assert all(type(v) is float for v in Matrix(("a",), ("b",), ((1,),)).values[0])


@pytest.mark.parametrize(
    ("signs", "missing"),
    [
        (set(), ["positive", "negative"]),
        ({"positive"}, ["negative"]),
        ({"negative"}, ["positive"]),
        ({"positive", "negative"}, []),
    ],
)
def test_both_signs_of_controls_are_needed(signs: set[str], missing: list[str]) -> None:
    assert missing_signs(signs) == missing
