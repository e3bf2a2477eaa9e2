"""What a claim's cells say of its universality, in one sentence: the same rule on pages, in tables, in the terminal and over sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from universality.judge.boundary import Boundary
from universality.judge.crossed import Pooled, Prevalence, prevalence
from universality.judge.decide import CellVerdict
from universality.judge.leaderboard import BoardRow
from universality.judge.resultset import ResultSet
from universality.judge.summary import ALPHA, ClaimRow, share_of_cells
from universality.plugin.spec import bare_name
from universality.text import brief, with_interval

Kind = Literal["universal here", "holds with exceptions", "not universal", "not yet known", "not validated"]
KINDS: tuple[Kind, ...] = (
    "universal here", "holds with exceptions", "not universal", "not yet known", "not validated",
)  # fmt: skip

KNOWN = KINDS[:3]

NAMED = 4
"""Most cells that a sentence names one by one."""
ALL, NONE = "every cell of ", "any cell of "
COUNTEREXAMPLES = 2
"""Absent cells that survive Holm's correction, so that a claim is not universal."""
MAX_FURTHER = 60
"""Cells; a claim that takes more than that is not about to be known."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`text` goes on where `kind` and a colon stand."""

    kind: Kind
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


def answers(results: ResultSet) -> list[tuple[ClaimRow, Answer]]:
    """Every row of cells that is no calibration with its answer, in order of what is known."""
    found = []
    for row in results.rows:
        if row.asked and not row.about.calibration:
            claim = row.phenomenon, row.claim_name
            cells = [v for v in results.by_claim[claim] if v.counted]
            ends = [b for b in results.boundaries if (b.phenomenon, b.claim_name) == claim and b.changes]
            lacks = "" if row.validated else _lacks(row.failed_controls)
            found.append((row, answer(cells, lacks, ends, mean=row.pooled)))
    return sorted(found, key=lambda pair: _place(pair[1].kind, pair[0].prevalence))


def kinds(results: ResultSet) -> dict[tuple[str, str], Kind]:
    """The kind of each answer, by phenomenon and claim."""
    return {(row.phenomenon, row.claim_name): found.kind for row, found in answers(results)}


def answer_of(row: BoardRow) -> Answer:
    """Of a claim over all sets."""
    lacks = dict.fromkeys(each for s in row.sets for each in s.row.failed_controls)
    cells = [replace(cell.representative, verdict=cell.verdict) for cell in row.cells if not cell.conflict]
    lacking = "" if row.validated else _lacks(list(lacks))
    return answer(cells, lacking, conflicts=len(row.conflicts), mean=row.pooled)


def answer(
    cells: Sequence[CellVerdict],
    lacks: str = "",
    ends: Sequence[Boundary] = (),
    conflicts: int = 0,
    mean: Pooled | None = None,
) -> Answer:
    """The answer of counted cells of one claim.

    - *universal here*: the interval of the prevalence lies above one half, and no decided cell is absent;
    - *holds with exceptions*: it lies above one half, and some are;
    - *not universal*: it lies below one half, or `COUNTEREXAMPLES` absent cells survive Holm's correction over all cells of
      their set: of a p from three to five runs, which holds for normal effects, one alone is not enough;
    - *not yet known*: everything else.

    Cells that were asked and are undecided or ended early stand at the end, whatever the answer, and on which side of the claim the
    estimates of the undecided lie.

    Args:
        conflicts: cells of which one set says present and another absent.
        lacks: what the controls lack; empty where they came out as they must.
        ends: sweeps in which the claim changes.
        mean: the effect over all measured cells, where one number is claimed.
    """
    present = [v for v in cells if v.verdict == "present"]
    absent = [v for v in cells if v.verdict == "absent"]
    decided, share = len(present) + len(absent), share_of_cells(cells)
    kind = kind_of(cells, lacks, share)
    if lacks:
        return Answer(kind, lacks)
    if share is None:
        return Answer(kind, f"no cell is decided{_open(cells, conflicts)}")
    holds = _holds(len(present), decided)
    if kind in KNOWN and decided > 1:
        worth = f"{share.effective:.0f}"
        holds += f" (worth {worth} independent one{'' if worth == '1' else 's'})"
    along = "".join(f"; along {end.parameter}, in {end.place}, it {end.where}" for end in ends[:1])
    number = _mean(mean, cells) if kind in KNOWN[:2] else ""
    limit = f"{number}{_open(cells, conflicts, seeds=kind not in KNOWN)}{along}"
    if kind == "universal here":
        return Answer(kind, f"{holds}{_spread(present)}{limit}")
    if kind == "holds with exceptions":
        return Answer(kind, f"{holds}, not in {_places(absent, present, NONE)}{limit}")
    if kind == "not universal":
        if not present:
            return Answer(kind, f"{holds}{limit}")
        if len(present) > len(absent):
            return Answer(kind, f"{holds}, not in {_places(absent, present, NONE)}{limit}")
        named = _named(present, absent, ALL)  # how many they are stands there already
        return Answer(kind, f"{holds}{f', in {named}' if named else _spread(present)}{limit}")
    return Answer(kind, f"{holds}{_told_by(cells)}{limit}")


