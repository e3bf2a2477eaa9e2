"""Checkpoints of the runs that one worker trains: written while they train, found by whoever takes them up."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from universality.errors import StoreError
from universality.plan.runs_file import PlannedRun
from universality.plugin.sources import edition
from universality.plugin.spec import digest
from universality.store.checkpoints import HEADER, MAX_BYTES, SHA256, CheckpointHeader
from universality.store.environment import code_digest
from universality.store.store import Store
from universality.store.untrusted import UntrustedFile, read_bytes
from universality.text import short
from universality.train.engine.member import Member
from universality.train.engine.snapshot import Snapshot
from universality.train.messages import Engine


class Checkpoints:
    """Those in one store that go on to the last bit in this process.

    Args:
        device, engine: that the runs are trained on, and were.

    Attributes:
        notes: by run id, lines for its log.
    """

    def __init__(self, store: Store, device: torch.device, engine: Engine) -> None:
        self._store, self._device, self._engine = store, device, engine
        self.notes: defaultdict[str, list[str]] = defaultdict(list)

    @cached_property
    def _code(self) -> str:
        return digest([code_digest(), self._device.type, self._engine], 64)

    def keep(self, member: Member, snapshot: Snapshot) -> None:
        """Write the checkpoint of a run over the one that it has. What cannot be written is noted, and the run goes on."""
        run_id, size = member.spec.id, sum(tensor.nbytes for tensor in snapshot.tensors.values())
        if size > MAX_BYTES:
            self._note(run_id, "no checkpoint:", f"it would have {size:,} bytes, at most {MAX_BYTES:,}")
            return
        header = CheckpointHeader(
            code=self._code,
            spec=member.spec,
            observed={edition(address): tuple(steps) for address, steps in member.observe.items()},
            step=snapshot.step,
            draws=snapshot.draws,
            run=snapshot.run,
        )
        try:
            self._store.write(self._store.layout.checkpoint(run_id), encode(header, snapshot.tensors))
        except (StoreError, MemoryError, safetensors.SafetensorError) as error:
            self._note(run_id, "no checkpoint:", error)

    def load(self, planned: PlannedRun) -> Snapshot | None:
        """Where the run goes on; None where nothing is found that goes on as if nothing had been, and noted why."""
        run_id = planned.spec.id
        path = self._store.layout.checkpoint(run_id)
        if not path.exists():
            return None
        try:
            header, tensors = decode(read_bytes(path, MAX_BYTES))
            if header.spec.id != run_id or header.spec != planned.spec:
                raise UntrustedFile(f"is of the run {header.spec.id}")
            if dict(header.observed) != {probe: tuple(steps) for probe, steps in planned.observe.items()}:
                raise UntrustedFile("is of a run that is observed otherwise")
            if header.code != self._code:
                raise UntrustedFile("is of other code, or of another device or engine")
        except UntrustedFile as error:
            self._note(run_id, "the checkpoint was not used: it", error)
            return None
        return Snapshot(header.step, header.draws, header.run, tensors)

    def forget(self, run_id: str, why: Exception) -> None:
        """Delete a checkpoint from which nothing can go on."""
        self._note(run_id, "the checkpoint was not used:", why)
        self._store.forget_checkpoint(run_id)

    def _note(self, run_id: str, what: str, why: object) -> None:
        note = f"{what} {short(str(why), 300)}\n"
        if note not in self.notes[run_id]:
            self.notes[run_id].append(note)


def together(stack: Sequence[PlannedRun], snapshots: Mapping[str, Snapshot | None]) -> list[list[PlannedRun]]:
    """Parts of a stack that go on side by side: from the same update, and of random numbers each alone."""
    parts: defaultdict[tuple[int, str], list[PlannedRun]] = defaultdict(list)
    for planned in stack:
        run_id = planned.spec.id
        snapshot = snapshots.get(run_id)
        step, alone = (snapshot.step, snapshot.draws) if snapshot else (0, False)
        parts[step, run_id if alone else ""].append(planned)
    return list(parts.values())


def encode(header: CheckpointHeader, tensors: Mapping[str, Tensor]) -> bytes:
    """A file of safetensors. Raises `SafetensorError` where a tensor has no place in one."""
    named = {**tensors, HEADER: _bytes(header.encode())}
    return safetensors.torch.save({**named, SHA256: _bytes(_sha256(named))})


def decode(data: bytes) -> tuple[CheckpointHeader, dict[str, Tensor]]:
    """The inverse of `encode`. Raises `UntrustedFile` for anything else."""
    try:
        tensors = safetensors.torch.load(data)
        told = bytes(tensors.pop(SHA256).numpy())
        if told != _sha256(tensors):
            raise UntrustedFile("is damaged: its content has another SHA-256")
        return CheckpointHeader.decode(bytes(tensors.pop(HEADER).numpy())), tensors
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise UntrustedFile(f"is no checkpoint: {error}") from None


def _bytes(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def _sha256(tensors: Mapping[str, Tensor]) -> bytes:
    sha256 = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        sha256.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        sha256.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return sha256.digest()
