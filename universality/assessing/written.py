"""A live function as a file: its source, and of what it names the sources, the imports and the plain values."""

from __future__ import annotations

import ast
import builtins
import importlib.machinery
import inspect
import math
import symtable
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from universality.assessing.definition import Definition, definition_of
from universality.errors import BadParameter
from universality.plugin.loading import Home, text_of
from universality.plugin.sources import files_of, sha256_of

WHERE = "assess, make_net"
_PLAIN = (bool, int, float, str, bytes, type(None))


def written(make: FunctionType | type) -> str:
    """The text of a module that defines `make` and everything that it names.

    Functions and classes that are defined beside it are written too; modules, and what these define, are imported, and a
    digest of those that are not installed stands in a comment, so that an edit of theirs is one of the text;
    numbers, texts, and tuples, lists and dicts of such are written with their present value.

    Raises:
        BadParameter: no source, variables of functions around it, or names that are none of these.
    """
    writer = _Writer(_globals(make) or {})
    definition = definition_of(make)
    if definition is None:
        raise BadParameter(
            "a function whose source is not found",
            where=WHERE,
            got=f"{make.__name__} of {make.__module__}",
            expected="a def in a cell of a notebook, in a script, or in a module that can be imported",
            do="run its cell again, or put it into a file nets.py and write `from nets import make_net`",
        )
    if definition.closed_over:
        raise BadParameter(
            "a function that reads variables of a function around it, which no other process has",
            where=WHERE,
            got=", ".join(definition.closed_over),
            expected="parameters with defaults, or names of its module",
            do="write def make_net(inputs, outputs, width: int = 64): ... at the margin",
        )
    writer.define(definition)
    if writer.missing:
        raise BadParameter(
            "a function uses names that cannot be written to a file",
            where=WHERE,
            got="; ".join(f"{name}: {why}" for name, why in sorted(writer.missing.items())),
            expected="what it imports or defines itself, and modules, functions, classes and numbers beside it",
            do="make them parameters with defaults, or define them inside",
        )
    return writer.text()


class _Writer:
    """Collects what a definition names, depth first, so that each stands above its use."""

    def __init__(self, names: dict[str, Any]) -> None:
        self._names = names
        self._imports: dict[str, str] = {}
        self._digests: dict[str, str] = {}
        self._body: list[str] = []
        self._done: set[str] = set()
        self._later = False
        self.missing: dict[str, str] = {}

    def text(self) -> str:
        head = ['"""Written by universality.assess: an edit of this file is another network."""']
        head += ["from __future__ import annotations"] if self._later else []
        head += [self._imports[name] for name in sorted(self._imports)]
        head += [f"# {name}: sha256 {self._digests[name]}" for name in sorted(self._digests)]
        return "\n".join(head) + "\n\n\n" + "\n\n".join(self._body)

    def define(self, definition: Definition) -> None:
        self._done.add(definition.name)
        self._later |= definition.later
        needed, optional = _used(definition)
        for name in sorted(needed | optional):
            self._provide(name, optional=name not in needed)
        for module in _submodules(definition, self._names):
            self._imports[module] = f"import {module} as _{module.replace('.', '_')}"
            self._note_digest(sys.modules[module])
        self._body.append(definition.text)

    def _provide(self, name: str, *, optional: bool) -> None:
        if name in self._done:
            return
        if name not in self._names:
            if not hasattr(builtins, name) and name != "__name__" and not optional:
                self.missing[name] = "is not defined"
            return
        self._done.add(name)
        value = self._names[name]
        if _is_plain(value):
            self._body.append(f"{name} = {value!r}\n")
        elif (statement := _import(name, value)) is not None:
            self._imports[name] = statement
            self._note_digest(value if isinstance(value, ModuleType) else sys.modules[statement.split()[1]])
        elif isinstance(value, FunctionType | type) and _globals(value) is self._names:
            self._write(name, value, optional=optional)
        elif not optional:
            self.missing[name] = f"a {type(value).__name__} of the notebook or script"

    def _note_digest(self, module: ModuleType) -> None:
        if (place := own_home(module)) is not None:
            check_unchanged(place)
            self._digests[module.__name__] = sha256_of(place)

    def _write(self, name: str, value: FunctionType | type, *, optional: bool) -> None:
        definition = definition_of(value)
        if definition is None or definition.closed_over:
            if not optional:
                closed = ", ".join(definition.closed_over) if definition else ""
                self.missing[name] = f"reads {closed} of a function around it" if closed else "has no source"
            return
        if definition.name == name:
            self.define(definition)
        elif self._names.get(definition.name) is value:
            self._provide(definition.name, optional=optional)
            self._body.append(f"{name} = {definition.name}\n")
        elif not optional:
            self.missing[name] = f"is {definition.name}, a name that now means something else"


