"""What a command and its workers on other machines tell each other: JSON, so that nothing of ours is unpickled.

command -> worker   version and digest of the command's source with an `Order`; then stacks of `PlannedRun`s
worker -> command   `Hello`; of every stack for each run `Finished` or `Failed`, or `Split`; in place of any of them `Refused`

Files of a recording go beside a `Finished`, as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from universality.errors import UniversalityError
from universality.plan.jobs_json import JobsRecord
from universality.plan.runs_file import PlannedRun
from universality.store.files import encode_record
from universality.store.store import FailureKind
from universality.store.untrusted import converted, parse
from universality.train.messages import Engine, RunReply


class Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a worker finds data and leaves results, and what it trains on and how.

    Args:
        root: the results folder, by the path that it has for the command.
        proof: a file in it and what that holds: a worker that reads the same there sees the folder.
        data_root: empty where every machine has its own.
        planned: of the runs to come, without the runs.
    """

    root: str
    proof: tuple[str, str]
    device: str
    engine: Engine
    plugins: tuple[str, ...]
    data_root: str
    timeout_s: float
    planned: JobsRecord


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The worker is ready. `sees_folder`: it publishes there what it has trained, else it sends the files."""

    host: str
    sees_folder: bool


class Finished(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A run has ended."""

    reply: RunReply


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A run was lost with the process that trained it."""

    run_id: str
    kind: FailureKind
    message: str
    seconds: float
    traceback: str = ""
    memory_bytes: int | None = None


class Split(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A stack was lost with the process that trained it: what is to be tried again, run by run."""

    run_ids: tuple[str, ...]
    why: str
    seconds: float


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A `UniversalityError`: what the machine lacks, or what else no run is to blame for."""

    what: str
    where: str
    got: str
    expected: str
    do: str

    @classmethod
    def of(cls, error: UniversalityError, host: str) -> Refused:
        where = f"{host}: {error.where}" if error.where else host
        return cls(what=error.what, where=where, got=error.got, expected=error.expected, do=error.do)

    def error(self) -> UniversalityError:
        return UniversalityError(
            self.what, where=self.where, got=self.got, expected=self.expected, do=self.do
        )


Said: TypeAlias = Hello | Finished | Failed | Split | Refused


def encode(said: Said) -> bytes:
    """Messages of errors may hold a lone surrogate, which has no UTF-8: it comes out as its escape."""
    try:
        return msgspec.json.encode(said)
    except UnicodeEncodeError:
        raw = _encodable(msgspec.to_builtins(said))
        return msgspec.json.encode(raw)


def _encodable(value: object) -> object:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {key: _encodable(item) for key, item in value.items()}
    return [_encodable(item) for item in value] if isinstance(value, list | tuple) else value


def decode(data: bytes) -> Said:
    """Raises ValueError."""
    said: Said = msgspec.json.decode(data, type=Said)
    return said


def encode_stack(stack: Sequence[PlannedRun]) -> bytes:
    return encode_record(list(stack))


def decode_stack(data: bytes) -> list[PlannedRun]:
    """Raises `UntrustedFile`."""
    return converted(parse(data), list[PlannedRun])


def encode_order(order: Order) -> bytes:
    return encode_record(order)


def decode_order(data: bytes) -> Order:
    """Raises `UntrustedFile`."""
    return converted(parse(data), Order)
