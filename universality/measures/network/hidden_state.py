"""State of a network that torch does not list: what `forward` may write beside parameters and buffers."""

from __future__ import annotations

import array
import copy
import functools
import io
import queue
import random
import socket
import sys
import threading
import types
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_py

Names = dict[str, Any]
Read = Callable[[Any], Any]
Write = Callable[[Any, Any], None]

_PLAIN = (int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size)
_LISTED = frozenset(vars(nn.Module()))
"""What every module has: torch's own lists and hooks."""
_HOOKS = tuple(name for name in _LISTED if "hook" in name)
_LIBRARIES = frozenset(sys.stdlib_module_names) | {
    *("torch", "numpy", "universality", "scipy", "sklearn", "pandas", "pyarrow", "h5py", "PIL", "matplotlib")
}
_TRAINERS = {
    *("lightning", "lightning_fabric", "pytorch_lightning", "accelerate", "deepspeed", "ignite", "composer"),
    *("wandb", "mlflow", "tensorboard", "tensorboardX", "trackio", "comet_ml", "neptune", "clearml", "ray"),
}
_APART = _LIBRARIES | _TRAINERS
"""Packages whose classes, objects and globals hold no state of a network, or that of a training."""
_PARAMETER_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")
_OWNERS = frozenset({"_trainer", "_fabric"})
"""What Lightning hangs on a module that it trains: loggers, data and progress, all reached from there."""
_SHARED = (
    *(
        threading.Thread,
        type(threading.Lock()),
        type(threading.RLock()),
        threading.Condition,
        threading.Event,
    ),
    *(threading.Semaphore, queue.Queue, queue.SimpleQueue, io.IOBase, socket.socket),
)
"""Whoever holds one of these shares what it holds with another thread, or with the world."""


def _refill(held: Any, items: Any) -> None:
    held.clear()
    (held.update if isinstance(held, dict | set) else held.extend)(items)


IN_PLACE: tuple[tuple[Any, Callable[[Any], Any], Callable[[Any, Any], None]], ...] = (
    (torch.Generator, lambda g: g.get_state(), lambda g, state: g.set_state(state)),
    (random.SystemRandom, lambda _: None, lambda g, state: None),
    (random.Random, lambda g: g.getstate(), lambda g, state: g.setstate(state)),
    (np.random.Generator, lambda g: g.bit_generator.state, lambda g, s: setattr(g.bit_generator, "state", s)),
    (np.random.BitGenerator, lambda g: g.state, lambda g, state: setattr(g, "state", state)),
    (np.random.RandomState, lambda g: g.get_state(legacy=False), lambda g, state: g.set_state(state)),
    (np.ndarray, lambda a: a.copy(), lambda a, saved: np.copyto(a, saved)),
    (Tensor, lambda t: t.detach().clone(), lambda t, saved: _set_tensor(t, saved)),
    (set, set, _refill),
    ((bytearray, array.array), copy.copy, lambda a, saved: a.__setitem__(slice(None), saved)),
)
"""Types that change in place and lead nowhere: how to read their content, and how to put it back."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One place that holds state, and what it held.

    Attributes:
        key: tells it from other places, whichever network leads there.
        outside: of a class or of a file, so that other networks may use it too.
    """

    name: str
    key: tuple[int, str]
    read: Callable[[], Any]
    write: Callable[[Any], None]
    saved: Any
    outside: bool

    def changes(self) -> Iterator[str]:
        """Names of what is no longer as it was."""
        saved, now = self.saved, self.read()
        if not isinstance(saved, dict) or not isinstance(now, dict):
            if not _same(saved, now):
                yield self.name
            return
        for key in {**saved, **now}:
            if key not in saved or key not in now or not _same(saved[key], now[key]):
                yield f"{self.name}.{key}" if self.name else str(key)

    def restore(self) -> None:
        """Put it back, in place: whoever holds a list or an array sees its old content."""
        if next(self.changes(), None) is not None:
            with torch.no_grad():
                self.write(self.saved)


