"""What a plugin of the user's own is: the file that registers it and all that this imports of its folder.

A digest of these is part of the identity of a run, so that a result of code that was edited since is never
taken for one of the code at hand. Any edit counts, of a comment too: what changes results cannot be told from
what does not. Built-in plugins have none in an id, `IDENTITY_VERSION` stands for them.

Imports are read from the source, wherever in a file they stand, so that a file is hashed without being
executed. One whose name is only known when it runs (`import_module(name)`) counts as one of every file.
Files of data are no part: a task names theirs by `Task.content`.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import msgspec

from universality.errors import BadParameter
from universality.plugin import registry
from universality.plugin.loading import Home, builtin_folder, home, text_of
from universality.plugin.spec import Component, RunSpec, Sources, digest, parse_address

_EDITION = re.compile(r"(?P<address>.*)@(?P<sha256>[0-9a-f]{16})", re.DOTALL)
_LOADERS = frozenset({"import_module", "__import__", "spec_from_file_location", "run_path", "exec"})
"""Functions that import what their first argument says."""


class PluginSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which code a plugin is.

    Args:
        file: that registers it, relative to its folder of plugins; of a built-in one to the repository.
        sha256: of this file and what it imports of its folder; of a built-in one of the file alone.
    """

    file: str
    sha256: str
    builtin: bool

    def __post_init__(self) -> None:
        if Path(self.file).is_absolute() or ".." in Path(self.file).parts:
            raise ValueError(f"{self.file!r} is a path of somebody's machine")


# -------------------------------------------------------------------------------------------- of plugins


_own: dict[type, PluginSource | None] = {}
"""Files are read once (`text_of`), so that a class keeps its source."""


def own_source(cls: type) -> PluginSource | None:
    """Of a plugin of the user's own; None of a built-in one, and of one that no file declares."""
    if cls not in _own:
        place = home(cls)
        _own[cls] = None if place is None else _described(place)
    return _own[cls]


def _described(place: Home) -> PluginSource:
    return PluginSource(file=_relative(place.file, place.root), sha256=sha256_of(place), builtin=False)


def source(kind: str, name: str) -> PluginSource | None:
    """Of any plugin; None of one that no file declares."""
    cls = registry.plugin_class(kind, name)
    if (own := own_source(cls)) is not None:
        return own
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    for folder, shown in _builtin_folders().items():
        if file is not None and Path(file).is_relative_to(folder):
            path = Path(file)
            text = f"{shown}/{path.relative_to(folder).as_posix()}"
            return PluginSource(file=text, sha256=_sha256(path.read_bytes()), builtin=True)
    return None


def source_at(about: PluginSource, folders: Iterable[Path]) -> PluginSource | None:
    """The source at hand of what `about` describes, not executed; None where there is no such file.

    Args:
        folders: of the user's own plugins.
    """
    if about.builtin:
        for folder, shown in _builtin_folders().items():
            path = folder / Path(about.file).name
            if about.file == f"{shown}/{path.name}" and path.is_file():
                return msgspec.structs.replace(about, sha256=_sha256(path.read_bytes()))
        return None
    for folder in folders:
        place = Home(folder / about.file, folder)
        if place.file.is_file():
            return msgspec.structs.replace(about, sha256=sha256_of(place, Path.read_bytes))
    return None


def _builtin_folders() -> dict[Path, str]:
    package = Path(__file__).resolve().parent.parent
    beside = {builtin_folder(name): name for name in ("architectures", "tasks")}
    inside = (path for path in package.iterdir() if path.is_dir())
    return beside | {path: f"{package.name}/{path.name}" for path in inside if path.name != "builtin"}


# ----------------------------------------------------------------------------------------------- of runs


def sources_of(*parts: tuple[str, Component]) -> Sources | msgspec.UnsetType:
    """What a run's id hashes of the user's own code, of its plugins by kind; UNSET where all are built in."""
    every = [*parts, *(("modifier", each) for _, part in parts for each in part.modifiers or ())]
    own = (
        (f"{kind} {part.name}", own_source(registry.plugin_class(kind, part.name))) for kind, part in every
    )
    return tuple(sorted((name, about.sha256) for name, about in own if about)) or msgspec.UNSET


def edition(address: str) -> str:
    """A probe's address as recordings keep it: with the first digits of the digest of the user's own.

    What one edition has recorded is then never taken for what another would record.
    """
    own = own_source(registry.plugin_class("probe", parse_address(address)[0]))
    return address if own is None else f"{address}@{own.sha256[:16]}"


