"""Workers on a Ray cluster, or on one of this machine alone where none runs: each is an actor.

Ray finds a place with the CPUs and the share of a GPU that a worker asks for, says when one is lost, and carries bytes; it ships
no code and retries nothing by itself.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

import universality
from universality.errors import BadParameter, UniversalityError, described
from universality.store.environment import cores, source_digest
from universality.text import plain
from universality.train.executors.remote import Idle, Lost, Told
from universality.train.executors.remote_messages import decode
from universality.train.executors.remote_worker import RemoteWorker
from universality.train.interruption import ASKING, Interrupted

REACHED = 10.0
"""Seconds in which the head of a cluster answers."""

LEAVING = 3.0
"""Seconds that workers have to clear up before they are ended."""

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class RayOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `--ray` takes.

    Args:
        address: of a node that runs the cluster's head, host:port; empty for $RAY_ADDRESS, or the cluster of which
            this machine is a node, or none.
        working_dir: a folder that Ray copies to every worker, which starts there and imports from it.
        num_cpus, num_gpus: of one worker; a share of a GPU lets several have one. Without `num_gpus`: one where
            `device` is a GPU.
    """

    address: str = ""
    working_dir: str = ""
    num_cpus: float = 1.0
    num_gpus: float | None = None

    def __post_init__(self) -> None:
        gpus = self.num_gpus or 0.0
        if self.address.startswith("ray://"):
            raise ValueError(
                "an address ray://... streams no results: give host:port, or use `ray job submit`"
            )
        if not 0 < self.num_cpus < math.inf or not 0 <= gpus < math.inf or (gpus > 1 and gpus % 1):
            raise ValueError("a worker has more than 0 CPUs, and a share of one GPU or whole ones")

    @classmethod
    def parsed(cls, options: Sequence[str]) -> RayOptions:
        """Raises `BadParameter`.

        >>> RayOptions.parsed(["num_gpus=0.25"]).num_gpus
        0.25
        """
        try:
            pairs = dict(each.split("=", 1) for each in options)
            return msgspec.convert(pairs, cls, strict=False)
        except ValueError as error:
            expected = ", ".join(f"{name}=..." for name in cls.__struct_fields__)
            raise BadParameter(
                "--ray takes options of the cluster", got=f"{' '.join(options)}: {error}", expected=expected
            ) from None

    def device(self, here: str) -> tuple[str, float]:
        """What a worker trains on, and its GPUs, for a command whose device is `here`.

        >>> RayOptions(num_gpus=0.5).device("cpu"), RayOptions().device("cpu"), RayOptions().device("cuda")
        (('cuda', 0.5), ('cpu', 0.0), ('cuda', 1.0))
        """
        gpus = float(here.startswith("cuda")) if self.num_gpus is None else self.num_gpus
        return ("cuda" if gpus else here), gpus

    def path(self, folder: str) -> str:
        """A folder of this machine as workers name it: in a copy of `working_dir` relative to that, where they start."""
        path = Path(folder).resolve()
        copied = Path(self.working_dir).resolve()
        return str(path.relative_to(copied) if self.working_dir and path.is_relative_to(copied) else path)


class Actor(RemoteWorker):
    """A worker in a process of Ray's."""

    def __init__(self) -> None:
        # Processes that train would import the script that Ray has started this one with.
        del sys.modules["__main__"].__file__
        super().__init__()