def kind_of(cells: Sequence[CellVerdict], lacks: str, share: Prevalence | None) -> Kind:
    """The rule of `answer`; `share` is the prevalence among these cells."""
    if lacks:
        return "not validated"
    if share is None:
        return "not yet known"
    absent = [v for v in cells if v.verdict == "absent"]
    if share.low > 0.5:
        return "holds with exceptions" if absent else "universal here"
    beyond_chance = sum(v.p_holm is not None and v.p_holm <= ALPHA for v in absent)
    if share.high < 0.5 or beyond_chance >= COUNTEREXAMPLES:
        return "not universal"
    return "not yet known"


def _place(kind: Kind, share: Prevalence | None) -> tuple[int, float, float]:
    return KINDS.index(kind), *((-share.low, -share.estimate) if share else (1.0, 1.0))


def _holds(present: int, decided: int) -> str:
    if decided == 1:
        return "it holds in the one decided cell" if present else "it does not hold in the one decided cell"
    share = "all" if present == decided else "none of" if not present else f"{present} of"
    return f"it holds in {share} {decided} decided cells"


def _lacks(failures: Sequence[str]) -> str:
    return brief("; ".join(failures), 300) or "no controls were run"


def _spread(cells: Sequence[CellVerdict]) -> str:
    networks, tasks = ({getattr(v.record, of) for v in cells} for of in ("architecture", "task"))
    return f", of {len(networks)} networks on {len(tasks)} tasks"


def _mean(mean: Pooled | None, cells: Sequence[CellVerdict]) -> str:
    """The number, beside what was claimed of it: a wide bound is met by many."""
    if mean is None or mean.low is None or mean.high is None:
        return ""
    claim = cells[0].record.claim
    unit = f" ({claim.unit})" if claim.unit else ""
    return f"; mean {with_interval(mean.estimate, mean.low, mean.high)}{unit}, claimed {claim}"


def _nowhere(cells: Sequence[CellVerdict]) -> str:
    """Networks and tasks that were asked more than once, and are decided in no cell."""
    known = [v for v in cells if v.verdict not in ("not applicable", "missing")]
    names = []
    for of in ("architecture", "task"):
        asked = Counter(getattr(v.record, of) for v in known)
        decided = {getattr(v.record, of) for v in known if v.settled}
        names += [_short(name, asked) for name, n in asked.items() if n > 1 and name not in decided]
    return f", among them every cell of {_listed(names)}" if 0 < len(names) <= NAMED else ""


