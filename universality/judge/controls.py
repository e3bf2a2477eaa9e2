"""What the controls of a claim say of its cells, and which cells count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from universality.errors import MeasurementError
from universality.judge.decide import MEASURED, CellVerdict, Reason, decide
from universality.judge.statistics import holm
from universality.store.cells import CellRecord


def judge(records: Sequence[CellRecord]) -> list[CellVerdict]:
    """Decide every record; where a control of a claim fails, its measured cells become invalid.

    A cell with the network and the task of a positive control is decided but not counted: that
    setting was chosen because it shows the phenomenon.

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
    failures: dict[tuple[str, str], list[str]] = {}
    for v in verdicts:
        if v.passed is False:
            failures.setdefault(claim_of(v), []).append(failure(v))
    reference = {_setting(v) for v in verdicts if v.record.control and v.record.control.sign == "positive"}
    after = []
    for v in verdicts:
        v = replace(v, counted=v.record.crossed and _setting(v) not in reference)
        if v.record.control is None and v.raw in MEASURED and claim_of(v) in failures:
            text = f"control failed ({'; '.join(failures[claim_of(v)])}); alone: {v.raw}"
            v = replace(v, verdict="invalid", reason=Reason("control failed", text), p=None)
        after.append(v)
    return _corrected(after)


def _corrected(verdicts: Sequence[CellVerdict]) -> list[CellVerdict]:
    """Holm's correction (Holm 1979): any one false verdict among all has at most the stated chance.

    The family is every counted cell that was measured: an undecided one was a test as well, lost at
    p = 1. Cells that a control voided keep their place in it.
    """
    family = [i for i, v in enumerate(verdicts) if v.counted and v.raw in MEASURED]
    corrected = holm([verdicts[i].p for i in family])
    result = list(verdicts)
    for i, p in zip(family, corrected, strict=True):
        if verdicts[i].p is not None:
            result[i] = replace(verdicts[i], p_holm=p)
    return result


def claim_of(verdict: CellVerdict) -> tuple[str, str]:
    """Phenomenon and claim."""
    return verdict.record.phenomenon, verdict.record.claim_name


def failure(control: CellVerdict) -> str:
    """What a control came out as, and what it should have."""
    return f"{control.record.control} is {control.raw}, expected {' or '.join(control.record.expects)}"


def _setting(verdict: CellVerdict) -> tuple[str, ...]:
    return (*claim_of(verdict), verdict.record.architecture, verdict.record.task)
