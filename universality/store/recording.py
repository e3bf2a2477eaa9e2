"""One run on disk: what a training leaves, the files it becomes, and how they are read back.

A recording is the folder

    spec.json             architecture, task, recipe, seed
    facts.json            state, seconds, what was observed when, facts of the run
    environment.json      software and hardware
    arrays.safetensors    series/<name>/steps int64 [n], series/<name>/values float64 [n],
                          array/<name>/<step> of any shape and type
    log.txt
    manifest.json         schema version, run id, SHA-256 of each of the above

Series lie beside the arrays, not in a table: every series has its own steps, and a machine that
trains needs no table library. Nothing here executes code on reading.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import save

from universality.plugin.sources import split_edition
from universality.plugin.spec import RunSpec
from universality.plugin.trajectory import RunState, Series
from universality.store import layout
from universality.store.files import encode_json, encode_record, storing
from universality.store.untrusted import MAX_BYTES, UntrustedFile, read_bytes, record_of
from universality.text import is_printable, short

MAX_STEP = 1 << 53
"""Beyond it floats, and with them figures and pages, skip whole numbers."""

_SERIES = re.compile(r"series/.+/(?P<part>steps|values)")
_ARRAY = re.compile(r"array/.+/[0-9]{1,16}")
_KINDS = {"BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64", "F16", "F32", "F64", "C64"}

Observed = Mapping[str, Sequence[int]]
"""Probe addresses and the steps at which they record."""

T = TypeVar("T")

Ended = Literal["done", "diverged"]
"""The ends that leave a recording."""


class DamagedRecordingError(Exception):
    """A folder that is no whole recording; the text says why."""


class Facts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """facts.json."""

    state: Ended
    seconds: float
    observed: Mapping[str, tuple[int, ...]]
    facts: Mapping[str, Any]


class RecordingManifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """manifest.json of a recording."""

    schema_version: int
    run_id: str
    sha256: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What one training leaves, as plain data.

    Args:
        state: `done` or `diverged`; other ends leave no recording.
        series: by name, steps strictly increasing.
        arrays: by name and step.
        observed: probe addresses and the steps that were planned for them. A diverged run counts
            as observed at all planned steps: training it again would end at the same place.
        facts: anything that JSON holds, and numbers that are not finite.
        seconds: wall time.
    """

    spec: RunSpec
    state: RunState
    series: Mapping[str, Series]
    arrays: Mapping[tuple[str, int], NDArray[Any]]
    observed: Observed
    facts: Mapping[str, Any]
    seconds: float
    log: str = ""


@dataclass(frozen=True, slots=True)
class StoredTrajectory:
    """A recording on disk; a `Recorded`. Arrays are read when asked for."""

    folder: Path
    spec: RunSpec
    state: Ended
    observed: Mapping[str, tuple[int, ...]]
    facts: Mapping[str, Any]
    seconds: float
    names: frozenset[str]
    """Keys of the arrays file."""

    def series(self, name: str) -> Series:
        """Raises KeyError where nothing was recorded under `name`."""
        if f"series/{name}/steps" not in self.names:
            series = (key for key in self.names if key.startswith("series/") and key.endswith("/steps"))
            recorded = sorted(key.removeprefix("series/").removesuffix("/steps") for key in series)
            raise KeyError(f"no series {name!r} was recorded, only {', '.join(recorded)}")
        steps, values = self._read(f"series/{name}/steps", f"series/{name}/values")
        return Series(steps, values)

    def array(self, name: str, step: int) -> NDArray[Any]:
        """Raises KeyError where nothing was recorded under `name` at `step`."""
        return self._read(f"array/{name}/{step}")[0]

    def steps(self, name: str) -> tuple[int, ...]:
        """Steps at which arrays, or else a series, lie under `name`, which may be a probe's address: then those at which
        it left anything. Empty where nothing lies."""
        prefix = f"array/{name}/"
        rest = [key.removeprefix(prefix) for key in self.names if key.startswith(prefix)]
        if steps := sorted(int(step) for step in rest if step.isdigit()):
            return tuple(steps)
        if f"series/{name}/steps" in self.names:
            return tuple(int(step) for step in self.series(name).steps)
        return tuple(sorted({step for own in self._names_of(name) for step in self.steps(own)}))

    def _names_of(self, probe: str) -> set[str]:
        """Names of the arrays and series that a probe has left."""
        if not any(split_edition(address)[0] == probe for address in self.observed):
            return set()
        names = {key.partition("/")[2].rpartition("/")[0] for key in self.names}
        return {name for name in names if name.startswith(f"{probe}.")}

    def _read(self, *keys: str) -> list[NDArray[Any]]:
        for key in keys:
            if key not in self.names:
                raise KeyError(f"{self.folder.name} holds no {key}")
        path = self.folder / layout.ARRAYS
        with storing(path), safetensors.safe_open(path, framework="numpy") as file:
            return [file.get_tensor(key) for key in keys]


