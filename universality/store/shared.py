"""What many runs have in common, as one object for all: a plan may hold a hundred thousand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from universality.plugin.spec import RunSpec
from universality.store.untrusted import parse

T = TypeVar("T")


class Shared:
    """Gives back the first of equal objects, where 1 and 1.0 are not equal."""

    def __init__(self) -> None:
        self._first: dict[Any, Any] = {}

    def same(self, value: T) -> T:
        """For a text, or a collection of texts or of whole numbers."""
        first: T = self._first.setdefault(value, value)
        return first

    def spec(self, spec: RunSpec) -> RunSpec:
        """With the architecture, the task and the recipe of those before it."""
        parts = (spec.architecture, spec.task, spec.recipe)
        # Components are equal whatever their labels, and 1 is equal to 1.0.
        architecture, task, recipe = (self._first.setdefault(repr(part), part) for part in parts)
        return replace(spec, architecture=architecture, task=task, recipe=recipe)

    def observed(self, observed: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        return {self.same(probe): self.same(steps) for probe, steps in observed.items()}

    def parsed(self, data: bytes) -> Any:
        """What these bytes hold, which nobody may change. Raises `UntrustedFile`."""
        if data not in self._first:
            self._first[data] = parse(data)
        return self._first[data]
