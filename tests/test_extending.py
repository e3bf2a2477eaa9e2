"""docs/extending.md: its files load, keep their contracts and come out as it says, and its commands exist."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

from universality import ResultSet
from universality.audit.plugins.check import check_plugin
from universality.commands import main as cli
from universality.judge.predictions import unfit
from universality.output.page.text import unpacked
from universality.plan import suite
from universality.plugin import registry
from universality.sharing.predict import read

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text()
FILES = dict(re.findall(r"`my_plugins/(\w+\.py)`.*?\n```python\n(.*?)```\n", PAGE, re.DOTALL))
NAMES = [name.removesuffix(".py") for name in FILES]
SHELL = re.findall(
    r"^ {4}(universality (?:.*\\\n)*.*)$|`(universality [^`]+)`",
    PAGE + (ROOT / "README.md").read_text(),
    re.MULTILINE,
)
COMMANDS = [(block or inline).replace("\\\n", " ").partition("  #")[0] for block, inline in SHELL]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "my_plugins"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


def universality(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "universality", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=250)


def test_the_page_has_a_file_of_every_kind_and_a_short_phenomenon() -> None:
    assert NAMES == ["rising_sharpness", "weight_norm", "random_relu", "frozen_biases", "spirals"]
    assert len(FILES["rising_sharpness.py"].splitlines()) <= 60


def test_its_plugins_keep_their_contracts(folder: Path) -> None:
    result = universality("check", *NAMES, "--plugins", str(folder), cwd=folder.parent)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "wrong" not in result.stdout
    assert "skipped" not in result.stdout


@pytest.mark.usefixtures("clean_registry")
def test_its_network_without_a_plugin_keeps_the_contract_of_an_architecture(tmp_path: Path) -> None:
    (text,) = re.findall(r"A file `nets.py`.*?```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "nets.py").write_text(text)
    registry.load_plugins([tmp_path])
    (findings,) = check_plugin("nets:make_net[width=4]", tmp_path).values()
    assert [str(each) for each in findings if each.wrong] == []
    assert [each.question for each in findings if each.skipped] == ["tokens: taken"]


PIECES = """
from dataclasses import dataclass
import numpy as np
from universality import plugin as u

@u.register("pieces", source="docs")
@dataclass(frozen=True, kw_only=True)
class Pieces(u.Phenomenon):
    title, strand, sense = "Pieces", "laws", "sign"
    asks = (u.has_width,)
{piece}
    @u.claim(u.Within(low=0), runs=twins, title="twins", chart=u.Bars("logits", x="logit"))
    def twin(self, runs: u.Runs) -> u.Outcome:
        logits = [run.array("outputs.logits", run.spec.recipe.steps) for run in runs.values()]
        counts = u.Points((0.0, 1.0), tuple(map(np.mean, logits)))
        return u.Outcome(effect=np.abs(logits[0] - logits[1]).mean(), points={{"logits": counts}})

    reference = "mlp[width=8,depth=1]", "digits[subset=100]"
    controls = (u.positive("p", "a test"), u.negative("n", "a test"))
"""


def test_pieces_of_a_class_keep_the_contract_in_one(tmp_path: Path) -> None:
    (piece,) = (text for text in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if text.startswith("@u"))
    (tmp_path / "pieces.py").write_text(PIECES.format(piece=textwrap.indent(piece, "    ")))
    result = universality("check", "pieces", "--plugins", str(tmp_path), cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "skipped" not in result.stdout


def test_its_phenomenon_comes_out_as_it_says(folder: Path) -> None:
    axes = ["--phenomena", "rising_sharpness", "--architectures", "random_relu+frozen_biases"]
    result = universality(
        *("run", "--plugins", "my_plugins", "--name", "page", "--seeds", "3"),
        *(*axes, "--tasks", "spirals[rows=60]"),
        cwd=folder.parent,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    (row,) = ResultSet.load(folder.parent / "results" / "page").rows
    assert row.validated, row.failed_controls
    report = folder.parent / "results" / "page" / "report"
    assert (report / "rising_sharpness.svg").is_file()
    (drawn,) = re.findall(r'id="run-data">(.*?)</script>', (report / "index.html").read_text())
    assert b"sharpness.value" in unpacked(drawn)


@pytest.mark.parametrize("command", sorted(set(COMMANDS)))
def test_its_commands_can_be_typed(command: str) -> None:
    arguments = shlex.split(command)[1:]
    if len(arguments) == 1 and arguments[0] in ("new", "run", "check", "report"):
        return  # the name of a command, not a command line
    cli.build_parser().parse_args(arguments)


def test_pieces_of_python_the_suite_and_the_theory_can_be_read(tmp_path: Path) -> None:
    for text in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        ast.parse(text)
    text, theory = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert suite.parse(text, where="docs").sweeps
    assert set(tomllib.loads(text)) == {
        "name", "description", "controls", "control_seeds", "cross", "sweep",
    }  # fmt: skip
    (tmp_path / "my_theory.toml").write_text(theory)
    (predicted,) = read(tmp_path / "my_theory.toml").predictions
    cross = suite.parse(text, where="docs").crosses[0]
    assert predicted.network in cross.architectures
    assert predicted.task in cross.tasks
    assert not unfit(predicted.value, predicted.low, predicted.high, predicted.level)


@pytest.mark.parametrize("kind", ["probe", "modifier"])
def test_what_is_built_in_is_named(kind: str) -> None:
    modules = {"probe": "universality.probes.", "modifier": "universality.modifiers."}
    built_in = [
        n for n in registry.names(kind) if registry.plugin_class(kind, n).__module__.startswith(modules[kind])
    ]
    assert [name for name in built_in if f"`{name}`" not in PAGE] == []