def covers(observed: Observed, request: Observed) -> bool:
    """Whether `observed` has every address and step of `request`."""
    return all(a in observed and set(steps) <= set(observed[a]) for a, steps in request.items())


def encode_recording(recording: Recording, environment: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of a recording by name, the manifest last.

    Raises:
        ValueError: for a state that leaves no recording, a series whose steps and values differ in
            length or whose steps do not increase.
    """
    if recording.state not in ("done", "diverged"):
        raise ValueError(f"a run that is {recording.state} leaves no recording")
    facts = Facts(
        state=recording.state,
        seconds=float(recording.seconds),
        observed={a: tuple(int(s) for s in steps) for a, steps in recording.observed.items()},
        facts=recording.facts,
    )
    files = {
        layout.SPEC: encode_record(recording.spec),
        layout.FACTS: encode_json(msgspec.structs.asdict(facts)),
        layout.ENVIRONMENT: encode_json(environment),
        layout.ARRAYS: save(_tensors(recording)),
        layout.LOG: recording.log.encode(errors="replace"),
    }
    manifest = RecordingManifest(
        schema_version=layout.SCHEMA_VERSION,
        run_id=recording.spec.id,
        sha256={name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    )
    return {**files, layout.MANIFEST: encode_record(manifest)}


def _tensors(recording: Recording) -> dict[str, NDArray[Any]]:
    tensors: dict[str, NDArray[Any]] = {}
    for name in (*recording.series, *(name for name, _ in recording.arrays)):
        if not name or not is_printable(name):
            raise ValueError(f"what was recorded has the name {name!r}, of which something cannot be seen")
    for name, series in recording.series.items():
        if len(series.steps) != len(series.values):
            raise ValueError(f"series {name}: {len(series.steps)} steps, {len(series.values)} values")
        if (np.diff(series.steps) <= 0).any() or (np.asarray(series.steps) < 0).any():
            raise ValueError(f"series {name}: steps do not increase from 0")
        tensors[f"series/{name}/steps"] = np.asarray(series.steps, np.int64, order="C")
        tensors[f"series/{name}/values"] = np.asarray(series.values, np.float64, order="C")
    for (name, step), array in recording.arrays.items():
        # safetensors writes the buffer as it lies in memory: a transposed view would come back scrambled.
        tensors[f"array/{name}/{step}"] = np.asarray(array, order="C")
    return tensors


def check_files(sizes: Mapping[str, int]) -> None:
    """Raises `DamagedRecordingError` unless these are the names of a recording's files, and sizes in bytes that are read."""
    if sizes.keys() != {*layout.HASHED, layout.MANIFEST}:
        raise DamagedRecordingError(f"has the files {short(', '.join(sorted(map(ascii, sizes))), 300)}")
    for name, size in sizes.items():
        if name != layout.ARRAYS and size > MAX_BYTES:
            raise DamagedRecordingError(f"{name} has {size:,} bytes, at most {MAX_BYTES:,}")


def read_recording(folder: Path, run_id: str) -> StoredTrajectory:
    """Read and verify a recording. Hashes every file once.

    Raises:
        DamagedRecordingError: where a file is missing, truncated or altered, or belongs to another run.
        StoreError: where the file system refuses.
    """
    try:
        with storing(folder):
            return _verified(folder, run_id)
    except ValueError as error:
        raise DamagedRecordingError(str(error)) from error
    except safetensors.SafetensorError as error:
        raise DamagedRecordingError(f"{layout.ARRAYS}: {error}") from error


def glance(folder: Path, run_id: str) -> Facts:
    """How a run ended and what was observed of it, by two of its files; of the others only that they are there.

    Reads kilobytes where `read_recording` reads all, and does not see what was altered in the rest.

    Raises:
        DamagedRecordingError: where a file is missing, one of the two was altered, or they belong to another run.
        StoreError: where the file system refuses.
    """
    try:
        with storing(folder):
            manifest = _manifest(folder)
            if manifest.run_id != run_id:
                raise ValueError(f"holds the run {short(ascii(manifest.run_id), 120)}")
            return _record(folder, layout.FACTS, Facts, manifest)
    except ValueError as error:
        raise DamagedRecordingError(str(error)) from error


def _verified(folder: Path, run_id: str) -> StoredTrajectory:
    manifest = _manifest(folder)
    for name in set(layout.HASHED) - {layout.SPEC, layout.FACTS}:
        with open(folder / name, "rb") as file:
            _check_hash(name, hashlib.file_digest(file, "sha256").hexdigest(), manifest)
    spec = _record(folder, layout.SPEC, RunSpec, manifest)
    if not spec.id == manifest.run_id == run_id:
        raise ValueError(f"holds the run {spec.id}")
    stored = _record(folder, layout.FACTS, Facts, manifest)
    with safetensors.safe_open(folder / layout.ARRAYS, framework="numpy") as arrays:
        names = frozenset(arrays.keys())
        _check_arrays(arrays, names)
    return StoredTrajectory(folder, spec, stored.state, stored.observed, stored.facts, stored.seconds, names)


def _manifest(folder: Path) -> RecordingManifest:
    """That of a folder in which all its files lie. Raises ValueError."""
    present = {entry.name for entry in os.scandir(folder) if entry.is_file()}
    for name in (layout.MANIFEST, *layout.HASHED):
        if name not in present:
            raise ValueError(f"{name} is missing")
    manifest = _record(folder, layout.MANIFEST, RecordingManifest)
    if manifest.schema_version != layout.SCHEMA_VERSION:
        raise ValueError(f"schema version {manifest.schema_version}, expected {layout.SCHEMA_VERSION}")
    # The names are compared with the known ones, never followed: a manifest cannot point elsewhere.
    if set(manifest.sha256) != set(layout.HASHED):
        raise ValueError(f"{layout.MANIFEST} lists {', '.join(sorted(map(repr, manifest.sha256)))}")
    return manifest


def _record(folder: Path, name: str, kind: type[T], manifest: RecordingManifest | None = None) -> T:
    """The record in a file, which has the hash of the manifest where there is one. Raises ValueError, which names the file."""
    try:
        data = read_bytes(folder / name)
        if manifest is not None:
            _check_hash(name, hashlib.sha256(data).hexdigest(), manifest)
        return record_of(data, kind)
    except UntrustedFile as problem:
        raise ValueError(f"{name} {problem}") from None


def _check_hash(name: str, sha256: str, manifest: RecordingManifest) -> None:
    if sha256 != manifest.sha256[name]:
        raise ValueError(f"{name} does not have the sha256 of {layout.MANIFEST}")


def _check_arrays(arrays: Any, names: frozenset[str]) -> None:
    """That arrays have the names and forms that `_tensors` gives them, so that whoever reads one need not ask.

    Raises ValueError.
    """
    for key in sorted(names):
        kind, series, array = arrays.get_slice(key).get_dtype(), _SERIES.fullmatch(key), _ARRAY.fullmatch(key)
        shape = arrays.get_slice(key).get_shape()
        if not (series or array) or not is_printable(key):
            raise ValueError(f"{layout.ARRAYS}: no recording has an array called {short(ascii(key), 120)}")
        if array and kind not in _KINDS:
            raise ValueError(f"{layout.ARRAYS}: {short(key, 120)} holds {kind}, which numpy does not know")
        if series:
            part = series["part"]
            if kind != {"steps": "I64", "values": "F64"}[part] or len(shape) != 1:
                raise ValueError(f"{layout.ARRAYS}: {short(key, 120)} is {kind} of shape {shape}")
            other = key.removesuffix(part) + {"steps": "values", "values": "steps"}[part]
            if other not in names or arrays.get_slice(other).get_shape() != shape:
                raise ValueError(
                    f"{layout.ARRAYS}: {short(key, 120)} has no {other.rpartition('/')[2]} of its length"
                )
            if part == "steps":
                steps = arrays.get_tensor(key)
                if (steps < 0).any() or (steps > MAX_STEP).any() or (np.diff(steps) <= 0).any():
                    raise ValueError(
                        f"{layout.ARRAYS}: {short(key, 120)} do not increase from 0 to at most 2^53"
                    )
