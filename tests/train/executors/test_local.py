"""Supervised workers: what dies, hangs or fails costs its own run and nothing else."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, field, replace
from multiprocessing import connection
from pathlib import Path
from typing import Any

import pytest

from tests.processes import alive
from universality.errors import DeviceUnavailable, UniversalityError
from universality.plan.plan import Job
from universality.plugin import registry
from universality.plugin.registry import component
from universality.plugin.spec import Component, Recipe, RunSpec
from universality.store.store import Store
from universality.train.engine import rate
from universality.train.executors import local, supervisor
from universality.train.executors.local import run_all
from universality.train.executors.process import start_fork_server
from universality.train.leases import Leases
from universality.train.messages import RunReply, WorkerSettings
from universality.train.queue import Event, JobQueue

FAKE_WORKER = """
import json, os, signal, subprocess, sys, time
from pathlib import Path
import numpy as np
from universality.errors import DeviceUnavailable
from universality.plugin.trajectory import Series
from universality.store.store import Recording, Store
from universality.train.messages import RunReply

def publish(store, spec, job):
    torch = sys.modules.get("torch")
    threads = torch and torch.get_num_threads()
    series = {"pid": Series(np.array([0]), np.array([float(os.getpid())]))}
    store.publish(Recording(spec=spec, state="done", series=series, arrays={}, observed=job.observe,
                            facts={"threads": threads}, seconds=0.0))

def prepare(settings):
    store, scratch = Store.open(settings.store_root), settings.data_root
    if settings.device == "absent":
        raise DeviceUnavailable("no such device", got="absent", do="use another")
    if settings.device == "deadly":
        os._exit(5)

    def train(stack):
        (job,) = stack
        spec = job.spec
        act = spec.task.name
        marker = scratch / spec.id
        tries = len(marker.read_text()) if marker.exists() else 0
        marker.write_text("x" * (tries + 1))
        reply = RunReply(spec.id, "done", 0.0)
        if act == "dies" or (act == "dies_once" and tries == 0):
            os.kill(os.getpid(), signal.SIGKILL)
        elif act in ("SIGINT", "SIGTERM", "SIGHUP"):
            os.kill(os.getpid(), signal.Signals[act])
            time.sleep(0.1)
            publish(store, spec, job)
        elif act == "exits":
            os._exit(3)
        elif act == "raises":
            raise ZeroDivisionError("outside of a job")
        elif act in ("hangs", "leaves", "leaves_and_dies"):
            left = subprocess.Popen(["sleep", "900"])
            (scratch / "left").write_text(str(left.pid))
            if act == "hangs":
                (scratch / "hanging").write_text(str(os.getpid()))
                time.sleep(600)
            if act == "leaves_and_dies":
                os.kill(os.getpid(), signal.SIGKILL)
            publish(store, spec, job)
        elif act == "prints":
            print("\\n".join(["so much"] * 500_000), file=sys.stderr)
            publish(store, spec, job)
        elif act == "fails":
            reply = RunReply(spec.id, "failed", 0.0, "ValueError: bad", "Traceback ...")
        elif act != "lies":
            publish(store, spec, job)
        yield reply
        if act == "replies_and_dies":
            os.kill(os.getpid(), signal.SIGKILL)

    return train
