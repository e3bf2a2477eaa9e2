"""What a plugin is: its file and what that imports of its folder, and nothing else."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace as changed

from universality.errors import BadParameter
from universality.plugin import registry
from universality.plugin.loading import Home, load_plugins
from universality.plugin.probe import Probe
from universality.plugin.registry import component, register
from universality.plugin.sources import (
    PluginSource,
    check_sources,
    edition,
    files_of,
    own_source,
    sha256_of,
    source,
    source_at,
    sources_of,
    split_edition,
)
from universality.plugin.spec import Component, Recipe, RunSpec

FOLDER = {
    "mine.py": "from .helpers import f\nimport numpy\nfrom universality.plugin import register\n",
    "helpers.py": "def f():\n    from ._deep.inner import g\n",
    "_deep/__init__.py": "",
    "_deep/inner.py": "from ..side import x as y, nothing\n",
    "side.py": "x = 1\n",
    "other.py": "from . import side\n",
    "_deep/unused.py": "",
    "numpy_like.py": "",
}
MINE = {"mine.py", "helpers.py", "_deep/__init__.py", "_deep/inner.py", "side.py"}


def write(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def names(folder: Path, start: str) -> set[str]:
    place = Home(folder / start, folder)
    return {path.relative_to(folder).as_posix() for path in files_of(place, Path.read_bytes)}


def sha256(folder: Path, start: str = "mine.py") -> str:
    return sha256_of(Home(folder / start, folder), Path.read_bytes)


# ----------------------------------------------------------------------------------------------- which files


def test_imports_are_followed_wherever_they_stand(tmp_path: Path) -> None:
    write(tmp_path, FOLDER)
    assert names(tmp_path, "mine.py") == MINE
    assert names(tmp_path, "other.py") == {"other.py", "side.py"}
    assert names(tmp_path, "side.py") == {"side.py"}


@pytest.mark.parametrize(
    "line",
    [
        "from . import side",
        "from .side import *",
        "from .side import x as z",
        "import side",
        "from side import x",
        "if True:\n    from . import side",
        "def f():\n    from .side import x",
        "import importlib; importlib.import_module('.side', __package__)",
        "__import__('side')",
    ],
)
def test_every_way_to_import_a_file_counts(tmp_path: Path, line: str) -> None:
    write(tmp_path, {"mine.py": line, "side.py": "", "stranger.py": ""})
    assert names(tmp_path, "mine.py") == {"mine.py", "side.py"}


@pytest.mark.parametrize(
    "line",
    [
        "import importlib; importlib.import_module(name)",
        "import runpy; runpy.run_path('x' + 'y')",
        "exec(open(path).read())",
    ],
)
def test_an_import_that_only_running_would_tell_counts_as_one_of_every_file(
    tmp_path: Path, line: str
) -> None:
    write(tmp_path, {"mine.py": line, "side.py": "", "deep/er.py": ""})
    assert names(tmp_path, "mine.py") == {"mine.py", "side.py", "deep/er.py"}


@pytest.mark.parametrize("line", ["from ..above import x", "from .... import x", "x = (", "import os.path"])
def test_what_lies_elsewhere_is_no_part(tmp_path: Path, line: str) -> None:
    (tmp_path / "above.py").write_text("")
    write(tmp_path / "folder", {"mine.py": line, "x.py": ""})
    assert names(tmp_path / "folder", "mine.py") == {"mine.py"}


def test_the_packages_above_a_file_are_executed_and_count(tmp_path: Path) -> None:
    write(tmp_path, {"mine.py": "from .a.b import c", "__init__.py": "", "a/__init__.py": "", "a/b/c.py": ""})
    assert names(tmp_path, "mine.py") == {"mine.py", "__init__.py", "a/__init__.py", "a/b/c.py"}


# ------------------------------------------------------------------------------------------------ the digest


@pytest.mark.parametrize("file", sorted(FOLDER))
def test_an_edit_of_what_is_imported_changes_the_digest_and_no_other(tmp_path: Path, file: str) -> None:
    before = sha256(write(tmp_path, FOLDER))
    (tmp_path / file).write_text(FOLDER[file] + "# edited\n")
    assert (sha256(tmp_path) != before) == (file in MINE)


def test_the_digest_knows_names_in_the_folder_and_no_path_of_a_machine(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one", FOLDER), write(tmp_path / "two" / "deeper", FOLDER)
    assert sha256(one) == sha256(two)
    (two / "side.py").rename(two / "sides.py")
    (two / "_deep" / "inner.py").write_text("from ..sides import x as y, nothing\n")
    assert sha256(one) != sha256(two)


def test_two_files_that_swap_their_contents_are_other_plugins(tmp_path: Path) -> None:
    text = "from . import a, b\n"
    one = write(tmp_path / "one", {"mine.py": text, "a.py": "x = 1", "b.py": "x = 2"})
    two = write(tmp_path / "two", {"mine.py": text, "a.py": "x = 2", "b.py": "x = 1"})
    assert sha256(one) != sha256(two)


# -------------------------------------------------------------------------------------------------- plugins

PROBE = """
from dataclasses import dataclass
from universality.plugin import Probe, register
{line}

