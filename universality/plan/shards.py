"""A share of a plan's runs that depends on nothing but the plan, for machines that share no folder and no leases."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

from universality.errors import BadParameter

T = TypeVar("T")


def share(items: Sequence[T], shard: str) -> list[T]:
    """The part `shard` = "i/n" of the items: every n-th, from the i-th on, so that seeds of one cell, which take
    equally long, go to different parts. Raises `BadParameter` for another text.

    >>> [share("abcdefg", shard) for shard in ("1/3", "2/3", "3/3")]
    [['a', 'd', 'g'], ['b', 'e'], ['c', 'f']]
    """
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", shard)
    number, parts = (int(group) for group in match.groups()) if match else (0, 0)
    if not 1 <= number <= parts:
        raise BadParameter("--shard names a part of the runs", got=shard, expected="i/n, as in 1/8 to 8/8")
    return list(items[number - 1 :: parts])