"""


def a_job(act: str = "trains", seed: int = 0) -> Job:
    return Job(RunSpec(Component("mlp"), Component(act), Recipe(steps=10, lr=0.1), seed), {"loss": (0, 10)})


@dataclass
class Bench:
    """A store, a fake worker and the events that came."""

    root: Path
    scratch: Path
    events: list[Event] = field(default_factory=list)

    def run(self, asked: list[Job], slots: int = 2, timeout_s: float = 60.0, **kwargs: Any) -> dict[str, str]:
        options = {"on_event": self.events.append, "target": "fake_worker:prepare", **kwargs}
        settings = WorkerSettings(
            store_root=options.pop("store_root", self.root),
            device=options.pop("device", "cpu"),
            plugins=(),
            data_root=self.scratch,
        )
        return dict(run_all(asked, settings, slots=slots, timeout_s=timeout_s, **options))

    @property
    def store(self) -> Store:
        return Store.open(self.root)

    def attempts(self, job: Job) -> int:
        """How often a worker was given the job."""
        marker = self.scratch / job.spec.id
        return len(marker.read_text()) if marker.exists() else 0

    def states(self, job: Job) -> list[str | None]:
        return [event.state for event in self.events if event.run_id == job.spec.id]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    code = tmp_path / "code"
    code.mkdir()
    (code / "fake_worker.py").write_text(FAKE_WORKER)
    monkeypatch.syspath_prepend(code)
    monkeypatch.delitem(sys.modules, "fake_worker", raising=False)
    Store.create(tmp_path / "results")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Bench(tmp_path / "results", scratch)


def wait_for(path: Path, seconds: float = 40.0) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if path.exists() and (text := path.read_text()):
            return text
        time.sleep(0.02)
    raise AssertionError(f"{path.name} did not appear")


def wait_until_dead(pid: int, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while alive(pid):
        assert time.monotonic() < end, f"process {pid} still lives"
        time.sleep(0.02)


def test_every_job_is_published_by_as_many_workers_as_there_are_slots(bench: Bench) -> None:
    asked = [a_job(seed=s) for s in range(6)]
    assert set(bench.run(asked, slots=2).values()) == {"done"}
    found = [bench.store.trajectory(job.spec.id, job.observe) for job in asked]
    pids = {run.series("pid").at(0) for run in found if run is not None}
    assert len(found) == 6
    assert None not in found
    assert 1 <= len(pids) <= 2
    assert os.getpid() not in pids
    assert {run.facts["threads"] for run in found if run is not None} == {1}
    assert sum(event.state is not None for event in bench.events) == 6
    assert list((bench.root / "leases").iterdir()) == []


def test_a_worker_killed_in_the_middle_costs_one_attempt_and_the_rest_goes_on(bench: Bench) -> None:
    victim, others = a_job("dies_once"), [a_job(seed=s) for s in range(4)]
    states = bench.run([victim, *others])
    assert set(states.values()) == {"done"}
    assert bench.attempts(victim) == 2
    assert bench.states(victim) == [None, "done"]
    (failure,) = bench.store.failures(victim.spec.id)
    assert failure.kind == "crashed"
    assert "SIGKILL" in failure.message
    assert [bench.attempts(job) for job in others] == [1] * 4


@pytest.mark.parametrize(
    ("act", "message"),
    [("dies", "SIGKILL"), ("exits", "exited with code 3"), ("raises", "ZeroDivisionError")],
)
def test_a_job_that_always_kills_its_worker_is_recorded_crashed_after_two_attempts(
    bench: Bench, act: str, message: str
) -> None:
    killer, other = a_job(act), a_job()
    states = bench.run([killer, other])
    assert states == {killer.spec.id: "crashed", other.spec.id: "done"}
    failures = bench.store.failures(killer.spec.id)
    assert [f.kind for f in failures] == ["crashed", "crashed"]
    assert all(message in f.message for f in failures)
    assert bench.attempts(killer) == 2
    assert ("outside of a job" in failures[0].traceback) == (act == "raises")


def test_a_run_over_its_limit_is_killed_recorded_and_not_repeated(bench: Bench) -> None:
    slow, other = a_job("hangs"), a_job()
    states = bench.run([slow, other], timeout_s=1.0)
    assert states == {slow.spec.id: "timeout", other.spec.id: "done"}
    (failure,) = bench.store.failures(slow.spec.id)
    assert failure.kind == "timeout"
    assert 1.0 <= failure.seconds < 10.0
    assert failure.memory_bytes is not None
    assert failure.memory_bytes > 1 << 20
    wait_until_dead(int((bench.scratch / "hanging").read_text()))


@pytest.mark.parametrize(
    ("act", "state"), [("hangs", "timeout"), ("leaves", "done"), ("leaves_and_dies", "crashed")]
)
def test_what_a_worker_has_started_ends_with_it(bench: Bench, act: str, state: str) -> None:
    job = a_job(act)
    assert bench.run([job], timeout_s=3.0) == {job.spec.id: state}
    wait_until_dead(int((bench.scratch / "left").read_text()))


def test_a_worker_that_prints_without_end_fills_no_log(
    bench: Bench, capfd: pytest.CaptureFixture[str]
) -> None:
    job = a_job("prints")
    assert bench.run([job]) == {job.spec.id: "done"}
    assert capfd.readouterr() == ("", "")


def test_a_failed_job_keeps_its_traceback_and_its_worker(bench: Bench) -> None:
    bad, good = a_job("fails"), a_job()
    assert bench.run([bad, good], slots=1) == {bad.spec.id: "failed", good.spec.id: "done"}
    (failure,) = bench.store.failures(bad.spec.id)
    assert (failure.kind, failure.message, failure.traceback) == (
        "failed",
        "ValueError: bad",
        "Traceback ...",
    )


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_to_all_processes_of_a_command_is_left_to_the_parent(bench: Bench, number: str) -> None:
    job = a_job(number)
    assert bench.run([job]) == {job.spec.id: "done"}
    assert bench.attempts(job) == 1


def test_a_lease_is_given_back_as_soon_as_its_run_has_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    free: dict[str, list[bool]] = {}
    finish = JobQueue.finish

    def look(run_id: str) -> None:
        with Leases(bench.root / "leases") as other:
            free.setdefault(run_id, []).append(other.acquire(run_id))

    def look_and_finish(queue: JobQueue, job: Job, reply: RunReply) -> None:
        look(job.spec.id)
        finish(queue, job, reply)

    monkeypatch.setattr(JobQueue, "finish", look_and_finish)
    good, bad = a_job(), a_job("fails")
    bench.run([good, bad], slots=0, on_event=lambda event: look(event.run_id))
    assert free == {good.spec.id: [False, True], bad.spec.id: [False, True]}


def test_a_reply_counts_though_its_sender_died_right_after_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(items: list[Any], timeout: float | None) -> list[Any]:
        time.sleep(0.3)
        return list(connection.wait(items, timeout))

    monkeypatch.setattr(supervisor, "wait", late)
    job, after = a_job("replies_and_dies"), a_job()
    assert bench.run([job, after], slots=1) == {job.spec.id: "done", after.spec.id: "done"}
    assert bench.store.failures(job.spec.id) == []


def test_a_worker_that_says_done_without_publishing_has_failed(bench: Bench) -> None:
    liar = a_job("lies")
    assert bench.run([liar]) == {liar.spec.id: "failed"}
    assert "the store holds no recording" in bench.store.failures(liar.spec.id)[0].message


def test_stored_runs_are_skipped_and_failed_ones_tried_again_when_asked_again(bench: Bench) -> None:
    asked = [a_job(), a_job("fails")]
    bench.run(asked, slots=0)
    states = bench.run(asked, slots=0)
    assert [bench.attempts(job) for job in asked] == [1, 2]
    assert set(states.values()) == {"done", "failed"}
    assert bench.states(asked[0]) == ["done", "done"]


def test_nothing_is_started_where_everything_is_stored(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.run([a_job()], slots=0)
    monkeypatch.setattr(supervisor, "WorkerProcess", None)
    assert bench.run([a_job()], slots=2) == {a_job().spec.id: "done"}


def test_a_run_is_trained_again_for_steps_that_no_recording_has(bench: Bench) -> None:
    first = a_job()
    wider = Job(first.spec, {"loss": (0, 5, 10)})
    bench.run([first], slots=0)
    bench.run([wider], slots=0)
    assert bench.attempts(first) == 2
    assert {p.name for p in (bench.root / "runs").iterdir()} == {first.spec.id, f"{first.spec.id}.r2"}


def test_two_jobs_of_one_run_are_refused(bench: Bench) -> None:
    with pytest.raises(ValueError, match="same run id"):
        bench.run([a_job(), a_job()])


def test_a_job_that_another_process_holds_is_left_for_the_end_and_then_found_stored(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "LOOK_AGAIN", 0.2)
    held, free = a_job(seed=0), a_job(seed=1)
    other = Leases(bench.root / "leases")
    assert other.acquire(held.spec.id)

    def publish_elsewhere(event: Event) -> None:
        bench.events.append(event)
        if event.run_id == free.spec.id:
            elsewhere = Bench(bench.root, bench.scratch)
            other.release(held.spec.id)
            elsewhere.run([held], slots=0)

    states = bench.run([held, free], slots=1, on_event=publish_elsewhere)
    other.close()
    assert set(states.values()) == {"done"}
    assert bench.states(held) == ["done"]
    assert bench.attempts(held) == 1


def test_a_job_at_which_another_process_failed_meanwhile_is_not_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "LOOK_AGAIN", 0.05)
    job = a_job()
    other = Leases(bench.root / "leases")
    other.acquire(job.spec.id)

    def fail_elsewhere(queue: JobQueue) -> None:
        bench.store.fail(job.spec.id, "failed", "out of luck")
        other.release(job.spec.id)
        ask_again(queue)

    ask_again = JobQueue.ask_again
    monkeypatch.setattr(JobQueue, "ask_again", fail_elsewhere)
    assert bench.run([job], slots=0) == {job.spec.id: "failed"}
    other.close()
    assert bench.attempts(job) == 0


def test_a_failed_run_is_left_alone_by_whoever_does_not_ask_for_it(bench: Bench) -> None:
    job = a_job("fails")
    bench.run([job], slots=0)
    assert bench.run([job], slots=0, retry_failed=False) == {job.spec.id: "failed"}
    assert bench.attempts(job) == 1
    assert bench.events[-1].message == "ValueError: bad"


def test_crashes_are_counted_over_all_processes_that_try_a_run(bench: Bench) -> None:
    once, twice = a_job("dies_once"), a_job("dies")
    for job in (once, twice):
        bench.store.fail(job.spec.id, "crashed", "killed elsewhere, and its supervisor with it")
    states = bench.run([once, twice], retry_failed=False, slots=1)
    assert states == {once.spec.id: "crashed", twice.spec.id: "crashed"}
    assert [bench.attempts(job) for job in (once, twice)] == [1, 1]
    assert bench.run([once, twice], retry_failed=False, slots=1) == states
    assert [bench.attempts(job) for job in (once, twice)] == [1, 1]
    # Whoever asks for them again gives both two attempts anew.
    assert list(bench.run([once, twice], slots=1).values()) == ["done", "crashed"]
    assert [bench.attempts(job) for job in (once, twice)] == [2, 3]


@pytest.mark.parametrize("slots", [0, 1])
def test_runs_that_others_hold_are_left_to_them_by_whoever_does_not_wait(bench: Bench, slots: int) -> None:
    held, free = a_job(seed=0), a_job(seed=1)
    with Leases(bench.root / "leases") as other:
        assert other.acquire(held.spec.id)
        assert bench.run([held, free], slots=slots, wait=False) == {free.spec.id: "done"}
    assert bench.run([held, free], slots=slots, wait=False).keys() == {held.spec.id, free.spec.id}


@pytest.mark.parametrize("slots", [0, 1])
def test_a_run_that_was_given_back_while_others_trained_is_taken_by_whoever_does_not_wait(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, slots: int
) -> None:
    monkeypatch.setattr(supervisor, "LOOK_AGAIN", 0.0)
    held, free = a_job(seed=0), a_job(seed=1)
    other = Leases(bench.root / "leases")
    other.acquire(held.spec.id)
    states = bench.run([held, free], slots=slots, wait=False, on_event=lambda event: other.close())
    assert set(states.values()) == {"done"}
    assert bench.attempts(held) == 1


def test_an_error_that_the_user_can_mend_ends_the_command_as_itself(bench: Bench) -> None:
    with pytest.raises(DeviceUnavailable, match="no such device") as caught:
        bench.run([a_job()], device="absent")
    assert caught.value.do == "use another"
    assert bench.store.failures(a_job().spec.id) == []


def test_workers_that_die_at_the_start_end_the_command_instead_of_failing_every_job(bench: Bench) -> None:
    with pytest.raises(UniversalityError, match="before they take a job"):
        bench.run([a_job(seed=s) for s in range(3)], target="module_that_does_not_exist:prepare")
    with pytest.raises(UniversalityError, match="before they take a job"):
        bench.run([a_job(seed=s) for s in range(3)], device="deadly", slots=1)


def test_an_exception_in_the_parent_kills_the_children_and_is_raised_again(bench: Bench) -> None:
    def interrupt(event: Event) -> None:
        if event.state == "done":
            wait_for(bench.scratch / "hanging")
            raise KeyboardInterrupt

    slow, quick = a_job("hangs"), a_job()
    with pytest.raises(KeyboardInterrupt):
        bench.run([slow, quick], on_event=interrupt)
    wait_until_dead(int((bench.scratch / "hanging").read_text()))
    assert bench.store.covers(quick.spec.id, quick.observe)
    assert bench.store.failures(slow.spec.id) == []
    assert list((bench.root / "leases").iterdir()) == []


PARENT = """
import signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
sys.path.insert(0, {code!r})
from universality.plan.plan import Job
from universality.plugin.spec import Component, Recipe, RunSpec
from universality.train.executors import process
from universality.train.executors.local import run_all
from universality.train.messages import WorkerSettings

