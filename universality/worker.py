"""A worker: takes one run at a time, trains it, publishes it, says how it ended."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from universality import registry
from universality.errors import DeviceUnavailable, StoreError
from universality.spec import RunSpec, derive_seed
from universality.store import Recording, Store
from universality.task import Splits, Task
from universality.training.loop import train


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


def configure(threads: int) -> None:
    """One-time settings of a process that trains; all of them are part of the recorded environment.

    Denormal numbers are flushed: a run without weight decay drives gradients there, 2.6 times
    slower and worse with time.
    """
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)


@lru_cache(maxsize=4)
def _load(task: Task, seed: int, data_root: Path) -> Splits:
    return task.load(np.random.default_rng(derive_seed("data", task.name, seed)), data_root)


def execute(job: Mapping[str, Any], store: Store, device: torch.device, data_root: Path) -> dict[str, Any]:
    """Train and publish one job; an error becomes the reply `failed`, not an exception."""
    started = time.perf_counter()
    spec = RunSpec.from_record(job["spec"])
    reply: dict[str, Any] = {"run_id": spec.id, "message": "", "traceback": ""}
    try:
        architecture = registry.instantiate("architecture", spec.architecture)
        task = registry.instantiate("task", spec.task)
        splits = _load(task, spec.seed, data_root)
        observe = {probe: tuple(steps) for probe, steps in job["observe"].items()}
        trained = train(spec, architecture, splits, observe, device)
        store.publish(
            Recording(
                spec=spec,
                state=trained.state,
                series=trained.series,
                arrays=trained.arrays,
                observed=observe,
                facts=trained.facts,
                seconds=trained.seconds,
            ),
            device=str(device),
        )
        reply["state"] = trained.state
    except StoreError:
        raise  # a full disk is no property of this run
    except Exception as error:
        reply["state"] = "failed"
        reply["message"] = f"{type(error).__name__}: {error}"
        reply["traceback"] = traceback.format_exc()
    reply["seconds"] = time.perf_counter() - started
    return reply


class Pipe(Protocol):
    """The two ends' common part: a `multiprocessing` connection, or a queue in this process."""

    def recv(self) -> Any: ...
    def send(self, reply: Any, /) -> None: ...


def main(connection: Pipe, settings: Mapping[str, Any]) -> None:
    """Serve jobs from a pipe until None comes or the other end is gone."""
    configure(threads=1)
    registry.load_plugins(Path(p) for p in settings["plugins"])
    device = find_device(settings["device"])
    store = Store.open(Path(settings["store_root"]))
    data_root = Path(settings["data_root"])
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        if job is None:
            return
        connection.send(execute(job, store, device, data_root))
