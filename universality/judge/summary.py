"""One row per claim: how universal it is over all cells that it was asked in."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from universality.judge.controls import Standing, claim_of, standing
from universality.judge.decide import MEASURED, VERDICTS, CellVerdict, Verdict
from universality.judge.statistics import Pooled, Prevalence, pool, prevalence
from universality.plugin.bounds import Bound, Scale, Within
from universality.plugin.phenomenon import About

ALPHA = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """One claim over many cells: how often each verdict was found, and what that says of all cells."""

    phenomenon: str
    about: About
    claim_name: str
    claim: Bound
    counts: Mapping[Verdict, int]
    prevalence: Prevalence | None
    pooled: Pooled | None

    @property
    def title(self) -> str:
        """The claim's, for people."""
        return self.about.claims.get(self.claim_name, self.claim_name)

    @property
    def decided(self) -> int:
        return self.counts["present"] + self.counts["absent"]

    @property
    def applicable(self) -> int:
        return sum(self.counts.values()) - self.counts["not applicable"]

    @property
    def coverage(self) -> float:
        """Share of the applicable cells that were decided."""
        return self.decided / self.applicable if self.applicable else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRow(Tally):
    """One claim over all cells that it was asked in."""

    controls: int
    standing: Standing
    failed_controls: tuple[str, ...]
    """Everything that its controls lack: those that failed, were not run or, negative, not exercised."""
    confirmed: Mapping[str, int]
    """Cells present and absent that survive Holm's correction at 5 %."""

    @property
    def validated(self) -> bool:
        """At least one positive and one negative control were run, all positive are present and all negative absent."""
        return self.standing == "validated"


def summarise(verdicts: Sequence[CellVerdict], phenomena: Mapping[str, About]) -> list[ClaimRow]:
    """A row per phenomenon and claim, in order of first appearance, from what `judge` returned."""
    rows: dict[tuple[str, str], list[CellVerdict]] = {}
    for verdict in verdicts:
        rows.setdefault(claim_of(verdict), []).append(verdict)
    return [_row(members, phenomena[name]) for (name, _), members in rows.items()]


def _row(members: Sequence[CellVerdict], about: About) -> ClaimRow:
    controls = [v for v in members if v.record.control]
    cells = [v for v in members if v.counted]
    counts = Counter(v.verdict for v in cells)
    stands, lacks = standing(controls)
    first = members[0].record
    return ClaimRow(
        phenomenon=first.phenomenon,
        about=about,
        claim_name=first.claim_name,
        claim=first.claim,
        counts={verdict: counts[verdict] for verdict in VERDICTS},
        prevalence=share_of_cells(cells),
        pooled=pool_cells(cells, first.claim.scale) if claims_a_number(first.claim, about) else None,
        controls=len(controls),
        standing=stands,
        failed_controls=lacks,
        confirmed={
            verdict: sum(v.verdict == verdict and v.p_holm is not None and v.p_holm <= ALPHA for v in cells)
            for verdict in ("present", "absent")
        },
    )


def claims_a_number(claim: Bound, about: About) -> bool:
    """Whether one value over all cells is claimed, so that a pooled one means something.

    A claim of the same form or sign leaves its effect to the cell: a mean over cells would estimate the
    choice of cells, and its interval from a handful of them spans decades.
    """
    return isinstance(claim, Within) and about.sense == "number"


def share_of_cells(cells: Sequence[CellVerdict]) -> Prevalence | None:
    """The prevalence of a claim among its decided cells; None where none is."""
    decided = [v for v in cells if v.verdict in ("present", "absent")]
    if not decided:
        return None
    return prevalence(
        [v.verdict == "present" for v in decided],
        [v.record.architecture for v in decided],
        [v.record.task for v in decided],
    )


def pool_cells(cells: Sequence[CellVerdict], scale: Scale) -> Pooled | None:
    """The effects of all measured cells that have an error; None where there are none.

    Cells that straddle a bound are measured too: without them the mean would be selected by its outcome.
    """
    measured = [
        (v.effect, v.se**2, v.record.architecture, v.record.task)
        for v in cells
        if v.verdict in MEASURED and v.effect is not None and v.se is not None
    ]
    return pool(*map(list, zip(*measured, strict=True)), scale=scale) if measured else None
