"""What a command and its workers send each other, pickled through a pipe on one machine.

command -> worker   `PlannedRun`s, to be trained side by side where that pays; None to stop
worker -> command   `Ready`, then a `RunReply` for every run, with `Alive` in between; `Saved` once it was asked to end; where
                    the worker ends before its time, `Crashed` or an error that the user can mend and that ends the command

Workers that measure speak the same language: see `universality.judge.measuring_worker`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Engine = Literal["auto", "loop", "fused", "separate"]
"""What may be asked for (`run --engine`); see `universality.train.engine.loop.train_stack`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """Where a worker finds data and leaves results, and what it trains on and how.

    Args:
        plugins: folders whose plugins are loaded beside the built-in ones.
        shared_data: a folder in which several workers share the data that they load; None for one alone.
        slot: number among the workers of a command, which take turns on its GPUs.
    """

    store_root: Path
    device: str
    plugins: tuple[str, ...]
    data_root: Path
    engine: Engine = "auto"
    shared_data: Path | None = None
    slot: int = 0


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker has loaded its plugins and asks for its first runs."""


@dataclass(frozen=True, slots=True)
class Alive:
    """What the worker has in hand goes on."""


@dataclass(frozen=True, slots=True)
class Saved:
    """The worker was asked to end: what it has in hand is saved as far as that is worth it, and it waits to be ended."""


@dataclass(frozen=True, slots=True)
class RunReply:
    """How a run ended. `seconds`: wall time of the attempt."""

    run_id: str
    state: Literal["done", "diverged", "failed"]
    seconds: float
    message: str = ""
    traceback: str = ""

    @property
    def key(self) -> str:
        """Of the item that it replies to."""
        return self.run_id


@dataclass(frozen=True, slots=True)
class Crashed:
    """An exception outside of any item ended the worker."""

    message: str
    traceback: str
