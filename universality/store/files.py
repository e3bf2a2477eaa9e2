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
    text = json.dumps(_finite(value), sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False)
    return (text + "\n").encode()


def decode_json(data: bytes) -> Any:
    """The inverse of `encode_json`. Raises ValueError for anything that is not strict JSON."""
    return json.loads(data.decode(), object_hook=_non_finite, parse_constant=_refuse)


def _finite(value: Any) -> Any:
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


def write_durably(path: Path, data: bytes) -> None:
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


def write_over(path: Path, data: bytes, scratch: Path) -> None:
    """Replace `path` in one step; readers see the old or the new content. `scratch` must lie on
    the same file system."""
    try:
        write_durably(scratch, data)
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def replace_file(path: Path, data: bytes) -> None:
    """`write_over` with the scratch file beside `path`: a link at `path` is replaced, not followed."""
    write_over(path, data, path.with_name(f".{uuid.uuid4().hex}.tmp"))


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
