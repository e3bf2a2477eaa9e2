"""Leases: who works on which run, so that work is not done twice.

A claim is a hard link `claims/<name>` to a private file of the claiming process; making a link
fails where the name exists, on shared file systems too. The links share one inode with the private
file, so touching that one file is the heartbeat of every claim. Nothing but double work depends on
any of this: publishing decides who was first.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from universality.store.files import NO_HARD_LINKS, storing
from universality.store.layout import safe_name
from universality.store.owner import is_orphan, owner_tag

STALE_AFTER = 180.0
"""Seconds without a heartbeat after which a claim counts as abandoned."""


class Leases:
    """The claims of one process in one folder.

    Args:
        folder: shared by all processes that work on one store.
        stale_after: seconds without a heartbeat after which a claim may be stolen. The claim of a
            process of this machine that is gone is stolen at once.
        beats: whether a thread keeps the claims fresh, six times per `stale_after`.
    """

    def __init__(self, folder: Path, *, stale_after: float = STALE_AFTER, beats: bool = True) -> None:
        self._folder = folder
        self._stale_after = stale_after
        self._held: set[str] = set()
        self._tag = owner_tag()
        self._private = folder / f".{self._tag}"
        self._stop = threading.Event()
        with storing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._private.write_text(self._tag)
            self._sweep()
        self._thread = threading.Thread(target=self._beat, name="leases", daemon=True)
        if beats:
            self._thread.start()

    def claim(self, name: str) -> bool:
        """Take `name`; False where a live process holds it.

        True without protection where the file system knows no hard links.
        """
        if name in self._held:
            return True
        path = self._folder / safe_name(name)
        with storing(path):
            for _ in range(2):
                if self._link(path):
                    self._held.add(name)
                    return True
                if not self._clear_if_stale(path):
                    return False
        return False

    def release(self, name: str) -> None:
        """Give `name` back. A claim that was stolen meanwhile stays with the thief."""
        self._held.discard(name)
        path = self._folder / safe_name(name)
        with contextlib.suppress(OSError):
            if os.path.samefile(path, self._private):
                path.unlink()

    def close(self) -> None:
        """Give everything back."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        for name in tuple(self._held):
            self.release(name)
        with contextlib.suppress(OSError):
            self._private.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
        """Remove an abandoned claim; True where the name may be free now."""
        try:
            seen = path.stat()
            abandoned = is_orphan(path.read_text(errors="replace")) or self._age(seen) > self._stale_after
        except FileNotFoundError:
            return True
        if not abandoned:
            return False
        grave = self._folder / f".{self._tag}-{secrets.token_hex(4)}"
        try:
            os.rename(path, grave)
        except FileNotFoundError:
            return True
        taken = grave.stat()
        if (taken.st_ino, taken.st_mtime_ns) != (seen.st_ino, seen.st_mtime_ns):
            # Another thief was faster and what was moved is its fresh claim: put it back.
            with contextlib.suppress(OSError):
                os.link(grave, path)
        grave.unlink(missing_ok=True)
        return True

    def _age(self, seen: os.stat_result) -> float:
        """Seconds since a heartbeat, by the clock of the file system: clocks of hosts differ."""
        self._touch()
        return self._private.stat().st_mtime - seen.st_mtime

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
