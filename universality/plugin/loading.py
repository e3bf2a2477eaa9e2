"""Plugins are found by path, in the folders `architectures/` and `tasks/`, in `--plugins DIR`, and by the
entry-point group `universality.plugins`; built-in probes, phenomena and modifiers in their packages.

A folder is a package under a private name, so that a plugin called `tasks/modular.py` never clashes with
somebody's own module of that name, and every file in it is imported once. Files beside a plugin are
reached by `from .helpers import f`; a name that begins with `_` is no plugin by itself.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import math
import pkgutil
import sys
import sysconfig
import types
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
)
from pathlib import Path

from universality.errors import BadParameter, UniversalityError
from universality.plugin.foreign import IMPORT_SECONDS, USER_MODULES, foreign

_PRIVATE = "universality_plugins"

_texts: dict[Path, bytes] = {}
_running: list[str] = []
"""Names of the user's modules that are being executed, the innermost last."""
_packages: set[str] = set()
"""Top-level names of what entry points declare, and of modules of factories."""


@dataclass(frozen=True, slots=True)
class Home:
    """Where a user's plugin lies.

    Args:
        file: the file that registers it.
        root: the folder that it belongs to, of which it may import further files.
        package: the name under which modules of `root` are imported absolutely; empty in a folder of plugins.
    """

    file: Path
    root: Path
    package: str = ""


