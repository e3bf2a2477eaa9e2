"""Which runs are trained side by side, and how many of them."""

from __future__ import annotations

from dataclasses import replace

from universality.plugin import registry
from universality.plugin.spec import Component, Recipe, RunSpec

_BYTES = 16
"""Of a parameter with its gradient and two numbers of an optimizer's state."""

_CACHE = 4 << 20
"""Bytes up to which a stack on a CPU stays near the core; beyond, one at a time is as fast or faster."""

_MAX_MEMBERS = {"cpu": 8, "gpu": 64}

_MAX_DATA = {"cpu": 256 << 20, "gpu": 8 << 30}
"""Bytes of training sets in a stack: every seed has its own."""

_AT_RISK = 600.0
"""Predicted CPU seconds of work that a worker may lose when it is killed."""


def most_members(parameters: int, data_bytes: int, seconds: float, *, on_gpu: bool) -> int:
    """How many networks of a kind are worth training side by side.

    Args:
        data_bytes: of one training set.
        seconds: predicted for one network on a CPU core; limits stacks there, since most members end, and are
            published, at one time.

    >>> most_members(3_000, 10_000, 1.0, on_gpu=False)
    8
    >>> most_members(85_000, 10_000, 1.0, on_gpu=False)
    3
    >>> most_members(85_000, 10_000, 1.0, on_gpu=True)
    64
    """
    where = "gpu" if on_gpu else "cpu"
    limits = [_MAX_MEMBERS[where], _MAX_DATA[where] // max(1, data_bytes)]
    if not on_gpu:
        limits += [_CACHE // (_BYTES * max(1, parameters)), int(_AT_RISK / max(seconds, 1e-3))]
    return max(1, min(limits))


def alike(spec: RunSpec) -> tuple[Component, Component, Recipe, str]:
    """What runs that are trained side by side have in common: all but seed, rate, decay and what their
    architecture and its modifiers `stacks_over`."""
    # A rate or a decay that is derived is one like any other.
    recipe = spec.recipe.at(1.0, 0.0)
    network, *modifiers = spec.architecture.parts
    architecture = replace(
        _common("architecture", network), modifiers=tuple(_common("modifier", part) for part in modifiers)
    )
    return architecture, spec.task, recipe, spec.content


def _common(kind: str, part: Component) -> Component:
    """The part without its label and without parameters that it stacks over."""
    cls = registry.plugin_class(kind, part.name)
    entries = registry.parameters(cls)
    params = ((k, v) for k, v in part.params if k not in cls.stacks_over or v == registry.default(entries[k]))
    return Component(part.name, tuple(params))
