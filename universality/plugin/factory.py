"""An architecture without a plugin: `module:factory[width=64]`, any function or class that makes a network.

The factory is called with `outputs`, their number, with `inputs`, an `InputSpec`, where it has this parameter, and with
what the address gives to the others. Taps and readout are found by watching the network once.
"""

from __future__ import annotations

import inspect
import traceback
import typing
from collections.abc import Callable
from dataclasses import MISSING, field, fields, make_dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args

from universality.errors import BadParameter, UniversalityError, described, unknown_name
from universality.plugin.architecture import Architecture, InputSpec, Kind, Link
from universality.plugin.foreign import line_in
from universality.plugin.loading import home, user_module
from universality.plugin.spec import Value

if TYPE_CHECKING:
    from torch import nn

    from universality.plugin.kit.found import Found

GIVEN = ("inputs", "outputs")
"""Parameters that a task answers; all others are of the address. A function without the second is none for networks:
addresses also come from stored plans, which must not be able to call whatever is installed."""

_PLAIN: dict[str, type] = {"bool": bool, "int": int, "float": float, "str": str}


class Factory(Architecture):
    """A network that a function or class of one's own makes; subclasses have the parameters of one factory.

    An integer parameter `width` is the scaling axis.
    """

    __slots__ = ()

    make: ClassVar[Callable[..., Any]]
    takes: ClassVar[tuple[str, ...]]
    """Which of `GIVEN` the factory takes."""
    accepts: ClassVar[frozenset[Kind]] = frozenset(get_args(Kind))
    family: ClassVar[str] = "own"

    def made(self, inputs: InputSpec, outputs: int) -> Any:
        """What the factory returns."""
        known = {"inputs": inputs, "outputs": outputs}
        own = {entry.name: getattr(self, entry.name) for entry in fields(self)}  # type: ignore[arg-type]
        return type(self).make(**{name: known[name] for name in self.takes}, **own)

    def build(self, inputs: InputSpec, outputs: int) -> nn.Module:
        """What `torch.compile` and data parallelism wrap around a network is taken off (`kit.unwrapped`).

        Raises `BadParameter` where the factory raises, and for what it returns as `kit.found` does.
        """
        import torch

        from universality.plugin.kit.found import found
        from universality.plugin.kit.unwrapped import unwrapped

        try:
            net = self.made(inputs, outputs)
        except (UniversalityError, torch.OutOfMemoryError, MemoryError):
            raise
        except (Exception, SystemExit) as error:
            place = home(type(self))
            line = line_in(error, place.root) if place else ""
            raise BadParameter(
                "a factory that raises",
                where=", ".join(filter(None, (self.name, line))),
                got=described(error),
                expected=f"a network for {inputs.kind} inputs {list(inputs.shape)} and {outputs} outputs",
                do="mend it, or ask it of other tasks",
            ) from error
        return found(unwrapped(net)[0], inputs, outputs, where=self.name)

    def reject(self, inputs: InputSpec) -> str:
        """The text of a `NotImplementedError` of the factory's own."""
        return _refusal(self, inputs)

    def taps(self, net: nn.Module) -> dict[str, nn.Module]:
        return _found(net).taps()

    def readout(self, net: nn.Module) -> nn.Linear:
        return _found(net).readout()

    def chain(self, net: nn.Module) -> tuple[Link, ...]:
        return super().chain(_found(net).net)

    def scaled(self, factor: float) -> Self:
        from universality.plugin.kit.widths import scaled_width

        if not any(entry.name == "width" and entry.type is int for entry in fields(self)):  # type: ignore[arg-type]
            raise NotImplementedError(f"{self.name} has no scaling axis, an integer parameter `width`")
        return replace(self, width=scaled_width(self.width, factor))  # type: ignore[type-var, attr-defined]


def _found(net: nn.Module) -> Found:
    from universality.plugin.kit.found import Found

    assert isinstance(net, Found)
    return net


@lru_cache
def _refusal(factory: Factory, inputs: InputSpec) -> str:
    """Why the factory raises `NotImplementedError` for these inputs; "" where it does not, or torch does."""
    import torch

    from universality.plugin.randomness import seeded

    place = home(type(factory))
    try:
        with seeded(0), torch.device("meta"):  # without memory
            factory.made(inputs, outputs=2)
    except NotImplementedError as error:
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        own = place is not None and Path(frame.f_code.co_filename).is_relative_to(place.root)
        return (str(error) or "its factory raises NotImplementedError") if own else ""
    except (Exception, SystemExit):
        return ""  # `build` says so
    return ""