def builtin_folder(name: str) -> Path:
    """`architectures` or `tasks`: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "builtin" / name, package.parent / name):
        if folder.is_dir():
            return folder
    raise UniversalityError(f"the folder {name}/ is missing", where=str(package), do="reinstall")


def load_plugins(extra: Iterable[Path] = ()) -> None:
    """Load every plugin; calling again loads only what is new.

    Raises `BadParameter` for a folder that does not exist, and for a file or an entry point that
    does not import.
    """
    for name in ("architectures", "tasks"):
        _load_folder(builtin_folder(name), f"{_PRIVATE}.{name}")
    for name in ("probes", "phenomena", "modifiers"):
        package = importlib.import_module(f"universality.{name}")
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"universality.{name}.{module.name}")
    from universality.plugin.settings import default_settings  # loads torch, as the probes have

    with default_settings():  # what a file sets as it is loaded is not for those that come after it
        for folder in extra:
            _load_folder(plugin_folder(folder), USER_MODULES + _tag(folder))
        for entry in importlib.metadata.entry_points(group="universality.plugins"):
            _packages.add(entry.value.partition(":")[0].partition(".")[0].strip())
            with foreign(
                "a plugin does not import",
                where=f"entry point {entry.name} = {entry.value}",
                do="mend or uninstall the package that declares it",
                seconds=IMPORT_SECONDS,
            ):
                entry.load()


def user_module(name: str, *, asked: str) -> types.ModuleType:
    """The module of a factory: of a folder of plugins that was loaded, else on Python's path.

    Args:
        asked: the address, for errors.

    Raises:
        BadParameter: it cannot be imported, or several folders have one of this name.
    """
    from universality.plugin.settings import default_settings

    loaded = [key for key in sys.modules if key.startswith(USER_MODULES) and key.count(".") == 1]
    homes = [key for key in loaded if any(_holds(Path(path), name) for path in sys.modules[key].__path__)]
    if len(homes) > 1:
        raise BadParameter(
            f"several folders of plugins have a module {name}",
            where=asked,
            got=" and ".join(str(folder) for key in homes for folder in sys.modules[key].__path__),
            do="give --plugins one of them, or rename one module",
        )
    do = "" if homes else "give --plugins the folder that it lies in, or install its package"
    with (
        default_settings(),
        foreign(
            "the module of a factory does not import",
            where=asked,
            do=do or "mend it",
            seconds=IMPORT_SECONDS,
        ),
    ):
        module = importlib.import_module(f"{homes[0]}.{name}" if homes else name)
    if not homes:
        _packages.add(name.partition(".")[0])
    return module


def _holds(folder: Path, name: str) -> bool:
    path = folder.joinpath(*name.split("."))
    return path.with_name(f"{path.name}.py").is_file() or (path / "__init__.py").is_file()


def plugin_folder(folder: Path) -> Path:
    """The folder that `--plugins` named, resolved. Raises `BadParameter` where there is none."""
    resolved = Path(folder).resolve()
    if not resolved.is_dir():
        raise BadParameter(
            "no such plugin folder", got=str(folder), do="--plugins takes a folder of .py files"
        )
    return resolved


def _tag(folder: Path) -> str:
    return hashlib.sha256(str(Path(folder).resolve()).encode()).hexdigest()[:8]


def _load_folder(folder: Path, package: str) -> None:
    importlib.invalidate_caches()  # a file may have been added since the folder was read
    _check_unchanged(folder)
    if package not in sys.modules:
        sys.modules.setdefault(_PRIVATE, types.ModuleType(_PRIVATE)).__path__ = []
        init = folder / "__init__.py"
        if package.startswith(USER_MODULES) and init.is_file():
            with _importing(init, package):
                _make_package(package, folder, init)
        else:
            _make_package(package, folder)
    for path in sorted(folder.glob("*.py")):
        if not path.name.startswith("_") and f"{package}.{path.stem}" not in sys.modules:
            with _importing(path, package):
                importlib.import_module(f"{package}.{path.stem}")


def _check_unchanged(folder: Path) -> None:
    """Raises `BadParameter` where a file was edited since it was loaded: this process would go on with the old
    one, and its workers with the new one."""
    for path, text in _texts.items():
        if path.is_relative_to(folder) and (not path.is_file() or path.read_bytes() != text):
            raise BadParameter(
                "a plugin was edited since it was loaded",
                where=str(path),
                do="start Python anew, and try again",
            )


def _make_package(name: str, folder: Path, init: Path | None = None) -> None:
    """A package whose modules Python finds in `folder`."""
    loader = _Loader(name, str(init)) if init else None
    spec = ModuleSpec(name, loader, origin=str(init) if init else None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    spec.has_location = init is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    if loader is not None:
        try:
            loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise


@contextmanager
def _importing(path: Path, package: str) -> Iterator[None]:
    """An error of the file's own becomes a `BadParameter` that names it, and says how files beside it are
    imported where that is the mistake."""
    what, do = "a plugin does not import", "mend the file or move it out of the folder"
    if "." in path.stem:
        raise BadParameter(what, where=str(path), got="a dot in its name", do="rename it")
    # A built-in plugin may be the first that loads torch, from a slow disk.
    seconds = IMPORT_SECONDS if package.startswith(USER_MODULES) else math.inf
    try:
        with foreign(what, where=str(path), do=do, seconds=seconds):
            yield
    except BadParameter as error:
        cause = error.__cause__
        if not isinstance(cause, ImportError):
            raise
        first = (cause.name or "").partition(".")[0]
        if first and cause.path is None and any((path.parent / f).exists() for f in (first, f"{first}.py")):
            do = f"write `from .{first} import ...`: files beside a plugin are imported with a dot"
        got = error.got.replace(f"{package}.", ".")
        raise BadParameter(what, where=error.where, got=got, do=do) from cause


def text_of(path: Path) -> bytes:
    """What a user's file holds, read once: what is executed and what is hashed are the same bytes.

    Raises `OSError`.
    """
    if path not in _texts:
        _texts[path] = path.read_bytes()
    return _texts[path]


class _Loader(SourceFileLoader):
    """Compiles `text_of` a file. Python's own compiled files are left aside: it takes them for current by
    second and size, and an edit may keep both."""

    def get_code(self, fullname: str) -> types.CodeType | None:
        code: types.CodeType = self.source_to_code(text_of(Path(self.path)), self.path)
        return code

    def exec_module(self, module: types.ModuleType) -> None:
        _running.append(module.__name__)
        try:
            super().exec_module(module)
        except BaseException:
            _texts.pop(Path(self.path), None)  # it may be mended and loaded again
            raise
        finally:
            _running.pop()


class _Finder:
    """Finds the modules of `--plugins` folders, for `sys.meta_path`."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: object = None) -> ModuleSpec | None:
        if not name.startswith(USER_MODULES) or path is None:
            return None
        for folder in path:
            finder = FileFinder(folder, (_Loader, SOURCE_SUFFIXES), (ExtensionFileLoader, EXTENSION_SUFFIXES))
            if (spec := finder.find_spec(name)) is not None:
                return spec
        # No other finder is asked: one of them would take a compiled file without its source.
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, _Finder)

_registered: dict[type, str] = {}
"""The user's module that registered a class; a factory registers classes that another module defines."""


def note_registered(cls: type) -> None:
    """Remember which file is being executed, as the one that registers `cls`."""
    if _running:
        _registered[cls] = _running[-1]


def home(cls: type) -> Home | None:
    """Where a plugin of the user's own lies; None for a built-in one and for one that no file declares."""
    module = _registered.get(cls, cls.__module__)
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return None
    if module.startswith(USER_MODULES):
        (root,) = sys.modules[".".join(module.split(".")[:2])].__path__
        return Home(Path(file), Path(root))
    top = module.partition(".")[0]
    if top not in _packages or top == "universality":
        return None
    folders = list(getattr(sys.modules[top], "__path__", ()))
    if roots := [Path(folder) for folder in folders if Path(file).is_relative_to(folder)]:
        return Home(Path(file), roots[0], top)
    # A lone file imports what lies beside it, unless it was installed: then all else lies beside it.
    installed = Path(file).parent in map(Path, sysconfig.get_paths().values())
    return Home(Path(file), Path(file), top) if installed else Home(Path(file), Path(file).parent)
