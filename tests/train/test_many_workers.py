"""Many workers on one store, killed, suspended and continued: every run is published once and intact."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from universality.plan.plan import Job
from universality.plugin.spec import Component, Recipe, RunSpec
from universality.store.store import Store
from universality.train.executors import local

WORKER = """
import os, signal, sys, time
from functools import partial
from pathlib import Path
import numpy as np
from universality.plan.plan import Job
from universality.plugin.spec import Component, Recipe, RunSpec
from universality.plugin.trajectory import Series
from universality.store import store as stores
from universality.store.store import Recording, Store
from universality.train.executors import local, process, supervisor
from universality.train.leases import Leases
from universality.train.messages import RunReply, WorkerSettings

def job(seed):
    return Job(RunSpec(Component("mlp"), Component("xor"), Recipe(steps=10, lr=0.1), seed), {"loss": (0, 10)})

def first_time(path):
    try:
        path.open("x").close()
    except FileExistsError:
        return False
    return True

def die():
    os.kill(os.getpid(), signal.SIGKILL)

write, rename = stores.write_durably, os.rename

def slow_write(path, data):
    time.sleep(0.002)  # so that signals arrive in the middle of publishing
    write(path, data)

def prepare(settings):
    store, scratch = Store.open(settings.store_root), settings.data_root
    stores.write_durably = slow_write

    def train(stack):
        for planned in stack:
            spec = planned.spec
            with open(scratch / "trained", "a") as log:
                log.write(f"{spec.seed}\\n")
            loss = Series(np.arange(500), np.linspace(1, spec.seed, 500))
            recording = Recording(spec=spec, state="done", series={"loss": loss}, arrays={}, facts={}, seconds=0.0,
                                  observed=planned.observe)
            if settings.engine == "fused" and spec.seed % 50 == 7 and first_time(scratch / f"before-{spec.seed}"):
                os.rename = lambda *paths: die()
            store.publish(recording)
            if settings.engine == "fused" and spec.seed % 50 == 13 and first_time(scratch / f"after-{spec.seed}"):
                die()
            yield RunReply(spec.id, "done", 0.0)

    return train

if __name__ == "__main__":
    root, runs, slots = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    process.PRELOAD = []
    supervisor.LOOK_AGAIN = 0.2
    local.Leases = partial(Leases, stale_after=float(sys.argv[4]))
    # "fused" stands for: workers kill themselves now and then while they publish.
    settings = WorkerSettings(store_root=root / "r", device="cpu", plugins=(), data_root=root / "scratch",
                              engine="fused" if slots else "auto")
    states = local.run_all([job(seed) for seed in range(runs)], settings, slots=slots, timeout_s=600, wait=False,
                           retry_failed=False, on_event=lambda event: None, target="many_workers:prepare")
    print({state for state in states.values()} or "", len(states))
"""


class Workers:
    """Worker processes on one store."""

    def __init__(self, folder: Path, runs: int, *, slots: int, stale_after: float) -> None:
        self.folder, self.total = folder, runs
        (folder / "code").mkdir()
        (folder / "code" / "many_workers.py").write_text(WORKER)
        (folder / "scratch").mkdir()
        self.store = Store.create(folder / "r")
        arguments = [str(folder), str(runs), str(slots), str(stale_after)]
        self._command = [sys.executable, str(folder / "code" / "many_workers.py"), *arguments]
        self.processes: list[subprocess.Popen[str]] = []

    def start(self) -> subprocess.Popen[str]:
        repository = str(Path(local.__file__).resolve().parents[3])
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([repository, str(self.folder / "code")])}
        environment["OMP_NUM_THREADS"] = "1"
        process = subprocess.Popen(
            self._command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.processes.append(process)
        return process

    def published(self) -> list[str]:
        return [path.name for path in self.store.layout.runs.iterdir()]

    def wait_for(self, published: int) -> None:
        deadline = time.monotonic() + 1500
        while len(self.published()) < published:
            assert time.monotonic() < deadline, f"{len(self.published())} of {published} published"
            assert any(process.poll() is None for process in self.processes), "all have ended"
            time.sleep(0.005)

    def end_well(self, process: subprocess.Popen[str]) -> None:
        out, err = process.communicate(timeout=1500)
        assert (process.returncode, err) == (0, ""), err
        assert out.startswith("{'done'}") or out.split() == ["0"], out

    def check(self) -> None:
        """Everything is published, once and intact, and whoever opens the store next finds no litter."""
        store = Store.open(self.store.layout.root, writable=True)
        jobs = [a_job(seed) for seed in range(self.total)]
        assert all(store.covers(job.spec.id, job.observe) for job in jobs)
        assert store.damaged == []
        assert sorted(self.published()) == sorted(job.spec.id for job in jobs)
        assert [*store.layout.tmp.iterdir(), *store.layout.leases.iterdir()] == []

    def trained_twice(self) -> int:
        return len((self.folder / "scratch" / "trained").read_text().split()) - self.total


def a_job(seed: int) -> Job:
    return Job(RunSpec(Component("mlp"), Component("xor"), Recipe(steps=10, lr=0.1), seed), {"loss": (0, 10)})


@contextlib.contextmanager
def workers(folder: Path, runs: int, *, slots: int, stale_after: float) -> Iterator[Workers]:
    made = Workers(folder, runs, slots=slots, stale_after=stale_after)
    try:
        yield made
    finally:
        for process in made.processes:
            process.kill()
            process.communicate()


def disturb(group: Workers, *, count: int, kills: int, stale_after: float, seed: int = 0) -> None:
    """Start `count` workers, kill some at random moments, suspend one beyond its leases and let it go on."""
    draw = random.Random(seed)
    for _ in range(count):
        group.start()
    victims = draw.sample(group.processes, kills + 1)
    moments = sorted(draw.sample(range(1, int(0.7 * group.total)), kills))
    suspended = victims.pop()
    group.wait_for(1)
    suspended.send_signal(signal.SIGSTOP)
    until = time.monotonic() + 2 * stale_after
    for moment, victim in zip(moments, victims, strict=True):
        group.wait_for(moment)
        victim.kill()
    time.sleep(max(0.0, until - time.monotonic()))
    suspended.send_signal(signal.SIGCONT)
    for process in group.processes:
        if process not in victims:
            group.end_well(process)
    # What the last to be killed held is left where all others had ended before.
    group.end_well(group.start())


def test_killed_and_suspended_workers_leave_every_run_published_once(tmp_path: Path) -> None:
    with workers(tmp_path, 60, slots=0, stale_after=1.0) as group:
        disturb(group, count=4, kills=2, stale_after=1.0)
        group.check()
        assert group.trained_twice() <= 10


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_sixteen_workers_with_kills_also_while_they_publish(tmp_path: Path) -> None:
    with workers(tmp_path, 400, slots=1, stale_after=2.0) as group:
        disturb(group, count=16, kills=8, stale_after=2.0)
        group.check()
        crashed = [f for seed in range(400) for f in group.store.failures(a_job(seed).spec.id)]
        assert {failure.kind for failure in crashed} == {"crashed"}
        assert 8 <= len(crashed) <= 8 + 16, "at seeds 7 + 50k in the middle, at 13 + 50k after publishing"