class RayCluster:
    """A `universality.train.executors.remote.Cluster`; connected when it is made.

    Args:
        here: the device of the command.
        workers: how many there will be; None for as many as the cluster has room for.

    Attributes:
        device: of a worker.
        slots: the number of workers.

    Raises:
        UniversalityError: Ray is not installed, or its cluster cannot be used.
    """

    def __init__(self, options: RayOptions, here: str, workers: int | None) -> None:
        self._ray = imported()
        if workers == 0:
            raise BadParameter(
                "workers on a Ray cluster are processes", got="--workers 0", expected="1 or more"
            )
        self.device, gpus = options.device(here)
        self._asked = {"CPU": options.num_cpus} | ({"GPU": gpus} if gpus else {})
        self._mine = not self._ray.is_initialized()
        if self._mine:
            self._connect(options, workers or 1)
        there = self._ray.cluster_resources()
        room = min(int(there.get(name, 0.0) / number + 1e-9) for name, number in self._asked.items())
        self.slots = workers or max(1, room)
        remote: Any = self._ray.remote(Actor)
        # A method that streams runs beside the others. Nothing is retried by Ray: attempts are counted here.
        self._actor = remote.options(
            num_cpus=options.num_cpus, num_gpus=gpus, max_concurrency=2, max_restarts=0, max_task_retries=0
        )
        self._heard: dict[Any, Any] = {}

    def _connect(self, options: RayOptions, workers: int) -> None:
        settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "warning"}
        if options.working_dir:
            settings["runtime_env"] = {"working_dir": options.working_dir}
        elsewhere = options.address or os.environ.get("RAY_ADDRESS")
        if elsewhere:
            _reach(elsewhere)
        kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            try:
                self._ray.init(address=options.address or "auto", **settings)
            except ConnectionError:
                if elsewhere:
                    raise
                print("note: no Ray cluster runs here: one of this machine alone is started", file=sys.stderr)
                os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
                cpus = max(cores(), math.ceil(workers * options.num_cpus))
                self._ray.init(address="local", num_cpus=cpus, include_dashboard=False, **settings)
        except SystemExit:  # Ray's answer to SIGTERM
            raise Interrupted(signal.SIGTERM) from None
        except Exception as error:
            raise _unusable(elsewhere or "this machine", error) from None
        finally:
            for number, handler in kept.items():
                signal.signal(number, handler)

    @property
    def waited_for(self) -> str:
        free = self._ray.available_resources()
        there = ", ".join(f"{free.get(name, 0.0):g} {name} free" for name in self._asked)
        asked = ", ".join(f"{number:g} {name}" for name, number in self._asked.items())
        return f"each asks for {asked}, and the cluster has {there}"

    def start(self, order: bytes) -> Any:
        worker = self._actor.remote()
        self._heard[worker] = worker.hello.remote(universality.__version__, source_digest(), order)
        return worker

    def give(self, worker: Any, stack: bytes) -> None:
        self._heard[worker] = worker.train.options(num_returns="streaming").remote(stack)

    def listen(self, seconds: float) -> Iterator[tuple[Any, Told | Idle | Lost]]:
        sources = {source: worker for worker, source in self._heard.items()}
        if not sources:
            time.sleep(seconds)
            return
        with _signals_as_they_are():
            ready, _ = self._ray.wait(list(sources), num_returns=1, timeout=seconds)
        for source in ready:
            worker = sources[source]
            yield worker, self._word(worker, source)

    def _word(self, worker: Any, source: Any) -> Told | Idle | Lost:
        try:
            if isinstance(source, self._ray.ObjectRef):
                del self._heard[worker]
                return Told(decode(self._ray.get(source)))
            said, files = self._ray.get(next(source))
            return Told(decode(said), files)
        except StopIteration:
            del self._heard[worker]
            return Idle()
        except self._ray.exceptions.RayError as error:
            self._heard.pop(worker, None)
            return Lost(plain(_COLOURS.sub("", described(error)), 2000, lines=True))

    def stop(self, workers: Sequence[Any]) -> None:
        leaving = []
        for worker in workers:
            self._heard.pop(worker, None)
            leaving.append(worker.leave.remote())
        try:
            if leaving:
                self._ray.wait(leaving, num_returns=len(leaving), timeout=LEAVING)
        finally:
            for worker in workers:
                self._ray.kill(worker)

    def close(self) -> None:
        """Disconnect, and end a cluster that was started here."""
        if self._mine:
            self._ray.shutdown()


@contextlib.contextmanager
def _signals_as_they_are() -> Iterator[None]:
    """Raise what a handler raises: while Ray waits, it puts a plain KeyboardInterrupt in its place."""
    came: list[int] = []

    def noting(handler: Any) -> Any:
        def note(number: int, frame: object) -> None:
            came.append(number)
            handler(number, frame)

        return note

    in_main_thread = threading.current_thread() is threading.main_thread()
    kept = {number: signal.getsignal(number) for number in ASKING if in_main_thread}
    for number, handler in kept.items():
        if callable(handler):
            signal.signal(number, noting(handler))
    try:
        yield
    except KeyboardInterrupt:
        if came:
            raise Interrupted(came[0]) from None
        raise
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _reach(address: str) -> None:
    """Raises `UniversalityError` where nobody answers, which Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACHED).close()
    except (OSError, ValueError, OverflowError) as error:
        raise _unusable(address, error) from None


def _unusable(where: str, error: Exception) -> UniversalityError:
    return UniversalityError(
        "the Ray cluster cannot be used",
        where=where,
        got=described(error),
        expected="HOST:PORT of its head, and the same versions of Ray and Python on all machines",
        do="look at what `ray status` says there",
    )


def imported() -> Any:
    """The module. Raises `UniversalityError` where it is not installed."""
    try:
        import ray
    except ImportError:
        raise UniversalityError("--executor ray needs Ray", do="pip install 'universality[ray]'") from None
    return ray
