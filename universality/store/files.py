"""Writing files that are either whole or absent, and JSON that keeps non-finite numbers."""

from __future__ import annotations

import errno
import json
import math
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from universality.errors import StoreError

_NON_FINITE = "$float"
_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}
NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK}


def encode_json(value: Any) -> bytes:
    """Strict JSON, sorted and indented. NaN and the infinities, which JSON lacks, become
    `{"$float": "nan"}`; numpy scalars become numbers.

    >>> decode_json(encode_json({"a": float("-inf")}))
    {'a': -inf}
    """
    return _encoded(_finite(value))


def _encoded(value: Any) -> bytes:
    """Raises ValueError for numbers that JSON lacks."""
    # Python's own encoder indents in Python, slowly; msgspec indents, and leaves numbers as they are.
    return msgspec.json.format(_line(value), indent=1) + b"\n"


def _line(value: Any) -> bytes:
    """In one line, without its end. Raises ValueError for numbers that JSON lacks."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return text.encode()


def decode_json(data: bytes) -> Any:
    """The inverse of `encode_json`. Raises ValueError for anything that is not strict JSON."""
    # A call for every object, only where one may be such a number.
    hook = _non_finite if b"$" in data or b"\\" in data else None
    return json.loads(data.decode(), object_hook=hook, parse_constant=_refuse)


def encode_record(record: Any, **more: Any) -> bytes:
    """The file of a record or of another value that msgspec knows; `more`: further fields of builtin values."""
    value = _builtins(record, more)
    try:
        return _encoded(value)
    except ValueError:  # NaN or an infinity: few have one
        return encode_json(value)


def encode_line(record: Any, **more: Any) -> bytes:
    """The same in one line."""
    value = _builtins(record, more)
    try:
        return _line(value) + b"\n"
    except ValueError:
        return _line(_finite(value)) + b"\n"


def _builtins(record: Any, more: dict[str, Any]) -> Any:
    value = msgspec.to_builtins(record, str_keys=True)
    return {**more, **value} if more else value


_PLAIN = frozenset({str, int, bool, type(None)})


def _finite(value: Any) -> Any:
    if type(value) in _PLAIN:
        return value
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    # 0-dimensional arrays and numpy scalars; numpy itself need not be imported for that.
    if hasattr(value, "item") and not isinstance(value, int | float | str):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {_NON_FINITE: str(float(value))}
    return value


def _non_finite(value: dict[str, Any]) -> Any:
    return float(value[_NON_FINITE]) if value.keys() == {_NON_FINITE} else value


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn operating-system errors below `path` into a StoreError that says what to do."""
    try:
        yield
    except OSError as error:
        code = error.errno
        got = error.strerror or str(error)
        if code in _FULL:
            what, do = "no space is left for results", "free some space and run the same command again"
        elif code in _FORBIDDEN:
            what, do = "a results folder cannot be written", "check its permissions or choose another folder"
        else:
            what, do = "a results folder cannot be used", "check the path and the file system under it"
        raise StoreError(what, where=str(path), got=got, do=f"{do}; what was published stays") from error


def write_durably(path: Path, data: bytes | memoryview) -> None:
    """Create `path` and force it to the disk."""
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Force the entries of a folder to the disk, where the file system knows how."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def replace_file(path: Path, data: bytes | memoryview, scratch: Path | None = None) -> None:
    """Replace `path` in one step; readers see the old or the new content. A link is replaced, not followed.

    Args:
        scratch: on the same file system; beside `path` where none is named.
    """
    scratch = scratch or path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        write_durably(scratch, data)
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def write_once(path: Path, data: bytes, scratch: Path) -> bool:
    """Create `path` whole, or return False where it exists already."""
    try:
        write_durably(scratch, data)
        try:
            os.link(scratch, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in NO_HARD_LINKS:
                raise
            # Without hard links two writers of one name may both believe that they were first.
            if path.exists():
                return False
            os.replace(scratch, path)
        return True
    finally:
        scratch.unlink(missing_ok=True)
