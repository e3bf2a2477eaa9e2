"""The examples of the documentation run as they are, shortened; those of `watch` and `assess` beside these."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import universality
from universality.commands.check import check
from universality.judge.resultset import ResultSet

CHECKOUT = Path(universality.__file__).resolve().parents[1]
EXAMPLES = CHECKOUT / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))

if not EXAMPLES.exists():
    pytest.skip("the examples are in a checkout only", allow_module_level=True)


def main_of(name: str) -> Any:
    return runpy.run_path(str(EXAMPLES / name))["main"]


def test_a_series_is_written_and_replayed(tmp_path: Path) -> None:
    text = main_of("replay_a_training.py")(tmp_path, steps=50)
    assert text.startswith("seed0: seed 0, 11 steps from 0 to 50, weights moved by ")
    for claim in ("nc1", "nc2_norms", "nc2_angles", "nc3"):
        assert f"neural_collapse.{claim} " in text
    assert "CKA of two seeds: " in text


def test_arrays_come_to_a_row_for_every_claim(tmp_path: Path) -> None:
    finished = main_of("from_arrays_to_a_verdict.py")(tmp_path, controls=False, steps=5)
    assert finished.failed == finished.unmeasured == ()
    assert {record.architecture for record in finished.results.records} == {"mlp[width=48]", "cnn"}
    assert len(finished.results.rows) == 4


def test_two_result_sets_are_read_without_torch() -> None:
    code = (
        "import runpy, sys\n"
        f"print(runpy.run_path({str(EXAMPLES / 'read_result_sets.py')!r})['main']())\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    (row,) = (
        row
        for row in ResultSet.load(CHECKOUT / "results" / "standard-cpu").rows
        if (row.phenomenon, row.claim_name) == ("grokking", "delay")
    )
    told = f"grokking.delay: {row.counts['present']} present, {row.counts['absent']} absent, validated"
    assert row.counts["present"]
    assert told in done.stdout
    assert "cells are in both sets, " in done.stdout


def test_outside_of_a_checkout_the_example_says_which_set_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(
        SystemExit, match=rf"no result set in {tmp_path}: .* name two sets of your own in main"
    ):
        main_of("read_result_sets.py")(tmp_path)


def test_the_phenomenon_keeps_its_contract() -> None:
    found = check(["early_progress"], plugins=[EXAMPLES / "phenomenon"])
    assert not found.wrong, found.lines
    assert "  ok early: is measured after 3 updates" in found.lines


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_stored_without_outputs(path: Path) -> None:
    cells = json.loads(path.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_in_a_kernel(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    monkeypatch.setenv("SEEDS", "3")
    monkeypatch.setenv("STEPS", "10")
    book = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(book, timeout=200, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    shown = [output["data"] for output in outputs if "data" in output]
    assert any(
        "errors_seeds" in str(data) or "err at the same inputs" in data.get("text/html", "") for data in shown
    )
    assert any("image/png" in data for data in shown)
    assert (tmp_path / "results" / "notebook" / "evidence.csv").exists()


SCRIPT = """
open("starts.txt", "a").write("started\\n")
import universality
universality.run(
    phenomena=["function_agreement[steps=2]"], architectures=["mlp[width=8]"], tasks=["digits[subset=60]"],
    seeds=2, name="mine", workers=2, device="cpu",
)
"""


def test_a_script_without_a_guard_starts_no_processes_without_end(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 1
    assert "a script starts work where its workers import it" in done.stderr
    assert 'put it under `if __name__ == "__main__":`' in done.stderr
    starts = (tmp_path / "starts.txt").read_text().count("started")
    assert starts <= 3, "itself, and each of two workers once"
