"""A worker process: started and watched from its parent, and what runs inside it.

What it serves is its target's business: runs to be trained, cells to be measured.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pkgutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Generic, TypeVar

from universality.errors import UniversalityError, described
from universality.train.engine import pulse
from universality.train.executors import process_group
from universality.train.interruption import Stopped
from universality.train.messages import Alive, Crashed, Ready, Saved, WorkerSettings
from universality.train.standard_streams import make_last

Item = TypeVar("Item")

GRACE = 10.0
"""Seconds that an idle worker has to leave when asked."""

MAX_KEPT = 2000
"""Bytes that are kept of what a worker prints."""

MAX_SERVERS = 3
"""That may die while they are asked for one worker."""

UNGUARDED = 97
"""Exit code of a worker that was told to start work while it was made."""

_PIPE = 1 << 16

PRELOAD = ["torch", "torch._dynamo", "universality.train.worker", "universality.judge.measuring_worker"]
"""Imported by the process that workers are forked from, so that they start at once.

The second is torch's compiler, which its optimizers import when the first is made: more than half of the time that a
worker took to start.
"""


def start_fork_server() -> None:
    """Start it where it does not run. Its workers have one thread each, and iterate over a set of texts in one order."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOAD)
    # Libraries read their number of threads when they are imported, and that is in the server.
    settings = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        forkserver.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _start(process: BaseProcess) -> None:
    """Raises `UniversalityError` where the server from which it is forked dies again and again."""
    with _importable_main():
        for attempt in range(MAX_SERVERS):
            try:
                process.start()
                return
            except (EOFError, ConnectionError, FileNotFoundError) as error:
                # The server has just died; the next start starts another.
                if attempt == MAX_SERVERS - 1:
                    raise UniversalityError(
                        "the process from which workers are forked dies",
                        got=described(error),
                        do="look at the messages above, and at the memory of this machine; --workers 0 works in this process",
                    ) from error


@contextlib.contextmanager
def _importable_main() -> Iterator[None]:
    """Where the program came from standard input there is no file of it, which a worker would import first."""
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    absent = file is not None and getattr(main, "__spec__", None) is None and not Path(file).exists()
    if absent:
        del main.__file__
    try:
        yield
    finally:
        if absent:
            main.__file__ = file


