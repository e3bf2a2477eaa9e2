"""Names to plugins. Where they are found: `loading`. Only names and parameters cross processes."""

from __future__ import annotations

import math
import typing
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar

from universality.errors import BadParameter, unknown_name
from universality.plugin.architecture import Architecture, Kind
from universality.plugin.loading import load_plugins as load_plugins
from universality.plugin.loading import note_registered
from universality.plugin.phenomenon import Phenomenon
from universality.plugin.probe import Probe
from universality.plugin.spec import Component, Value, parse_address
from universality.plugin.task import Task

Plugin = Architecture | Task | Phenomenon | Probe
P = TypeVar("P", bound=type[Any])

KINDS: dict[str, type[Any]] = {
    "architecture": Architecture,
    "task": Task,
    "phenomenon": Phenomenon,
    "probe": Probe,
}
_plugins: dict[str, dict[str, type[Any]]] = {kind: {} for kind in KINDS}


def register(
    name: str,
    *,
    family: str = "",
    accepts: Iterable[Kind] = (),
    refuses: Mapping[Kind, str] | None = None,
    source: str = "",
) -> Callable[[P], P]:
    """Class decorator: make a dataclass of one of the contracts known as `name`.

    Args:
        family: architectures of one family share settings of a phenomenon (feedforward, convolutional, ...).
        accepts, refuses: kinds of input of an architecture, and why others make no sense.
        source: author and year, arXiv id.
    """

    def add(cls: P) -> P:
        kind = kind_of(cls)
        if missing := sorted(getattr(cls, "__abstractmethods__", ())):
            raise BadParameter(
                f"{kind} '{name}' lacks what its contract asks for",
                where=f"{cls.__module__}.{cls.__qualname__}",
                got=f"no {', no '.join(missing)}",
            )
        namesake = _plugins[kind].get(name)
        here, there = (f"{c.__module__}.{c.__qualname__}" if c else "" for c in (cls, namesake))
        if there not in ("", here):
            raise BadParameter(
                f"two plugins are called {kind} '{name}'",
                where=f"{there} and {here}",
                do="rename one of them",
            )
        cls.name = name
        if source:
            cls.source = source
        if kind in ("architecture", "task"):
            cls.family = family
        if kind == "architecture":
            cls.accepts, cls.refuses = frozenset(accepts), dict(refuses or {})
        _plugins[kind][name] = cls
        note_registered(cls)
        return cls

    return add


def kind_of(cls: type[Any]) -> str:
    """`architecture`, `task`, ... Raises `TypeError` for a class of no contract."""
    for kind, base in KINDS.items():
        if issubclass(cls, base):
            return kind
    raise TypeError(f"{cls.__name__} is no Architecture, Task, Phenomenon or Probe")


def names(kind: str) -> list[str]:
    return sorted(_plugins[kind])


def plugin_class(kind: str, name: str) -> type[Any]:
    try:
        return _plugins[kind][name]
    except KeyError:
        raise unknown_name(kind, name, names(kind)) from None


def resolve(kind: str, address: str) -> Any:
    """The plugin that an address such as `mlp[width=512]` names.

    Raises `UnknownName` (with a suggestion) or `BadParameter`.
    """
    name, texts = parse_address(address)
    cls = plugin_class(kind, name)
    entries = parameters(cls)
    hints = typing.get_type_hints(cls)
    for key in texts:
        if key not in entries:
            raise unknown_name(f"parameter of {kind} '{name}'", key, entries, where=address)
    values = {k: _coerce(v, hints[k], f"{name}[{k}={v}]") for k, v in texts.items()}
    for key, entry in entries.items():
        if key not in values and default(entry) is MISSING:
            raise BadParameter(
                f"{kind} '{name}' needs the parameter '{key}'", where=address, do=f"{name}[{key}=...]"
            )
    return cls(**values)


def _coerce(text: str, annotation: Any, where: str) -> Value:
    """Parse a parameter by its annotation: bool, int, float, str or a Literal of strings."""
    if annotation is str or text in typing.get_args(annotation):
        return text
    if typing.get_origin(annotation) is typing.Literal:
        what, expected = "not a known choice", " or ".join(map(str, typing.get_args(annotation)))
    elif annotation is bool:
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        what, expected = "not a truth value", "true or false"
    elif annotation in (int, float):
        with suppress(ValueError, OverflowError):
            number: int | float = annotation(text)
            if math.isfinite(number):
                return number
        what, expected = "not a number", annotation.__name__
    else:
        raise BadParameter(
            "a parameter that no address can set",
            where=where,
            got=str(annotation),
            expected="bool, int, float, str or a Literal of strings",
            do="give it field(init=False), or another type",
        )
    raise BadParameter(what, where=where, got=repr(text), expected=expected)


def parameters(cls: type[Any]) -> dict[str, Field[Any]]:
    """The fields of a plugin that an address can set."""
    return {f.name: f for f in fields(cls) if f.init}


def default(entry: Field[Any]) -> Any:
    """A parameter's default; `dataclasses.MISSING` where it must be given."""
    return entry.default if entry.default_factory is MISSING else entry.default_factory()


def component(plugin: Plugin) -> Component:
    """The name and all parameters of a plugin; the label shows those that differ from the defaults."""
    params: list[tuple[str, Value]] = []
    settings: list[str] = []
    for entry in parameters(type(plugin)).values():
        value = getattr(plugin, entry.name)
        if entry.type in ("float", float):  # 1 and 1.0 are one plugin, and must be one id
            value = float(value)
        params.append((entry.name, value))
        if value != default(entry):
            text = str(value).lower() if isinstance(value, bool) else f"{value}"
            settings.append(f"{entry.name}={text}")
    label = plugin.name + (f"[{','.join(settings)}]" if settings else "")
    return Component(plugin.name, tuple(sorted(params)), label)


def instantiate(kind: str, part: Component) -> Any:
    """The plugin of a stored component."""
    cls = plugin_class(kind, part.name)
    entries = parameters(cls)
    missing = [key for key, _ in part.params if key not in entries]
    if missing:
        raise BadParameter(
            f"stored {kind} '{part.name}' has parameters that this version does not know",
            got=", ".join(missing),
        )
    return cls(**dict(part.params))
