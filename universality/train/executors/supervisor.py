"""Keeps worker processes at work: what dies, hangs or fails costs its own item and nothing else.

An item is a run to be trained (`train.queue`) or a cell to be measured (`judge.measuring`). A stack that is lost with its worker costs no item an attempt: what it had not replied to is tried
one by one. A pool would not do: it breaks as a whole when one of its processes is killed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from typing import Any, Generic, Protocol, TypeVar

from universality.errors import UniversalityError
from universality.store.store import FailureKind
from universality.train.engine.pulse import WORTH
from universality.train.executors.process import WorkerProcess, start_fork_server
from universality.train.messages import Alive, Crashed, Ready, Saved, WorkerSettings

Item = TypeVar("Item")

LOOK_AGAIN = 5.0
"""Seconds between two looks at jobs that other processes hold."""

TO_SAVE = 5.0
"""Seconds that workers have to save what they have in hand, where their command is interrupted."""

MAX_FAILED_STARTS = 3
"""Workers in a row that may die before they take a job."""


class Queue(Protocol[Item]):
    """The items that are to be served, and what becomes of each."""

    @property
    def open(self) -> int:
        """Items that may be taken now."""

    @property
    def held_by_others(self) -> int:
        """Items that other processes serve, which are looked at again."""

    @property
    def awaited(self) -> int:
        """Of these, how many must be settled before there is nothing left to do."""

    def ask_again(self) -> None:
        """Open the items that others held."""

    def take(self, slots: int) -> Sequence[Item]:
        """The next items, to be served together; none where there are none now."""

    def key(self, item: Item) -> str:
        """What the `key` of a reply names the item by."""

    def message(self, stack: Sequence[Item]) -> object:
        """What a worker is sent."""

    def finish(self, item: Item, reply: Any) -> None:
        """Settle an item by its reply."""

    def fail(
        self,
        item: Item,
        kind: FailureKind,
        message: str,
        seconds: float,
        traceback: str = "",
        memory_bytes: int | None = None,
    ) -> None:
        """Settle an item that was lost with its worker, or open it again."""

    def split(self, stack: Sequence[Item], why: str, seconds: float) -> None:
        """Open the items of a stack that was lost, each alone."""


class Supervisor(Generic[Item]):
    """Keeps up to `slots` worker processes at work until every item is settled.

    Args:
        timeout_s: wall time of one item. A stack has that of all its items, but not without a sign of life for as
            long as one.
        target: `module:function` that a worker calls with its settings, for a function from a message of
            `queue` to an iterator over a reply for each item.
        on_output: is given the last of what a worker printed while it served an item that it has replied to.
        max_printed: bytes that an item may print before it has failed.
    """

    def __init__(
        self,
        queue: Queue[Item],
        slots: int,
        timeout_s: float,
        target: str,
        settings: WorkerSettings,
        on_output: Callable[[Item, str], None] | None = None,
        max_printed: int | None = None,
    ) -> None:
        self._queue, self._slots, self._timeout = queue, slots, timeout_s
        self._target, self._settings = target, settings
        self._on_output, self._max_printed = on_output, max_printed
        self._workers: list[WorkerProcess[Item]] = []
        self._failed_starts = 0
        self._next_look = math.inf

    def run(self) -> None:
        """Raises `UniversalityError` where workers cannot start, or one raised it outside of an item."""
        start_fork_server()
        clean = False
        try:
            while True:
                self._employ()
                if not (self._queue.open or self._queue.awaited or any(w.items for w in self._workers)):
                    break
                watched = [end for w in self._workers for end in (w.connection, w.process.sentinel, w.output)]
                self._handle(wait([end for end in watched if end is not None], self._patience()))
            clean = True
        finally:
            try:
                if not clean:
                    self._let_them_save()
            finally:  # whoever is impatient interrupts this too
                for worker in self._workers:
                    worker.stop(grace=clean)

    def _let_them_save(self) -> None:
        """Give workers `TO_SAVE` seconds to save what has taken long enough to be worth it."""
        long = [
            worker for worker in self._workers if worker.items and worker.listens and worker.seconds >= WORTH
        ]
        for worker in long:
            worker.ask_to_save()
        deadline = time.monotonic() + TO_SAVE
        for worker in long:
            worker.wait_until_saved(deadline - time.monotonic())

    def _employ(self) -> None:
        """Give items to idle workers, and start workers while there are more items than those."""
        if time.monotonic() >= self._next_look:
            self._queue.ask_again()
            self._next_look = math.inf
        for worker in self._workers:
            if worker.ready and not worker.items and (stack := self._queue.take(self._slots)):
                items = {self._queue.key(item): item for item in stack}
                worker.assign(items, self._queue.message(stack))
        without_item = sum(not worker.items for worker in self._workers)
        while len(self._workers) < self._slots and without_item < self._queue.open:
            slot = min(set(range(self._slots)) - {worker.slot for worker in self._workers})
            self._workers.append(WorkerProcess(self._target, self._settings, slot))
            without_item += 1
        if self._queue.held_by_others and math.isinf(self._next_look):
            self._next_look = time.monotonic() + LOOK_AGAIN

    def _patience(self) -> float | None:
        """Seconds until a run times out or jobs that others hold are looked at again."""
        rest = [self._time_left(worker) for worker in self._workers if worker.items]
        first = min([self._next_look - time.monotonic(), *rest])
        return None if math.isinf(first) else max(0.0, first)

    def _time_left(self, worker: WorkerProcess[Item]) -> float:
        rest = self._timeout * worker.stack_size - worker.seconds
        return min(rest, self._timeout - worker.silent_seconds) if worker.stack_size > 1 else rest

    def _handle(self, ready: Sequence[Any]) -> None:
        for worker in tuple(self._workers):
            worker.read_output()
            # A reply counts even where its sender died right after it.
            if worker.connection in ready:
                self._receive(worker)
            elif worker.process.sentinel in ready:
                self._settle_lost(worker)
            elif worker.items and self._max_printed is not None and worker.printed_bytes > self._max_printed:
                self._end(worker, "failed", f"ended after printing more than {self._max_printed >> 20} MiB")
            elif worker.items and self._time_left(worker) <= 0:
                silent = f", {worker.silent_seconds:.1f} s of them silent" if worker.stack_size > 1 else ""
                cause = f"killed after {worker.seconds:.1f} s{silent}, the limit is {self._timeout:g} s"
                self._end(worker, "timeout", cause)

    def _receive(self, worker: WorkerProcess[Item]) -> None:
        try:
            reply = worker.hear()
        except (EOFError, OSError):
            self._settle_lost(worker)
            return
        match reply:
            case Ready():
                worker.ready, self._failed_starts = True, 0
            case Alive():
                worker.listens = True
            case Saved():  # somebody else has asked, who may end it as well
                pass
            case UniversalityError():
                raise reply
            case Crashed():
                self._settle_lost(worker, reply)
            case _:
                if (item := worker.items.pop(reply.key, None)) is not None:
                    if self._on_output is not None and worker.printed:
                        self._on_output(item, worker.printed)
                    self._queue.finish(item, reply)

    def _settle_lost(self, worker: WorkerProcess[Item], crash: Crashed | None = None) -> None:
        self._workers.remove(worker)
        seconds, death = worker.seconds, worker.cause_of_death()
        cause, trace = (crash.message, crash.traceback) if crash else (death, "")
        self._charge(worker, "crashed", cause, seconds, traceback=trace)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= MAX_FAILED_STARTS:
                raise UniversalityError(
                    "worker processes die before they take a job",
                    where=self._target,
                    got=f"{cause}{worker.printed and f'; it printed: {worker.printed}'}",
                    do="look at the messages above; --workers 0 works in this process",
                )

    def _end(self, worker: WorkerProcess[Item], kind: FailureKind, cause: str) -> None:
        self._workers.remove(worker)
        seconds, memory = worker.seconds, worker.peak_memory()
        worker.stop(grace=False)
        self._charge(worker, kind, cause, seconds, memory_bytes=memory)

    def _charge(
        self, worker: WorkerProcess[Item], kind: FailureKind, cause: str, seconds: float, **details: Any
    ) -> None:
        """What a worker that has ended was serving is tried again one by one, or has failed."""
        items = tuple(worker.items.values())
        if worker.printed:
            cause = f"{cause}; it printed last: {worker.printed}"
        if worker.stack_size > 1:
            self._queue.split(items, cause, seconds)
        elif items:
            self._queue.fail(items[0], kind, cause, seconds, **details)
