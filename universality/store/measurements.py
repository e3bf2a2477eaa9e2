"""measurements.jsonl.gz: all measurements of a result set, a line of JSON for each, in the order of the plan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from universality.errors import StoreError
from universality.store.cells import CellRecord
from universality.store.compressed import gzipped, pieces
from universality.store.untrusted import MAX_BYTES, UntrustedFile, parts_in, read_bytes

MAX_CONTENT, MAX_LINES, MAX_PARTS = 256 << 20, 100_000, 6_000_000
"""Bytes, measurements, and parts of JSON of one file: together less than a gigabyte of memory."""


class _Named(msgspec.Struct):
    id: str


def encoded(lines: Iterable[bytes]) -> bytes:
    """The file of these lines, of `CellRecord.line`. Raises `StoreError` for more than is read."""
    kept = list(lines)
    size, parts = sum(map(len, kept)), sum(map(parts_in, kept))
    if size > MAX_CONTENT or parts > MAX_PARTS or len(kept) > MAX_LINES:
        raise StoreError(
            "too much was measured for one result set",
            got=f"{len(kept):,} measurements of {size:,} bytes and {parts:,} parts",
            expected=f"at most {MAX_LINES:,}, {MAX_CONTENT:,} and {MAX_PARTS:,}",
            do="split the suite",
        )
    return gzipped(kept)


def lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, which may hold anything. Raises `UntrustedFile` for what is no such file, or too large."""
    rest, parts, count = b"", 0, 0
    for piece in pieces(read_bytes(path), MAX_CONTENT):
        parts += parts_in(piece)
        *whole, rest = (rest + piece).split(b"\n")
        count += len(whole)
        if parts > MAX_PARTS or count > MAX_LINES:
            raise UntrustedFile(f"holds more than {MAX_LINES:,} measurements, or {MAX_PARTS:,} parts")
        if len(rest) > MAX_BYTES:
            raise UntrustedFile(f"has a line of more than {MAX_BYTES:,} bytes")
        yield from (line + b"\n" for line in whole)
    if rest:
        raise UntrustedFile("does not end with a line")


def read(path: Path) -> Iterator[CellRecord]:
    """The measurements of a file. Raises `UntrustedFile` for any that no `CellRecord.line` is, and for one that is there
    twice."""
    ids: set[str] = set()
    for number, line in enumerate(lines(path), start=1):
        try:
            record = CellRecord.read(line)
        except UntrustedFile as problem:
            raise UntrustedFile(f"line {number} {problem}") from None
        if record.id in ids:
            raise UntrustedFile(f"holds {record.id} twice")
        ids.add(record.id)
        yield record


def others(path: Path, ids: set[str]) -> list[bytes]:
    """The lines of a file of ours whose ids are none of these; none of a file that cannot be used."""
    try:
        return [line for line in lines(path) if msgspec.json.decode(line, type=_Named).id not in ids]
    except (UntrustedFile, msgspec.MsgspecError):
        return []
