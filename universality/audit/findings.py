"""What checking a result set found, and how it is said."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from universality.text import plain

MOST_LINES = 200
"""Problems that a terminal shows."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and with which file, relative to the set; "." is the set itself."""

    path: str
    what: str

    def __str__(self) -> str:
        return f"{plain(self.path)}: {plain(self.what, 400)}"


@dataclass(slots=True)
class Audit:
    """What was found. Notes are no faults: they say what could not be checked, or deserves a look."""

    root: Path
    problems: dict[Problem, None] = field(default_factory=dict)
    """In the order found, each once."""
    notes: list[str] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)

    def say(self, path: str, what: object) -> None:
        self.problems[Problem(path, str(what))] = None

    def lines(self) -> list[str]:
        """The report for a terminal."""
        counts = ", ".join(f"{count} {name}" for name, count in self.counted.items())
        lines = [f"problem  {problem}" for problem in islice(self.problems, MOST_LINES)]
        if len(self.problems) > MOST_LINES:
            lines.append(f"problem  {len(self.problems) - MOST_LINES} more")
        lines += [f"note     {plain(note, 400)}" for note in self.notes]
        verdict = f"{len(self.problems)} problem(s)" if self.problems else "holds together"
        return [*lines, f"{plain(str(self.root))}: {verdict} ({counts or 'nothing read'})"]
