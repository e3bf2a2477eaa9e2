"""Shards divide what is to be trained: nothing twice, nothing left out, whatever is stored."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from universality.errors import BadParameter
from universality.plan.shards import share


@given(st.integers(0, 60), st.integers(1, 70))
def test_the_shares_are_disjoint_complete_and_alike(runs: int, parts: int) -> None:
    shares = [share(range(runs), f"{number}/{parts}") for number in range(1, parts + 1)]
    assert sorted(run for each in shares for run in each) == list(range(runs))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("text", ["0/8", "9/8", "8", "1/0", "-1/8", "1/8/2", "a/b", "", "1 / 8", "\u0661/8"])
def test_what_names_no_part_is_refused(text: str) -> None:
    with pytest.raises(BadParameter, match="--shard") as caught:
        share([1, 2, 3], text)
    assert (caught.value.got, caught.value.expected) == (text, "i/n, as in 1/8 to 8/8")
