"""Supervised worker processes on this machine, one per slot.

Each child serves one run, or one group of runs like each other, at a time over a pipe:

    parent -> child   {"spec": RunSpec.record(), "observe": {address: [steps]}}, or
                      {"members": [{"spec": ..., "observe": ...}, ...]}, or None to stop
    child -> parent   {"state": "done" | "diverged" | "failed", "run_id", "seconds", "message", "traceback"}
                      for every run

and publishes to the store itself before it replies. A group that is lost with its child costs no run
an attempt: what it had not published is trained one by one. Children are forked from a server that has
imported torch already. A pool would not do: it breaks as a whole when one of its processes is killed.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from universality import errors
from universality.plugin.records import RunState
from universality.store.environment import cores
from universality.store.store import Store
from universality.train.executors.child import entry_point, serve
from universality.train.leases import Leases
from universality.train.queue import Event, Job, JobQueue, message

WORKER = "universality.train.worker:main"
_PRELOAD = ["torch", "universality.train.worker"]
_LOOK_AGAIN = 5.0
"""Seconds between two looks at jobs that other processes hold."""
_STILLBORN = 3
"""Children in a row that may die before they take a job."""
_GRACE = 10.0
"""Seconds that an idle child has to leave when asked."""


def default_slots(gpus: int = 0) -> int:
    """One slot per GPU, or without one per core that this process may use; a child has one thread.

    A second slot on a GPU hides what a worker does between its runs and in probes (`--workers`).
    """
    return gpus or cores()


def run_all(
    jobs: Sequence[Job],
    *,
    slots: int,
    store_root: Path,
    device: str,
    plugins: tuple[str, ...],
    data_root: str,
    timeout_s: float,
    on_event: Callable[[Event], None],
    engine: str = "auto",
    target: str = WORKER,
) -> dict[str, RunState]:
    """Train what the store lacks; returns the final state of every job by run id.

    A child that dies costs its run one of two attempts and is replaced; the rest goes on. Jobs that
    another process holds are waited for. Ctrl-C and SIGTERM kill the children and are raised again;
    what was published stays.

    Args:
        slots: worker processes; 0 trains in the calling process, without a timeout and without
            protection from crashes, for debuggers and tests.
        timeout_s: wall time of one run, after which its child is killed; a group has that of all its runs.
        engine: how runs are stepped, see `universality.train.engine.loop.train_group`.
        target: `module:function` that serves a pipe, called with the pipe and the settings
            `store_root`, `device`, `plugins`, `data_root`, `engine` and `prepared`, a folder in
            which several workers share the data that they load, empty for one alone.

    Raises:
        UniversalityError: where workers cannot start, or one raised such an error outside a job.
    """
    settings = {
        "store_root": str(store_root),
        "device": device,
        "plugins": list(plugins),
        "data_root": data_root,
        "engine": engine,
        "prepared": "",
    }
    store = Store.open(store_root, writable=True)
    with _sigterm_raises(), Leases(store.layout.claims) as leases:
        queue = JobQueue(jobs, store, leases, on_event)
        queue.skip_stored()
        if slots == 0:
            entry_point(target)(_Inline(queue), settings)
        elif queue.open:
            with store.work_folder() as folder:
                shared = {"prepared": str(folder) if slots > 1 else ""}
                _Supervisor(queue, slots, timeout_s, target, {**settings, **shared}).run()
    return queue.states


class _Inline:
    """The pipe of a worker that runs in the calling process."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._jobs: dict[str, Job] = {}

    def recv(self) -> dict[str, Any] | None:
        group = self._queue.take()
        while not group and self._queue.elsewhere:
            time.sleep(_LOOK_AGAIN)
            self._queue.ask_again()
            group = self._queue.take()
        self._jobs = {job.spec.id: job for job in group}
        return message(group) if group else None

    def send(self, reply: Mapping[str, Any]) -> None:
        self._queue.finish(self._jobs.pop(reply["run_id"]), reply)