def leave_if_imported_by_worker() -> None:
    """End a worker that imports the script of its parent and is told there to start work of its own: that script asks
    for it outside of `if __name__ == "__main__":`."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        os._exit(UNGUARDED)


class WorkerProcess(Generic[Item]):
    """A child that serves one item, or one stack of items, at a time; started when it is made. What it prints goes to
    `output`; what it starts itself ends with it."""

    def __init__(self, target: str, settings: WorkerSettings, slot: int) -> None:
        self.slot = slot
        context = multiprocessing.get_context("forkserver")
        self.connection, theirs = context.Pipe()
        # The child reads the lifeline and nobody writes: it ends when this process does.
        lifeline, self._lifeline = context.Pipe(duplex=False)
        self.output: Connection | None
        self.output, printed = context.Pipe(duplex=False)
        os.set_blocking(self.output.fileno(), False)
        self.process = context.Process(
            target=_serve, args=(theirs, lifeline, printed, target, replace(settings, slot=slot)), daemon=True
        )
        _start(self.process)
        theirs.close()
        lifeline.close()
        printed.close()
        self.ready = False
        self.listens = False
        """Whether it has given a sign of life: between these it looks whether it was asked to end."""
        self.items: dict[str, Item] = {}
        """Those of its stack that it has not replied to, by key."""
        self.stack_size = 0
        self.printed_bytes = 0
        """Since its stack was assigned, of what was read so far."""
        self._printed = b""
        self._start = self._heard = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since its stack was assigned, or it was started."""
        return time.monotonic() - self._start

    @property
    def silent_seconds(self) -> float:
        """Since it told something."""
        return time.monotonic() - self._heard

    def hear(self) -> Any:
        """What it has told. Raises EOFError or OSError where it is gone."""
        told = self.connection.recv()
        self._heard = time.monotonic()
        return told

    @property
    def printed(self) -> str:
        """The last of what it printed since its stack was assigned."""
        return self._printed.decode(errors="replace")

    def assign(self, items: Mapping[str, Item], message: object) -> None:
        """Send a message that asks for a reply to each of these items."""
        self.read_output()
        self._printed, self.printed_bytes = b"", 0
        self.items = dict(items)
        self._start = self._heard = time.monotonic()
        self.stack_size = len(items)
        # Where the child died while idle, its sentinel tells.
        with contextlib.suppress(BrokenPipeError):
            self.connection.send(message)

    def read_output(self) -> None:
        """Take in what it has printed; at most a pipe's worth, so that no child can keep its parent reading."""
        if self.output is None:
            return
        try:
            chunk = os.read(self.output.fileno(), _PIPE)
        except BlockingIOError:
            return
        if not chunk:  # all who could print are gone
            self.output.close()
            self.output = None
        self.printed_bytes += len(chunk)
        self._printed = (self._printed + chunk)[-MAX_KEPT:]

    def ask_to_save(self) -> None:
        """It replies `Saved`, unless it is dead or deaf (`listens`)."""
        assert self.process.pid is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGTERM)

    def wait_until_saved(self, patience: float) -> None:
        """Wait for that reply, but no longer than so many seconds."""
        deadline = time.monotonic() + patience
        with contextlib.suppress(EOFError, OSError):
            while self.connection.poll(max(0.0, deadline - time.monotonic())):
                if isinstance(self.hear(), Saved):
                    return

    def peak_memory(self) -> int | None:
        """Bytes, while the process lives and the kernel tells."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return None
        peaks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
        return 1024 * int(peaks[0]) if peaks else None

    def stop(self, *, grace: bool) -> int | None:
        """Give the child `GRACE` seconds to leave, which an idle one does, or kill it at once; its exit code."""
        if grace:
            with contextlib.suppress(OSError):
                self.connection.send(None)
            self.process.join(GRACE)
        assert self.process.pid is not None
        if self.process.is_alive():
            process_group.kill(self.process.pid)
        self.process.join()
        process_group.kill_left_by(self.process.pid)
        code = self.process.exitcode
        self.read_output()
        for end in (self.connection, self._lifeline, self.output):
            if end is not None:
                end.close()
        self.process.close()
        return code

    def cause_of_death(self) -> str:
        """Why a child that is about to end, or has ended, did so; it is gone afterwards.

        Raises `UniversalityError` where no other child would do better.
        """
        code = self.stop(grace=True)
        if code == UNGUARDED and not self.ready:
            raise UniversalityError(
                "a script starts work where its workers import it",
                where=str(getattr(sys.modules["__main__"], "__file__", "")),
                do='put it under `if __name__ == "__main__":`, or work in this process: --workers 0',
            )
        if code is None or code >= 0:
            return f"the worker exited with code {code}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        hint = "; often the kernel's answer to a lack of memory" if name == "SIGKILL" else ""
        return f"the worker was killed by {name}{hint}"


def _serve(
    connection: Connection,
    lifeline: Connection,
    output: Connection,
    target: str,
    settings: WorkerSettings,
) -> None:
    """Main function of a child."""
    process_group.lead(GRACE)
    threading.Thread(target=_die_with_parent, args=(lifeline,), daemon=True).start()
    for stream in (1, 2):
        os.dup2(output.fileno(), stream)
    output.close()
    make_last()  # a plugin may print when nobody reads any more
    try:
        answers = pkgutil.resolve_name(target)(settings)
        # Only now: a death during imports or plugin loading is charged to no run.
        connection.send(Ready())
        pulse.watch(partial(connection.send, Alive()))
        for message in _messages(connection):
            for reply in answers(message):
                _flush()
                connection.send(reply)
    except Stopped:
        connection.send(Saved())
        threading.Event().wait()  # one that went before its parent would be a crash of its run
    except UniversalityError as error:
        connection.send(error)
    except Exception as error:
        connection.send(Crashed(described(error), traceback.format_exc()))
        sys.exit(1)


def _flush() -> None:
    """What was printed belongs to the reply that follows."""
    for stream in (sys.stdout, sys.stderr):
        # A plugin may have closed it, or put something else there.
        with contextlib.suppress(Exception):
            stream.flush()


def _messages(connection: Connection) -> Iterator[Any]:
    """What the parent sends, until that is None or the parent is gone."""
    with contextlib.suppress(EOFError):
        yield from iter(connection.recv, None)


def _die_with_parent(lifeline: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv_bytes()
    process_group.end_own()
