"""Imports go down: the floors of the package, what plugins may import, and what never loads torch."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import universality

PACKAGE = Path(universality.__file__).resolve().parent
CHECKOUT = PACKAGE.parent

FLOORS: tuple[set[str], ...] = (
    {"", "errors", "text"},
    {"measures"},
    {"plugin"},
    {"store"},
    {"modifiers", "phenomena", "probes"},
    {"plan"},
    {"train"},
    {"judge"},
    {"output", "watching", "replaying"},
    {"audit"},
    {"hunting", "sharing"},
    {"commands", "__main__"},
    {"assessing"},
)
"""What lies directly below the package (the empty name), from the ground up. A module imports from its own
floor and those below."""

FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}
MODULES = sorted(PACKAGE.rglob("*.py"))
BUILT_IN = ("modifiers", "phenomena", "probes")
PLUGINS = sorted(
    path
    for folder in (
        "architectures",
        "tasks",
        *(f"universality/{kind}" for kind in BUILT_IN),
    )
    for path in (CHECKOUT / folder).glob("*.py")
    if path.name != "__init__.py"
)
OPEN_TO_PLUGINS = {"universality.plugin", "universality.plugin.kit", "universality.measures"}
"""Faces: a plugin imports these, and of the last two what lies inside."""


def part_of(module: str) -> str:
    """The part of the package that a dotted name lies in: `universality.plugin.kit.widths` lies in `nn`."""
    return [*module.split("."), ""][1]


def name_of(path: Path) -> str:
    parts = path.relative_to(CHECKOUT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import, wherever in the file; `from universality import x` names x."""
    package = name_of(path).split(".") if path.name == "__init__.py" else name_of(path).split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            if module != "universality":
                yield node.lineno, module
                continue
            for alias in node.names:
                inside = (PACKAGE / alias.name).is_dir() or (PACKAGE / f"{alias.name}.py").is_file()
                yield node.lineno, f"universality.{alias.name}" if inside else "universality"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            first = node.args[0] if node.args else None
            if called in ("import_module", "__import__") and isinstance(first, ast.Constant):
                yield node.lineno, str(first.value)


def test_every_module_stands_on_one_floor() -> None:
    parts = {part_of(name_of(path)) for path in MODULES}
    assert parts == set(FLOOR), "a module is missing from the table, or the table names one that is gone"
    assert sum(map(len, FLOORS)) == len(FLOOR), "a module stands on two floors"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_down(path: Path) -> None:
    here = part_of(name_of(path))
    upward = [
        f"line {line}: {here} (floor {FLOOR[here]}) imports {name} (floor {FLOOR[part_of(name)]})"
        for line, name in imported(path)
        if name.split(".")[0] == "universality" and FLOOR[part_of(name)] > FLOOR[here]
    ]
    assert upward == []


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_plugins_import_the_public_parts_only(path: Path) -> None:
    names = [(line, name) for line, name in imported(path) if name.split(".")[0] == "universality"]
    assert names, "a plugin that imports no contract is no plugin"
    assert [(line, name) for line, name in names if not open_to_plugins(name)] == []


def open_to_plugins(module: str) -> bool:
    inside = ("universality.plugin.kit.", "universality.measures.")
    return module in OPEN_TO_PLUGINS or module.startswith(inside)


@pytest.mark.parametrize("path", MODULES + PLUGINS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_nobody_imports_plugins_by_name(path: Path) -> None:
    roots = {name.split(".")[0] for _, name in imported(path)}
    assert not roots & {"architectures", "tasks", "universality_plugins", "tests", "benchmarks"}


def test_the_walk_sees_imports_in_functions_relative_ones_and_submodules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "CHECKOUT", tmp_path)
    path = tmp_path / "universality" / "plugin" / "widths.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "from universality import output, __version__\n"
        "from ..plan import suite\n"
        "from . import patches\n"
        "import universality.plugin.spec as s\n"
        "def f():\n"
        "    from universality.output import show\n"
        "    import importlib; importlib.import_module('universality.probes')\n"
    )
    assert list(imported(path)) == [
        (1, "universality.output"),
        (1, "universality"),
        (2, "universality.plan"),
        (3, "universality.plugin"),
        (4, "universality.plugin.spec"),
        (6, "universality.output"),
        (7, "importlib"),
        (7, "universality.probes"),
    ]


WITHOUT_TORCH = (
    "plugin",
    *("store.store", "plan.suite", "train.queue", "train.leases", "train.executors.local"),
    *("judge.controls", "judge.boundary", "judge.resultset", "judge.compare", "judge.leaderboard"),
    *("output.build", "output.compare", "output.leaderboard", "audit.result_set", "sharing.publish"),
    *("commands.main", "commands.status", "commands.check"),
)


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_what_reads_and_what_supervises_never_loads_torch(module: str, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        assert name.partition('.')[0] != 'torch', 'torch was imported'\n"
        "sys.meta_path.insert(0, Refuse())\n"
        f"import importlib; importlib.import_module('universality.{module}')\n"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (result.returncode, result.stderr) == (0, "")
