"""What `import universality` offers: the commands as functions, loaded when they are used, without torch."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import universality
from universality import ResultSet, compare, leaderboard

RESULTS = Path(__file__).resolve().parents[1] / "results"
NAMES = [
    "ResultSet",
    "assess",
    "check",
    "compare",
    "export",
    "hunt",
    "leaderboard",
    "predict",
    "publish",
    "replay",
    "report",
    "run",
    "status",
    "watch",
    "worker",
]


def test_the_names_that_people_use_are_offered() -> None:
    assert sorted(universality.__all__) == NAMES
    assert all(callable(getattr(universality, name)) for name in NAMES)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "ResultSet"])
def test_a_command_is_a_function_with_types_and_a_docstring(name: str) -> None:
    command = getattr(universality, name)
    parameters = inspect.signature(command).parameters.values()
    assert all(parameter.annotation is not parameter.empty for parameter in parameters)
    assert inspect.signature(command).return_annotation is not inspect.Signature.empty
    assert command.__doc__


def test_no_name_loads_torch_or_gives_way_to_a_module() -> None:
    code = (
        "import sys, universality\n"
        "import universality.output.build, universality.judge.compare, universality.commands.run\n"
        f"assert all(callable(getattr(universality, name)) for name in {NAMES})\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=RESULTS.parent)
    assert (done.returncode, done.stderr) == (0, "")


def test_paths_may_be_texts_and_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    comparison = compare(str(RESULTS / "quick-cpu"), str(RESULTS / "quick-cpu"))
    assert not comparison.differs
    assert comparison.contradictions == ()
    assert comparison.joined[0].question[0] == "edge_of_stability"
    board = leaderboard([str(RESULTS / "quick-cpu")])  # type: ignore[list-item]
    assert len(board.rows) == len(ResultSet.load(RESULTS / "quick-cpu").rows)
    assert capsys.readouterr() == ("", "")
