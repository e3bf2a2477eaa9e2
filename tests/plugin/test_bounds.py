"""Claims that can be missed: bounds that are closed, and one form on the disk."""

from __future__ import annotations

import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from universality.plugin.bounds import Bound, Most, Within, bounds_text, unfit

names = st.text(max_size=6)
bounds = st.floats(-1e300, 1e300)
claims = st.one_of(
    st.builds(Within, low=bounds, high=bounds, unit=names, scale=st.sampled_from(["linear", "log"])),
    st.builds(Most, at_least=bounds, unit=names, scale=st.sampled_from(["linear", "log"])),
)


@pytest.mark.parametrize(
    ("claim", "text"),
    [
        (Within(low=0.9, high=1.25), "0.9 to 1.25"),
        (Within(low=5), ">= 5"),
        (Within(high=0.1), "<= 0.1"),
        (Most(at_least=5.0), ">= 5 in most runs"),
    ],
    ids=str,
)
def test_a_claim_reads_as_its_bounds(claim: Bound, text: str) -> None:
    assert str(claim) == text


@pytest.mark.parametrize(
    ("claim", "effect", "holds"),
    [
        (Within(low=1.0, high=2.0), 1.0, True),
        (Within(low=1.0, high=2.0), 2.0, True),
        (Within(low=1.0, high=2.0), math.nextafter(2.0, 3.0), True),
        (Within(low=1.0, high=2.0), math.nextafter(1.0, 0.0), True),
        (Within(low=1.0, high=2.0), 2.00000001, False),
        (Within(low=1.0, high=2.0), 0.99999999, False),
        (Within(low=-1.0), math.nextafter(-1.0, -2.0), True),
        (Within(low=-1.0), -1.00000001, False),
        (Within(high=0.0), 1e-300, False),
        (Within(low=1.0), math.inf, True),
        (Within(high=1.0), -math.inf, True),
        (Within(), math.nan, False),
        (Most(at_least=5.0), 5.0, True),
        (Most(at_least=5.0), math.nextafter(5.0, 0.0), True),
        (Most(at_least=5.0), 4.9999999, False),
        (Most(at_least=5.0), math.inf, True),
        (Most(at_least=5.0), math.nan, False),
    ],
    ids=str,
)
def test_bounds_are_closed_up_to_rounding_and_nothing_undefined_holds(
    claim: Bound, effect: float, holds: bool
) -> None:
    assert claim.holds(effect) is holds


@given(claims)
def test_a_claim_survives_json(claim: Bound) -> None:
    stored = json.loads(json.dumps(msgspec.to_builtins(claim), allow_nan=False))
    assert msgspec.convert(stored, Bound) == claim


@pytest.mark.parametrize(
    ("whole", "real"),
    [
        (Within(low=0, high=1), Within(low=0.0, high=1.0)),
        (Most(at_least=5), Most(at_least=5.0)),
    ],
    ids=["within", "most"],
)
def test_a_bound_is_one_whether_it_was_written_whole_or_not(whole: Bound, real: Bound) -> None:
    assert whole == real
    assert json.dumps(msgspec.to_builtins(whole)) == json.dumps(msgspec.to_builtins(real))


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        ({"kind": "within", "low": True}, "Expected `float`, got `bool` - at `$.low`"),
        ({"kind": "within", "low": "0"}, "Expected `float`, got `str` - at `$.low`"),
        ({"kind": "within", "lower": 0.0}, "unknown field `lower`"),
        ({"kind": "most"}, "missing required field `at_least`"),
        ({"kind": "most", "at_least": 1.0, "scale": "cubic"}, "Invalid enum value 'cubic'"),
    ],
    ids=str,
)
def test_what_is_no_claim_is_refused(stored: dict[str, object], told: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(stored, Bound)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("claim", "wrong"),
    [
        (Within(low=0.9, high=1.1), ""),
        (Within(low=1.0, high=1.0), ""),
        (Within(high=0.05, scale="log"), ""),
        (Within(), "no finite bound"),
        (Within(low=math.nan), "a bound that is no number"),
        (Within(low=2.0, high=1.0), "the lower bound lies above the upper"),
        (Within(high=0.0, scale="log"), "no positive number lies inside"),
        (Most(at_least=5.0), ""),
        (Most(at_least=math.inf), "no finite bound"),
    ],
    ids=str,
)
def test_a_claim_that_cannot_be_missed_or_met_is_unfit(claim: Bound, wrong: str) -> None:
    assert unfit(claim) == wrong


def test_bounds_read_as_a_person_writes_them() -> None:
    assert bounds_text(0.0, 1.0) == "0 to 1"
    assert bounds_text(-math.inf, 1e-6) == "<= 1e-06"


def test_the_ends_of_a_claim_are_where_effects_that_hold_begin_and_end() -> None:
    assert Within(low=0.9, high=1.15).ends == (0.9, 1.15)
    assert Within(high=2).ends == (-math.inf, 2.0)
    assert Most(at_least=5).ends == (5.0, math.inf)