class HiddenState:
    """A copy of all state that evaluating `net` can change and torch does not list.

    Found by following every module: its attributes (numbers, containers, arrays, tensors that are not registered,
    random generators, iterators, objects), which tensor stands under the name of a buffer, and, in code that is
    no library's, class attributes, and the globals, closures and default values that functions name. Hooks are part of
    the function that a network computes, and are followed as its methods are: those of modules, of parameters, and
    those that torch calls for every module; which hooks there are is kept as well.

    What belongs to the training and not to the network is not followed, since others may write there meanwhile and
    would find it undone: `_trainer` and `_fabric` of a module, objects of libraries that train or log (`_TRAINERS`),
    and objects that hold a lock, a thread, a queue, a socket or a file.

    Attributes:
        kept: the places, each with what it held.
        lost: names of iterators that cannot be copied, such as a Python generator: nothing puts them back.
        apart: names of objects that share what they hold, with a lock or a file, which is not put back.

    Cost: a walk over the attributes (0.5 ms for a network of ten modules), and a copy of arrays and tensors among them.

    >>> net = nn.Linear(1, 1)
    >>> net.calls, net.seen = 0, [1]
    >>> hidden = HiddenState(net)
    >>> net.calls += 1; net.seen.append(2)
    >>> hidden.changes()
    ['calls', 'seen']
    >>> hidden.restore(); net.calls, net.seen
    (0, [1])
    """

    def __init__(self, net: nn.Module) -> None:
        modules = dict(net.named_modules())
        listed = [*modules.values(), *net.parameters(), *net.buffers()]
        self.kept: list[Kept] = []
        self.lost: list[str] = []
        self.apart: list[str] = []
        self._listed = {id(each): each for each in listed}
        self._seen: set[int | tuple[int, str]] = set(self._listed)
        self._alive: list[object] = []  # so that no id passes to another object during the walk
        for cls in {type(module) for module in modules.values()}:
            self._follow_class(cls)
        for name, module in modules.items():
            self._keep(name, module, self._attributes, _set_attributes, outside=False)
            self._keep(name, module._buffers, dict, _refill, outside=False)
            self._follow_all(name, self._attributes(module), outside=False)
            self._keep(name, module, _hooks, _set_hooks, outside=False, part="hooks")
            self._follow_hooks(_hooks(module))
        for parameter in net.parameters():
            self._follow_hooks({n: getattr(parameter, n) for n in _PARAMETER_HOOKS})
        self._follow_hooks({n: v for n, v in vars(module_py).items() if n.startswith("_global_")})

    def changes(self) -> list[str]:
        """Names of what is no longer as it was."""
        return [name for kept in self.kept for name in kept.changes()]

    def restore(self) -> None:
        """Put everything back."""
        for kept in self.kept:
            kept.restore()

    def restore_outside(self) -> None:
        """Put back what lies outside of the network, where others would find it changed."""
        for kept in self.kept:
            if kept.outside:
                kept.restore()

    def _keep(self, name: str, held: Any, read: Read, write: Write, *, outside: bool, part: str = "") -> None:
        bound = functools.partial(read, held), functools.partial(write, held)
        self.kept.append(Kept(name, (id(held), part), *bound, read(held), outside))

    def _follow_hooks(self, hooks: Mapping[str, Any]) -> None:
        for kind, each in hooks.items():
            for hook in each.values() if isinstance(each, dict) else ():
                self._follow(kind, hook, outside=False)

    def _follow_all(self, name: str, items: Mapping[Any, Any], *, outside: bool) -> None:
        for key, value in items.items():
            if key not in _OWNERS:
                self._follow(f"{name}.{key}" if name else str(key), value, outside=outside)

    def _follow(self, name: str, value: Any, *, outside: bool) -> None:
        if isinstance(value, _PLAIN) or id(value) in self._seen:
            return
        if isinstance(value, type):
            self._follow_class(value)
            return
        self._seen.add(id(value))
        self._alive.append(value)
        for kinds, read, write in IN_PLACE:
            if isinstance(value, kinds):
                if self._copies(value):
                    self._keep(name, value, read, write, outside=outside)
                return
        if isinstance(value, types.FunctionType):
            self._follow_function(value)
        elif isinstance(value, dict):
            self._keep(name, value, self._entries, _refill, outside=outside)
            self._follow_all(name, value, outside=outside)
        elif isinstance(value, list | deque | tuple | frozenset):
            if isinstance(value, list | deque):
                self._keep(name, value, self._items, _refill, outside=outside)
            self._follow_all(name, dict(enumerate(value)), outside=outside)
        elif isinstance(value, functools.partial):
            self._follow(name, (value.func, value.args, value.keywords), outside=outside)
        elif isinstance(value, types.MethodType):
            self._follow(name, (value.__self__, value.__func__), outside=outside)
        elif _iterates(value):
            if self._held(value) is value:
                self.lost.append(name)
        elif self._enters(name, value):
            self._keep(name, value, self._attributes, _set_attributes, outside=outside)
            self._follow_all(name, self._attributes(value), outside=outside)
            self._follow_class(type(value))

    def _copies(self, value: object) -> bool:
        """Whether the content of something that changes in place is kept."""
        return True

    def _belongs(self, value: object) -> bool:
        """Whether an object is of a kind that can be part of a network."""
        return not _library(type(value).__module__)

    def _enters(self, name: str, value: object) -> bool:
        if isinstance(value, nn.Module | types.SimpleNamespace):
            return True
        if not self._belongs(value):
            return False
        held = [getattr(value, slot, None) for slot in _slots(type(value))]
        if any(isinstance(each, _SHARED) for each in (*held, *getattr(value, "__dict__", {}).values())):
            self.apart.append(name)
            return False
        return True

    def _follow_class(self, cls: type) -> None:
        for base in cls.__mro__:
            if id(base) in self._seen or _library(base.__module__):
                continue
            self._seen.add(id(base))
            self._keep(base.__name__, base, self._class_data, _set_class_data, outside=True)
            self._follow_all(base.__name__, self._class_data(base), outside=True)
            for value in list(vars(base).values()):
                for method in (value, getattr(value, "__func__", None), getattr(value, "fget", None)):
                    if isinstance(method, types.FunctionType):
                        self._follow(method.__name__, method, outside=True)

    def _follow_function(self, function: types.FunctionType) -> None:
        if _library(function.__module__ or ""):
            return
        code = function.__code__
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            if id(cell) not in self._seen:
                self._seen.add(id(cell))
                self._keep("", cell, functools.partial(self._cell, name), _set_cell, outside=True)
                self._follow_all("", self._cell(name, cell), outside=True)
        defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
        self._follow(f"defaults of {function.__name__}", defaults, outside=True)
        self._follow(function.__name__, vars(function), outside=True)
        self._follow_globals(function.__globals__, _names_in(code))

    def _follow_globals(self, space: Names, names: frozenset[str]) -> None:
        for name in sorted(names & space.keys()):
            value = space[name]
            if isinstance(value, types.ModuleType):
                # Names of a helper file, of which `helper.count` has both in the code.
                if not _library(value.__name__) and (id(value), str(hash(names))) not in self._seen:
                    self._seen.add((id(value), str(hash(names))))
                    self._follow_globals(vars(value), names)
            elif (id(space), name) not in self._seen:
                self._seen.add((id(space), name))
                if _is_data(value):
                    read = functools.partial(self._global, name)
                    self._keep("", space, read, _set_global, outside=True, part=name)
                self._follow(name, value, outside=True)

    def _held(self, value: Any) -> Any:
        """The value, or a copy of an iterator, whose place can only be kept by another iterator."""
        if not _iterates(value):
            return value
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # copies of itertools are to go
            try:
                return copy.deepcopy(value, dict(self._listed))
            except TypeError:
                return value

    def _entries(self, held: Mapping[Any, Any]) -> dict[Any, Any]:
        return {key: self._held(value) for key, value in held.items()}

    def _items(self, held: Sequence[Any]) -> list[Any]:
        return [self._held(value) for value in held]

    def _attributes(self, owner: Any) -> Names:
        names = {slot: getattr(owner, slot) for slot in _slots(type(owner)) if hasattr(owner, slot)}
        names |= getattr(owner, "__dict__", {})
        skipped = _LISTED if id(owner) in self._listed else frozenset()
        return self._entries({key: value for key, value in names.items() if key not in skipped})

    def _class_data(self, cls: type) -> Names:
        return self._entries({k: v for k, v in vars(cls).items() if k[:2] != "__" and _is_data(v)})

    def _cell(self, name: str, cell: types.CellType) -> Names:
        try:
            return {name: self._held(cell.cell_contents)}
        except ValueError:  # not bound yet
            return {}

    def _global(self, name: str, space: Names) -> Names:
        return {name: self._held(space[name])} if name in space else {}


