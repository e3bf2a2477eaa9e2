"""The evidence table, the universality table, and their forms in CSV, Markdown and the terminal."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

import pandas as pd

from universality import text
from universality.judge.boundary import Boundary
from universality.judge.verdicts import VERDICTS, CellVerdict, Facts, Universality
from universality.report import columns as c


def evidence_table(verdicts: Sequence[CellVerdict], tiers: Mapping[str, str]) -> pd.DataFrame:
    """A row per cell and claim; controls carry their name in `control`. Columns `columns.EVIDENCE`.

    `tiers` says per task what evidence from it is worth.
    """
    rows = [
        {
            c.ID: v.record.id,
            c.PHENOMENON: v.record.phenomenon,
            c.SETTING: v.record.variant,
            c.VERSION: v.record.version,
            c.CLAIM: v.record.claim_name,
            c.BOUNDS: str(v.record.claim),
            c.ARCHITECTURE: v.record.architecture,
            c.TASK: v.record.task,
            c.TIER: tiers.get(v.record.task, ""),
            c.CONTROL: v.record.control,
            c.EXPECTS: " or ".join(v.record.expects),
            c.PASSED: "" if v.passed is None else "yes" if v.passed else "no",
            c.COUNTED: "yes" if v.counted else "no",
            c.VERDICT: v.verdict,
            c.RAW_VERDICT: v.raw,
            c.REASON: v.reason,
            c.EFFECT: v.effect,
            c.LOW: v.low,
            c.HIGH: v.high,
            c.UNIT: v.record.claim.unit,
            c.P: v.p,
            c.P_HOLM: v.p_holm,
            c.GROUPS: v.groups,
            c.UNITS: v.units,
            c.DECIDED: v.decided,
            c.HOLDING: v.holding,
            c.SEEDS_NEEDED: v.seeds_needed,
            c.DETAILS: json.dumps(dict(v.details), sort_keys=True),
        }
        for v in verdicts
    ]
    frame = pd.DataFrame(rows, columns=list(c.EVIDENCE))
    return frame.astype(dict.fromkeys(c.EVIDENCE_NUMBERS, "float64"))


def read_evidence(path: Path) -> pd.DataFrame:
    """What `evidence_table` wrote as CSV: text as it was (a task called `NA` too), numbers as floats."""
    numbers = set(c.EVIDENCE_NUMBERS)
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    for name in frame.columns.intersection(list(numbers)):
        frame[name] = [float(text) if text else math.nan for text in frame[name]]
    return frame


def universality_table(rows: Sequence[Universality], facts: Facts) -> pd.DataFrame:
    """A row per phenomenon and claim; the count of each verdict stands in the column of its name."""
    return pd.DataFrame([_universality_row(row, facts.get(row.phenomenon, {})) for row in rows])


def _universality_row(row: Universality, facts: Mapping[str, str]) -> dict[str, object]:
    share, pooled = row.prevalence, row.pooled
    return {
        c.PHENOMENON: row.phenomenon,
        c.CLAIM: row.claim_name,
        **{name: facts.get(name, "") for name in c.FACTS},
        c.BOUNDS: str(row.claim),
        c.UNIT: row.claim.unit,
        c.PREVALENCE: share and share.estimate,
        c.PREVALENCE_LOW: share and share.low,
        c.PREVALENCE_HIGH: share and share.high,
        c.EFFECTIVE_CELLS: share and share.effective,
        **{name: row.counts[name] for name in VERDICTS},
        **{c.CONFIRMED.format(name): count for name, count in row.confirmed.items()},
        c.DECIDED: row.decided,
        c.APPLICABLE: row.applicable,
        c.COVERAGE: row.coverage,
        c.CONTROLS: "validated" if row.validated else "unvalidated",
        c.FAILED_CONTROLS: "; ".join(row.failed_controls),
        c.POOLED: pooled and pooled.estimate,
        c.POOLED_LOW: pooled and pooled.low,
        c.POOLED_HIGH: pooled and pooled.high,
        c.BETWEEN_CELL_SD: pooled and pooled.between_sd,
        c.PREDICTION_LOW: pooled and pooled.prediction_low,
        c.PREDICTION_HIGH: pooled and pooled.prediction_high,
        c.POOLED_CELLS: pooled and pooled.cells,
    }


NOTE = (
    "(Holm): of these, cells whose verdict survives Holm's correction over all cells and claims at 5 %. "
    "Pooled effect and next cell: only where one number is claimed for all cells."
)

HEADERS = (
    "Phenomenon",
    "Claim",
    "Sense",
    "Prevalence [95%]",
    "Present (Holm)",
    "Absent (Holm)",
    "Not decided",
    "Coverage",
    "Pooled effect [95%]",
    "Next cell [95%]",
    "Controls",
)


def readable_rows(rows: Sequence[Universality], facts: Facts) -> list[tuple[str, ...]]:
    """The universality table as text, one tuple per row under `HEADERS`."""
    return [_readable(row, facts.get(row.phenomenon, {})) for row in rows]


def _readable(row: Universality, facts: Mapping[str, str]) -> tuple[str, ...]:
    share, pooled = row.prevalence, row.pooled
    others = ", ".join(f"{row.counts[v]} {v}" for v in VERDICTS[2:] if row.counts[v])
    unit = f" ({row.claim.unit})" if row.claim.unit else ""
    return (
        facts.get(c.TITLE) or row.phenomenon,
        f"{row.claim_name}: {row.claim}{unit}",
        facts.get(c.SENSE, ""),
        f"{share.estimate:.0%} [{share.low:.0%}, {share.high:.0%}]" if share else "-",
        *(f"{row.counts[v]} ({row.confirmed[v]})" for v in VERDICTS[:2]),
        others or "-",
        f"{row.decided}/{row.applicable}",
        text.number_text(pooled.estimate) + text.bracket(pooled.low, pooled.high) if pooled else "-",
        text.bracket(pooled.prediction_low, pooled.prediction_high).strip() or "-" if pooled else "-",
        "validated" if row.validated else f"unvalidated: {'; '.join(row.failed_controls)}",
    )


def markdown(rows: Sequence[Universality], facts: Facts, boundaries: Sequence[Boundary] = ()) -> str:
    """The universality table in GitHub's Markdown; where claims end, and the source of each phenomenon, below."""
    table = text.markdown_table(HEADERS, readable_rows(rows, facts))
    names = dict.fromkeys(row.phenomenon for row in rows)
    sources = [
        f"- {text.escaped(facts[name].get(c.TITLE) or name)}: {text.escaped(facts[name][c.SOURCE])}"
        for name in names
        if facts.get(name, {}).get(c.SOURCE)
    ]
    ends = [
        f"- {text.escaped(f'{b.phenomenon}.{b.claim_name}, {b.parameter} ({b.beside}): {b}', 1000)}"
        for b in boundaries
    ]
    blocks = [table, f"{NOTE}\n"]
    blocks += (
        ["Where claims end, along one parameter with everything else fixed:\n", "\n".join(ends) + "\n"]
        if ends
        else []
    )
    blocks += ["\n".join(sources) + "\n"] if sources else []
    return "\n".join(blocks)


def print_table(rows: Sequence[Universality], facts: Facts, stream: TextIO | None = None) -> None:
    """The universality table on `stream`: by rich in a terminal, else aligned plain text."""
    text.print_table(HEADERS, readable_rows(rows, facts), stream)
    (sys.stdout if stream is None else stream).write(f"{NOTE}\n")
