"""A worker: takes a run or a group of runs at a time, trains and publishes them, says how each ended."""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from universality.errors import DeviceUnavailable, StoreError
from universality.plugin import registry
from universality.plugin.registry import component
from universality.plugin.spec import RunSpec, derive_seed, digest
from universality.plugin.task import Splits, Task
from universality.store.store import Recording, Store
from universality.train.engine.loop import Engine, Member, Trained, train_group
from universality.train.shared_data import prepared

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Of glibc's malloc.h."""


def find_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one, else the CPU. Raises `DeviceUnavailable`."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda", "mps", "xpu"):
            raise RuntimeError(f"nothing can be trained on {device.type}")
        if device.type == "cuda" and not torch.cuda.is_available():
            raise RuntimeError("this build of torch sees no CUDA device")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise DeviceUnavailable(
            "the device cannot be used",
            where=f"--device {name}",
            got=str(error).splitlines()[0],
            do="--device cpu, or auto",
        ) from None
    return device


def gpus(device: torch.device) -> int:
    """How many GPUs workers with this device may use."""
    if device.type != "cuda":
        return 0
    return 1 if device.index is not None else torch.cuda.device_count()


def configure(threads: int) -> None:
    """One-time settings of a process that trains; all of them are part of the recorded environment.

    Denormal numbers are flushed: a run without weight decay drives gradients there, 2.6 times
    slower and worse with time. On a GPU, tf32 would keep 10 bits of every factor: off, and nothing
    turns it on, since a run's id does not know of it. Deterministic algorithms come without their
    filling of new memory, an operation more for every third one. Freed memory is kept: glibc gives
    large blocks back to the kernel at every step and takes page faults to get them again, a fifth of
    the time of a small convolutional network.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker finds data, and what it trains on and how.

    Args:
        prepared: a folder in which workers share what they loaded; None keeps it to oneself.
    """

    device: torch.device
    data_root: Path
    prepared: Path | None = None
    engine: Engine = "auto"


@lru_cache(maxsize=4)
def _load(task: Task, seed: int, data_root: Path, folder: Path | None) -> Splits:
    def load() -> Splits:
        return task.load(np.random.default_rng(derive_seed("data", task.name, seed)), data_root)

    if folder is None:
        return load()
    return prepared(folder, digest([component(task).identity(), seed], 64), load)


def answers(message: Mapping[str, Any], store: Store, place: Place) -> Iterator[dict[str, Any]]:
    """Train and publish a job, or the members of a group; a reply for each.

    A group in which anything raises is trained one by one, so that a member's mistake, which becomes
    its own reply `failed`, costs the others nothing but time.
    """
    jobs = message.get("members") or [message]
    if len(jobs) > 1:
        started = time.perf_counter()
        try:
            members = [_member(job, place) for job in jobs]
            runs = train_group(members, place.device, place.engine)
        except Exception:
            pass
        else:
            seconds = (time.perf_counter() - started) / len(jobs)
            for member, run in zip(members, runs, strict=True):
                yield _published(member, run, store, place.device, seconds)
            return
    for job in jobs:
        yield execute(job, store, place)


def execute(job: Mapping[str, Any], store: Store, place: Place) -> dict[str, Any]:
    """Train and publish one job; an error becomes the reply `failed`, not an exception."""
    started = time.perf_counter()
    try:
        member = _member(job, place)
        (run,) = train_group([member], place.device, place.engine)
    except Exception as error:
        return _failed(RunSpec.from_record(job["spec"]).id, error, time.perf_counter() - started)
    return _published(member, run, store, place.device, time.perf_counter() - started)


def _member(job: Mapping[str, Any], place: Place) -> Member:
    spec = RunSpec.from_record(job["spec"])
    architecture = registry.instantiate("architecture", spec.architecture)
    splits = _load(registry.instantiate("task", spec.task), spec.seed, place.data_root, place.prepared)
    return Member(spec, architecture, splits, {p: tuple(steps) for p, steps in job["observe"].items()})


def _published(
    member: Member, run: Trained, store: Store, device: torch.device, seconds: float
) -> dict[str, Any]:
    recording = Recording(
        spec=member.spec,
        state=run.state,
        series=run.series,
        arrays=run.arrays,
        observed=member.observe,
        facts=run.facts,
        seconds=run.seconds,
        log=run.log,
    )
    try:
        store.publish(recording, device=str(device))
    except StoreError:
        raise  # a full disk is no property of this run
    except Exception as error:
        return _failed(member.spec.id, error, seconds)
    return _reply(member.spec.id, run.state, seconds)


def _failed(run_id: str, error: Exception, seconds: float) -> dict[str, Any]:
    message = f"{type(error).__name__}: {error}"
    return _reply(run_id, "failed", seconds, message, traceback.format_exc())


def _reply(run_id: str, state: str, seconds: float, message: str = "", trace: str = "") -> dict[str, Any]:
    return {"state": state, "run_id": run_id, "seconds": seconds, "message": message, "traceback": trace}


class Pipe(Protocol):
    """The two ends' common part: a `multiprocessing` connection, or a queue in this process."""

    def recv(self) -> Any: ...
    def send(self, reply: Any, /) -> None: ...


def main(connection: Pipe, settings: Mapping[str, Any]) -> None:
    """Serve jobs from a pipe until None comes or the other end is gone."""
    configure(threads=1)
    registry.load_plugins(Path(p) for p in settings["plugins"])
    device = find_device(settings["device"])
    if device == torch.device("cuda"):
        # Slots beyond the number of GPUs share them.
        device = torch.device("cuda", settings.get("slot", 0) % torch.cuda.device_count())
    store = Store.open(Path(settings["store_root"]))
    shared = Path(settings["prepared"]) if settings["prepared"] else None
    place = Place(device, Path(settings["data_root"]), shared, settings["engine"])
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        if job is None:
            return
        for reply in answers(job, store, place):
            connection.send(reply)