def shared(states: Sequence[HiddenState]) -> list[Kept]:
    """Places that more than one of these networks leads to: classes, globals, one list that was given to all."""
    places: dict[tuple[int, str], list[Kept]] = {}
    for state in states:
        for kept in state.kept:
            places.setdefault(kept.key, []).append(kept)
    return [each[0] for each in places.values() if len(each) > 1]


def _set_tensor(tensor: Tensor, saved: Tensor) -> None:
    if tensor.shape == saved.shape:
        tensor.detach().copy_(saved)
    else:  # its data were replaced
        tensor.data = saved


def _set_attributes(owner: Any, saved: Names) -> None:
    names, slots = getattr(owner, "__dict__", {}), _slots(type(owner))
    for key in names.keys() - saved.keys() - _LISTED:
        del names[key]
    for key, value in saved.items():
        if key in slots:
            object.__setattr__(owner, key, value)  # frozen ones too
        else:
            names[key] = value


def _set_class_data(cls: type, saved: Names) -> None:
    for key in [k for k, v in vars(cls).items() if k[:2] != "__" and _is_data(v) and k not in saved]:
        delattr(cls, key)
    for key, value in saved.items():
        if vars(cls).get(key) is not value:
            setattr(cls, key, value)


def _set_cell(cell: types.CellType, saved: Names) -> None:
    for value in saved.values():
        cell.cell_contents = value