def a_job(act):
    return Job(RunSpec(Component("mlp"), Component(act), Recipe(steps=10, lr=0.1), 0), {{"loss": (0, 10)}})

if __name__ == "__main__":
    process.PRELOAD = []
    settings = WorkerSettings(store_root=Path({root!r}), device="cpu", plugins=(), data_root=Path({scratch!r}))
    run_all([a_job("trains"), a_job("hangs")], settings, slots=1, timeout_s=600, on_event=lambda event: None,
            target="fake_worker:prepare")
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_children_die_with_their_parent_and_what_was_published_stays(
    bench: Bench, tmp_path: Path, number: signal.Signals
) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        PARENT.format(code=str(tmp_path / "code"), root=str(bench.root), scratch=str(bench.scratch))
    )
    repository = str(Path(local.__file__).resolve().parents[3])
    environment = {**os.environ, "PYTHONPATH": repository}
    parent = subprocess.Popen(
        [sys.executable, str(script)], env=environment, stderr=subprocess.PIPE, text=True
    )
    child, left = (int(wait_for(bench.scratch / name)) for name in ("hanging", "left"))
    assert alive(child)
    assert alive(left)
    parent.send_signal(number)
    try:
        parent.communicate(timeout=20)
    finally:
        parent.kill()
    wait_until_dead(child)
    wait_until_dead(left)
    expected = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143, signal.SIGINT: -signal.SIGINT}
    assert parent.returncode == expected[number]
    assert Store.open(bench.root).run_ids() == [a_job().spec.id]
    # The dead parent's lease does not stop whoever comes next.
    with Leases(bench.root / "leases") as leases:
        assert leases.acquire(a_job("hangs").spec.id)


