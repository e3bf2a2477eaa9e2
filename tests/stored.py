"""Files of a result set, changed as somebody else might."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from universality.store.cells import CellRecord
from universality.store.compressed import gunzipped, gzipped
from universality.store.files import decode_json, encode_json
from universality.store.layout import Layout
from universality.store.measurements import encoded, lines

Change = Callable[[Any], object]


def content(path: Path) -> bytes:
    """Of a file, compressed or not."""
    data = path.read_bytes()
    return gunzipped(data, 1 << 30) if path.suffix == ".gz" else data


def write(path: Path, data: bytes) -> None:
    path.write_bytes(gzipped([data]) if path.suffix == ".gz" else data)


def edit(path: Path, change: Change) -> None:
    """Change what the JSON of a file holds."""
    raw = decode_json(content(path))
    change(raw)
    write(path, encode_json(raw))


def write_lines(root: Path, records: Sequence[CellRecord]) -> None:
    """The measurements of a set."""
    Layout(root).measurements.write_bytes(encoded(record.line() for record in records))


def edit_bytes(root: Path, number: int, change: Callable[[bytes], bytes]) -> None:
    """Change the line of a measurement, counted from 0."""
    path = Layout(root).measurements
    found = list(lines(path))
    found[number] = change(found[number])
    write(path, b"".join(found))


def edit_line(root: Path, number: int, change: Change) -> None:
    """Change what the line of a measurement holds, counted from 0."""

    def changed(line: bytes) -> bytes:
        raw = decode_json(line)
        change(raw)
        return msgspec.json.format(encode_json(raw), indent=-1) + b"\n"

    edit_bytes(root, number, changed)
