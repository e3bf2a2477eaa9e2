"""A worker that measures: one cell at a time, far from the command that asked for it.

command -> worker   a `Question`: a planned cell, its plugins by name and parameters; None to stop
worker -> command   `Ready`, then a `CellReply` for every cell
"""

from __future__ import annotations

import contextlib
import io
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from universality.judge.measure import measure_cell
from universality.plan.plan import PlannedCell
from universality.plugin import registry
from universality.plugin.registry import component
from universality.store.cells import CellRecord
from universality.store.store import Store
from universality.store.untrusted import too_large
from universality.train.device import configure
from universality.train.messages import WorkerSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuringSettings(WorkerSettings):
    """Of a worker that measures, which uses no device.

    Args:
        memory_bytes: of data that it may hold; None where the machine does not tell what it has.
    """

    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """The cell of number `key` of a plan, as `encode_cell` writes it."""

    key: str
    cell: bytes


@dataclass(frozen=True, slots=True)
class CellReply:
    """What came out of a cell: its records, or why the phenomenon's code left none (`lost`)."""

    key: str
    records: tuple[CellRecord, ...] = ()
    lost: str = ""


def prepare(settings: MeasuringSettings) -> Callable[[Question], Iterator[CellReply]]:
    """Configure this process and load its plugins; returns a function from a question to its one reply."""
    configure(threads=1)
    registry.load_plugins(map(Path, settings.plugins))
    limit_memory(settings.memory_bytes)
    return partial(replies, store=Store.open(settings.store_root), data_root=settings.data_root)


def replies(question: Question, store: Store, data_root: Path) -> Iterator[CellReply]:
    yield measured(question.key, decode_cell(question.cell), store, data_root)


def measured(key: str, cell: PlannedCell, store: Store, data_root: Path) -> CellReply:
    """Measure a cell. Outcomes that together fit in no file are the failure of the phenomenon."""
    records = tuple(measure_cell(cell, store, data_root=data_root))
    for reason in filter(None, map(too_large, map(CellRecord.line, records))):
        return CellReply(key, lost=f"the file of its outcomes {reason}")
    return CellReply(key, records)


class _ByName(pickle.Pickler):
    """Plugins cross to another process as a name and parameters, never as objects of a module of ours."""

    def reducer_override(self, value: object) -> Any:
        for kind, contract in registry.KINDS.items():
            if isinstance(value, contract):
                return registry.instantiate, (kind, component(value))
        return NotImplemented


def encode_cell(cell: PlannedCell) -> bytes:
    """Raises whatever pickle raises for what a control holds beside plugins and plain data."""
    buffer = io.BytesIO()
    _ByName(buffer).dump(cell)
    return buffer.getvalue()


def decode_cell(data: bytes) -> PlannedCell:
    """A cell of `encode_cell`, whose plugins this process has loaded."""
    cell = pickle.loads(data)
    assert isinstance(cell, PlannedCell)
    return cell


def limit_memory(data_bytes: int | None) -> None:
    """Have more data than this refused, so that what eats memory gets an error of its own, and the machine lives.

    Where the kernel does not count data (macOS) nothing is limited.
    """
    if data_bytes is None:
        return
    with contextlib.suppress(ImportError, AttributeError, ValueError, OSError):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if hard != resource.RLIM_INFINITY:
            data_bytes = min(data_bytes, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (data_bytes, hard))