def test_no_more_slots_are_offered_than_this_process_has_cores() -> None:
    code = textwrap.dedent("""
        import os
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        from universality.train.executors.local import default_slots
        print(default_slots())
    """)
    repository = str(Path(local.__file__).resolve().parents[3])
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "1"


# ------------------------------------------------------------------------------------ stacks


def stack_of(*acts: str, stack: int = 8, seconds: float = 1.0) -> list[Job]:
    """Runs that may be trained side by side; what a member does is told by its seed, see `ACTS`."""
    jobs = [a_job("stack", seed=ACTS.index(act) + 10 * n) for n, act in enumerate(acts)]
    for job in jobs:
        job.stack, job.seconds = stack, seconds
    return jobs


ACTS = ("trains", "dies", "hangs", "fails", "slow")

STACK_WORKER = """
import os, signal, time
from pathlib import Path
import numpy as np
from universality.store.store import Recording, Store
from universality.train.engine import pulse
from universality.train.messages import RunReply

def prepare(settings):
    store, scratch = Store.open(settings.store_root), settings.data_root

    def train(stack):
        with open(scratch / "stacks", "a") as file:
            file.write(" ".join(str(job.spec.seed) for job in stack) + "\\n")
        for job in stack:
            spec = job.spec
            act = ("trains", "dies", "hangs", "fails", "slow")[spec.seed % 10]
            if act == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            elif act == "hangs":
                time.sleep(600)
            elif act == "slow":
                time.sleep(1.3)
                pulse.beat()
            if act in ("trains", "slow"):
                store.publish(Recording(spec=spec, state="done", series={}, arrays={}, seconds=0.0,
                                        observed=job.observe, facts={"slot": settings.slot}))
            if act != "slow":
                yield RunReply(spec.id, "failed" if act == "fails" else "done", 0.0, "bad")
        for job in stack:
            if job.spec.seed % 10 == 4:
                yield RunReply(job.spec.id, "done", 0.0)

    return train
"""