def _set_global(space: Names, saved: Names) -> None:
    space.update(saved)


def _hooks(module: nn.Module) -> Names:
    found = ((name, getattr(module, name, None)) for name in _HOOKS)
    return {name: dict(each) if isinstance(each, dict) else each for name, each in found if each}


def _set_hooks(module: nn.Module, saved: Names) -> None:
    for name in _HOOKS:
        now, before = getattr(module, name, None), saved.get(name, {})
        if isinstance(now, dict):  # in place: handles that remove a hook know this one
            _refill(now, before)
        elif name in saved:
            setattr(module, name, before)


def _library(module: str) -> bool:
    return module.partition(".")[0] in _APART


def _is_data(value: Any) -> bool:
    return not isinstance(value, type | types.ModuleType) and not hasattr(value, "__get__")


def _iterates(value: Any) -> bool:
    return isinstance(value, Iterator) and type(value).__module__ in ("builtins", "itertools")


def _slots(cls: type) -> frozenset[str]:
    found = [vars(base).get("__slots__", ()) for base in cls.__mro__]
    names = {name for each in found for name in ([each] if isinstance(each, str) else each)}
    return frozenset(names) - {"__dict__", "__weakref__"}


@functools.lru_cache(maxsize=1024)
def _names_in(code: types.CodeType) -> frozenset[str]:
    """Every name that code, and what it defines inside, looks up."""
    inner = [_names_in(const) for const in code.co_consts if isinstance(const, types.CodeType)]
    return frozenset(code.co_names).union(*inner)


def _same(a: Any, b: Any) -> bool:
    """Whether two contents are alike; objects that change in place are kept by themselves, and alike if the same."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, Tensor):
        return _same_tensor(a, b)
    if isinstance(a, np.ndarray):
        return bool(a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes())
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple | deque):
        return len(a) == len(b) and all(map(_same, a, b))
    if _iterates(a):
        try:
            return _same(a.__reduce__(), b.__reduce__())
        except TypeError:
            return False
    try:
        return bool(a == b or (a != a and b != b))
    except Exception:  # whatever the comparison of an object of others raises
        return False


def _same_tensor(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype or a.device != b.device:
        return False
    try:
        return torch.equal(a, b) or bool(((a == b) | ((a != a) & (b != b))).all().item())
    except (RuntimeError, NotImplementedError):  # sparse ones, ones that left a vmap
        return False
