"""What the controls of a claim say of its cells, and which cells count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from universality.errors import MeasurementError
from universality.judge.decide import MEASURED, CellVerdict, Reason, decide
from universality.judge.statistics import holm
from universality.plugin.outcome import missing_signs
from universality.store.cells import CellRecord

Standing = Literal["validated", "controls failed", "controls missing", "negative not exercised"]
"""What the controls of a claim say of its row."""


def judge(records: Sequence[CellRecord], uncounted: Collection[str] = ()) -> list[CellVerdict]:
    """Decide every record; where a control of a claim fails, its measured cells become invalid.

    A negative control fails where it is present. Neither present nor absent it was not exercised, which is no reason
    to doubt a cell, but none to trust the claim either: see `standing`.

    A cell with the network and the task of a positive control is decided but not counted: that
    setting was chosen because it shows the phenomenon. Nor are those of phenomena that are `uncounted`.

    Raises `MeasurementError` where a cell or control occurs twice, which would count it twice.
    """
    repeats = [question for question, n in Counter(r.question for r in records).items() if n > 1]
    if repeats:
        raise MeasurementError(
            "a cell was recorded twice",
            where=" / ".join(filter(None, repeats[0])),
            expected="one record per phenomenon, claim, architecture, task and control",
        )
    verdicts = [decide(record) for record in records]
    failed = failures(verdicts)
    found = zip(verdicts, places(records, uncounted), strict=True)
    return corrected([placed(verdict, place, failed) for verdict, place in found])


@dataclass(frozen=True, slots=True)
class Place:
    """What the records of a set say of one of them, whatever is decided: whether it counts, and, where the cell of another
    network has the same runs and counts in its stead, that network."""

    counted: bool
    repeats: str = ""


def places(records: Sequence[CellRecord], uncounted: Collection[str] = ()) -> list[Place]:
    """A setting of a positive control is not counted (`judge`). Nor is a cell of pairs whose runs are all those of the cell of
    another network, which stands before it: a comparison of two networks is one measurement, in the cells of both."""
    reference = {_setting(r) for r in records if r.control and r.control.sign == "positive"}
    found, seen = [], dict[object, str]()
    for r in records:
        counted = r.crossed and r.phenomenon not in uncounted and _setting(r) not in reference
        earlier = ""
        if counted and r.groups and all(len(group.runs) > 1 for group in r.groups):
            runs = r.phenomenon, r.claim_name, frozenset(frozenset(group.runs.values()) for group in r.groups)
            earlier = seen.get(runs, "")
            seen.setdefault(runs, r.architecture)
        found.append(Place(counted and not earlier, earlier))
    return found


Failures = Mapping[tuple[str, str], Sequence[str]]
"""By claim, what its failed controls came out as."""


def failures(verdicts: Sequence[CellVerdict]) -> Failures:
    found: dict[tuple[str, str], list[str]] = {}
    for v in verdicts:
        if v.record.control is not None and v.control_result == "failed":
            found.setdefault(claim_of(v), []).append(failure(v))
    return found


def placed(v: CellVerdict, place: Place, failed: Failures) -> CellVerdict:
    """What `decide` said of a cell or control, in its place, and once the controls are heard."""
    if (v.counted, v.repeated) != (place.counted, bool(place.repeats)):
        v = replace(v, counted=place.counted, repeated=bool(place.repeats))
    if place.repeats:
        text = f"{v.reason.text}; not counted, since these are the runs of the cell of {place.repeats}"
        v = replace(v, reason=replace(v.reason, text=text))
    if v.record.control is None and v.raw in MEASURED and claim_of(v) in failed:
        text = f"control failed ({'; '.join(failed[claim_of(v)])}); alone: {v.raw}"
        v = replace(v, verdict="invalid", reason=Reason("control failed", text), p=None)
    return v


def corrected(verdicts: Sequence[CellVerdict], others: Sequence[CellVerdict] = ()) -> list[CellVerdict]:
    """Holm's correction (Holm 1979): any one false verdict among all has at most the stated chance.

    The family is every counted cell that was measured: an undecided one was a test as well, lost at
    p = 1. Cells that a control voided keep their place in it.

    Args:
        others: further members of the family, which keep what they have.
    """
    family = [i for i, v in enumerate(verdicts) if v.counted and v.raw in MEASURED]
    adjusted = holm([*(verdicts[i].p for i in family), *(v.p for v in others)])[: len(family)]
    result = list(verdicts)
    for i, p in zip(family, adjusted, strict=True):
        if verdicts[i].p is not None:
            result[i] = replace(verdicts[i], p_holm=p)
    return result


def claim_of(verdict: CellVerdict) -> tuple[str, str]:
    """Phenomenon and claim."""
    return verdict.record.phenomenon, verdict.record.claim_name


def failure(control: CellVerdict) -> str:
    """What a control came out as, and what it should have."""
    assert control.record.control is not None
    return f"{control.record.control} is {control.raw}, expected {control.record.control.expects}"


def standing(controls: Sequence[CellVerdict]) -> tuple[Standing, tuple[str, ...]]:
    """What the controls of one claim say of its row, and everything that it lacks to be validated.

    A row is validated where at least one positive control was run and is present, at least one negative was run, and
    every negative is absent. The worst shortcoming names the standing.
    """
    of = [(v, v.record.control) for v in controls if v.record.control]
    lacks: dict[Standing, list[str]] = {
        "controls failed": [failure(v) for v, _ in of if v.control_result == "failed"],
        "controls missing": [f"no {s} control was run" for s in missing_signs({c.sign for _, c in of})],
        "negative not exercised": [
            f"negative not exercised: {c.name}: {v.raw}, {v.reason}"
            for v, c in of
            if v.control_result == "not exercised"
        ],
    }
    worst: Standing = next((name for name, texts in lacks.items() if texts), "validated")
    return worst, tuple(text for texts in lacks.values() for text in texts)


def _setting(record: CellRecord) -> tuple[str, ...]:
    return record.phenomenon, record.claim_name, record.architecture, record.task