@pytest.fixture
def stacking(bench: Bench) -> Bench:
    (bench.scratch.parent / "code" / "stack_worker.py").write_text(STACK_WORKER)
    return bench


def run_stacked(bench: Bench, asked: list[Job], **kwargs: Any) -> tuple[list[str], list[list[int]]]:
    """States in order, and the seeds of every stack that a worker was given."""
    states = bench.run(asked, target="stack_worker:prepare", **kwargs)
    lines = (bench.scratch / "stacks").read_text().splitlines()
    return [states[job.spec.id] for job in asked], [[int(s) for s in line.split()] for line in lines]


@pytest.mark.parametrize("slots", [0, 1])
def test_runs_like_each_other_go_to_one_worker_up_to_the_size_of_a_stack(stacking: Bench, slots: int) -> None:
    asked = stack_of(*["trains"] * 5, stack=3)
    others = [
        a_job("other"),
        Job(replace(asked[0].spec, recipe=Recipe(steps=11, lr=0.1)), {"loss": (0,)}, 1.0, stack=3),
    ]
    states, stacks = run_stacked(stacking, [*asked, *others], slots=slots)
    assert set(states) == {"done"}
    assert sorted(map(len, stacks)) == [1, 1, 2, 3]
    assert [0, 10, 20] in stacks


