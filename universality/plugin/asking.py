"""Questions to a plugin while planning: whatever it does, the answer or an error that names it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

from universality.plugin import registry
from universality.plugin.foreign import ANSWER_SECONDS, foreign
from universality.plugin.loading import home

T = TypeVar("T")


def ask(plugin: registry.Plugin, method: str, call: Callable[[], T]) -> T:
    """What a method of a plugin answers; any error of its own becomes a `BadParameter` that names it."""
    cls = type(plugin)
    place = home(cls)
    with foreign(
        f"{registry.kind_of(cls)} '{plugin.name}' cannot be planned",
        where=f"{place.file if place else cls.__module__}, {method}()",
        do="check its parameters, and the method",
        # Large data of a built-in task may take its time.
        seconds=math.inf if place is None else ANSWER_SECONDS,
    ):
        return call()
