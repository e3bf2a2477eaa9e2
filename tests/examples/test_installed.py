"""Examples and commands run from what `pip install` leaves, far from the checkout: every file that they read is in the wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.examples.test_examples import CHECKOUT, EXAMPLES

RUN = """
import runpy, sys
from pathlib import Path
import universality
site, examples = map(Path, sys.argv[1:])
assert Path(universality.__file__).is_relative_to(site), universality.__file__
main = lambda name: runpy.run_path(str(examples / name))["main"]
if __name__ == "__main__":
    print(main("watch_your_own_loop.py")(steps=20))
    print(main("replay_a_training.py")(Path("checkpoints"), steps=20))
    for name in ("from_arrays_to_a_verdict.py", "assess_your_own_network.py"):
        finished = main(name)(Path("results"), controls=False, steps=5)
        assert finished.results.rows and not finished.failed, name
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_what_is_installed_runs_the_examples(tmp_path: Path) -> None:
    """Building the wheel takes what `[build-system]` names from the package index."""
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(site),
        str(CHECKOUT),
    ]
    installed = subprocess.run(install, capture_output=True, text=True)
    assert installed.returncode == 0, installed.stderr
    shutil.copytree(EXAMPLES, elsewhere / "examples")
    (elsewhere / "run.py").write_text(RUN)
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}

    def output_of(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command], cwd=elsewhere, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    shown = output_of("run.py", str(site), str(elsewhere / "examples"))
    assert "neural_collapse.nc1" in shown
    assert "CKA of two seeds: " in shown
    for suite in ("quick", "calibration"):  # both on data that scikit-learn carries, or made up
        assert "distinct runs" in output_of(
            "-m", "universality", "run", "--suite", suite, "--dry-run", "--device", "cpu"
        )
    assert "edge_of_stability" in output_of("-m", "universality", "list", "phenomena")
    page = next((elsewhere / "results").rglob("index.html")).read_text(encoding="utf-8")
    assert "Which behaviours of deep learning are universal?" in page