def test_rates_and_decays_may_differ_within_a_stack(stacking: Bench) -> None:
    asked = stack_of("trains", "trains")
    asked[1].spec = replace(asked[1].spec, recipe=Recipe(steps=10, lr=0.2, weight_decay=0.5))
    assert run_stacked(stacking, asked, slots=1)[1] == [[0, 10]]


def test_no_stack_takes_more_than_its_share_of_the_work(stacking: Bench) -> None:
    states, stacks = run_stacked(stacking, stack_of(*["trains"] * 8), slots=2)
    assert set(states) == {"done"}
    # Half of what is left, each time: 4 of 8 jobs, 2 of 4, and the last two alone.
    assert sorted(map(len, stacks)) == [1, 1, 2, 4]


def test_a_stack_that_is_killed_is_trained_one_by_one_and_charges_nobody_but_the_killer(
    stacking: Bench,
) -> None:
    asked = stack_of("trains", "dies", "trains")
    states, stacks = run_stacked(stacking, asked, slots=1)
    assert states == ["done", "crashed", "done"]
    # The first had been published before the worker died.
    assert stacks == [[0, 11, 20], [11], [11], [20]]
    assert [len(stacking.store.failures(job.spec.id)) for job in asked] == [0, 2, 0]
    assert stacking.states(asked[0]) == ["done"]
    assert stacking.states(asked[2]) == [None, "done"]
    assert list((stacking.root / "leases").iterdir()) == []


def test_a_stack_over_its_limit_is_trained_one_by_one(stacking: Bench) -> None:
    asked = stack_of("trains", "hangs", "trains")
    states, stacks = run_stacked(stacking, asked, slots=1, timeout_s=0.7)
    assert states == ["done", "timeout", "done"]
    assert stacks == [[0, 12, 20], [12], [20]]
    (failure,) = stacking.store.failures(asked[1].spec.id)
    assert failure.kind == "timeout"


def test_a_stack_that_hangs_is_noticed_after_the_time_of_one_of_its_members(stacking: Bench) -> None:
    run_stacked(stacking, stack_of("hangs", "trains", "trains", "trains"), slots=1, timeout_s=2.0)
    (first,) = {event.seconds for event in stacking.events if event.state is None}
    assert 2.0 <= first < 6.0


def test_a_stack_that_goes_on_has_the_time_of_all_its_members(stacking: Bench) -> None:
    states, stacks = run_stacked(stacking, stack_of(*["slow"] * 3), slots=1, timeout_s=3.0)
    assert (states, stacks) == (["done"] * 3, [[4, 14, 24]])


def test_a_member_that_fails_is_its_own_failure(stacking: Bench) -> None:
    asked = stack_of("trains", "fails", "trains")
    states, stacks = run_stacked(stacking, asked, slots=1)
    assert (states, stacks) == (["done", "failed", "done"], [[0, 13, 20]])


