"""Files of a result set that somebody else made, read without trusting them.

Nothing is executed, no link is followed, and every number and text has a bound. What is not exactly as
`universality run` writes it is refused.
"""

from __future__ import annotations

import math
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from universality.errors import UniversalityError
from universality.store.files import decode_json, encode_record
from universality.store.layout import SCHEMA_VERSION
from universality.text import short

MAX_BYTES = 64 << 20
"""Of one JSON or CSV file."""
MAX_PARTS = 2_000_000
"""Of one JSON file: numbers, texts, lists and objects, each some hundred bytes of memory."""
MAX_TEXT = 10_000
"""Characters of one text: a message may be long, a name of megabytes is an attack."""
MAX_NUMBER = 1e150
"""Squares of effects must stay finite."""
MAX_DEPTH = 40

T = TypeVar("T")


class UntrustedFile(Exception):
    """A file of a result set that cannot be used; the text says why."""


class OtherSchema(UntrustedFile):
    """A file in the stored form of an earlier or a later version; `do` says what helps."""

    def __init__(self, version: int) -> None:
        self.what = f"has schema version {version}, this reads {SCHEMA_VERSION}"
        older = "read it with the version of universality that wrote it, or run its suite into a new folder"
        self.do = f"{older} (--name)" if version < SCHEMA_VERSION else "upgrade universality"
        super().__init__(f"{self.what}: {self.do}")


def read_bytes(path: Path, most: int = MAX_BYTES) -> bytes:
    """The content of a regular file of at most `most` bytes. Raises `UntrustedFile`."""
    check_plain(path, most)
    try:
        return path.read_bytes()
    except OSError as error:
        raise UntrustedFile(error.strerror or str(error)) from None


def check_plain(path: Path, most: int) -> None:
    """Raises `UntrustedFile` unless this is a regular file of at most `most` bytes."""
    try:
        about = path.lstat()
        if stat.S_ISLNK(about.st_mode):
            raise UntrustedFile("is a link, which is not followed")
        if not stat.S_ISREG(about.st_mode):
            raise UntrustedFile("is no file")
        if about.st_size > most:
            raise UntrustedFile(f"has {about.st_size} bytes, at most {most}")
    except FileNotFoundError:
        raise UntrustedFile("is missing") from None
    except OSError as error:
        raise UntrustedFile(error.strerror or str(error)) from None


def too_large(data: bytes) -> str:
    """Why a JSON file is not read because of its size; empty where it is."""
    if len(data) > MAX_BYTES:
        return f"has {len(data):,} bytes, at most {MAX_BYTES:,}"
    parts = parts_in(data)
    return f"has {parts:,} parts, at most {MAX_PARTS:,}" if parts > MAX_PARTS else ""


def parts_in(data: bytes) -> int:
    """At least as many as the values that JSON holds, but for the outermost."""
    return sum(map(data.count, (b",", b"[", b"{")))


def parse(data: bytes) -> Any:
    """What the bytes of a JSON file hold, within all bounds. Raises `UntrustedFile`.

    Bounds are checked before anything is made of the bytes: thirty megabytes of `{}` are a gigabyte of objects.
    """
    if reason := too_large(data):
        raise UntrustedFile(reason)
    try:
        value = decode_json(data)
        _check_bounds(value)
    except RecursionError:
        raise UntrustedFile("is nested too deeply") from None
    except (ValueError, TypeError, OverflowError) as error:
        raise UntrustedFile(f"is no JSON of a result set: {short(str(error), 120)}") from None
    return value


def converted(raw: Any, kind: type[T]) -> T:
    """`raw` as a record of the type `kind`.

    Raises `UntrustedFile`, whose text names the part that is wrong, as in `$.groups[0].state`.
    """
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise UntrustedFile(f"is damaged: {short(str(error), 300)}") from None
    except UniversalityError as error:
        raise UntrustedFile(f"is damaged: {error.what}: {short(error.got, 120)}") from None


def check_written(data: bytes, written: Iterable[bytes]) -> None:
    """That a file is, byte for byte, what is written of the record that it was read as. Raises `UntrustedFile`.

    A repeated key, 1e999, numbers of ten thousand digits, a default that is written out, and 1 for 1.0 are read, and do
    not come back as the same bytes.
    """
    place = 0
    try:
        for part in written:
            if not data.startswith(part, place):
                break
            place += len(part)
        else:
            if place == len(data):
                return
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise UntrustedFile(f"is no JSON of a result set: {short(str(error), 120)}") from None
    raise UntrustedFile(
        "is not in the form that universality writes (a repeated key, other spacing, 1 for 1.0)"
    )


def read_record(path: Path, kind: type[T], *, most: int = MAX_BYTES) -> T:
    """The record in a file of its own. Raises `UntrustedFile` for anything that `encode_record` does not write."""
    return record_of(read_bytes(path, most), kind)


def record_of(data: bytes, kind: type[T]) -> T:
    """The record in the content of such a file. Raises `UntrustedFile` as `read_record`."""
    record = converted(parse(data), kind)
    check_written(data, map(encode_record, [record]))
    return record


def check_readable(record: Any, kind: type[Any]) -> None:
    """Raises `UntrustedFile` for a record of ours that would be refused where it is read."""
    try:
        data = encode_record(record)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise UntrustedFile(short(f"{type(error).__name__}: {error}", 300)) from None
    check_written(data, map(encode_record, [converted(parse(data), kind)]))


def check_schema(raw: Any) -> None:
    """Raises `UntrustedFile` unless `raw` is an object of the schema that this version reads."""
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if type(version) is not int or version < 1:
        raise UntrustedFile(f"has schema version {short(repr(version), 120)}, this reads {SCHEMA_VERSION}")
    if version != SCHEMA_VERSION:
        raise OtherSchema(version)


def _check_bounds(value: Any, depth: int = 0) -> None:
    """Of a value that `decode_json` made: of its exact types, which is asked faster than of subclasses."""
    kind = type(value)
    if kind is str:
        if len(value) > MAX_TEXT:
            raise ValueError(f"a text of {len(value)} characters, at most {MAX_TEXT}")
    elif kind is float:
        if abs(value) > MAX_NUMBER and math.isfinite(value):
            raise ValueError(f"a number beyond {MAX_NUMBER:g}")
    elif kind is int:
        # Whole numbers are compared as they are: 10**400 has no float.
        if abs(value) > MAX_NUMBER:
            raise ValueError(f"a number beyond {MAX_NUMBER:g}")
    elif depth > MAX_DEPTH and kind in (dict, list):
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
    elif kind is dict:
        for key, item in value.items():
            _check_bounds(key, depth)
            _check_bounds(item, depth + 1)
    elif kind is list:
        for item in value:
            _check_bounds(item, depth + 1)
