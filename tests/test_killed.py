"""`kill -9` of a command, of a worker, of both, at random moments of a suite: the same table, and nothing left behind."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.processes import stat
from tests.test_end_to_end import DIGITS, MLP, MODULAR, TANH, Bench, cross, environment

KILLS = 20

OFTEN_SAVING = """
import sys
from universality.train import worker
from universality.train.engine import loop_steps, saving
from universality.train.executors import local

def prepare(settings):
    saving.EVERY, loop_steps.TURN = 0.2, 0.05
    return worker.prepare(settings)

if __name__ == "__main__":
    from universality.commands.main import main
    local.run_all.__kwdefaults__["target"] = "often_saving:prepare"
    sys.exit(main())
"""
"""The command, but every training is saved five times a second, so that what is killed is taken up in the middle."""


def descendants(root: int) -> set[int]:
    parents = {int(p.name): stat(int(p.name)) for p in Path("/proc").iterdir() if p.name.isdecimal()}
    found, more = set[int](), {root}
    while more:
        found |= more
        more = {pid for pid, told in parents.items() if told and int(told[1]) in found} - found
    return found - {root}


def workers(root: int) -> list[int]:
    """Children of the fork server: each leads a group."""
    return sorted(pid for pid in descendants(root) if (told := stat(pid)) and int(told[2]) == pid)


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def wait_until_gone(pids: set[int], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while alive := [pid for pid in pids if (told := stat(pid)) and told[0] != "Z"]:
        assert time.monotonic() < deadline, f"still alive: {alive}"
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_whatever_is_killed_the_table_is_that_of_an_uninterrupted_suite(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    script = tmp_path / "code" / "often_saving.py"
    script.write_text(OFTEN_SAVING)
    whole = Bench(tmp_path / "whole")
    whole.folder.mkdir()
    crosses = (
        cross(["grokking[steps=1500]"], [MLP], [MODULAR], seeds=3),
        cross(
            ["edge_of_stability[gd_steps=60,momentum_steps=60,adaptive_steps=60,rates=2,records=6]"],
            [TANH],
            [DIGITS],
            seeds=3,
        ),
    )
    start = time.monotonic()
    whole.run(whole.suite(*crosses))
    duration = time.monotonic() - start
    expected = (whole.results / "evidence.csv").read_bytes()
    draw, hit, resumed = random.Random(0), 0, 0
    for number in range(KILLS):
        bench = Bench(tmp_path / str(number))
        bench.folder.mkdir()
        arguments = bench.command(bench.suite(*crosses))[3:]
        settings = environment()
        settings["PYTHONPATH"] = os.pathsep.join([settings["PYTHONPATH"], str(script.parent)])
        command = [sys.executable, str(script), *arguments]
        with (bench.folder / "output").open("w") as output:
            process = subprocess.Popen(
                command, env=settings, stdout=output, stderr=output, start_new_session=True, cwd=bench.folder
            )
            time.sleep(draw.uniform(0.1, duration))
            kind = ("parent", "worker", "both")[number % 3]
            seen = descendants(process.pid)
            while kind != "parent" and not workers(process.pid) and process.poll() is None:
                time.sleep(0.01)
                seen |= descendants(process.pid)
            victims = [draw.choice(found)] if kind != "parent" and (found := workers(process.pid)) else []
            victims += [process.pid] if kind != "worker" else []
            seen |= descendants(process.pid)
            hit += process.poll() is None
            for victim in draw.sample(victims, len(victims)):
                kill(victim)
            code = process.wait(600)
            wait_until_gone(seen)
            if code != 0:
                assert (kind == "worker", code) == (False, -signal.SIGKILL), (
                    bench.folder / "output"
                ).read_text()
                code = subprocess.run(
                    command, env=settings, stdout=output, stderr=output, cwd=bench.folder
                ).returncode
        assert code == 0, (bench.folder / "output").read_text()
        assert (bench.results / "evidence.csv").read_bytes() == expected, f"{number}, {kind}"
        assert [*(bench.results / "tmp").iterdir(), *(bench.results / "leases").iterdir()] == []
        logs = [path.read_text() for path in (bench.results / "runs").glob("*/log.txt")]
        resumed += sum("resumed after update" in log for log in logs)
    print(f"{hit} of {KILLS} kills met a running command, {resumed} runs were taken up in the middle")
    assert hit >= 15
    assert resumed > 0