def test_what_another_process_holds_or_has_stored_does_not_join_a_stack(
    stacking: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "LOOK_AGAIN", 0.05)
    asked = stack_of("trains", "trains", "trains", "trains")
    stacking.run(asked[1:2], target="stack_worker:prepare", slots=0)
    other = Leases(stacking.root / "leases")
    other.acquire(asked[2].spec.id)

    def release(event: Event) -> None:
        if event.run_id == asked[0].spec.id:
            other.release(asked[2].spec.id)

    states, stacks = run_stacked(stacking, asked, slots=1, on_event=release)
    other.close()
    assert set(states) == {"done"}
    assert stacks == [[10], [0, 30], [20]]


def test_every_worker_iterates_over_a_set_of_texts_in_one_order() -> None:
    """Of which a network may be built, whose weights then follow that order."""
    start_fork_server()
    context = multiprocessing.get_context("forkserver")
    with context.Pool(1) as pool:
        assert pool.apply(hash, ("query",)) == int(
            subprocess.run(
                [sys.executable, "-c", "print(hash('query'))"],
                env={**os.environ, "PYTHONHASHSEED": "0"},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )


def test_every_worker_knows_its_slot(stacking: Bench) -> None:
    asked = stack_of("trains", "trains", stack=1)
    run_stacked(stacking, asked, slots=1)
    found = [stacking.store.trajectory(job.spec.id, job.observe) for job in asked]
    assert [run.facts["slot"] for run in found if run is not None] == [0, 0]


def real_jobs(address: str, *observed: dict[str, tuple[int, ...]]) -> list[Job]:
    """Short trainings of one architecture that the built-in worker may stack."""
    parts = registry.resolve("architecture", address), registry.resolve("task", "digits[subset=20]")
    recipe = Recipe(steps=4, lr=0.1)
    return [
        Job(RunSpec(component(parts[0]), component(parts[1]), recipe, seed), observe, 1.0, stack=4)
        for seed, observe in enumerate(observed)
    ]


def test_the_worker_publishes_every_member_of_a_stack_as_it_does_alone(bench: Bench, tmp_path: Path) -> None:
    asked = real_jobs("mlp[width=5,depth=1]", {"accuracy": (0, 4)}, {"weights": (4,)}, {})
    Store.create(tmp_path / "alone")
    stacked = bench.run(asked, slots=0, target=local.WORKER)
    singles = bench.run(
        [replace(job, stack=1) for job in asked],
        slots=0,
        target=local.WORKER,
        store_root=tmp_path / "alone",
    )
    assert set(stacked.values()) == set(singles.values()) == {"done"}
    for job in asked:
        pair = [
            Store.open(root).trajectory(job.spec.id, job.observe) for root in (bench.root, tmp_path / "alone")
        ]
        assert [run.facts["engine"]["members"] for run in pair if run is not None] == [3, 1]
        files = [run.folder / "arrays.safetensors" for run in pair if run is not None]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_a_member_whose_probe_raises_fails_alone(bench: Bench) -> None:
    asked = real_jobs("mlp[width=5,depth=1]", {"accuracy": (0,)}, {"no_such_probe": (0,)}, {"accuracy": (4,)})
    assert list(bench.run(asked, slots=0, target=local.WORKER).values()) == ["done", "failed", "done"]
    (failure,) = bench.store.failures(asked[1].spec.id)
    assert "no_such_probe" in failure.message
    assert "Traceback" in failure.traceback
    run = bench.store.trajectory(asked[0].spec.id, asked[0].observe)
    assert run is not None
    assert run.facts["engine"]["members"] == 1


def test_a_run_whose_rate_cannot_be_derived_is_recorded_as_failed_with_the_reason(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate, "MAX_PRODUCTS", 3)
    (job,) = real_jobs("mlp[width=5,depth=1]", {})
    job.spec = replace(job.spec, recipe=Recipe(steps=4, lr_over_stability=2.0))
    assert bench.run([job], slots=0, target=local.WORKER) == {job.spec.id: "failed"}
    (failure,) = bench.store.failures(job.spec.id)
    for part in ("MeasurementError: no learning rate follows", "mlp[width=5,depth=1] on digits", "`lr`"):
        assert part in failure.message
