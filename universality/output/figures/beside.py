"""What stands beside a claim and on an undecided tile of a heatmap: the claim's answer in short, and why a cell is not decided."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from universality.judge.answers import KNOWN, Kind, kinds
from universality.judge.controls import Standing
from universality.judge.decide import CellVerdict, ReasonKind
from universality.judge.resultset import ResultSet

READING = "in how many of the decided cells that count it holds, what that says, and its controls"
"""Of the texts of a `Summary`, for the line that says how a picture is read."""

REASONS: Mapping[ReasonKind, tuple[str, str]] = {
    "gate": ("gate", "a run that could not have shown it"),
    "straddles": ("straddles", "the interval reaches over a bound"),
    "mixed": ("mixed", "too few of the runs agree"),
    "undecided groups": ("runs open", "most runs miss, and others are undecided"),
    "censored": ("not seen", "not within the budget"),
    "no effect": ("no effect", "nothing could be measured"),
    "too few replicates": ("few seeds", "fewer than a verdict takes"),
    "shared unit": ("one unit", "the runs are not independent"),
    "meaningless effect": ("no meaning", "the effect is out of its range"),
    "control failed": ("control", "one of the claim failed"),
}
"""Of each rule that leaves a cell undecided, a word for its tile and what that means."""


class Summary(NamedTuple):
    """Of `decided` cells the claim holds in `present`. A calibration has no `kind`: it answers nothing, and its cells do not count."""

    present: int
    decided: int
    kind: Kind | None
    standing: Standing

    @property
    def known(self) -> bool:
        return self.kind in KNOWN

    @property
    def holds(self) -> str:
        if not self.decided:
            return "none decided"
        return f"{self.present} of {self.decided} {'holds' if self.decided == 1 else 'hold'}"

    @property
    def text(self) -> str:
        """In two lines at most."""
        return f"{self.holds}\n{self.kind}" if self.kind else "calibration"


def summaries(results: ResultSet) -> Mapping[tuple[str, str], Summary]:
    """Of every claim, by phenomenon and name."""
    known = kinds(results)
    return {
        (row.phenomenon, row.claim_name): Summary(
            row.counts["present"], row.decided, known.get((row.phenomenon, row.claim_name)), row.standing
        )
        for row in results.rows
    }


def reason(v: CellVerdict) -> str:
    """The word for a tile; empty where the cell is decided or its mark says it."""
    return REASONS[v.reason.kind][0] if v.verdict in ("inconclusive", "invalid") else ""


def reason_keys(cells: Iterable[CellVerdict]) -> str:
    """What the words on these tiles mean, in a sentence; empty where there are none."""
    found = {v.reason.kind for v in cells if reason(v)}
    told = "; ".join(f"{word}, {meaning}" for kind, (word, meaning) in REASONS.items() if kind in found)
    return f"Below an effect, why the cell is not decided: {told}." if told else ""
