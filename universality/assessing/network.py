"""A function that makes a network, as an architecture that every process can build."""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
from dataclasses import dataclass
from types import FunctionType
from typing import TYPE_CHECKING, Any

from universality.assessing.written import WHERE, check_unchanged, is_importable, own_home, written
from universality.errors import BadParameter
from universality.plugin.kit.unwrapped import unwrapped

if TYPE_CHECKING:
    from torch import nn

EXPECTED = "def make_net(inputs, outputs, ...) -> nn.Module"
_PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True, slots=True)
class Network:
    """An architecture by its address.

    Args:
        text: of the module to write; empty where the module can be imported.
    """

    module: str
    factory: str
    text: str

    @property
    def address(self) -> str:
        return f"{self.module}:{self.factory}"


def network_of(make: Any) -> Network:
    """Of a module that can be imported the function itself, else the function written out under a name with the
    digest of its text: an edited one is another architecture, also in one process.

    Raises:
        BadParameter: no function or class, or one that cannot be written (`written`).
    """
    if isinstance(make, FunctionType) and make.__name__ == "<lambda>":
        raise _refused("a lambda, whose source has no name")
    if isinstance(make, functools.partial):
        raise _refused(f"a partial of {make.func!r}, whose arguments no other process has")
    if not isinstance(make, FunctionType | type):
        what = "the network itself" if hasattr(make, "state_dict") else "no function"
        raise _refused(f"{what}, a {type(make).__name__}")
    module, name = sys.modules.get(make.__module__), make.__name__
    if module is not None and is_importable(make.__module__) and getattr(module, name, None) is make:
        if (place := own_home(module)) is not None:
            check_unchanged(place)
        return Network(make.__module__, name, "")
    text = written(make)
    tag = hashlib.sha256(text.encode()).hexdigest()[:8]
    return Network(f"net_{tag}", name, text)


def _refused(got: str) -> BadParameter:
    return BadParameter(
        "no function that makes a network",
        where=WHERE,
        got=got,
        expected=f"{EXPECTED}, a fresh network at each call",
        do="write a def around it; what it needs are parameters with defaults",
    )


def taken_otherwise(net: nn.Module) -> list[str]:
    """A sentence for each respect in which the benchmark trains another network than a function returns."""
    inner, wrappers = unwrapped(net)
    notes = [f"the network inside {wrapper} is trained" for wrapper in wrappers]
    modes = {name or "the network itself": module.training for name, module in inner.named_modules()}
    if held := [name for name, training in modes.items() if not training]:
        notes.append(
            f"{len(held)} of {len(modes)} modules of the network are in evaluation mode, such as {held[0]}: all are trained "
            "in training mode"
        )
    return notes


def check_defaults(make: Any, other: Any) -> None:
    """Raises `BadParameter` where plain defaults of the written function are others than those of the live one: a
    number that they were read from has changed since its cell was run."""
    live, there = (
        {key: p.default for key, p in inspect.signature(each).parameters.items() if type(p.default) in _PLAIN}
        for each in (make, other)
    )
    if live != there:
        raise BadParameter(
            "a function with other defaults than its source now gives",
            where=WHERE,
            got=", ".join(f"{k}={v!r}" for k, v in live.items() if there.get(k) != v) or "fewer defaults",
            expected=", ".join(f"{key}={value!r}" for key, value in there.items()),
            do="run its cell again",
        )