def _globals(value: Any) -> dict[str, Any] | None:
    """Where the names of a definition are looked up."""
    if isinstance(value, FunctionType):
        return inspect.unwrap(value).__globals__  # type: ignore[no-any-return]
    for each in vars(value).values():
        function = getattr(each, "__func__", each)
        if isinstance(function, FunctionType) and function.__module__ == value.__module__:
            return inspect.unwrap(function).__globals__  # type: ignore[no-any-return]
    return None


def _used(definition: Definition) -> tuple[set[str], set[str]]:
    """Names that a definition takes from its module when it is executed or called, and those of annotations alone."""
    prefix = "from __future__ import annotations\n" if definition.later else ""
    names = set(_global_names(symtable.symtable(prefix + definition.text, "<definition>", "exec"), top=True))
    tree = ast.parse(definition.text)
    annotations = [
        annotation
        for node in ast.walk(tree)
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if isinstance(annotation, ast.AST)
    ]
    optional = {
        node.id for each in annotations for node in ast.walk(each) if isinstance(node, ast.Name)
    } - names
    own = {definition.name, "annotations"}
    return names - own, optional - own


def _global_names(table: symtable.SymbolTable, *, top: bool) -> Iterator[str]:
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (top or symbol.is_global()):
            yield symbol.get_name()
    for inner in table.get_children():
        yield from _global_names(inner, top=False)


def _submodules(definition: Definition, names: dict[str, Any]) -> set[str]:
    """Modules that a definition reads as attributes: `import a.b` binds `a`, and `import a` alone may lack `b`."""
    modules = set()
    for node in ast.walk(ast.parse(definition.text)):
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts, node = [node.attr, *parts], node.value
        if parts and isinstance(node, ast.Name) and isinstance(top := names.get(node.id), ModuleType):
            module = f"{top.__name__}.{parts[0]}"
            for part in (*parts[1:], ""):
                if not (isinstance(sys.modules.get(module), ModuleType) and is_importable(module)):
                    break
                modules.add(module)
                module = f"{module}.{part}"
    return modules


def _is_plain(value: Any, depth: int = 8) -> bool:
    """Whether `repr` writes it, the same in every process: sets have no order."""
    if type(value) in (tuple, list, dict):
        inside = [*value, *value.values()] if isinstance(value, dict) else value
        return depth > 0 and all(_is_plain(each, depth - 1) for each in inside)
    return type(value) in _PLAIN and (type(value) is not float or math.isfinite(value))


def _import(name: str, value: Any) -> str | None:
    """The statement that binds `name` to `value` in another process; None where there is none."""
    if isinstance(value, ModuleType):
        return f"import {value.__name__} as {name}" if is_importable(value.__name__) else None
    module, attribute = getattr(value, "__module__", None), getattr(value, "__name__", name)
    if not (isinstance(module, str) and _holds(module, attribute, value)):
        # Functions of torch and names of typing do not tell where they are from.
        public = (key for key in sys.modules if not any(part.startswith("_") for part in key.split(".")))
        homes = [key for key in public if _holds(key, name, value)]
        if not homes:
            return None
        module, attribute = min(homes, key=lambda key: (len(key), key)), name
    return f"from {module} import {attribute} as {name}"


def _holds(module: str, attribute: Any, value: Any) -> bool:
    if not isinstance(attribute, str) or not attribute.isidentifier():
        return False
    return vars(sys.modules.get(module, object)).get(attribute) is value and is_importable(module)


def is_importable(module: str) -> bool:
    """Whether another process of this Python finds a module by its name: no `__main__`, none made by hand."""
    loaded, top = sys.modules.get(module), module.partition(".")[0]
    if loaded is None or top in ("__main__", "__mp_main__") or getattr(loaded, "__spec__", None) is None:
        return False
    finders = (
        importlib.machinery.PathFinder,
        importlib.machinery.BuiltinImporter,
        importlib.machinery.FrozenImporter,
    )
    return any(finder.find_spec(top) is not None for finder in finders)


def own_home(module: ModuleType) -> Home | None:
    """The files of a module that was not installed, whose edits no version tells; None of others."""
    top = module.__name__.partition(".")[0]
    file = getattr(module, "__file__", None)
    if file is None or top == "universality":
        return None
    path = Path(file)
    paths = sysconfig.get_paths()
    if any(path.is_relative_to(paths[key]) for key in ("stdlib", "platstdlib", "purelib", "platlib")):
        return None
    if {"site-packages", "dist-packages"} & set(path.parts):
        return None
    folders = [Path(each) for each in getattr(sys.modules.get(top), "__path__", ())]
    root = next((folder for folder in folders if path.is_relative_to(folder)), None)
    return Home(path, path.parent) if root is None else Home(path, root, top)


def check_unchanged(place: Home) -> None:
    """Raises `BadParameter` where a module, or what it imports of its folder, was edited since this process read it:
    this process would go on with the old one, and its workers with the new one."""
    for path in sorted(files_of(place)):
        if not path.is_file() or path.read_bytes() != text_of(path):
            raise BadParameter(
                "a module was edited since it was loaded",
                where=f"{WHERE}, {path}",
                do="start Python (of a notebook the kernel) anew, and try again",
            )
