"""measured.tsv: what was measured so far, saved as soon as it is there, and what it followed from.

A line for each cell: the digest of all that its records follow from, the SHA-256 of these, and the records, each as JSON.
A line that was not written whole, or was edited, is none.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Sequence

from universality.store.files import storing
from universality.store.folder import ResultsFolder

MAX_LINE = 256 << 20
"""Bytes."""


class Journal:
    """Lines are only added, each by one write, so that a process may be killed and several may share the file."""

    def __init__(self, folder: ResultsFolder) -> None:
        self._folder, self._path = folder, folder.layout.measured
        self._places: dict[str, tuple[int, int]] = {}
        """Where the last line of a key stands: its first byte and its length."""
        if self._path.is_file():
            with storing(self._path), open(self._path, "rb") as file:
                start = 0
                while line := file.readline(MAX_LINE):
                    key, found, _ = line.partition(b"\t")
                    if found and line.endswith(b"\n"):
                        self._places[key.decode(errors="replace")] = start, len(line)
                    start += len(line)

    def get(self, key: str) -> list[bytes] | None:
        """The lines of `CellRecord.line` that were kept under a key, intact."""
        if key not in self._places:
            return None
        sha256, _, records = self._line(key).removesuffix(b"\n").partition(b"\t")[2].partition(b"\t")
        if hashlib.sha256(records).hexdigest().encode() != sha256:
            return None
        return [record + b"\n" for record in records.split(b"\t")]

    def add(self, key: str, lines: Sequence[bytes]) -> None:
        """Save the records of a cell. JSON holds no tab."""
        records = b"\t".join(line.removesuffix(b"\n") for line in lines)
        line = b"\t".join([key.encode(), hashlib.sha256(records).hexdigest().encode(), records]) + b"\n"
        with storing(self._path), open(self._path, "a+b") as file:
            if end := file.seek(0, os.SEEK_END):
                file.seek(end - 1)
                if file.read(1) != b"\n":  # of a writer that was killed
                    file.write(b"\n")
            file.write(line)
            file.flush()
            self._places[key] = file.tell() - len(line), len(line)

    def keep(self, keys: Collection[str]) -> None:
        """Drop all else, where there is anything else, and force the rest to the disk."""
        size = self._path.stat().st_size if self._path.is_file() else 0
        if size != sum(self._places[key][1] for key in keys) or len(keys) != len(self._places):
            kept = list(map(self._line, keys))
            self._folder.write(self._path, b"".join(kept))
            self._places = dict(zip(keys, _places(kept), strict=True))

    def _line(self, key: str) -> bytes:
        start, length = self._places[key]
        with storing(self._path), open(self._path, "rb") as file:
            file.seek(start)
            return file.read(length)


def _places(lines: Sequence[bytes]) -> list[tuple[int, int]]:
    start, places = 0, []
    for line in lines:
        places.append((start, len(line)))
        start += len(line)
    return places
