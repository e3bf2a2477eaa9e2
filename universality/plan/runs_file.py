"""Files that list the runs of a plan by id, written and read run by run: there may be a hundred thousand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Generic, Protocol, TypeVar

import msgspec
from msgspec import Meta

from universality.errors import StoreError
from universality.plugin.spec import RunSpec
from universality.store.compressed import gunzipped
from universality.store.files import encode_record
from universality.store.shared import Shared
from universality.store.untrusted import UntrustedFile, check_written, converted, parse, read_bytes
from universality.text import short

MAX_BYTES, MAX_RUNS = 512 << 20, 250_000
"""Of one file."""
_NO_RUNS = b'\n "runs": {}'

Step = Annotated[int, Meta(ge=0)]


class PlannedRun(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A training, and the steps at which each probe must have recorded, by its `edition`."""

    spec: RunSpec
    observe: Mapping[str, tuple[Step, ...]]


P = TypeVar("P", bound=PlannedRun)


class _Listing(Protocol):
    """A record whose field `runs` has the runs."""

    @property
    def runs(self) -> Mapping[str, PlannedRun]: ...


R = TypeVar("R", bound=_Listing)


class _Runs(msgspec.Struct, Generic[P]):
    """Gives a run its place in what is said to be wrong with it."""

    runs: dict[str, P]


def parts(record: _Listing) -> Iterator[bytes]:
    """The file of a record in parts: of all runs together the values of JSON would take ten times the memory."""
    rest: Any = record
    before, empty, after = encode_record(msgspec.structs.replace(rest, runs={})).partition(_NO_RUNS)
    yield before
    yield empty if not record.runs else empty.removesuffix(b"}")
    for place, (run_id, run) in enumerate(sorted(record.runs.items())):
        text = encode_record({run_id: run}).removeprefix(b"{").removesuffix(b"\n}\n")
        yield (b"," if place else b"") + text.replace(b"\n", b"\n ")
    yield b"\n }" + after if record.runs else after


def read(path: Path, kind: type[R], of: type[P]) -> R:
    """The record in a file, whose runs are `of` a kind. Raises `UntrustedFile` for anything that `parts` does not write."""
    data = read_bytes(path, MAX_BYTES)
    if path.suffix == ".gz":
        data = gunzipped(data, MAX_BYTES)
    _check_size(data)
    try:
        fields = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        runs = msgspec.json.decode(fields.pop("runs", b"{}"), type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise UntrustedFile(f"is no JSON of a result set: {short(str(error), 120)}") from None
    rest = {name: parse(bytes(raw)) for name, raw in fields.items()}
    record: Any = converted({**rest, "runs": {}}, kind)
    into: Any = _Runs[of]  # type: ignore[valid-type]
    shared = Shared()
    planned = {run_id: _planned(run_id, bytes(raw), into, shared) for run_id, raw in runs.items()}
    try:
        found: R = msgspec.structs.replace(record, runs=planned)
    except StoreError as error:
        raise UntrustedFile(f"is damaged: {error.what}: {short(error.got, 120)}") from None
    check_written(data, parts(found))
    return found


def _planned(run_id: str, data: bytes, into: type[_Runs[P]], shared: Shared) -> P:
    """A run of the file. Raises `UntrustedFile`."""
    try:
        fields = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except msgspec.MsgspecError:
        raw = parse(data)
    else:
        raw = {name: _value(bytes(value), shared) for name, value in fields.items()}
    run: P = converted({"runs": {run_id: raw}}, into).runs[run_id]
    return msgspec.structs.replace(run, spec=shared.spec(run.spec), observe=shared.observed(run.observe))


def _value(data: bytes, shared: Shared) -> Any:
    """Of an object the parts, which many runs share, each parsed once. Raises `UntrustedFile`."""
    try:
        fields = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except msgspec.MsgspecError:
        return parse(data)
    return {name: shared.parsed(bytes(part)) for name, part in fields.items()}


def _check_size(data: bytes) -> None:
    """Raises `UntrustedFile` for more than can be read in little memory, before anything is made of it.

    What `parts` writes has a line for each run, which alone is indented by two, and no comma inside a line but in a name.
    """
    if data.count(b'\n  "') > MAX_RUNS or data.count(b",") - data.count(b",\n") > 8 * MAX_RUNS:
        raise UntrustedFile(
            f"asks for more than {MAX_RUNS:,} runs, or is not in the form that universality writes"
        )
