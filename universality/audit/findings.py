"""What checking a result set found, and how a terminal shows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from universality.store.cells import CellRecord
from universality.store.layout import MEASUREMENTS
from universality.store.untrusted import UntrustedFile
from universality.text import plain, short

MAX_LINES = 200
"""Problems that a terminal shows."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, and with which file, relative to the set; "." is the set itself."""

    path: str
    text: str

    def __str__(self) -> str:
        return f"{plain(self.path)}: {plain(self.text, 400)}"


@dataclass(slots=True)
class Audit:
    """The result of checking a set. Notes are no faults: they say what could not be checked, or deserves a look."""

    root: Path
    problems: dict[Fault, None] = field(default_factory=dict)
    """In the order of the checks, each once."""
    notes: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def problem(self, path: str, text: object) -> None:
        self.problems[Fault(path, str(text))] = None

    @contextmanager
    def refusals(self, path: str) -> Iterator[None]:
        """What is refused within is a problem of `path`."""
        try:
            yield
        except UntrustedFile as problem:
            self.problem(path, problem)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def lines(self) -> list[str]:
        """The report for a terminal."""
        counts = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        lines = [f"problem  {fault}" for fault in islice(self.problems, MAX_LINES)]
        if len(self.problems) > MAX_LINES:
            lines.append(f"problem  {len(self.problems) - MAX_LINES} more")
        lines += [f"note     {plain(note, 400)}" for note in self.notes]
        verdict = f"{len(self.problems)} problem(s)" if self.problems else "holds together"
        return [*lines, f"{plain(str(self.root))}: {verdict} ({counts or 'nothing read'})"]


def quoted(value: object) -> str:
    """As Python spells it, at most 120 characters."""
    return short(repr(value), 120)


def file_of(record: CellRecord) -> str:
    return f"{MEASUREMENTS}, {record.id}"