def is_factory(name: str) -> bool:
    """Whether this is the name of a factory, `module:name`. Raises nothing.

    >>> is_factory("package.module:make_net"), is_factory("mlp")
    (True, False)
    """
    return ":" in name


_classes: dict[str, type[Factory]] = {}


def factory_class(name: str) -> type[Factory]:
    """The class of the factory `module:name`, whose fields are its parameters.

    The module is one of a folder of plugins that was loaded, else one on Python's path.

    Raises:
        BadParameter: a module that cannot be imported, a name that cannot be called, or parameters that no address
            can set.
        UnknownName: the module has no such name.
    """
    if name not in _classes:
        _classes[name] = _class(name)
    return _classes[name]


def _class(name: str) -> type[Factory]:
    where, _, attribute = name.partition(":")
    module = user_module(where, asked=name)
    make = getattr(module, attribute, MISSING)
    if make is MISSING:
        own = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise unknown_name(f"function or class of {where}", attribute, own, where=name)
    if not callable(make):
        raise BadParameter(
            "a factory that cannot be called",
            where=name,
            got=type(make).__name__,
            expected="a function or class that returns a torch.nn.Module",
            do="name the function that makes the network, not what it made",
        )
    takes, own_fields = _parameters(make, name)
    namespace = {
        "__module__": module.__name__,
        "__doc__": inspect.getdoc(make) or "",
        "make": staticmethod(make),
        "takes": takes,
        "name": name,
    }
    cls: type[Factory] = make_dataclass(
        attribute, own_fields, bases=(Factory,), namespace=namespace, frozen=True, kw_only=True
    )
    return cls


def _parameters(make: Callable[..., Any], name: str) -> tuple[tuple[str, ...], list[tuple[str, Any, Any]]]:
    """Which of `GIVEN` it takes, and the fields that an address sets: name, type, `dataclasses.field`."""
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError) as error:
        raise BadParameter(
            "a factory whose parameters cannot be told",
            where=name,
            got=described(error),
            do="write def make_net(inputs, outputs): ... around it",
        ) from error
    try:
        hints = typing.get_type_hints(make.__init__ if inspect.isclass(make) else make)
    except Exception:  # a name that only type checkers import
        hints = {}
    takes, found = [], []
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.kind == parameter.POSITIONAL_ONLY:
            raise _unfit(name, parameter.name, "positional-only", "remove the / of its signature")
        if parameter.name in GIVEN:
            takes.append(parameter.name)
            continue
        required = parameter.default is parameter.empty
        kind = _kind(hints.get(parameter.name, parameter.annotation), parameter)
        if kind is None:
            if required:
                expected = "`inputs`, `outputs`, or bool, int, float, str, a Literal of strings"
                raise _unfit(name, parameter.name, str(parameter), f"give it a default, or write {expected}")
            continue
        if hasattr(Factory, parameter.name):
            raise _unfit(name, parameter.name, "what every architecture has by this name", "rename it")
        default = field() if required else field(default=parameter.default)
        found.append((parameter.name, kind, default))
    if "outputs" not in takes:
        raise BadParameter(
            "a factory that is not told how many outputs its network has",
            where=name,
            got=f"the parameters {', '.join(each.name for each in parameters) or '(none)'}",
            expected="`outputs`, and `inputs` where the shape of an example matters",
            do="write def make_net(inputs, outputs, width: int = 64): ..., inputs.shape is that of one example",
        )
    return tuple(takes), found


def _kind(annotation: Any, parameter: inspect.Parameter) -> Any:
    """The type that an address is read as: that of the annotation, else of the default, else as it is written; None
    where no address can set it."""
    if isinstance(annotation, str):
        annotation = _PLAIN.get(annotation, annotation)
    if annotation is not parameter.empty:
        choice = typing.get_origin(annotation) is Literal and all(
            isinstance(option, str) for option in get_args(annotation)
        )
        return annotation if choice or annotation in (*_PLAIN.values(), Value) else None
    if parameter.default is parameter.empty:
        return Value
    return type(parameter.default) if type(parameter.default) in _PLAIN.values() else None


def _unfit(name: str, parameter: str, got: str, do: str) -> BadParameter:
    return BadParameter(
        f"a parameter of a factory that no address can set: {parameter}", where=name, got=got, do=do
    )
