"""Leases: who works on which run, so that work is not done twice.

A lease is a hard link `leases/<name>` to a private file of the process that holds it; making a link
fails where the name exists, on shared file systems too. All links share one inode with the private
file, so touching that one file is the heartbeat of every lease. Nothing but double work depends on
any of this: the store keeps the recording that is published first.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from pathlib import Path
from typing import Self

from universality.store.files import NO_HARD_LINKS, storing
from universality.store.folder import entries_of
from universality.store.layout import safe_name
from universality.store.owner import is_orphan, owner_tag
from universality.store.untrusted import UntrustedFile, read_bytes

STALE_AFTER = 180.0
"""Seconds without a heartbeat after which a lease counts as abandoned."""

MAX_TAG = 4096
"""Bytes of a file that names its owner."""


class Leases:
    """The leases of one process in one folder.

    Args:
        folder: shared by all processes that work on one store.
        stale_after: seconds without a heartbeat, of which a thread gives six in that time, after which
            others may take a lease over. That of a process of this machine that is gone is taken over at once.

    Raises:
        StoreError: the folder cannot be written.
    """

    def __init__(self, folder: Path, *, stale_after: float = STALE_AFTER) -> None:
        self._folder = folder
        self._stale_after = stale_after
        self._names: set[str] = set()
        self._tag = owner_tag()
        self._private = folder / f".{self._tag}"
        self._stop = threading.Event()
        with storing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._private.write_text(self._tag)
            self._sweep()
        self._thread = threading.Thread(target=self._beat, name="leases", daemon=True)
        self._thread.start()

    def acquire(self, name: str) -> bool:
        """Take the lease of `name`; False where a live process holds it.

        True without protection where the file system knows no hard links.
        """
        if name in self._names:
            return True
        path = self._folder / safe_name(name)
        with storing(path):
            for _ in range(2):
                if self._link(path):
                    self._names.add(name)
                    return True
                if not self._clear_if_stale(path):
                    return False
        return False

    def holds(self, name: str) -> bool:
        """Whether this process has taken the lease of `name`, and has not given it back."""
        return name in self._names

    def release(self, name: str) -> None:
        """Give `name` back. A lease that another process took over stays with its new owner."""
        self._names.discard(name)
        path = self._folder / safe_name(name)
        with contextlib.suppress(OSError):
            if os.path.samefile(path, self._private):
                path.unlink()

    def close(self) -> None:
        """Give everything back."""
        self._stop.set()
        self._thread.join()
        for name in tuple(self._names):
            self.release(name)
        with contextlib.suppress(OSError):
            self._private.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _link(self, path: Path) -> bool:
        try:
            os.link(self._private, path)
        except FileExistsError:
            # A network file system may repeat a request that had succeeded: then the link is ours.
            with contextlib.suppress(FileNotFoundError):
                return os.path.samefile(self._private, path)
            return False
        except OSError as error:
            if error.errno not in NO_HARD_LINKS:
                raise
        return True

    def _clear_if_stale(self, path: Path) -> bool:
        """Remove an abandoned lease; True where the name may be free now."""
        try:
            before = path.stat()
            abandoned = is_orphan(path.read_text(errors="replace")) or self._age(before) > self._stale_after
        except FileNotFoundError:
            return True
        if not abandoned:
            return False
        discarded = self._folder / f".{self._tag}-{secrets.token_hex(4)}"
        try:
            os.rename(path, discarded)
        except FileNotFoundError:
            return True
        # Whoever sweeps meanwhile may have cleared it away too.
        with contextlib.suppress(FileNotFoundError):
            after = discarded.stat()
            if (after.st_ino, after.st_mtime_ns) != (before.st_ino, before.st_mtime_ns):
                # Another process was faster, and what was moved is the lease of the new owner: put it back.
                with contextlib.suppress(OSError):
                    os.link(discarded, path)
        discarded.unlink(missing_ok=True)
        return True

    def _age(self, lease: os.stat_result) -> float:
        """Seconds since a heartbeat, by the clock of the file system: clocks of hosts differ."""
        self._touch()
        return self._private.stat().st_mtime - lease.st_mtime

    def _touch(self) -> None:
        try:
            os.utime(self._private)
        except FileNotFoundError:
            self._private.write_text(self._tag)

    def _sweep(self) -> None:
        for entry in os.scandir(self._folder):
            if entry.name != self._private.name:
                self._clear_if_stale(Path(entry.path))

    def _beat(self) -> None:
        while not self._stop.wait(self._stale_after / 6):
            with contextlib.suppress(OSError):
                self._touch()


def held(folder: Path, stale_after: float = STALE_AFTER) -> set[str]:
    """Names on which somebody works, by the clock of this machine; only read. What is no lease is passed over."""
    names = set()
    for entry in entries_of(folder):
        with contextlib.suppress(OSError, UntrustedFile):
            age = time.time() - entry.stat(follow_symlinks=False).st_mtime
            tag = read_bytes(Path(entry.path), MAX_TAG).decode(errors="replace")
            if age < stale_after and not entry.name.startswith(".") and not is_orphan(tag):
                names.add(entry.name)
    return names