class _Child:
    """A worker process, seen from its parent."""

    def __init__(self, target: str, settings: Mapping[str, Any], slot: int) -> None:
        self.slot = slot
        context = multiprocessing.get_context("forkserver")
        self.connection, theirs = context.Pipe()
        # The child reads the lifeline and nobody writes: it ends when this process does.
        lifeline, self._lifeline = context.Pipe(duplex=False)
        self.process = context.Process(
            target=serve, args=(theirs, lifeline, target, {**settings, "slot": slot}), daemon=True
        )
        self.process.start()
        theirs.close()
        lifeline.close()
        self.ready = False
        self.jobs: dict[str, Job] = {}
        """Those assigned that have not been answered for."""
        self.assigned = 0
        self.since = 0.0

    @property
    def idle(self) -> bool:
        return self.ready and not self.jobs

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.since

    def assign(self, group: Sequence[Job]) -> None:
        self.jobs, self.since = {job.spec.id: job for job in group}, time.monotonic()
        self.assigned = len(group)
        # A child that died while idle is found by its sentinel.
        with contextlib.suppress(BrokenPipeError):
            self.connection.send(message(group))

    def peak_memory(self) -> int | None:
        """Bytes, while the process lives and the kernel tells."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return None
        peaks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
        return 1024 * int(peaks[0]) if peaks else None

    def end(self, *, kindly: bool) -> int | None:
        """Stop the process, at once or after `_GRACE` seconds; returns its exit code."""
        if kindly:
            with contextlib.suppress(OSError):
                self.connection.send(None)
            self.process.join(_GRACE)
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        code = self.process.exitcode
        self.connection.close()
        self._lifeline.close()
        self.process.close()
        return code


class _Supervisor:
    """Keeps up to `slots` children at work until every job has a final state."""

    def __init__(
        self, queue: JobQueue, slots: int, timeout_s: float, target: str, settings: Mapping[str, Any]
    ) -> None:
        self._queue, self._slots, self._timeout = queue, slots, timeout_s
        self._target, self._settings = target, settings
        self._children: list[_Child] = []
        self._stillborn = 0
        self._look_again = math.inf

    def run(self) -> None:
        _start_server()
        clean = False
        try:
            while True:
                self._employ()
                if not (self._queue.open or self._queue.elsewhere or any(c.jobs for c in self._children)):
                    break
                self._attend(wait(self._watched(), self._patience()))
            clean = True
        finally:
            for child in self._children:
                child.end(kindly=clean)

    def _employ(self) -> None:
        """Give jobs to idle children, and start children while there are more jobs than those."""
        if time.monotonic() >= self._look_again:
            self._queue.ask_again()
            self._look_again = math.inf
        for child in self._children:
            if child.idle and (group := self._queue.take(self._slots)):
                child.assign(group)
        unemployed = sum(not child.jobs for child in self._children)
        while len(self._children) < self._slots and unemployed < self._queue.open:
            free = min(set(range(self._slots)) - {child.slot for child in self._children})
            self._children.append(_Child(self._target, self._settings, free))
            unemployed += 1
        if self._queue.elsewhere and math.isinf(self._look_again):
            self._look_again = time.monotonic() + _LOOK_AGAIN

    def _watched(self) -> list[Any]:
        return [item for c in self._children for item in (c.connection, c.process.sentinel)]

    def _patience(self) -> float | None:
        """Seconds until a run times out or jobs held elsewhere are looked at again."""
        ends = [child.since + self._limit(child) for child in self._children if child.jobs]
        first = min([self._look_again, *ends])
        return None if math.isinf(first) else max(0.0, first - time.monotonic())

    def _limit(self, child: _Child) -> float:
        return self._timeout * child.assigned

    def _attend(self, ready: Sequence[Any]) -> None:
        for child in tuple(self._children):
            # A reply counts even where its sender died right after it.
            if child.connection in ready:
                self._hear(child)
            elif child.process.sentinel in ready:
                self._lost(child)
            elif child.jobs and child.seconds >= self._limit(child):
                self._overdue(child)

    def _hear(self, child: _Child) -> None:
        try:
            reply = child.connection.recv()
        except (EOFError, OSError):
            self._lost(child)
            return
        if reply["state"] == "ready":
            child.ready, self._stillborn = True, 0
        elif reply["state"] == "unusable":
            raise _rebuilt(reply)
        elif reply["state"] == "crashed":
            self._lost(child, reply["message"], reply["traceback"])
        elif (job := child.jobs.pop(reply["run_id"], None)) is not None:
            self._queue.finish(job, reply)

    def _lost(self, child: _Child, cause: str = "", trace: str = "") -> None:
        self._children.remove(child)
        seconds, jobs, ready = child.seconds, tuple(child.jobs.values()), child.ready
        child.process.join(_GRACE)
        code = child.end(kindly=False)
        cause = cause or _cause_of_death(code)
        if child.assigned > 1:
            self._queue.split(jobs, cause, seconds)
        elif jobs:
            self._queue.fail(jobs[0], "crashed", cause, seconds, trace)
        elif not ready:
            self._stillborn += 1
            if self._stillborn >= _STILLBORN:
                raise errors.UniversalityError(
                    "worker processes die before they take a job",
                    where=self._target,
                    got=cause,
                    do="look at the messages above; --workers 0 trains in this process",
                )

    def _overdue(self, child: _Child) -> None:
        self._children.remove(child)
        jobs, seconds, memory = tuple(child.jobs.values()), child.seconds, child.peak_memory()
        child.end(kindly=False)
        cause = f"killed after {seconds:.1f} s, the limit is {self._limit(child):g} s"
        if child.assigned > 1:
            self._queue.split(jobs, cause, seconds)
        else:
            self._queue.fail(jobs[0], "timeout", cause, seconds, memory_bytes=memory)


def _cause_of_death(code: int | None) -> str:
    if code is None or code >= 0:
        return f"the worker exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = "; often the kernel's answer to a lack of memory" if name == "SIGKILL" else ""
    return f"the worker was killed by {name}{hint}"


def _rebuilt(reply: Mapping[str, Any]) -> errors.UniversalityError:
    """The error that made a worker unusable."""
    kind = getattr(errors, reply["kind"], errors.UniversalityError)
    error: errors.UniversalityError = kind(**reply["fields"])
    return error


def _start_server() -> None:
    """Start the process that children are forked from, which reads its thread count at the import."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(_PRELOAD)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        forkserver.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Let SIGTERM unwind like Ctrl-C where it would have killed this process without cleaning up."""
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def leave(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
