"""Workers on other machines, by a stand-in for the cluster: whatever is lost, one attempt is lost, and what comes back is verified."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.train.executors.test_local import FAKE_WORKER, a_job
from universality.errors import DataUnavailable, UniversalityError
from universality.plan.jobs_json import JobsRecord
from universality.plan.plan import Job
from universality.plugin.trajectory import Series
from universality.store.store import Recording, Store
from universality.train.executors import remote, remote_worker
from universality.train.executors.remote import Idle, Lost, Told, run_all
from universality.train.executors.remote_messages import (
    Failed,
    Finished,
    Hello,
    Refused,
    Split,
    decode,
    decode_order,
    decode_stack,
    encode,
)
from universality.train.executors.remote_worker import RemoteWorker
from universality.train.messages import RunReply, WorkerSettings
from universality.train.queue import Event

PLANNED = JobsRecord(suite="toy", definition="", plugins=(), runs={}, sources={})
HELLO = Told(Hello(host="there", sees_folder=False))


def recording_of(job: Job) -> Recording:
    series = {"loss": Series(np.array([0]), np.array([1.0]))}
    return Recording(
        spec=job.spec, state="done", series=series, arrays={}, observed=job.observe, facts={}, seconds=1.0
    )


@dataclass
class Scripted:
    """A cluster whose workers say what `answer` says for the runs of their stack."""

    answer: Callable[[Sequence[str]], list[Told | Idle | Lost]]
    hello: Told | Lost = HELLO
    waited_for: str = "CPUs"
    alive: set[int] = field(default_factory=set)
    said: list[tuple[Any, Told | Idle | Lost]] = field(default_factory=list)
    stacks: list[tuple[str, ...]] = field(default_factory=list)
    started: int = 0

    def start(self, order: bytes) -> int:
        self.started += 1
        self.alive.add(self.started)
        self.said.append((self.started, self.hello))
        return self.started

    def give(self, worker: int, stack: bytes) -> None:
        runs = tuple(planned.spec.id for planned in decode_stack(stack))
        self.stacks.append(runs)
        self.said += [(worker, word) for word in self.answer(runs)]

    def listen(self, seconds: float) -> Iterator[tuple[int, Told | Idle | Lost]]:
        said, self.said = self.said, []
        return iter(said)

    def stop(self, workers: Sequence[int]) -> None:
        self.alive -= set(workers)


@dataclass
class Bench:
    """A store, jobs, and recordings of them that were made elsewhere."""

    folder: Path
    jobs: list[Job]
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store, self.there = Store.create(self.folder / "here"), Store.create(self.folder / "there")
        for job in self.jobs:
            self.there.publish(recording_of(job))

    def trained(self, run_id: str, **changes: bytes) -> Told:
        folder = self.there.layout.recording(run_id, 1)
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        return Told(Finished(reply=RunReply(run_id, "done", 1.0)), files | changes)

    def run(self, cluster: remote.Cluster, slots: int = 1, **options: Any) -> dict[str, str]:
        options = {"timeout_s": 60.0, "own_data": False, **options}
        settings = WorkerSettings(
            store_root=self.store.layout.root, device="cpu", plugins=(), data_root=self.folder / "scratch"
        )
        states = run_all(
            self.jobs,
            settings,
            cluster=cluster,
            planned=PLANNED,
            slots=slots,
            on_event=self.events.append,
            **options,
        )
        self.store = Store.open(self.store.layout.root)
        return dict(states)

    def failures(self, job: Job) -> list[tuple[str, str]]:
        return [(failure.kind, failure.host) for failure in self.store.failures(job.spec.id)]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, [a_job(seed=0)])


def test_what_comes_back_is_published(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    (job,) = bench.jobs
    cluster = Scripted(lambda runs: [*map(bench.trained, runs), Idle()])
    assert bench.run(cluster) == {job.spec.id: "done"}
    assert bench.store.covers(job.spec.id, job.observe)
    assert cluster.alive == set()
    assert list(bench.store.layout.tmp.iterdir()) == list(bench.store.layout.leases.iterdir()) == []
    assert "there does not see the results folder" in capsys.readouterr().err


@pytest.mark.parametrize("losses", [1, 2])
def test_a_lost_worker_costs_its_run_one_of_two_attempts(bench: Bench, losses: int) -> None:
    (job,) = bench.jobs
    words = iter([[Lost("the node is gone")]] * losses)
    cluster = Scripted(lambda runs: next(words, [*map(bench.trained, runs), Idle()]))
    assert bench.run(cluster) == {job.spec.id: "done" if losses == 1 else "crashed"}
    assert bench.failures(job) == [("crashed", "there")] * losses
    assert bench.store.failures(job.spec.id)[0].message == "the node is gone"
    assert cluster.started == 2
    assert cluster.alive == set()


def test_a_stack_that_is_lost_is_tried_again_one_by_one_and_what_had_come_stays(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [a_job(seed=seed) for seed in range(3)])
    for job in bench.jobs:
        job.stack = 3
    words = iter([lambda runs: [bench.trained(runs[0]), Lost("gone")]])
    cluster = Scripted(lambda runs: next(words, lambda runs: [*map(bench.trained, runs), Idle()])(runs))
    assert set(bench.run(cluster).values()) == {"done"}
    first, second, third = (job.spec.id for job in bench.jobs)
    assert cluster.stacks == [(first, second, third), (second,), (third,)]
    assert [bench.failures(job) for job in bench.jobs] == [[], [], []]


def test_what_a_worker_tells_of_a_run_is_recorded_as_of_a_local_one(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [a_job(seed=seed) for seed in range(2)])
    first, second = (job.spec.id for job in bench.jobs)
    failed = Failed(run_id=first, kind="timeout", message="slow", seconds=3.0, traceback="t", memory_bytes=7)
    raised = Finished(reply=RunReply(second, "failed", 2.0, "ValueError: bad \ud800", "Traceback"))
    words = {first: failed, second: decode(encode(raised))}
    cluster = Scripted(lambda runs: [*(Told(words[run]) for run in runs), Idle()])
    assert bench.run(cluster) == {first: "timeout", second: "failed"}
    (slow,), (bad,) = (bench.store.failures(run) for run in (first, second))
    assert (slow.message, slow.traceback, slow.memory_bytes, slow.seconds, slow.host) == (
        *("slow", "t", 7, 3.0),
        "there",
    )
    assert (bad.message, bad.traceback, bad.host) == ("ValueError: bad \\ud800", "Traceback", "there")


def test_a_stack_that_a_worker_has_lost_is_tried_again_one_by_one(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [a_job(seed=seed) for seed in range(2)])
    for job in bench.jobs:
        job.stack = 2

    def answer(runs: Sequence[str]) -> list[Told | Idle | Lost]:
        if len(runs) == 2:
            return [Told(Split(run_ids=tuple(runs), why="killed", seconds=1.0)), Idle()]
        return [*map(bench.trained, runs), Idle()]

    cluster = Scripted(answer)
    assert set(bench.run(cluster).values()) == {"done"}
    assert [len(stack) for stack in cluster.stacks] == [2, 1, 1]
    assert cluster.started == 1


@pytest.mark.parametrize(
    "changes", [{"log.txt": b"another"}, {"../../evil": b"x"}, {"manifest.json": b"[]"}], ids=str
)
def test_what_is_no_recording_fails_its_run_and_writes_nothing(
    bench: Bench, changes: dict[str, bytes]
) -> None:
    (job,) = bench.jobs
    cluster = Scripted(lambda runs: [bench.trained(runs[0], **changes), Idle()])
    assert bench.run(cluster) == {job.spec.id: "failed"}
    assert bench.failures(job) == [("failed", "there")]
    assert list(bench.store.layout.runs.iterdir()) == list(bench.store.layout.tmp.iterdir()) == []
    assert list(bench.folder.rglob("evil")) == []


def test_words_about_runs_that_a_worker_was_not_given_change_nothing(bench: Bench) -> None:
    (job,) = bench.jobs
    other = a_job(seed=7).spec.id
    strange = [
        Told(Finished(reply=RunReply(other, "done", 1.0)), {"spec.json": b""}),
        Told(Failed(run_id=other, kind="crashed", message="", seconds=0.0)),
        Told(Split(run_ids=(other,), why="", seconds=0.0)),
    ]
    cluster = Scripted(lambda runs: [*strange, *map(bench.trained, runs), Idle()])
    assert bench.run(cluster) == {job.spec.id: "done"}
    assert bench.store.attempts(other) == 0


def test_a_worker_that_leaves_runs_out_has_crashed(bench: Bench) -> None:
    (job,) = bench.jobs
    assert bench.run(Scripted(lambda runs: [Idle()])) == {job.spec.id: "crashed"}


def test_a_recording_that_a_network_file_system_shows_late_is_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = bench.jobs
    shown = threading.Timer(0.2, lambda: bench.store.publish(recording_of(job)))
    shown.start()
    told = Told(Finished(reply=RunReply(job.spec.id, "done", 1.0)))
    assert bench.run(Scripted(lambda runs: [told, Idle()])) == {job.spec.id: "done"}
    shown.join()
    bench.store.discard({job.spec.id})
    monkeypatch.setattr(remote, "LATE", 0.1)
    assert bench.run(Scripted(lambda runs: [told, Idle()])) == {job.spec.id: "failed"}


def test_a_worker_of_which_nothing_is_heard_is_given_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = bench.jobs
    monkeypatch.setattr(remote, "GRACE", 0.05)
    cluster = Scripted(lambda runs: [])
    assert bench.run(cluster, timeout_s=0.05) == {job.spec.id: "crashed"}
    assert cluster.started == 2
    assert cluster.alive == set()


def test_workers_that_die_at_once_end_the_command_and_a_refusal_does(bench: Bench) -> None:
    (job,) = bench.jobs
    cluster = Scripted(lambda runs: [], hello=Lost("No module named universality"))
    with pytest.raises(UniversalityError, match="No module named universality") as caught:
        bench.run(cluster)
    assert "working_dir" in caught.value.do
    missing = Refused.of(DataUnavailable("no data", where="/data", do="fetch it"), "there")
    with pytest.raises(UniversalityError, match="no data") as caught:
        bench.run(Scripted(lambda runs: [Told(missing)]))
    assert (caught.value.where, caught.value.do) == ("there: /data", "fetch it")
    assert bench.store.attempts(job.spec.id) == 0
    assert list(bench.store.layout.leases.iterdir()) == []


def test_an_interruption_ends_all_workers_and_keeps_what_came(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [a_job(seed=seed) for seed in range(2)])

    class Interrupting(Scripted):
        def listen(self, seconds: float) -> Iterator[tuple[int, Told | Idle | Lost]]:
            if len(self.stacks) == 2:
                raise KeyboardInterrupt
            return super().listen(seconds)

    cluster = Interrupting(lambda runs: [*map(bench.trained, runs), Idle()])
    with pytest.raises(KeyboardInterrupt):
        bench.run(cluster)
    assert cluster.alive == set()
    store = Store.open(bench.store.layout.root)
    assert [store.covers(job.spec.id, job.observe) for job in bench.jobs] == [True, False]
    assert list(store.layout.leases.iterdir()) == list(store.layout.tmp.iterdir()) == []


def test_the_user_is_told_what_is_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Crowded(Scripted):
        looks = 0

        def listen(self, seconds: float) -> Iterator[tuple[int, Told | Idle | Lost]]:
            self.looks += 1
            return iter([]) if self.looks < 3 else super().listen(seconds)

    monkeypatch.setattr(remote, "WITHOUT", 0.0)
    bench.run(Crowded(lambda runs: [*map(bench.trained, runs), Idle()]))
    assert capsys.readouterr().err.count("no worker has started for 0 s: CPUs") == 1


class Threads:
    """A cluster of threads of this process: all that a worker does but be elsewhere."""

    waited_for = "nothing"

    def __init__(self, version: str = "1", digest: str | None = None) -> None:
        self._said: queue.SimpleQueue[tuple[Any, Told | Idle | Lost]] = queue.SimpleQueue()
        self._digest = digest or remote_worker.source_digest()
        self.workers: list[RemoteWorker] = []

    def start(self, order: bytes) -> RemoteWorker:
        worker = RemoteWorker()
        self.workers.append(worker)
        self._said.put((worker, Told(decode(worker.hello("1", self._digest, order)))))
        return worker

    def give(self, worker: RemoteWorker, stack: bytes) -> None:
        def train() -> None:
            for said, files in worker.train(stack):
                self._said.put((worker, Told(decode(said), files)))
            self._said.put((worker, Idle()))

        threading.Thread(target=train, daemon=True).start()

    def listen(self, seconds: float) -> Iterator[tuple[Any, Told | Idle | Lost]]:
        try:
            yield self._said.get(timeout=seconds)
        except queue.Empty:
            return

    def stop(self, workers: Sequence[RemoteWorker]) -> None:
        for worker in workers:
            worker.leave()


@pytest.fixture
def fake_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Processes that only pretend to train; returns the folder in which they count."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "fake_worker.py").write_text(FAKE_WORKER)
    (tmp_path / "tmp").mkdir()
    (tmp_path / "scratch").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "code")
    monkeypatch.delitem(sys.modules, "fake_worker", raising=False)
    monkeypatch.setattr(remote_worker, "TRAINING", "fake_worker:prepare")
    monkeypatch.setattr(remote_worker, "_temporary", lambda: tmp_path / "tmp")
    return tmp_path / "scratch"


@pytest.mark.parametrize("shared", [True, False])
def test_a_worker_trains_like_a_local_one_with_and_without_a_shared_folder(
    tmp_path: Path, fake_worker: Path, shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not shared:
        monkeypatch.setattr(remote, "_proof", lambda folder: (str(folder / "proof"), "not what is there"))
    acts = ["trains", "dies", "dies_once", "fails", "lies", "hangs"]
    bench = Bench(tmp_path, [a_job(act) for act in acts])
    asked = {job.spec.task.name: job for job in bench.jobs}
    monkeypatch.setattr(remote, "LATE", 0.0)
    cluster = Threads()
    states = bench.run(cluster, slots=2, timeout_s=1.0)
    expected = ["done", "crashed", "done", "failed", "failed", "timeout"]
    assert [states[asked[act].spec.id] for act in acts] == expected
    assert len(cluster.workers) == 2
    assert [kind for kind, _ in bench.failures(asked["dies"])] == ["crashed", "crashed"]
    assert "SIGKILL" in bench.store.failures(asked["dies"].spec.id)[0].message
    (slow,) = bench.store.failures(asked["hangs"].spec.id)
    assert slow.memory_bytes is not None
    assert slow.memory_bytes > 1 << 20
    (bad,) = bench.store.failures(asked["fails"].spec.id)
    assert (bad.message, bad.traceback) == ("ValueError: bad", "Traceback ...")
    assert list((tmp_path / "tmp").glob("universality-*")) == []


def test_a_worker_of_another_version_says_so(bench: Bench) -> None:
    with pytest.raises(UniversalityError, match="another universality than the command") as caught:
        bench.run(Threads(digest="0" * 64))
    assert "source 000000000000" in caught.value.expected


def test_a_worker_clears_away_what_a_killed_one_has_left(tmp_path: Path, fake_worker: Path) -> None:
    tags = {}
    for number, pid in ((1, "999999999"), (2, str(remote_worker.owner_tag().split("-")[1]))):
        machine = remote_worker.owner_tag().split("-")[0]
        tags[number] = tmp_path / "tmp" / f"universality-{machine}-{pid}-0000000{number}"
        tags[number].mkdir()
    order = remote.Order(
        root=str(tmp_path / "nowhere"),
        proof=(str(tmp_path / "nowhere" / "proof"), "x"),
        device="cpu",
        engine="auto",
        plugins=(),
        data_root="",
        timeout_s=1.0,
        planned=PLANNED,
    )
    assert decode_order(remote.encode_order(order)) == order
    worker = RemoteWorker()
    said = decode(worker.hello("1", remote_worker.source_digest(), remote.encode_order(order)))
    assert isinstance(said, Hello)
    assert not said.sees_folder
    assert not tags[1].exists()
    assert tags[2].exists()
    worker.leave()
    assert list((tmp_path / "tmp").iterdir()) == [tags[2]]
