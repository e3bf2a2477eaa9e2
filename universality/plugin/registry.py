"""Names to plugins. Where they are found: `loading`. Only names and parameters cross processes."""

from __future__ import annotations

import math
import typing
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import MISSING, Field, fields, replace
from typing import Any, TypeVar

from universality.errors import BadParameter, unknown_name
from universality.plugin.architecture import Architecture, Kind
from universality.plugin.checks import check_phenomenon
from universality.plugin.factory import factory_class, is_factory
from universality.plugin.loading import load_plugins as load_plugins
from universality.plugin.loading import note_registered
from universality.plugin.modifier import Modified, Modifier, unmodified
from universality.plugin.phenomenon import Phenomenon
from universality.plugin.probe import Probe
from universality.plugin.spec import Component, Value, parse_address, split_address
from universality.plugin.task import Task

Plugin = Architecture | Task | Phenomenon | Probe | Modifier
P = TypeVar("P", bound=type[Any])
Part = TypeVar("Part", Architecture, Modifier)

KINDS: dict[str, type[Any]] = {
    "architecture": Architecture,
    "task": Task,
    "phenomenon": Phenomenon,
    "probe": Probe,
    "modifier": Modifier,
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
        if kind == "phenomenon":
            check_phenomenon(cls)
        _plugins[kind][name] = cls
        note_registered(cls)
        return cls

    return add


def kind_of(cls: type[Any]) -> str:
    """`architecture`, `task`, ... Raises `TypeError` for a class of no contract."""
    for kind, base in KINDS.items():
        if issubclass(cls, base):
            return kind
    raise TypeError(f"{cls.__name__} is no Architecture, Task, Phenomenon, Probe or Modifier")


def names(kind: str) -> list[str]:
    return sorted(_plugins[kind])


def bare_addresses(kind: str) -> list[str]:
    """The names that need no parameter."""
    return [
        name
        for name in names(kind)
        if all(default(entry) is not MISSING for entry in parameters(_plugins[kind][name]).values())
    ]


def plugin_class(kind: str, name: str) -> type[Any]:
    """The class registered so; of an architecture `module:factory` one that is made of the factory."""
    if kind == "architecture" and is_factory(name):
        return factory_class(name)
    try:
        return _plugins[kind][name]
    except KeyError:
        raise unknown_name(kind, name, names(kind)) from None


def resolve(kind: str, address: str) -> Any:
    """The plugin that an address such as `mlp[width=512]` names; of an architecture with modifiers, `Modified`.

    Raises `UnknownName` (with a suggestion) or `BadParameter`.
    """
    first, *further = split_address(address)
    if further and kind != "architecture":
        raise BadParameter(
            f"a {kind} takes no modifier", where=address, got=f"+{further[0]}", do="modify an architecture"
        )
    name = parse_address(first, where=address if further else "")[0]
    if kind == "architecture" and name not in _plugins[kind] and name in _plugins["modifier"]:
        raise BadParameter(
            f"'{name}' is a modifier, no architecture", where=address, do=f"ARCHITECTURE+{first}"
        )
    plugin = _resolve_part(kind, first)
    if not further:
        return plugin
    for part in further:
        parse_address(part, where=address)
    return Modified(plugin, tuple(_resolve_part("modifier", part) for part in further))


def _resolve_part(kind: str, address: str) -> Any:
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
    """Parse a parameter by its annotation: bool, int, float, str, a Literal of strings, or `Value`: as it is written."""
    if annotation == Value:
        return _literal(text)
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


def _literal(text: str) -> Value:
    """What a text would be in Python: a truth value, a finite number, else the text."""
    for annotation in (bool, int, float):
        with suppress(BadParameter):
            return _coerce(text, annotation, "")
    return text


def parameters(cls: type[Any]) -> dict[str, Field[Any]]:
    """The fields of a plugin that an address can set."""
    return {f.name: f for f in fields(cls) if f.init}


def default(entry: Field[Any]) -> Any:
    """A parameter's default; `dataclasses.MISSING` where it must be given."""
    return entry.default if entry.default_factory is MISSING else entry.default_factory()


def component(plugin: Plugin) -> Component:
    """The name and all parameters of a plugin; the label shows those that differ from the defaults."""
    if isinstance(plugin, Modified):
        return replace(component(plugin.inner), modifiers=tuple(map(component, plugin.modifiers)))
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
    if part.modifiers:
        if kind != "architecture":
            raise BadParameter(f"a stored {kind} has a modifier", got=str(part))
        modifiers = tuple(instantiate("modifier", each) for each in part.modifiers)
        return Modified(instantiate(kind, part.unmodified), modifiers)
    cls = plugin_class(kind, part.name)
    entries = parameters(cls)
    missing = [key for key, _ in part.params if key not in entries]
    if missing:
        raise BadParameter(
            f"stored {kind} '{part.name}' has parameters that this version does not know",
            got=", ".join(missing),
        )
    return cls(**dict(part.params))


def modified(architecture: Architecture, name: str, **values: Value) -> Modified:
    """`architecture` under the modifier `name`; one that it has already gets these parameters.

    Raises `UnknownName` or `BadParameter`.

    >>> load_plugins()
    >>> str(component(modified(resolve("architecture", "mlp"), "output_scale", alpha=10)))
    'mlp+output_scale[alpha=10.0]'
    """
    cls = plugin_class("modifier", name)
    entries = parameters(cls)
    own = architecture.modifiers if isinstance(architecture, Modified) else ()
    before = next((each for each in own if type(each) is cls), None)
    for key in values:
        if key not in entries:
            raise unknown_name(f"parameter of modifier '{name}'", key, entries)
    for key, entry in entries.items():
        if before is None and key not in values and default(entry) is MISSING:
            raise BadParameter(f"modifier '{name}' needs the parameter '{key}'", do=f"{name}[{key}=...]")
    if before is None:
        return Modified(unmodified(architecture), (*own, cls(**values)))
    changed = _with(before, values)
    return Modified(unmodified(architecture), tuple(changed if m is before else m for m in own))


def adjustable(architecture: Architecture) -> list[str]:
    """The parameters of an architecture and of its modifiers."""
    modifiers = architecture.modifiers if isinstance(architecture, Modified) else ()
    return [key for part in (unmodified(architecture), *modifiers) for key in parameters(type(part))]


def with_parameters(architecture: Architecture, **values: Value) -> Architecture:
    """The same architecture with other values of parameters of its own or of its modifiers.

    Raises `UnknownName` for one that none of them has, `BadParameter` for one that several have.

    >>> load_plugins()
    >>> net = resolve("architecture", "mlp+output_scale")
    >>> str(component(with_parameters(net, width=8, alpha=3.0)))
    'mlp[width=8]+output_scale[alpha=3.0]'
    """
    inner = unmodified(architecture)
    modifiers = architecture.modifiers if isinstance(architecture, Modified) else ()
    parts: list[Architecture | Modifier] = [inner, *modifiers]
    owners = {key: [part for part in parts if key in parameters(type(part))] for key in values}
    for key, having in owners.items():
        if not having:
            options = [option for part in parts for option in parameters(type(part))]
            raise unknown_name(f"parameter of '{component(architecture)}'", key, options)
        if len(having) > 1:
            raise BadParameter(
                f"'{key}' is a parameter of {' and of '.join(part.name for part in having)}",
                where=str(component(architecture)),
                do="write the address out",
            )

    def changed(part: Part) -> Part:
        return _with(part, {key: value for key, value in values.items() if owners[key] == [part]})

    return Modified(changed(inner), tuple(map(changed, modifiers))) if modifiers else changed(inner)


def _with(part: Part, values: Mapping[str, Value]) -> Part:
    # Contracts are no dataclasses, their plugins are.
    return replace(part, **values)  # type: ignore[type-var]