def _open(cells: Sequence[CellVerdict], conflicts: int, *, seeds: bool = True) -> str:
    """The cells that were asked and are not decided, and, with `seeds`, how many would decide them."""
    undecided = [v for v in cells if v.verdict == "inconclusive"]
    known = "present", "absent", "inconclusive", "not applicable", "missing"
    ended, missing = sum(v.verdict not in known for v in cells), sum(v.verdict == "missing" for v in cells)
    told = f"; in {conflicts} sets contradict each other" if conflicts else ""
    if undecided:
        needed = sorted(v.seeds_needed for v in undecided if seeds and v.seeds_needed is not None)
        told += f"; {len(undecided)} {'is' if len(undecided) == 1 else 'are'} undecided{_leaning(undecided)}{_nowhere(cells)}"
        told += (
            f"; {len(needed)} of them about {needed[len(needed) // 2]} seeds would decide" if needed else ""
        )
    told += f"; {ended} ended without a measurement" if ended else ""
    return told + (f"; {missing} {'lacks' if missing == 1 else 'lack'} runs" if missing else "")


def _leaning(undecided: Sequence[CellVerdict]) -> str:
    """On which side those lie that have an estimate: a claim that is decided only where it holds is not universal."""
    measured = [(v.record.claim, v.effect) for v in undecided if v.effect is not None]
    if not measured:
        return ""
    inside = sum(claim.holds(effect) for claim, effect in measured)
    return f" ({len(measured)} with an estimate, {inside} of these as claimed)"


def _told_by(cells: Sequence[CellVerdict]) -> str:
    """How many more cells would tell, in the fewer of two ways: those in which the claim holds, and those in which it does not."""
    ways = [(n, holds) for holds in (True, False) if (n := _further(cells, holds)) is not None]
    if not ways:
        return ""
    further, holds = min(ways, key=lambda way: way[0])
    which = "holds" if holds else "does not hold"
    return f"; {further} more in which it {which}, of other networks on other tasks, would tell"


def _further(cells: Sequence[CellVerdict], holds: bool) -> int | None:
    """Independent cells in which the claim holds, or does not, that would take the interval to one side of one half; None
    for too many."""
    decided = [v for v in cells if v.settled]
    marks = [v.verdict == "present" for v in decided]
    networks, tasks = ([getattr(v.record, of) for v in decided] for of in ("architecture", "task"))
    for n in range(1, MAX_FURTHER + 1):
        new = [f"\0{i}" for i in range(n)]
        share = prevalence([*marks, *[holds] * n], [*networks, *new], [*tasks, *new])
        if share.low > 0.5 if holds else share.high < 0.5:
            return n
    return None


def _places(these: Sequence[CellVerdict], others: Sequence[CellVerdict], every: str) -> str:
    """Where the cells lie, or how many they are.

    Args:
        every: what stands before the names of whole networks or tasks.
    """
    return _named(these, others, every) or f"{len(these)}{_spread(these)}"


def _named(these: Sequence[CellVerdict], others: Sequence[CellVerdict], every: str) -> str:
    """Whole networks or tasks where the cells are nothing else, a few cells by name; empty for many scattered ones."""
    for of in ("architecture", "task"):
        mine = Counter(getattr(v.record, of) for v in these)
        theirs = {getattr(v.record, of) for v in others}
        if len(mine) < len(these) and not theirs & set(mine) and len(mine) <= NAMED:
            return f"{every}{_listed([_short(name, mine | Counter(theirs)) for name in mine])}"
    if len(these) > NAMED:
        return ""
    both = [*these, *others]
    networks, tasks = (Counter({getattr(v.record, of) for v in both}) for of in ("architecture", "task"))
    return _listed(
        [f"{_short(v.record.architecture, networks)} on {_short(v.record.task, tasks)}" for v in these]
    )


def _short(address: str, among: Counter[str]) -> str:
    """An address without its parameters, where no other has that name."""
    name = bare_name(address)
    return brief(name if sum(bare_name(other) == name for other in among) == 1 else address, 60)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
