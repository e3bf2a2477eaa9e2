"""What the system tells of a process."""

from __future__ import annotations

from pathlib import Path


def stat(pid: int) -> list[str]:
    """State, parent and group of a process; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:3]
    except OSError:
        return []


def alive(pid: int) -> bool:
    """Whether a process has not ended; where nobody asks for its exit code, it stays in the table of processes."""
    return bool(told := stat(pid)) and told[0] not in "ZX"
