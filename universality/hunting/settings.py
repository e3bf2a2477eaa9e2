"""Settings in which a claim may fail, in order of how ordinary they are.

Ordinary, with no change, is the default of every plugin, and every address that a built-in suite has. Each parameter of
network, task or phenomenon that differs from the nearest of these is one change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any, Literal, get_args, get_origin, get_type_hints

from universality.errors import UniversalityError
from universality.plan.suite import builtin, load
from universality.plugin import registry
from universality.plugin.registry import component
from universality.plugin.spec import digest

MAX_CHANGES = 2
"""Of one setting; beyond, nothing is an argument against a claim any more."""
ZERO = 0.1
"""What a number is changed to that is 0 by default, such as a share of noisy labels."""


@dataclass(frozen=True, slots=True, order=True)
class Setting:
    """One cell, by addresses, with what in it is not ordinary."""

    phenomenon: str
    network: str
    task: str
    changes: tuple[str, ...] = ()

    @property
    def addresses(self) -> tuple[str, str, str]:
        return self.phenomenon, self.network, self.task


def settings(phenomenon: str, networks: Sequence[str] = (), tasks: Sequence[str] = ()) -> Iterator[Setting]:
    """All settings with few changes before any with more, and among these in an order that prefers none.

    Args:
        phenomenon: the address that the claim is of; it counts as ordinary.
        networks, tasks: addresses to which nothing is added but changes of them; all that are ordinary where none.
    """
    options = [phenomenon, *ordinary("phenomenon", [registry.resolve("phenomenon", phenomenon).name])]
    starts = {
        "phenomenon": options,
        "architecture": networks or ordinary("architecture"),
        "task": tasks or ordinary("task"),
    }
    reached = []
    for kind, start in starts.items():
        first = dict.fromkeys(canonical(kind, each) for each in start)
        every = dict.fromkeys([*first, *(other for each in first for other in variants(kind, each))])
        reached.append([(address, changed(kind, address, phenomenon)) for address in every])
    for changes in range(MAX_CHANGES + 1):
        found = [
            Setting(p, n, t, (*of_p, *of_n, *of_t))
            for (p, of_p), (n, of_n), (t, of_t) in product(*reached)
            if len(of_p) + len(of_n) + len(of_t) == changes
        ]
        yield from sorted(found, key=lambda setting: digest(list(setting.addresses)))


def setting_at(phenomenon: str, network: str, task: str, hunted: str) -> Setting:
    """The setting at these addresses; `hunted` is that of the phenomenon whose claim is hunted."""
    parts = {"phenomenon": phenomenon, "architecture": network, "task": task}
    changes = (what for kind, address in parts.items() for what in changed(kind, address, hunted))
    return Setting(phenomenon, network, task, tuple(changes))


def changed(kind: str, address: str, hunted: str = "") -> tuple[str, ...]:
    """The parameters of an address that differ from the nearest ordinary one, and modifiers that it has not."""
    part = component(registry.resolve(kind, address))
    near: list[tuple[str, ...]] = []
    for other in (component(registry.resolve(kind, each)) for each in _ordinary(kind, part.name, hunted)):
        values = dict(other.params)
        params = [f"{key}={_text(value)}" for key, value in part.params if values.get(key) != value]
        modifiers = [str(each) for each in part.modifiers or () if each not in (other.modifiers or ())]
        near.append((*params, *modifiers))
    return min(near, key=lambda each: (len(each), each), default=(address,))


@cache
def _ordinary(kind: str, name: str, hunted: str) -> tuple[str, ...]:
    own = [hunted] if kind == "phenomenon" and hunted else []
    return (*own, *ordinary(kind, [name]))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value}"


@cache
def _published() -> dict[str, tuple[str, ...]]:
    """Addresses of built-in suites, by kind."""
    crosses = [cross for name in builtin() for suite in [load(name)] for cross in suite.crosses]
    return {
        "phenomenon": tuple(dict.fromkeys(a for c in crosses for a in c.phenomena)),
        "architecture": tuple(dict.fromkeys(a for c in crosses for a in c.architectures)),
        "task": tuple(dict.fromkeys(a for c in crosses for a in c.tasks)),
    }


def ordinary(kind: str, names: Sequence[str] = ()) -> list[str]:
    """Defaults of the plugins of a kind, and the addresses that built-in suites have of them."""
    defaults, known = names or registry.bare_addresses(kind), set(names or registry.names(kind))
    found: list[str] = []
    for address in (*defaults, *_published()[kind]):
        with suppress(UniversalityError):  # one whose parameters have no defaults
            text = canonical(kind, address)
            if text.partition("[")[0].partition("+")[0] in known:
                found.append(text)
    return list(dict.fromkeys(found))


def canonical(kind: str, address: str) -> str:
    """An address as measurements have it."""
    return str(component(registry.resolve(kind, address)))


def variants(kind: str, address: str) -> Iterator[str]:
    """Addresses with one parameter changed: numbers halved and doubled, every other choice of a few."""
    plugin = registry.resolve(kind, address)
    if "+" in address:  # modifiers have none that is ordinary
        return
    hints = get_type_hints(type(plugin))
    for name in registry.parameters(type(plugin)):
        for value in _others(getattr(plugin, name), hints.get(name)):
            with suppress(UniversalityError, ValueError, TypeError):  # what the plugin itself refuses
                yield str(component(replace(plugin, **{name: value})))


def _others(value: Any, annotation: Any) -> list[Any]:
    if isinstance(value, bool):
        return [not value]
    if get_origin(annotation) is Literal:
        return [each for each in get_args(annotation) if each != value]
    if isinstance(value, int):
        return [each for each in (value // 2, 2 * value) if each not in (0, value)]
    if isinstance(value, float):
        return [value / 2, 2 * value] if value else [ZERO]
    return []
