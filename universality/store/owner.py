"""Names for work in progress that say whose it is."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import secrets
from functools import cache
from pathlib import Path


@cache
def _machine() -> str:
    """Eight digits for the space in which a process id means one process: containers on one host
    share the boot id, not the process namespace."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    space = Path("/proc/self/ns/pid")
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts += [boot.read_text().strip(), os.readlink(space)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def owner_tag() -> str:
    """`<machine>-<process id>-<random>`: names for work in progress that say whose it is."""
    return f"{_machine()}-{os.getpid()}-{secrets.token_hex(4)}"


def process_of(tag: str) -> str:
    """`<machine>-<process id>`, which all tags of one process share.

    >>> process_of("deadbeef-12-00000000")
    'deadbeef-12'
    """
    return tag.rpartition("-")[0]


def is_orphan(tag: str) -> bool:
    """Whether `tag` names a process of this machine that is gone, or that has ended and only waits for its parent to
    notice: in many containers nobody does. False when in doubt."""
    machine, _, rest = tag.strip().partition("-")
    pid = rest.partition("-")[0]
    if machine != _machine() or not (pid.isascii() and pid.isdigit()) or int(pid) == 0:
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    try:
        state = Path(f"/proc/{int(pid)}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state in ("Z", "X")
