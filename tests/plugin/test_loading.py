"""Plugins are found by path: a folder is a package, every file in it is imported once."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import universality
from universality.errors import BadParameter
from universality.plugin import registry
from universality.plugin.loading import load_plugins
from universality.plugin.probe import Probe
from universality.plugin.registry import register

CHECKOUT = Path(universality.__file__).resolve().parents[1]
PROBE = """
from dataclasses import dataclass
from universality.plugin import Probe, register

@register("{name}")
@dataclass(kw_only=True)
class Mine(Probe):
    def record(self, training):
        return {{}}
"""


@dataclass(kw_only=True)
class Own(Probe):
    def record(self, training: Any) -> dict[str, float]:
        return {}


def write_probe(folder: Path, file: str, name: str, start: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / file).write_text(start + PROBE.format(name=name))
    return folder


def write_files(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


# ---------------------------------------------------------------------------------------- plugin folders


@pytest.mark.usefixtures("clean_registry")
def test_a_folder_of_plugins_is_loaded_under_private_names(tmp_path: Path) -> None:
    folder = write_probe(tmp_path / "mine", "modular.py", "mine")
    (folder / "_helper.py").write_text("raise RuntimeError('private files are not plugins')")
    (folder / "notes.txt").write_text("not Python")
    load_plugins([folder])
    module = registry.plugin_class("probe", "mine").__module__
    assert module.startswith("universality_plugins.extra_")
    assert module.endswith(".modular")
    assert "modular" not in sys.modules
    # The built-in file of the same name is another module, untouched.
    assert registry.plugin_class("task", "modular").__module__ == "universality_plugins.tasks.modular"


@pytest.mark.usefixtures("clean_registry")
def test_files_of_one_name_in_two_folders_do_not_clash(tmp_path: Path) -> None:
    folders = [write_probe(tmp_path / f, "same.py", f) for f in ("first", "second")]
    load_plugins(folders)
    modules = {registry.plugin_class("probe", f.name).__module__ for f in folders}
    assert len(modules) == 2


@pytest.mark.usefixtures("clean_registry")
def test_loading_twice_executes_a_file_once(tmp_path: Path) -> None:
    folder = tmp_path / "counted"
    folder.mkdir()
    (folder / "a.py").write_text(f"with open({str(tmp_path / 'log')!r}, 'a') as file: file.write('x')")
    load_plugins([folder])
    load_plugins([folder, Path(os.path.relpath(folder))])
    assert (tmp_path / "log").read_text() == "x"


@pytest.mark.usefixtures("clean_registry")
def test_a_plugin_with_the_name_of_a_builtin_is_refused(tmp_path: Path) -> None:
    folder = write_probe(tmp_path / "mine", "mine.py", "accuracy")
    with pytest.raises(BadParameter) as caught:
        load_plugins([folder])
    assert caught.value.what == "two plugins are called probe 'accuracy'"
    assert caught.value.where.startswith("universality.probes.accuracy.")
    assert f".mine.Mine, {folder / 'mine.py'}:" in caught.value.where
    assert registry.plugin_class("probe", "accuracy").__module__ == "universality.probes.accuracy"


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadParameter) as caught:
        load_plugins([tmp_path / "none"])
    assert str(caught.value) == (
        f"no such plugin folder\n  got: {tmp_path / 'none'}\n  do:  --plugins takes a folder of .py files"
    )


@pytest.mark.usefixtures("clean_registry")
@pytest.mark.parametrize(
    ("source", "got"),
    [
        ("import no_such_module_at_all", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        ("x = = 1", "SyntaxError: invalid syntax (broken.py, line 1)"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
    ids=["import", "syntax", "error"],
)
def test_a_file_that_does_not_import_is_named_and_may_be_mended(
    tmp_path: Path, source: str, got: str
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "broken.py").write_text(source)
    with pytest.raises(BadParameter) as caught:
        load_plugins([folder])
    assert str(caught.value) == (
        "a plugin does not import\n"
        f"  where: {folder / 'broken.py'}:1\n"
        f"  got:   {got}\n"
        "  do:    mend the file or move it out of the folder"
    )
    write_probe(folder, "broken.py", "mended")
    # Python trusts a compiled file of the same second and size.
    for compiled in folder.rglob("*.pyc"):
        compiled.unlink()
    load_plugins([folder])
    assert "mended" in registry.names("probe")


# ------------------------------------------------------------------------------------- files beside a plugin

VALUE = "VALUE = 7\n"
RECORDS = PROBE.replace("{{}}", "{{'value': float(VALUE)}}")


@pytest.mark.usefixtures("clean_registry")
@pytest.mark.parametrize("helper", ["helpers", "_helpers", "zeta", "alpha"])
@pytest.mark.parametrize("plugin", ["mine", "beta"])
def test_a_file_beside_a_plugin_is_imported_whatever_the_names_sort_to(
    tmp_path: Path, helper: str, plugin: str
) -> None:
    text = f"from .{helper} import VALUE\n" + RECORDS.format(name="mine")
    load_plugins([write_files(tmp_path, {f"{helper}.py": VALUE, f"{plugin}.py": text})])
    probe: Any = registry.resolve("probe", "mine")
    assert probe.record(None) == {"value": 7.0}
    assert helper not in sys.modules


@pytest.mark.usefixtures("clean_registry")
@pytest.mark.parametrize(
    ("files", "line"),
    [
        ({"parts/__init__.py": "", "parts/deep.py": VALUE}, "from .parts.deep import VALUE"),
        ({"parts/deep.py": VALUE}, "from .parts import deep; VALUE = deep.VALUE"),
        ({"parts/__init__.py": "from .deep import *", "parts/deep.py": VALUE}, "from .parts import VALUE"),
        ({"__init__.py": VALUE}, "from . import VALUE"),
        ({"_a.py": "from ._b import VALUE", "_b.py": "from . import _a\n" + VALUE}, "from ._a import VALUE"),
    ],
    ids=["package", "folder", "star", "the folder itself", "a circle"],
)
def test_packages_beside_a_plugin_are_imported(tmp_path: Path, files: dict[str, str], line: str) -> None:
    load_plugins([write_files(tmp_path, {**files, "mine.py": f"{line}\n" + RECORDS.format(name="mine")})])
    probe: Any = registry.resolve("probe", "mine")
    assert probe.record(None) == {"value": 7.0}


@pytest.mark.usefixtures("clean_registry")
def test_plugins_that_import_each_other_are_executed_and_registered_once(tmp_path: Path) -> None:
    folder = tmp_path / "pair"
    log = f"with open({str(tmp_path / 'log')!r}, 'a') as file: file.write(__name__[-5:] + ' ')\n"
    write_probe(folder, "first.py", "first", log + "from . import other\n")
    write_probe(folder, "other.py", "other", log + "from . import first\n")
    load_plugins([folder])
    assert (tmp_path / "log").read_text().split() == ["first", "other"]
    first, other = (registry.plugin_class("probe", name) for name in ("first", "other"))
    assert sys.modules[first.__module__].other is sys.modules[other.__module__]


@pytest.mark.usefixtures("clean_registry")
@pytest.mark.parametrize("file", ["helpers.py", "helpers/__init__.py"])
def test_an_absolute_import_of_a_file_beside_is_answered_with_how_it_is_written(
    tmp_path: Path, file: str
) -> None:
    folder = write_files(tmp_path, {file: VALUE, "zeta.py": "from helpers import VALUE"})
    with pytest.raises(BadParameter) as caught:
        load_plugins([folder])
    assert str(caught.value) == (
        "a plugin does not import\n"
        f"  where: {folder / 'zeta.py'}:1\n"
        "  got:   ModuleNotFoundError: No module named 'helpers'\n"
        "  do:    write `from .helpers import ...`: files beside a plugin are imported with a dot"
    )


@pytest.mark.usefixtures("clean_registry")
def test_a_file_that_is_not_there_is_named_as_it_was_written(tmp_path: Path) -> None:
    with pytest.raises(BadParameter) as caught:
        load_plugins([write_files(tmp_path, {"zeta.py": "from .helpers import VALUE"})])
    assert caught.value.got == "ModuleNotFoundError: No module named '.helpers'"


@pytest.mark.usefixtures("clean_registry")
def test_a_name_that_python_cannot_import_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadParameter) as caught:
        load_plugins([write_files(tmp_path, {"mine.v2.py": VALUE})])
    assert (caught.value.got, caught.value.do) == ("a dot in its name", "rename it")


@pytest.mark.usefixtures("clean_registry")
def test_a_compiled_file_without_its_source_is_not_taken(tmp_path: Path) -> None:
    import py_compile

    folder = write_files(tmp_path, {"helpers.py": VALUE, "zeta.py": "from .helpers import VALUE"})
    py_compile.compile(str(folder / "helpers.py"), cfile=str(folder / "helpers.pyc"))
    (folder / "helpers.py").unlink()
    with pytest.raises(BadParameter, match="does not import"):
        load_plugins([folder])


@pytest.mark.usefixtures("clean_registry")
def test_a_file_edited_after_it_was_loaded_is_named(tmp_path: Path) -> None:
    folder = write_files(tmp_path, {"_helpers.py": VALUE, "mine.py": "from ._helpers import VALUE"})
    load_plugins([folder])
    load_plugins([folder])
    (folder / "_helpers.py").write_text("VALUE = 8\n")
    with pytest.raises(BadParameter) as caught:
        load_plugins([folder])
    assert str(caught.value) == (
        "a plugin was edited since it was loaded\n"
        f"  where: {folder / '_helpers.py'}\n"
        "  do:    start Python anew, and try again"
    )


@pytest.mark.usefixtures("clean_registry")
@pytest.mark.parametrize("code", ["0", "1", "'bye'"])
def test_a_file_that_leaves_python_does_not_import(tmp_path: Path, code: str) -> None:
    with pytest.raises(BadParameter) as caught:
        load_plugins([write_files(tmp_path, {"leaves.py": f"import sys; sys.exit({code})"})])
    assert caught.value.where == f"{tmp_path / 'leaves.py'}:1"
    assert caught.value.got == f"SystemExit: {code.strip(chr(39))}"


# ------------------------------------------------------------------------------------------ entry points


def entry(load: Any) -> Any:
    return SimpleNamespace(name="mine", value="package:plugins", load=load)


@pytest.mark.usefixtures("clean_registry")
def test_entry_points_of_the_group_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def entry_points(*, group: str) -> list[Any]:
        asked.append(group)
        return [entry(lambda: register("from_entry")(Own))]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    load_plugins()
    assert asked == ["universality.plugins"]
    assert registry.plugin_class("probe", "from_entry") is Own


@pytest.mark.usefixtures("clean_registry")
def test_what_a_file_sets_in_torch_as_it_is_loaded_is_set_back(tmp_path: Path) -> None:
    folder = write_probe(tmp_path / "mine", "sets.py", "sets")
    with (folder / "sets.py").open("a") as file:
        file.write("\nimport torch\ntorch.set_default_dtype(torch.float64)\n")
    load_plugins([folder])
    assert torch.get_default_dtype() == torch.float32


def test_an_entry_point_that_does_not_import_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ImportError("no package")

    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [entry(broken)])
    with pytest.raises(BadParameter) as caught:
        load_plugins()
    assert str(caught.value) == (
        "a plugin does not import\n"
        "  where: entry point mine = package:plugins\n"
        "  got:   ImportError: no package\n"
        "  do:    mend or uninstall the package that declares it"
    )


# ---------------------------------------------------------------------------------- from anywhere, for real


def test_the_list_works_from_any_folder_and_shows_user_plugins(tmp_path: Path) -> None:
    write_probe(tmp_path / "mine", "modular.py", "probe_of_a_user")
    # Somebody's own modules of the same names lie in the working folder and must not be picked up.
    for name in ("tasks", "architectures", "modular", "mlp"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('picked up')")
    result = subprocess.run(
        [sys.executable, "-W", "error", "-m", "universality", "list", "--plugins", "mine"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (result.returncode, result.stderr) == (0, "")
    shown = {
        line.split()[0] for line in result.stdout.splitlines() if line.startswith("  ") and line[2] != " "
    }
    for kind in ("architecture", "task", "phenomenon", "probe"):
        assert set(registry.names(kind)) <= shown
    assert "probe_of_a_user" in shown
    assert "quick" in shown
