"""Measure a plan: every cell in a worker process, so that what a plugin does there costs its own cell."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from universality.judge.earlier import EarlierCells
from universality.judge.measure import measure_cell
from universality.judge.measuring_worker import CellReply, MeasuringSettings, Question, encode_cell, measured
from universality.plan.plan import Plan, PlannedCell
from universality.plugin.registry import component
from universality.store.cells import CellRecord
from universality.store.environment import memory_bytes
from universality.store.store import FailureKind, Store
from universality.text import plain
from universality.train.executors.supervisor import Supervisor
from universality.train.interruption import signals_raise
from universality.train.messages import WorkerSettings

WORKER = "universality.judge.measuring_worker:prepare"

PROGRESS_SECONDS = 10.0
"""Report the progress of measuring after this many seconds."""

MAX_CRASHES = 2
"""Attempts at a cell whose worker dies: something else may have killed it."""

MAX_PRINTED = 1 << 20
"""Bytes that a cell may print."""

MEMORY_SHARE = 0.9
"""Of the memory of this machine, what all workers together may hold."""

LEAST_MEMORY = 4 << 30
"""Bytes that each may hold however many there are: few cells need much at once."""


def measure_all(
    plan: Plan, store: Store, settings: WorkerSettings, *, slots: int, timeout_s: float
) -> list[CellRecord]:
    """Measure every cell and control from what is stored, but for those that the plan has adopted, and for `EarlierCells`, which saves
    each as soon as it is there.

    A plugin that hangs, crashes, leaves the process, eats its memory or floods its output fails its own cell,
    in words of its `Problem`; a worker that dies is given a second attempt. Records are the same however many
    workers there are.

    Args:
        settings: where workers find plugins and data.
        slots: worker processes; 0 measures in this process, without a limit and without protection.
        timeout_s: wall time of one cell.

    Raises:
        UniversalityError: where workers cannot start, or the disk refuses.
    """
    earlier = EarlierCells(store)
    queue = CellQueue(plan, store, earlier)
    if slots == 0:
        for item in queue.take_all():
            queue.finish(item, measured(queue.key(item), item.cell, store, settings.data_root))
    else:
        own = MeasuringSettings(
            store_root=settings.store_root,
            device="cpu",
            plugins=settings.plugins,
            data_root=settings.data_root,
            memory_bytes=memory_share(slots),
        )
        with signals_raise():
            Supervisor(queue, slots, timeout_s, WORKER, own, on_output=_show, max_printed=MAX_PRINTED).run()
    earlier.drop_others()
    return [record for number in range(len(plan.cells)) for record in queue.records[number]]


@dataclass(frozen=True, slots=True)
class CellItem:
    """A cell and its place in the plan."""

    number: int
    cell: PlannedCell

    def __str__(self) -> str:
        return f"{component(self.cell.phenomenon)}, {self.cell.architecture}, {self.cell.task}"


class CellQueue:
    """Hands out cells, and saves what came out of each as soon as it is there.

    Attributes:
        records: of each cell that is settled, by its number.
    """

    held_by_others = awaited = 0

    def __init__(self, plan: Plan, store: Store, earlier: EarlierCells) -> None:
        self._store, self._adopted, self._earlier = store, plan.adopted, earlier
        self._total = len(plan.cells)
        self._crashes: dict[int, int] = {}
        self._reported = time.monotonic()
        self.records: dict[int, list[CellRecord]] = {}
        items = (CellItem(number, cell) for number, cell in enumerate(plan.cells))
        self._open = deque(item for item in items if not self._known(item))

    @property
    def open(self) -> int:
        return len(self._open)

    def ask_again(self) -> None:
        """No other process holds a cell."""

    def take(self, slots: int) -> list[CellItem]:
        """The next cell, alone."""
        return [self._open.popleft()] if self._open else []

    def take_all(self) -> list[CellItem]:
        return [item for _ in range(self.open) for item in self.take(1)]

    def key(self, item: CellItem) -> str:
        return str(item.number)

    def message(self, stack: Sequence[CellItem]) -> Question:
        (item,) = stack
        return Question(self.key(item), encode_cell(item.cell))

    def finish(self, item: CellItem, reply: CellReply) -> None:
        """Save the records of a cell."""
        if reply.lost:
            self._lose(item, reply.lost)
        else:
            self._settle(item, reply.records)

    def fail(
        self,
        item: CellItem,
        kind: FailureKind,
        message: str,
        seconds: float,
        traceback: str = "",
        memory_bytes: int | None = None,
    ) -> None:
        """Save a cell whose worker was lost with it; a first crash puts it back."""
        if kind == "crashed":
            self._crashes[item.number] = self._crashes.get(item.number, 0) + 1
            if self._crashes[item.number] < MAX_CRASHES:
                self._open.appendleft(item)
                return
        if traceback:
            print(plain(traceback, None, lines=True), file=sys.stderr)
        self._lose(item, message)

    def split(self, stack: Sequence[CellItem], why: str, seconds: float) -> None:
        """Cells are handed out one by one."""
        raise AssertionError("no cell shares a worker's message with another")

    def _lose(self, item: CellItem, why: str) -> None:
        text = f"measure() of phenomenon '{item.cell.phenomenon.name}': {plain(why, None, lines=True)}"
        self._settle(item, measure_cell(item.cell, self._store, lost=text))

    def _known(self, item: CellItem) -> bool:
        """Settle a cell that another set or an earlier command measured."""
        records = self._adopted.get(item.cell.question) or self._earlier.records(item.cell)
        if records is None:
            return False
        self.records[item.number] = records
        return True

    def _settle(self, item: CellItem, records: Sequence[CellRecord]) -> None:
        self.records[item.number] = list(records)
        self._earlier.keep(item.cell, records)
        if time.monotonic() - self._reported > PROGRESS_SECONDS:
            self._reported = time.monotonic()
            done = f"measured {len(self.records)} of {self._total} cells and controls"
            print(done, file=sys.stderr, flush=True)


def _show(item: CellItem, printed: str) -> None:
    """What a plugin printed while it measured, for whoever writes it."""
    print(f"{plain(item)} printed:\n{plain(printed.rstrip(), None, lines=True)}", file=sys.stderr)


def memory_share(slots: int) -> int | None:
    """Bytes that one of so many workers may hold; None where the system does not tell."""
    if (memory := memory_bytes()) is None:
        return None
    most = int(MEMORY_SHARE * memory)
    return max(most // slots, min(most, LEAST_MEMORY))
