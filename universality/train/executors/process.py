"""A worker process: started and watched from its parent, and what runs inside it."""

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
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path

from universality.errors import UniversalityError, described
from universality.plan.plan import Job
from universality.plan.plan_json import PlannedRun
from universality.train.messages import Crashed, Ready, WorkerSettings
from universality.train.queue import planned

GRACE = 10.0
"""Seconds that an idle worker has to leave when asked."""

PRELOAD = ["torch", "universality.train.worker"]
"""Imported by the process that workers are forked from, so that they start at once."""


def start_fork_server() -> None:
    """Start it where it does not run. Its workers have one thread each."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOAD)
    # Libraries read their number of threads when they are imported, and that is in the server.
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


class WorkerProcess:
    """A child that serves one run, or one stack of runs, at a time; started when it is made."""

    def __init__(self, target: str, settings: WorkerSettings, slot: int) -> None:
        self.slot = slot
        context = multiprocessing.get_context("forkserver")
        self.connection, theirs = context.Pipe()
        # The child reads the lifeline and nobody writes: it ends when this process does.
        lifeline, self._lifeline = context.Pipe(duplex=False)
        self.process = context.Process(
            target=_serve, args=(theirs, lifeline, target, replace(settings, slot=slot)), daemon=True
        )
        self.process.start()
        theirs.close()
        lifeline.close()
        self.ready = False
        self.jobs: dict[str, Job] = {}
        """Those of its stack that it has not replied to."""
        self.stack_size = 0
        self._start = 0.0

    @property
    def seconds(self) -> float:
        """Since its stack was assigned."""
        return time.monotonic() - self._start

    def assign(self, stack: Sequence[Job]) -> None:
        self.jobs, self._start = {job.spec.id: job for job in stack}, time.monotonic()
        self.stack_size = len(stack)
        # Where the child died while idle, its sentinel tells.
        with contextlib.suppress(BrokenPipeError):
            self.connection.send(planned(stack))

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
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        code = self.process.exitcode
        self.connection.close()
        self._lifeline.close()
        self.process.close()
        return code

    def cause_of_death(self) -> str:
        """Why a child that is about to end, or has ended, did so; it is gone afterwards."""
        code = self.stop(grace=True)
        if code is None or code >= 0:
            return f"the worker exited with code {code}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        hint = "; often the kernel's answer to a lack of memory" if name == "SIGKILL" else ""
        return f"the worker was killed by {name}{hint}"


def _serve(connection: Connection, lifeline: Connection, target: str, settings: WorkerSettings) -> None:
    """Main function of a child."""
    # Ctrl-C reaches the whole process group; what happens then is the parent's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, args=(lifeline,), daemon=True).start()
    try:
        train = pkgutil.resolve_name(target)(settings)
        # Only now: a death during imports or plugin loading is charged to no run.
        connection.send(Ready())
        for stack in _stacks(connection):
            for reply in train(stack):
                connection.send(reply)
    except UniversalityError as error:
        connection.send(error)
    except Exception as error:
        connection.send(Crashed(described(error), traceback.format_exc()))
        sys.exit(1)


def _stacks(connection: Connection) -> Iterator[tuple[PlannedRun, ...]]:
    """What the parent sends, until that is None or the parent is gone."""
    with contextlib.suppress(EOFError):
        yield from iter(connection.recv, None)


def _die_with_parent(lifeline: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(1)
