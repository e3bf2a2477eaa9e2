"""A worker: trains a run or a stack of runs at a time, publishes each as it ends, and replies how it ended."""

from __future__ import annotations

import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch

from universality.errors import DataUnavailable, DeviceUnavailable, StoreError, described
from universality.plan.runs_file import PlannedRun
from universality.plugin import registry
from universality.plugin.registry import component
from universality.plugin.settings import default_settings
from universality.plugin.sources import check_sources, edition, split_edition
from universality.plugin.spec import RunSpec, derive_seed, digest
from universality.plugin.task import Splits, Task
from universality.store.environment import forget_peak_memory
from universality.store.store import Recording, Store
from universality.train.checkpoints import Checkpoints, together
from universality.train.device import configure, device_of_slot, find_device, give_back_memory
from universality.train.engine.loop import train_each
from universality.train.engine.member import Member, Trained
from universality.train.engine.snapshot import BadSnapshot, Snapshot
from universality.train.messages import RunReply, WorkerSettings
from universality.train.printed import keeping_printed
from universality.train.shared_data import load_shared

OF_THE_MACHINE = (DataUnavailable, DeviceUnavailable, StoreError)
"""What no run is to blame for: another machine may have the data, or room on its disk."""


def prepare(settings: WorkerSettings) -> Callable[[Sequence[PlannedRun]], Iterator[RunReply]]:
    """Configure this process and load its plugins; returns `replies` for these settings."""
    configure(threads=1)
    registry.load_plugins(map(Path, settings.plugins))
    device = device_of_slot(find_device(settings.device), settings.slot)
    settings = replace(settings, device=str(device))
    return partial(replies, store=Store.open(settings.store_root), settings=settings)


def replies(stack: Sequence[PlannedRun], store: Store, settings: WorkerSettings) -> Iterator[RunReply]:
    """Train runs side by side, from their checkpoints where they have some, and publish each as it ends; a reply for
    each.

    A stack in which anything raises is trained one by one, so that a member's mistake, which becomes
    its own reply `failed`, costs the others nothing but time.

    Raises what `OF_THE_MACHINE` names: a machine that lacks the data would fail every run that it takes.
    """
    checkpoints = Checkpoints(store, torch.device(settings.device), settings.engine)
    snapshots = {planned.spec.id: checkpoints.load(planned) for planned in stack}
    for part in together(stack, snapshots):
        yield from _replies(part, snapshots, checkpoints, store, settings)


def _replies(
    stack: Sequence[PlannedRun],
    snapshots: Mapping[str, Snapshot | None],
    checkpoints: Checkpoints,
    store: Store,
    settings: WorkerSettings,
) -> Iterator[RunReply]:
    start, failure, left, anew = time.perf_counter(), None, list(stack), False
    give_back_memory()
    forget_peak_memory()
    with keeping_printed() as printed:
        try:
            members = [_member(planned, snapshots[planned.spec.id], settings) for planned in stack]
            device = torch.device(settings.device)
            with closing(train_each(members, device, settings.engine, keep=checkpoints.keep)) as training:
                for number, run in training:
                    member, notes = members[number], "".join(checkpoints.notes[stack[number].spec.id])
                    left.remove(stack[number])
                    yield _publish(member, run, notes + printed.log, store, settings.device)
        except OF_THE_MACHINE:
            raise
        except BadSnapshot as error:
            for planned in left:
                checkpoints.forget(planned.spec.id, error)
            anew = True
        except Exception as error:
            failure = _failed(stack[0].spec.id, error, time.perf_counter() - start, printed.log)
    if failure is not None and len(stack) == 1 and left:
        yield failure
        return
    for planned in left:
        snapshot = None if anew else checkpoints.load(planned)
        yield from _replies([planned], {planned.spec.id: snapshot}, checkpoints, store, settings)


def _member(planned: PlannedRun, snapshot: Snapshot | None, settings: WorkerSettings) -> Member:
    spec = planned.spec
    check_sources(spec, planned.observe)
    _check_data(spec, settings.data_root)
    architecture = registry.instantiate("architecture", spec.architecture)
    splits = load_splits(spec, settings.data_root, settings.shared_data)
    observe = {split_edition(probe)[0]: steps for probe, steps in planned.observe.items()}
    return Member(spec, architecture, splits, observe, snapshot)


def load_splits(spec: RunSpec, data_root: Path, folder: Path | None = None) -> Splits:
    """The data of a run. A process keeps what it loaded (`KEPT_BYTES`): it is not to be written to.

    Args:
        folder: where other processes find what this one loads (`load_shared`); None for one alone.
    """
    return _load(registry.instantiate("task", spec.task), spec.seed_of("data"), data_root, folder)


def _check_data(spec: RunSpec, data_root: Path) -> None:
    """Raises `DataUnavailable` where the data here is not what the run was planned with."""
    here = _content(registry.instantiate("task", spec.task), data_root)
    if here != spec.content:
        raise DataUnavailable(
            "the data here is another than these runs were planned with",
            where=f"{spec.task}, data root {data_root}",
            got=f"content {here[:12] or 'none'}",
            expected=spec.content[:12] or "none",
            do="use a copy of the files that `universality run` planned with, or plan anew with these",
        )


@lru_cache
def _content(task: Task, data_root: Path) -> str:
    """A process looks once at each task: its files are large, and do not change under it."""
    return task.content(data_root)


_kept: OrderedDict[tuple[object, ...], Splits] = OrderedDict()
KEPT, KEPT_BYTES = 4, 512 << 20
"""Data sets that a process keeps however large they are, and bytes up to which it keeps more: pairs of seeds ask for theirs again
and again. What was not asked for the longest goes first."""


def _load(task: Task, seed: int, data_root: Path, folder: Path | None) -> Splits:
    key = task, seed, data_root, folder

    @default_settings()
    def load() -> Splits:
        return task.load(np.random.default_rng(derive_seed("data", task.name, seed)), data_root)

    if key not in _kept:
        name = digest([component(task).identity(), seed], 64)
        _kept[key] = load() if folder is None else load_shared(folder, name, load)
        while len(_kept) > KEPT and _bytes(_kept.values()) > KEPT_BYTES:
            _kept.popitem(last=False)
    _kept.move_to_end(key)
    return _kept[key]


def _bytes(kept: Iterable[Splits]) -> int:
    """Of all tensors: seeds that share a folder share those that are the same."""
    parts = (part for splits in kept for part in (splits.train, splits.validation, splits.reference))
    return sum({t.data_ptr(): t.nbytes for part in parts for t in (part.inputs, part.targets)}.values())


def _publish(member: Member, run: Trained, notes: str, store: Store, device: str) -> RunReply:
    recording = Recording(
        spec=member.spec,
        state=run.state,
        series=run.series,
        arrays=run.arrays,
        observed={edition(address): steps for address, steps in member.observe.items()},
        facts=run.facts,
        seconds=run.seconds,
        log=run.log + notes,
    )
    try:
        store.publish(recording, device=device)
    except OF_THE_MACHINE:
        raise
    except Exception as error:
        return _failed(member.spec.id, error, run.seconds)
    return RunReply(member.spec.id, run.state, run.seconds)


def _failed(run_id: str, error: Exception, seconds: float, printed: str = "") -> RunReply:
    trace = "".join(traceback.format_exception(error))
    return RunReply(run_id, "failed", seconds, described(error), trace + printed)
