"""What a training says of the claims that it can speak to, so far."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

from universality.plugin.bounds import Bound
from universality.plugin.outcome import Check, Outcome
from universality.text import beside, plain, print_table

HEADERS = ("claim", "gates met", "effect", "bound", "holds", "why")
LIMITS = (
    "One training has no interval and no controls: it shows a behaviour, or does not; whether a behaviour is "
    "universal is for `universality run`."
)
MAX_WHY = 600
"""Letters of a reason: an error with all its parts, of which the advice is the last."""


@dataclass(frozen=True, slots=True)
class ClaimSoFar:
    """One claim, of the training until now.

    Args:
        address: `phenomenon.claim`.
        outcome: as the benchmark measures it of one group; None where there is nothing to measure yet, or it failed.
        why: what keeps it from an outcome.
    """

    address: str
    title: str
    bound: Bound
    outcome: Outcome | None
    why: str = ""

    @property
    def decided(self) -> bool:
        """Whether there is an effect, and all gates are met."""
        return self.outcome is not None and self.outcome.decided()

    @property
    def holds(self) -> bool | None:
        """Whether effect and criteria keep their bounds; None where it is not decided."""
        if self.outcome is None or not self.decided:
            return None
        return self.outcome.holds(self.bound)

    @property
    def cells(self) -> tuple[str, ...]:
        """The texts of its row."""
        outcome = self.outcome
        if outcome is None:
            return (self.address, "-", "-", str(self.bound), "-", self.why)
        gates, effect = outcome.gates, outcome.effect
        unmet = [_told(check) for check in (*gates, *outcome.criteria) if not check.met]
        if outcome.censored:
            unmet.append("it has not happened yet: a lower bound")
        return (
            self.address,
            f"{sum(gate.met for gate in gates)} of {len(gates)}",
            "-" if effect is None else beside(effect, *self.bound.ends),
            str(self.bound),
            {True: "yes", False: "no", None: "not decided"}[self.holds],
            "; ".join(filter(None, [self.why, *unmet])),
        )


@dataclass(frozen=True, slots=True)
class Report:
    """What is known after `updates` of `steps` updates; its text is a table.

    Args:
        left_out: claims by address that this training cannot speak to, each with the reason.
        failures: what probes raised, by address.
        notes: on the rows, the network and the optimizer.
    """

    updates: int
    steps: int
    claims: tuple[ClaimSoFar, ...]
    left_out: Mapping[str, str]
    failures: Mapping[str, str]
    notes: tuple[str, ...]

    def __getitem__(self, address: str) -> ClaimSoFar:
        """The row of `phenomenon.claim`. Raises `KeyError`."""
        rows = {row.address: row for row in self.claims}
        return rows[address]

    @property
    def finished(self) -> bool:
        return self.updates >= self.steps

    def __str__(self) -> str:
        so_far = "" if self.finished else " so far"
        lines = [f"After {self.updates} of {self.steps} updates{so_far}."]
        if self.claims:
            table = io.StringIO()
            headers = [f"{h}{so_far}" if h in ("effect", "holds") else h for h in HEADERS]
            print_table(headers, [row.cells for row in self.claims], table)
            lines += ["", table.getvalue().rstrip(), "", LIMITS]
        if self.left_out:
            lines += ["", "Not told by one training of this network:"]
            for reason, same in groupby(
                sorted(self.left_out, key=self.left_out.__getitem__), self.left_out.get
            ):
                lines.append(f"  {', '.join(sorted(same))}: {plain(reason, MAX_WHY)}")
        if self.failures:
            lines += ["", "Probes that failed, which the training did not notice:"]
            lines += [f"  {address}: {plain(text, MAX_WHY)}" for address, text in self.failures.items()]
        if self.notes:
            lines += ["", "Notes:", *(f"  {plain(note, MAX_WHY)}" for note in self.notes)]
        return "\n".join(lines)


def _told(check: Check) -> str:
    return f"{check.name} {check.shown}, needs {check.needs}"
