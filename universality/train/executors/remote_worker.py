"""A worker on another machine: the supervisor of one process that trains, which is given stacks as they come.

It publishes into the results folder where it sees that, and else in a folder of its own, from which what was published
goes to the command.
"""

from __future__ import annotations

import contextlib
import platform
import queue
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import universality
from universality.errors import StoreError, UniversalityError, described
from universality.plan.runs_file import PlannedRun
from universality.store.environment import source_digest
from universality.store.owner import is_orphan, owner_tag
from universality.store.store import FailureKind, Store
from universality.train.executors.remote_messages import (
    Failed,
    Finished,
    Hello,
    Order,
    Refused,
    Said,
    Split,
    decode_order,
    decode_stack,
    encode,
)
from universality.train.executors.supervisor import Supervisor
from universality.train.messages import RunReply, WorkerSettings

_SCRATCH = "universality-"
"""Begins the name of a worker's own folder, which goes on with its `owner_tag`."""

LEAVING = 2.0
"""Seconds in which an idle process that trains ends."""

TRAINING = "universality.train.executors.remote_worker:prepare"

Told = tuple[Said, dict[str, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSettings(WorkerSettings):
    """Of the process that trains. `order`: what the command has told its worker."""

    order: bytes


def prepare(settings: RemoteSettings) -> Callable[[Sequence[PlannedRun]], Iterator[RunReply]]:
    """As `universality.train.worker.prepare`; refuses other plugins than the command has planned with."""
    from universality.plugin import registry  # torch is for the process that trains
    from universality.plugin.kit.data import data_root
    from universality.train import worker

    order = decode_order(settings.order)
    registry.load_plugins(map(Path, settings.plugins))
    order.planned.jobs()
    return worker.prepare(replace(settings, data_root=data_root(order.data_root or None)))


class RemoteWorker:
    """Answers in JSON, see `remote_messages`."""

    def __init__(self) -> None:
        self._host = platform.node()
        self._desk: _Desk | None = None
        self._scratch: Path | None = None

    def hello(self, version: str, digest: str, order: bytes) -> bytes:
        """Make ready; `Hello` or `Refused`. Versions are compared before anything else is read."""
        try:
            return encode(self._prepare(version, digest, order))
        except UniversalityError as error:
            return encode(Refused.of(error, self._host))

    def _prepare(self, version: str, digest: str, data: bytes) -> Hello:
        if digest != source_digest():
            raise UniversalityError(
                "a worker has another universality than the command",
                where=str(Path(universality.__file__).parent),
                got=f"version {universality.__version__}, source {source_digest()[:12]}",
                expected=f"version {version}, source {digest[:12]}",
                do="install the same one on all nodes, or send yours along: --ray working_dir=CHECKOUT",
            )
        order = decode_order(data)
        store, sees_folder = self._store(order)
        settings = RemoteSettings(
            store_root=store.layout.root,
            device=order.device,
            plugins=order.plugins,
            data_root=Path(order.data_root),
            engine=order.engine,
            order=data,
        )
        self._desk = _Desk(None if sees_folder else store)
        supervisor = Supervisor(self._desk, 1, order.timeout_s, TRAINING, settings)
        self._thread = threading.Thread(target=self._desk.serve, args=(supervisor, self._host), daemon=True)
        self._thread.start()
        return Hello(host=self._host, sees_folder=sees_folder)

    def _store(self, order: Order) -> tuple[Store, bool]:
        """Where to publish, and whether that is the results folder of the command."""
        temporary = _temporary()
        for left in temporary.glob(f"{_SCRATCH}*-*-*"):
            if is_orphan(left.name.removeprefix(_SCRATCH)):
                shutil.rmtree(left, ignore_errors=True)
        path, text = order.proof
        with contextlib.suppress(OSError, UnicodeDecodeError, StoreError):
            if Path(path).read_text() == text:
                return Store.open(Path(order.root), writable=True), True
        self._scratch = temporary / f"{_SCRATCH}{owner_tag()}"
        return Store.create(self._scratch), False

    def train(self, stack: bytes) -> Iterator[tuple[bytes, dict[str, bytes]]]:
        """What becomes of each of these runs, as it is known, with the files of those that the command cannot see."""
        assert self._desk is not None
        for said, files in self._desk.train(decode_stack(stack)):
            yield encode(said), files

    def leave(self) -> None:
        """Clear up what is not to outlive this worker, which may be ended now: one in the middle of a stack is not waited for."""
        if self._desk is not None and self._desk.close():
            self._thread.join(LEAVING)
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)


def _temporary() -> Path:
    return Path(tempfile.gettempdir())


class _Desk:
    """The queue of the supervisor, which waits here for the next stack while it has none in hand: so the process that
    trains stays as it is between two, with what it has loaded.

    Args:
        store: from which the files of recordings are sent; None where the command sees them.
    """

    held_by_others = awaited = 0

    def __init__(self, store: Store | None) -> None:
        self._store = store
        self._given: queue.SimpleQueue[Sequence[PlannedRun]] = queue.SimpleQueue()
        self._told: queue.SimpleQueue[Told | None] = queue.SimpleQueue()
        self._stack: list[PlannedRun] = []
        self._left: set[str] = set()

    def serve(self, supervisor: Supervisor[PlannedRun], host: str) -> None:
        """Let it work until it raises."""
        try:
            supervisor.run()
        except UniversalityError as error:
            self._tell(Refused.of(error, host))
        except BaseException as error:
            self._tell(Refused.of(UniversalityError("a worker broke down", got=described(error)), host))
        self._told.put(None)

    def train(self, stack: Sequence[PlannedRun]) -> Iterator[Told]:
        self._given.put(stack)
        yield from iter(self._told.get, None)

    def close(self) -> bool:
        """Ask for the end of the supervisor; whether that is near."""
        self._given.put([])
        return not self._left

    def _receive(self) -> None:
        if not self._left:
            self._stack = list(self._given.get())
            self._left = set(map(self.key, self._stack))

    def _tell(self, said: Said, ended: Sequence[str] = (), files: dict[str, bytes] | None = None) -> None:
        self._told.put((said, files or {}))
        self._left.difference_update(ended)
        if ended and not self._left:
            self._told.put(None)

    @property
    def open(self) -> int:
        self._receive()
        return len(self._stack)

    def ask_again(self) -> None:
        """Nobody else is given these runs."""

    def take(self, slots: int) -> Sequence[PlannedRun]:
        self._receive()
        stack, self._stack = self._stack, []
        return stack

    def key(self, item: PlannedRun) -> str:
        return item.spec.id

    def message(self, stack: Sequence[PlannedRun]) -> object:
        return tuple(stack)

    def finish(self, item: PlannedRun, reply: RunReply) -> None:
        self._tell(Finished(reply=reply), [reply.run_id], self._files(item))

    def _files(self, item: PlannedRun) -> dict[str, bytes]:
        """Of its recording, which is then deleted here."""
        run_id = item.spec.id
        if self._store is None or (stored := self._store.trajectory(run_id, item.observe)) is None:
            return {}
        files = {path.name: path.read_bytes() for path in stored.folder.iterdir()}
        self._store.discard({run_id})
        return files

    def fail(
        self,
        item: PlannedRun,
        kind: FailureKind,
        message: str,
        seconds: float,
        traceback: str = "",
        memory_bytes: int | None = None,
    ) -> None:
        run_id = item.spec.id
        failed = Failed(
            run_id=run_id,
            kind=kind,
            message=message,
            seconds=seconds,
            traceback=traceback,
            memory_bytes=memory_bytes,
        )
        self._tell(failed, [run_id])

    def split(self, stack: Sequence[PlannedRun], why: str, seconds: float) -> None:
        run_ids = tuple(map(self.key, stack))
        self._tell(Split(run_ids=run_ids, why=why, seconds=seconds), run_ids)
