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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import save

from universality.errors import BadParameter
from universality.plugin.records import RunState, Series
from universality.plugin.spec import SCHEMA_VERSION, RunSpec
from universality.store import layout
from universality.store.files import decode_json, encode_json, storing

Observed = Mapping[str, Sequence[int]]
"""Probe addresses and the steps at which they record."""

_PUBLISHED: dict[str, Literal["done", "diverged"]] = {"done": "done", "diverged": "diverged"}


class DamagedRecordingError(Exception):
    """A folder that is no whole recording; the text says why."""


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
    """A recording on disk; the `Trajectory` of `universality.plugin.records`. Arrays are read when asked for."""

    folder: Path
    spec: RunSpec
    state: Literal["done", "diverged"]
    observed: Mapping[str, tuple[int, ...]]
    facts: Mapping[str, Any]
    seconds: float
    names: frozenset[str]
    """Keys of the arrays file."""

    def series(self, name: str) -> Series:
        """Raises KeyError where nothing was recorded under `name`."""
        steps, values = f"series/{name}/steps", f"series/{name}/values"
        found = self._read(steps, values)
        return Series(found[0], found[1])

    def array(self, name: str, step: int) -> NDArray[Any]:
        """Raises KeyError where nothing was recorded under `name` at `step`."""
        return self._read(f"array/{name}/{step}")[0]

    def steps(self, name: str) -> tuple[int, ...]:
        """Steps at which arrays, or else a series, lie under `name`; empty where nothing does."""
        prefix = f"array/{name}/"
        rest = [key.removeprefix(prefix) for key in self.names if key.startswith(prefix)]
        if taken := sorted(int(step) for step in rest if step.isdigit()):
            return tuple(taken)
        if f"series/{name}/steps" not in self.names:
            return ()
        return tuple(int(step) for step in self.series(name).steps)

    def covers(self, request: Observed) -> bool:
        """Whether everything in `request` was observed."""
        return covers(self.observed, request)

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
    if recording.state not in _PUBLISHED:
        raise ValueError(f"a run that is {recording.state} leaves no recording")
    facts = {
        "state": recording.state,
        "seconds": recording.seconds,
        "observed": {a: [int(s) for s in steps] for a, steps in recording.observed.items()},
        "facts": recording.facts,
    }
    files = {
        layout.SPEC: encode_json(recording.spec.record()),
        layout.FACTS: encode_json(facts),
        layout.ENVIRONMENT: encode_json(environment),
        layout.ARRAYS: save(_tensors(recording)),
        layout.LOG: recording.log.encode(errors="replace"),
    }
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "run_id": recording.spec.id,
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }
    return {**files, layout.MANIFEST: encode_json(manifest)}


def _tensors(recording: Recording) -> dict[str, NDArray[Any]]:
    tensors: dict[str, NDArray[Any]] = {}
    for name, series in recording.series.items():
        if len(series.steps) != len(series.values):
            raise ValueError(f"series {name}: {len(series.steps)} steps, {len(series.values)} values")
        if (np.diff(series.steps) <= 0).any():
            raise ValueError(f"series {name}: steps do not increase")
        tensors[f"series/{name}/steps"] = np.asarray(series.steps, np.int64, order="C")
        tensors[f"series/{name}/values"] = np.asarray(series.values, np.float64, order="C")
    for (name, step), array in recording.arrays.items():
        # safetensors writes the buffer as it lies in memory: a transposed view would come back scrambled.
        tensors[f"array/{name}/{step}"] = np.asarray(array, order="C")
    return tensors


def read_recording(folder: Path, run_id: str) -> StoredTrajectory:
    """Read and verify a recording. Hashes every file once.

    Raises:
        DamagedRecordingError: where a file is missing, truncated or altered, or belongs to another run.
        StoreError: where the file system refuses.
    """
    try:
        with storing(folder):
            return _verified(folder, run_id)
    except DamagedRecordingError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, BadParameter) as error:
        raise DamagedRecordingError(f"unreadable: {type(error).__name__}: {error}") from error
    except safetensors.SafetensorError as error:
        raise DamagedRecordingError(f"{layout.ARRAYS}: {error}") from error


def _verified(folder: Path, run_id: str) -> StoredTrajectory:
    manifest = decode_json(_bytes(folder, layout.MANIFEST))
    if manifest["schema_version"] != SCHEMA_VERSION:
        raise DamagedRecordingError(f"schema version {manifest['schema_version']}, expected {SCHEMA_VERSION}")
    # The names are compared with the known ones, never followed: a manifest cannot point elsewhere.
    hashes: dict[str, str] = manifest["sha256"]
    if set(hashes) != set(layout.HASHED):
        raise DamagedRecordingError(f"{layout.MANIFEST} lists {', '.join(sorted(map(repr, hashes)))}")
    for name in layout.HASHED:
        if _sha256(folder, name) != hashes[name]:
            raise DamagedRecordingError(f"{name} does not have the sha256 of {layout.MANIFEST}")
    spec = RunSpec.from_record(decode_json(_bytes(folder, layout.SPEC)))
    if not spec.id == manifest["run_id"] == run_id:
        raise DamagedRecordingError(f"holds the run {spec.id}")
    stored = decode_json(_bytes(folder, layout.FACTS))
    with safetensors.safe_open(folder / layout.ARRAYS, framework="numpy") as file:
        names = frozenset(file.keys())
    return StoredTrajectory(
        folder,
        spec,
        _PUBLISHED[stored["state"]],
        {str(a): tuple(int(s) for s in steps) for a, steps in stored["observed"].items()},
        dict(stored["facts"]),
        float(stored["seconds"]),
        names,
    )


def _bytes(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise DamagedRecordingError(f"{name} is missing") from None


def _sha256(folder: Path, name: str) -> str:
    try:
        with open(folder / name, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise DamagedRecordingError(f"{name} is missing") from None
