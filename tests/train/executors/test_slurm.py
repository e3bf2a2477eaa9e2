"""Workers as jobs: each runs a command to its end, and passes on that it is to make room."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from universality.errors import BadParameter, UniversalityError
from universality.train.executors import slurm
from universality.train.executors.slurm import Join, parsed, run_jobs

ENDING = """
import signal, sys, time
from pathlib import Path
def leave(*_):
    Path(sys.argv[1], "left").touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
Path(sys.argv[1], "started").touch()
time.sleep(600)
"""


def python(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", code, *map(str, arguments)]


def test_parameters_are_typed_as_submitit_wants_them() -> None:
    assert parsed(["gpus_per_node=2", "slurm_partition=a=b"]) == {
        "gpus_per_node": 2,
        "slurm_partition": "a=b",
    }


@pytest.mark.parametrize("text", ["gpus", "=3", "a b=3", ""])
def test_what_is_no_parameter_is_refused(text: str) -> None:
    with pytest.raises(BadParameter, match="--slurm") as caught:
        parsed([text])
    assert caught.value.expected == "name=value"


def test_a_job_that_is_to_make_room_lets_its_worker_give_back_what_it_holds(tmp_path: Path) -> None:
    class MakeRoom(Exception):
        pass

    def make_room(number: int, frame: object) -> None:
        raise MakeRoom

    def ask() -> None:
        while not (tmp_path / "started").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGUSR2)

    before = signal.signal(signal.SIGUSR2, make_room)
    try:
        threading.Thread(target=ask, daemon=True).start()
        with pytest.raises(MakeRoom):
            Join(python(ENDING, tmp_path))()
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert (tmp_path / "left").exists()


def test_without_submitit_or_slurm_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UniversalityError, match="needs submitit") as caught:
        run_jobs([python("")], tmp_path, "toy", {})
    assert "universality[slurm]" in caught.value.do


def test_jobs_run_their_commands_and_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setattr(slurm, "CLUSTER", "local")
    commands = [
        python("import sys; from pathlib import Path; Path(sys.argv[1]).touch()", tmp_path / f"{n}")
        for n in "ab"
    ]
    run_jobs(commands, tmp_path / "logs", "toy", {"timeout_min": 5})
    assert (tmp_path / "a").exists()
    assert (tmp_path / "b").exists()
    with pytest.raises(BadParameter, match="refuses a parameter"):
        run_jobs(commands, tmp_path / "logs", "toy", {"slurm_partitoin": "gpu"})


def test_the_script_asks_slurm_for_what_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine without Slurm, with the commands of one that only remember what they were asked."""
    pytest.importorskip("submitit")
    (tmp_path / "bin").mkdir()
    for name, text in {
        "srun": "",
        "sbatch": f"cp $1 {tmp_path}/script; echo Submitted batch job 12",
        "sacct": "",
    }.items():
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("submitit.core.core.Job.wait", lambda job: None)
    run_jobs([python("")] * 3, tmp_path / "logs", "toy", {"timeout_min": 90, "slurm_partition": "gpu"})
    script = (tmp_path / "script").read_text()
    for line in (
        "--array=0-2%",
        "--job-name=toy",
        "--partition=gpu",
        "--time=90",
        "--signal=USR2@",
        "--open-mode=append",
    ):
        assert f"#SBATCH {line}" in script, script
