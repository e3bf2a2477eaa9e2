"""Recordings one by one: whole, of plain files with known names, with the hashes and the id that they claim.

Of many, each core reads a share: `python -m universality.audit.recordings` reads paths from standard input and writes what
it has `Seen`. Between the processes there are paths and JSON alone, and no script of a caller is imported again.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import universality
from universality.errors import UniversalityError
from universality.store.environment import cores
from universality.store.layout import ENVIRONMENT, HASHED, LOG, MANIFEST, split_recording
from universality.store.recording import DamagedRecordingError, StoredTrajectory, read_recording
from universality.store.untrusted import MAX_BYTES, UntrustedFile, check_plain, parse, read_bytes

SHARE = 1000
"""Recordings of which a process reads at least so many: they take a second, as it takes to start one."""


@dataclass
class Seen:
    """What was found in some folders: problems by path, and of those that hold together the run's id and what it observed."""

    problems: list[tuple[str, str]] = field(default_factory=list)
    recordings: list[tuple[str, Mapping[str, Sequence[int]]]] = field(default_factory=list)


def seen_by_cores(folders: Sequence[Path]) -> Seen:
    """What `seen` finds, by as many processes as there are cores and shares, in the order of the folders.

    Raises `UniversalityError` where one of them dies.
    """
    workers = min(cores(), len(folders) // SHARE)
    if workers < 2:
        return seen(folders)
    size = -(-len(folders) // workers)
    shares = [folders[start : start + size] for start in range(0, len(folders), size)]
    whole = Seen()
    with ThreadPoolExecutor(workers) as threads:
        for part in threads.map(_seen_by_another, shares):
            whole.problems += part.problems
            whole.recordings += part.recordings
    return whole


def _seen_by_another(folders: Sequence[Path]) -> Seen:
    package = str(Path(universality.__file__).parents[1])
    paths = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        # -P: the working directory may be the set, from which nothing is imported.
        [sys.executable, "-P", "-m", __name__],
        input=b"\0".join(map(os.fsencode, folders)),
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
        check=False,
    )
    if done.returncode:
        raise UniversalityError(
            "a process that reads recordings died",
            where=str(folders[0].parent),
            got=f"exit code {done.returncode}",
            do="look at the messages above, and at the memory of this machine",
        )
    return Seen(**json.loads(done.stdout))


def seen(folders: Sequence[Path]) -> Seen:
    """Read every recording and verify it."""
    found, environments = Seen(), set[bytes]()
    for folder in folders:
        name = f"{folder.parent.name}/{folder.name}"
        split = split_recording(folder.name)
        if split is None:
            found.problems.append((name, "has a name that no recording has"))
            continue
        try:
            for file in _others(folder):
                found.problems.append((f"{name}/{file}", "is a file that no recording has"))
            recording = _read(folder, split[0], environments)
            found.recordings.append((split[0], recording.observed))
        except (UntrustedFile, DamagedRecordingError) as problem:
            found.problems.append((name, str(problem)))
        except (UniversalityError, RecursionError, ArithmeticError) as error:
            found.problems.append((name, f"cannot be read: {type(error).__name__}"))
    return found


def _others(folder: Path) -> Iterator[str]:
    """Files of other names. Raises `UntrustedFile` for what is no plain file."""
    with os.scandir(folder) as opened:
        entries = sorted(opened, key=lambda entry: entry.name)
    for entry in entries:
        if not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
            raise UntrustedFile(f"{entry.name} is a link or no file")
        if entry.name not in (*HASHED, MANIFEST):
            yield entry.name


def _read(folder: Path, run_id: str, environments: set[bytes]) -> StoredTrajectory:
    """Args: `environments`: hashes of those that were read; one machine leaves the same in thousands of recordings."""
    try:
        environment = read_bytes(folder / ENVIRONMENT)
        if (digest := hashlib.sha256(environment).digest()) not in environments:
            parse(environment)
            environments.add(digest)
    except UntrustedFile as problem:
        raise UntrustedFile(f"{ENVIRONMENT} {problem}") from None
    check_plain(folder / LOG, MAX_BYTES)
    return read_recording(folder, run_id)


if __name__ == "__main__":
    asked = sys.stdin.buffer.read().split(b"\0")
    json.dump(asdict(seen([Path(os.fsdecode(path)) for path in asked])), sys.stdout)