def split_edition(text: str) -> tuple[str, str]:
    """The address and the digits of an edition, which are empty for a built-in probe.

    >>> split_edition("mine[rows=2]@0123456789abcdef"), split_edition("accuracy")
    (('mine[rows=2]', '0123456789abcdef'), ('accuracy', ''))
    """
    match = _EDITION.fullmatch(text)
    return (text, "") if match is None else (match["address"], match["sha256"])


def check_sources(spec: RunSpec, observe: Iterable[str]) -> None:
    """Raises `BadParameter` where plugins of this process are others than those that a run was planned with.

    Args:
        observe: editions of probes.
    """
    parts = ("architecture", spec.architecture), ("task", spec.task)
    names = [f"{kind} '{part}'" for kind, part in parts if sources_of((kind, part)) is not msgspec.UNSET]
    edited = names if sources_of(*parts) != spec.sources else []
    edited += [f"probe '{split_edition(e)[0]}'" for e in observe if edition(split_edition(e)[0]) != e]
    if edited:
        raise BadParameter(
            "a plugin was edited while its runs were trained",
            where=", ".join(edited),
            got="another source than when the command began",
            do="give the same command again, in a new process",
        )


# ------------------------------------------------------------------------------------------- the digest


Reader = Callable[[Path], bytes]


def sha256_of(place: Home, read: Reader = text_of) -> str:
    """Of the file and what it imports of its folder, by names relative to that."""
    files = files_of(place, read)
    return digest(sorted([_relative(path, place.root), _sha256(read(path))] for path in files), 64)


def files_of(place: Home, read: Reader = text_of) -> set[Path]:
    """The file, and all files of its folder that it imports, by whatever way."""
    if place.root == place.file:
        return {place.file}
    files: set[Path] = set()
    new = {place.file, *_packages_above(place.file, place.root)}
    while new:
        path = new.pop()
        files.add(path)
        if path.suffix == ".py":
            new |= set(_imports(path, place, read)) - files
    return files


def _imports(path: Path, place: Home, read: Reader) -> Iterator[Path]:
    """Files of the folder that a file imports."""
    try:
        tree = ast.parse(read(path))
    except (SyntaxError, ValueError):
        return  # it cannot be imported, whatever it says
    above = path.relative_to(place.root).parts[:-1]
    for node in ast.walk(tree):
        names: list[tuple[int, str]] = []
        if isinstance(node, ast.Import):
            names = [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            names = [(node.level, f"{base}.{alias.name}".strip(".")) for alias in node.names]
        elif isinstance(node, ast.Call) and _called(node) in _LOADERS:
            first = node.args[0] if node.args else None
            if not (isinstance(first, ast.Constant) and isinstance(first.value, str)):
                yield from (p for p in sorted(place.root.rglob("*.py")) if p.is_file())
                continue
            name = first.value.lstrip(".")
            names = [(len(first.value) - len(name), name)]
        for level, name in names:
            if level > len(above) + 1:
                continue
            parts = [*above[: len(above) - level + 1], *name.split(".")] if level else name.split(".")
            if (
                not level and parts[0] == "universality"
            ):  # `IDENTITY_VERSION` stands for it, also in a checkout
                continue
            if not level and place.package:
                if parts[0] != place.package:
                    continue
                parts = parts[1:]
            yield from _resolved(parts, place.root)


def _called(node: ast.Call) -> str:
    if isinstance(node.func, ast.Attribute):
        return node.func.attr if node.func.attr != "exec" else ""
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _resolved(parts: Sequence[str], root: Path) -> Iterator[Path]:
    """The file of the module `parts`, or of the last package or module on the way to it (its last part may be
    a name in a module), with the packages above."""
    at = root
    for part in filter(None, parts):
        at = at / part
        candidates = [at / "__init__.py", *(at.with_name(at.name + s) for s in (".py", *EXTENSION_SUFFIXES))]
        if found := next((p for p in candidates if p.is_file()), None):
            yield found
            yield from _packages_above(found, root)
        elif not at.is_dir():
            return


def _packages_above(path: Path, root: Path) -> Iterator[Path]:
    folders = [f for f in path.parents if f.is_relative_to(root)]
    return (f / "__init__.py" for f in folders if (f / "__init__.py").is_file())


def _relative(path: Path, root: Path) -> str:
    return path.name if path == root else path.relative_to(root).as_posix()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
