"""Phenomena in order of how prevalent they were found, over one or many result sets.

What is pooled is cells, never scores: a cell is one claim in one architecture on one task, and counts
once however many sets measured it. Versions, bounds and settings of a claim are never mixed in a row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from universality.errors import StoreError, UniversalityError
from universality.judge.decide import VERDICTS, CellVerdict, Verdict
from universality.judge.predictions import Theory, theories
from universality.judge.resultset import ResultSet, find, labels
from universality.judge.summary import ClaimRow, Tally, claims_a_number, pool_cells, share_of_cells
from universality.plugin.bounds import Bound
from universality.text import plain

Extent = Literal["most cells", "few cells", "open"]
_LOST: tuple[Verdict, ...] = ("failed", "crashed", "timeout", "missing")
"""Ends that say something of a machine and nothing of the phenomenon."""

Key = tuple[str, str, int, str, Bound]
"""Phenomenon, variant, version, name and bounds of a claim: what one row is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledCell:
    """One architecture on one task, from every set that asked.

    Args:
        verdict: what the copies agree on, else inconclusive.
        conflict: one says present and one absent. Decided in one and inconclusive in another is no conflict: that
            is what chance does to a replication.
        representative: the verdict that stands for all, of the first set that has it.
        copies: label of each set and its verdict.
    """

    architecture: str
    task: str
    verdict: Verdict
    conflict: bool
    representative: CellVerdict
    copies: tuple[tuple[str, Verdict], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetRow:
    """The row of one set that went into a row of the board."""

    label: str
    row: ClaimRow
    pooled: bool
    """Whether its cells entered: those of a claim whose controls did not come out right do not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardRow(Tally):
    """One claim over all sets.

    Args:
        validated: in at least one set its controls came out as they must; only such sets are pooled.
            Where there is none, all are, and the row stands below the validated ones.
    """

    variant: str
    version: int
    sets: tuple[SetRow, ...]
    cells: tuple[PooledCell, ...]
    validated: bool

    @property
    def conflicts(self) -> tuple[PooledCell, ...]:
        return tuple(cell for cell in self.cells if cell.conflict)

    @property
    def shared(self) -> int:
        """Cells that more than one set measured."""
        return sum(len(cell.copies) > 1 for cell in self.cells)

    @property
    def spread(self) -> tuple[float, float] | None:
        """Lowest and highest prevalence of a single set; None with fewer than two that decided a cell."""
        shares = [s.row.prevalence.estimate for s in self.sets if s.pooled and s.row.prevalence]
        return (min(shares), max(shares)) if len(shares) > 1 else None

    @property
    def extent(self) -> Extent:
        """On which side of one half the whole interval of the prevalence lies."""
        share = self.prevalence
        if share is None:
            return "open"
        return "most cells" if share.low > 0.5 else "few cells" if share.high < 0.5 else "open"

    @property
    def survives(self) -> bool:
        """Validated, and more prevalent than one half beyond the interval of all sets together."""
        return self.validated and self.extent == "most cells"


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """Rows in order; `skipped` are sets that could not be used, by path, with the reason; `theories` are predictions that
    were locked beside the sets."""

    sets: tuple[ResultSet, ...]
    rows: tuple[BoardRow, ...]
    skipped: tuple[tuple[str, str], ...] = field(default=())
    theories: tuple[Theory, ...] = field(default=())


def read_board(places: Sequence[Path]) -> Board:
    """The leaderboard of the result sets in `places`; those that cannot be used are left out and named.

    Raises `StoreError` where none can be used.
    """
    paths = find(places)
    sets: list[ResultSet] = []
    skipped: list[tuple[str, str]] = []
    for path, label in zip(paths, labels(paths), strict=True):
        try:
            results = ResultSet.load(path, label)
            _ = results.verdicts  # hostile numbers show only here
            sets.append(results)
        except UniversalityError as error:
            skipped.append((str(path), f"{error.what}: {error.got}"))
    if not sets:
        where, why = skipped[0] if skipped else ("", "no folder")
        raise StoreError(
            "none of these result sets can be used",
            where=where,
            got=plain(why),
            do="`universality check` lists everything that is wrong with one",
        )
    return replace(leaderboard(sets, skipped), theories=theories(sets))


def leaderboard(sets: Sequence[ResultSet], skipped: Sequence[tuple[str, str]] = ()) -> Board:
    """Pool result sets and order their claims.

    The order is by the lower bound of the prevalence, not by its estimate: 2 of 2 cells is no stronger
    evidence of universality than 19 of 20. Ties go by estimate, decided cells and name. Claims without
    controls that came out right stand below all others, and last those that decided nothing.
    """
    members: dict[Key, dict[int, list[CellVerdict]]] = {}
    for index, results in enumerate(sets):
        for verdict in results.verdicts:
            if verdict.record.crossed and not results.plan.phenomena[verdict.record.phenomenon].calibration:
                r = verdict.record
                key = r.phenomenon, r.variant, r.version, r.claim_name, r.claim
                members.setdefault(key, {}).setdefault(index, []).append(verdict)
    rows = [_row(key, sets, cells) for key, cells in members.items()]
    return Board(sets=tuple(sets), rows=tuple(sorted(rows, key=_order)), skipped=tuple(skipped))


def _order(row: BoardRow) -> tuple[object, ...]:
    share = row.prevalence
    numbers = (share.low, share.estimate) if share else (-1.0, -1.0)
    # Rounded, so that bounds which are equal but for their last digit tie on every machine.
    ranks = tuple(-round(number, 9) for number in numbers)
    name = (row.phenomenon, row.claim_name, row.variant, row.version, str(row.claim))
    return (not row.validated, share is None, *ranks, -row.decided, *name)


def _row(key: Key, sets: Sequence[ResultSet], cells: Mapping[int, Sequence[CellVerdict]]) -> BoardRow:
    phenomenon, variant, version, claim_name, claim = key
    rows = {
        i: r for i in cells for r in sets[i].rows if (r.phenomenon, r.claim_name) == (phenomenon, claim_name)
    }
    validated = [i for i in cells if rows[i].validated]
    sources = validated or list(cells)
    pooled = list(_pool_cells([(sets[i].label, v) for i in sources for v in cells[i]]))
    counts = Counter(cell.verdict for cell in pooled)
    about = sets[next(iter(cells))].plan.phenomena[phenomenon]
    return BoardRow(
        phenomenon=phenomenon,
        variant=variant,
        version=version,
        claim_name=claim_name,
        claim=claim,
        about=about,
        sets=tuple(SetRow(label=sets[i].label, row=rows[i], pooled=i in sources) for i in cells),
        cells=tuple(pooled),
        validated=bool(validated),
        counts={verdict: counts[verdict] for verdict in VERDICTS},
        prevalence=share_of_cells([replace(cell.representative, verdict=cell.verdict) for cell in pooled]),
        pooled=pool_cells([cell.representative for cell in pooled], claim.scale)
        if claims_a_number(claim, about)
        else None,
    )


def _pool_cells(verdicts: Sequence[tuple[str, CellVerdict]]) -> Iterator[PooledCell]:
    """Every question once. A setting that is a positive control in any set is left out of all, and a cell of the same runs
    as another of its set counts once.

    Of several answers to one question those with the most planned groups speak: how many seeds were
    asked for does not depend on what came out. They must agree, else the cell is undecided.
    """
    questions: dict[tuple[str, str], list[tuple[str, CellVerdict]]] = {}
    for label, v in verdicts:
        questions.setdefault((v.record.architecture, v.record.task), []).append((label, v))
    for (architecture, task), copies in questions.items():
        if not all(v.counted or v.repeated for _, v in copies):
            continue
        copies = [(label, v) for label, v in copies if v.counted]
        if not copies:
            continue
        ended = [v for _, v in copies if v.verdict not in _LOST] or [v for _, v in copies]
        most = max(len(v.record.groups) for v in ended)
        speakers = [v for v in ended if len(v.record.groups) == most]
        said = {v.verdict for v in speakers}
        yield PooledCell(
            architecture=architecture,
            task=task,
            verdict="inconclusive" if len(said) > 1 else speakers[0].verdict,
            conflict={"present", "absent"} <= said,
            representative=speakers[0],
            copies=tuple((label, v.verdict) for label, v in copies),
        )