@register("mine")
@dataclass(kw_only=True)
class Mine(Probe):
    rows: int = 1
    def record(self, training):
        return {{}}
"""


@pytest.mark.usefixtures("clean_registry")
def test_a_plugin_of_a_folder_has_the_digest_of_its_files(tmp_path: Path) -> None:
    write(tmp_path, {**FOLDER, "mine.py": PROBE.format(line="from .helpers import f")})
    load_plugins([tmp_path])
    own = own_source(registry.plugin_class("probe", "mine"))
    assert own == PluginSource(file="mine.py", sha256=sha256(tmp_path), builtin=False)
    assert source("probe", "mine") == own
    assert edition("mine[rows=2]") == f"mine[rows=2]@{own.sha256[:16]}"
    assert split_edition(edition("mine[rows=2]")) == ("mine[rows=2]", own.sha256[:16])


@pytest.mark.usefixtures("clean_registry")
def test_a_factory_beside_it_makes_the_plugin_of_the_file_that_calls_it(tmp_path: Path) -> None:
    factory = "def make(rows):\n" + PROBE.format(line="").replace("\n", "\n    ").replace(
        "rows: int = 1", "n = rows"
    )
    write(tmp_path, {"_factory.py": factory, "calls.py": "from ._factory import make\nmake(2)\n"})
    load_plugins([tmp_path])
    cls = registry.plugin_class("probe", "mine")
    assert cls.__module__.endswith("._factory")
    assert own_source(cls) == PluginSource(
        file="calls.py", sha256=sha256(tmp_path, "calls.py"), builtin=False
    )


@pytest.mark.parametrize(
    ("kind", "name", "file"),
    [
        ("architecture", "mlp", "architectures/mlp.py"),
        ("task", "digits", "tasks/digits.py"),
        ("probe", "accuracy", "universality/probes/accuracy.py"),
        ("phenomenon", "grokking", "universality/phenomena/grokking.py"),
    ],
)
def test_builtin_plugins_are_named_and_enter_no_id(kind: str, name: str, file: str) -> None:
    cls = registry.plugin_class(kind, name)
    assert own_source(cls) is None
    about = source(kind, name)
    assert about is not None
    assert (about.file, about.builtin) == (file, True)
    assert source_at(about, []) == about
    assert sources_of((kind, component_of(cls))) is UNSET


def component_of(cls: type[Any]) -> Any:
    return Component(cls.name)


def test_a_builtin_probe_has_one_edition() -> None:
    assert edition("taps[rows=64]") == "taps[rows=64]"
    assert split_edition("taps[rows=64]") == ("taps[rows=64]", "")


@pytest.mark.usefixtures("clean_registry")
def test_a_class_of_a_notebook_has_no_source() -> None:
    @register("by_hand")
    @dataclass(kw_only=True)
    class ByHand(Probe):
        def record(self, training: Any) -> dict[str, float]:
            return {}

    assert own_source(ByHand) is None
    assert source("probe", "by_hand") is None
    assert edition("by_hand") == "by_hand"


@pytest.mark.usefixtures("clean_registry")
@pytest.mark.parametrize("package", [True, False])
def test_a_plugin_of_an_entry_point_is_what_it_imports_of_its_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: bool
) -> None:
    files = {"installed_toy/__init__.py": "", "installed_toy/mine.py": PROBE.format(line="import installed_toy.side"),
             "installed_toy/side.py": "", "installed_toy/unused.py": ""}  # fmt: skip
    if not package:
        files = {"installed_toy.py": PROBE.format(line=""), "side.py": ""}
    monkeypatch.syspath_prepend(write(tmp_path, files))
    value = "installed_toy.mine" if package else "installed_toy"
    entry = SimpleNamespace(name="toy", value=value, load=lambda: __import__(value))
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [entry])
    try:
        load_plugins()
        own = own_source(registry.plugin_class("probe", "mine"))
    finally:
        for name in [n for n in sys.modules if n.startswith("installed_toy")]:
            del sys.modules[name]
    assert own is not None
    assert own.file == ("mine.py" if package else "installed_toy.py")
    root = tmp_path / "installed_toy" if package else tmp_path / "installed_toy.py"
    place = Home(root / "mine.py" if package else root, root, "installed_toy")
    assert own.sha256 == sha256_of(place, Path.read_bytes)
    if package:
        assert {p.name for p in files_of(place, Path.read_bytes)} == {"__init__.py", "mine.py", "side.py"}


def test_the_source_at_hand_is_looked_for_in_the_folders_and_not_executed(tmp_path: Path) -> None:
    about = PluginSource(file="mine.py", sha256="0" * 64, builtin=False)
    assert source_at(about, [tmp_path]) is None
    write(tmp_path, {"mine.py": "raise RuntimeError('executed')"})
    assert source_at(about, [tmp_path / "none", tmp_path]) == changed(about, sha256=sha256(tmp_path))
    builtin = PluginSource(file="universality/nothing/accuracy.py", sha256="0" * 64, builtin=True)
    assert source_at(builtin, [tmp_path]) is None


@pytest.mark.parametrize("file", ["/home/me/mine.py", "../mine.py", "a/../../mine.py"])
def test_a_source_has_no_path_of_a_machine(file: str) -> None:
    with pytest.raises(ValueError, match="is a path of somebody's machine"):
        PluginSource(file=file, sha256="0" * 64, builtin=False)


# ------------------------------------------------------------------------------------------------- the runs


def toy_spec(**more: Any) -> RunSpec:
    architecture = component(registry.resolve("architecture", "toy_net"))
    task = component(registry.resolve("task", "toy_points"))
    parts = sources_of(("architecture", architecture), ("task", task))
    return replace(RunSpec(architecture, task, Recipe(steps=1, lr=0.1), 0, sources=parts), **more)


@pytest.mark.usefixtures("toys")
def test_a_run_names_the_sources_of_its_own_plugins_and_its_id_has_them() -> None:
    spec = toy_spec()
    own = own_source(registry.plugin_class("task", "toy_points"))
    assert own is not None
    assert spec.sources == (("architecture toy_net", own.sha256), ("task toy_points", own.sha256))
    ids = {
        s.id for s in (spec, toy_spec(sources=UNSET), toy_spec(sources=(("task toy_points", own.sha256),)))
    }
    assert len(ids) == 3


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda spec, probes: (spec, probes), ""),
        (lambda spec, probes: (replace(spec, sources=UNSET), probes), "architecture 'toy_net', task 'toy_points'"),
        (lambda spec, probes: (spec, ["toy_probe@0123456789abcdef"]), "probe 'toy_probe'"),
        (lambda spec, probes: (spec, ["toy_probe"]), "probe 'toy_probe'"),
    ],
)  # fmt: skip
def test_other_sources_than_those_planned_are_refused(
    change: Callable[[RunSpec, list[str]], tuple[RunSpec, list[str]]], where: str
) -> None:
    spec, probes = change(toy_spec(), [edition("toy_probe"), "accuracy"])
    if not where:
        check_sources(spec, probes)
        return
    with pytest.raises(BadParameter) as caught:
        check_sources(spec, probes)
    assert str(caught.value) == (
        "a plugin was edited while its runs were trained\n"
        f"  where: {where}\n"
        "  got:   another source than when the command began\n"
        "  do:    give the same command again, in a new process"
    )
