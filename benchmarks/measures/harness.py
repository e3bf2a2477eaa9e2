"""Run the methods of a case side by side, each in a process of its own, and show them as a table.

Every process gets the same file of inputs and keeps what a method prepares between rounds. Rounds
are interleaved, so that other load on the machine falls on all methods alike. A process uses one
thread. Memory is the rise of the resident peak over what was resident before the first call, with
inputs loaded and libraries imported.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import importlib.util
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import torch

INSTALL = "pip install '.[bench]'"

Result = dict[str, Any]
"""Plain numbers, lists and numpy arrays by name."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is timed, and which share of the full work that is: times are divided by it."""

    run: Callable[[], Result]
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Method:
    """`start` turns inputs into a `Job`; whatever it does itself is neither timed nor counted as memory.

    needs: the module without which the method cannot run; package: its name in the registry.
    """

    name: str
    start: Callable[[Mapping[str, Any]], Job]
    needs: str = ""
    package: str = ""
    repeats: int = 5

    @property
    def missing(self) -> bool:
        return bool(self.needs) and importlib.util.find_spec(self.needs) is None


@dataclass(slots=True)
class Sample:
    """Seconds of each round (scaled to the full work), MiB of the first, and the answer of the first."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    memory: float = 0.0
    share: float = 1.0
    result: Result = field(default_factory=dict)
    error: str = ""

    @property
    def seconds(self) -> float:
        return median(self.cpu) if self.cpu else float("nan")


@dataclass(frozen=True, slots=True)
class Row:
    """Cells of a line, then targets: what was asked and whether it was reached."""

    cells: Sequence[str]
    targets: Sequence[tuple[str, bool]] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """A Markdown table; `notes` stand below it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Row]
    notes: Sequence[str] = ()

    def __str__(self) -> str:
        heads = [*self.columns, "target", "reached"]
        lines = [f"### {self.title}", "", _line(heads), _line(["---"] * len(heads))]
        for row in self.rows:
            asked = "; ".join(text for text, _ in row.targets)
            reached = "; ".join("yes" if met else "**no**" for _, met in row.targets)
            lines.append(_line([*row.cells, asked or "-", reached or "-"]))
        return "\n".join([*lines, "", *(f"- {note}" for note in self.notes), ""])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def number(value: float, digits: int = 2) -> str:
    return "-" if value != value else f"{value:.{digits}g}" if abs(value) < 1000 else f"{value:.0f}"


def against(ours: Sample, peer: Sample, least: float | None) -> tuple[str, list[tuple[str, bool]]]:
    """The peer's time over ours, and the target that it is at least `least`."""
    ratio = float("nan") if peer.error or ours.error else peer.seconds / ours.seconds
    # A peer that did not run has not been beaten.
    targets = [(f"time >= {least:g} x ours", ratio >= least)] if least else []
    return "-" if ratio != ratio else f"{number(ratio, 3)} x", targets


def one_thread() -> None:
    """Before anything starts a pool of threads."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    torch.set_num_threads(1)


class Bench:
    """Processes of the methods of one case, a module with `METHODS`; inputs come by `measure`."""

    def __init__(self, case: str) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["torch", "universality.measures"])
        self.methods = {method.name: method for method in importlib.import_module(case).METHODS}
        self.absent = [method.name for method in self.methods.values() if method.missing]
        self.processes = {}
        for name, method in self.methods.items():
            if not method.missing:
                here, there = context.Pipe()
                process = context.Process(target=_serve, args=(there, case, name), daemon=True)
                process.start()
                there.close()
                self.processes[name] = (process, here)

    def measure(self, inputs: Path, repeats: int | None = None) -> dict[str, Sample]:
        """Interleaved rounds of every method on the inputs saved in a file.

        repeats: at most so many rounds of each method.
        """
        samples = {name: Sample() for name in self.methods}
        for name in self.absent:
            samples[name].error = f"`{self.methods[name].package}` is not installed ({INSTALL})"
        for name, sample in samples.items():
            if name in self.absent:
                continue
            answer = self._ask(name, ("load", str(inputs)))
            sample.error, sample.share = answer.get("error", ""), answer.get("share", 1.0)
        rounds = {name: min(self.methods[name].repeats, repeats or 10**6) for name in samples}
        for turn in range(max(rounds.values(), default=0)):
            for name, sample in samples.items():
                if sample.error or turn >= rounds[name]:
                    continue
                answer = self._ask(name, ("run", ""))
                if answer.get("error"):
                    sample.error = answer["error"]
                    continue
                sample.cpu.append(answer["cpu"] / sample.share)
                sample.wall.append(answer["wall"] / sample.share)
                if turn == 0:
                    sample.memory, sample.result = answer["memory"], answer["result"]
        for name in self.processes:
            self._ask(name, ("drop", ""))
        return samples

    def _ask(self, name: str, message: tuple[str, str]) -> dict[str, Any]:
        _, connection = self.processes[name]
        try:
            connection.send(message)
            answer: dict[str, Any] = connection.recv()
        except (EOFError, OSError):
            return {"error": "its process died (memory?)"}
        return answer

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *reason: object) -> None:
        for process, connection in self.processes.values():
            connection.close()
            process.join(10)


def _serve(connection: Connection, case: str, name: str) -> None:
    """Answer load, run and drop until the other end closes."""
    one_thread()
    # Peers draw progress bars and warn; only what comes back through the connection counts.
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    method = next(method for method in importlib.import_module(case).METHODS if method.name == name)
    job: Job | None = None
    fresh = True
    while True:
        try:
            what, path = connection.recv()
        except EOFError:
            return
        try:
            if what == "load":
                inputs = torch.load(path, mmap=True, weights_only=True)
                _touch(inputs)
                torch.manual_seed(0)
                job, fresh = method.start(inputs), True
                connection.send({"share": job.share})
            elif what == "drop":
                job = inputs = None
                gc.collect()
                connection.send({})
            else:
                assert job is not None
                connection.send(_timed(job, fresh))
                fresh = False
        except Exception as error:
            connection.send({"error": f"{type(error).__name__}: {error}".strip().split("\n")[0][:160]})


def _timed(job: Job, fresh: bool) -> dict[str, Any]:
    gc.collect()
    before = _reset_peak() if fresh else 0.0
    cpu, wall = time.process_time(), time.perf_counter()
    result = job.run()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    memory = _peak() - before if fresh else 0.0
    return {"cpu": cpu, "wall": wall, "memory": memory, "result": result if fresh else {}}


def _touch(value: Any) -> None:
    """Bring mapped tensors into memory, so that reading them is neither time nor memory of a method."""
    if isinstance(value, torch.Tensor):
        value.sum()
    elif isinstance(value, Mapping):
        for item in value.values():
            _touch(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _touch(item)


def _reset_peak() -> float:
    """MiB resident now; on Linux the recorded peak starts anew from there.

    `ru_maxrss` alone would not do: a process inherits it from the one that started it.
    """
    with contextlib.suppress(OSError, AttributeError):
        # What earlier inputs left free in the heap would be used again, and hide what a call needs.
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> float:
    """Largest resident size in MiB."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 1024)
