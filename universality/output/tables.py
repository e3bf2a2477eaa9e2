"""The evidence table, the universality table, and their forms in CSV, Markdown and the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TextIO

import pandas as pd

from universality import text
from universality.judge.answers import kinds
from universality.judge.decide import VERDICTS, CellVerdict
from universality.judge.moved import margin, stays
from universality.judge.resultset import ResultSet
from universality.judge.summary import ClaimRow
from universality.output import phrases
from universality.output.sections import Section, markdown_sections, print_sections

_NUMBERS = (
    "version", "effect", "low", "high", "p", "p_holm", "groups", "units", "decided", "holding", "seeds_needed",
    "margin",
)  # fmt: skip
"""Columns of the evidence table that hold numbers; all others are text."""


PASSED = {None: "", "passed": "yes", "failed": "no", "not exercised": "not exercised"}
"""The column `passed` of the evidence table."""


def evidence_table(results: ResultSet) -> pd.DataFrame:
    """A row per cell and claim; controls carry their name in `control`."""
    frame = pd.DataFrame([_evidence_row(v, results) for v in results.verdicts])
    return frame.astype(dict.fromkeys(_NUMBERS, "float64"))


def _evidence_row(v: CellVerdict, results: ResultSet) -> dict[str, object]:
    record, ends = v.record, stays(v)
    return {
        "id": record.id,
        "phenomenon": record.phenomenon,
        "setting": record.variant,
        "version": record.version,
        "claim": record.claim_name,
        "claim_title": phrases.title_in(results, record.phenomenon, record.claim_name),
        "bounds": str(record.claim),
        "architecture": record.architecture,
        "task": record.task,
        "tier": results.plan.tiers.get(record.task, ""),
        "control": "" if record.control is None else str(record.control),
        "expects": "" if record.control is None else record.control.expects,
        "passed": PASSED[v.control_result],
        "counted": "yes" if v.counted else "no",
        "verdict": v.verdict,
        "raw_verdict": v.raw,
        "reason": str(v.reason),
        "effect": v.effect,
        "low": v.low,
        "high": v.high,
        "unit": record.claim.unit,
        "p": v.p,
        "p_holm": v.p_holm,
        "groups": v.groups,
        "units": v.units,
        "decided": v.decided,
        "holding": v.holding,
        "seeds_needed": v.seeds_needed,
        "margin": margin(ends, record.claim.scale),
        "bound_stays": "; ".join(map(str, ends)),
        "details": json.dumps(dict(v.details), sort_keys=True),
    }


def csv(table: pd.DataFrame) -> str:
    """A table as a CSV file, whose texts no spreadsheet computes."""
    return table.map(lambda value: text.csv_cell(value) if isinstance(value, str) else value).to_csv(
        index=False
    )


def universality_table(results: ResultSet) -> pd.DataFrame:
    """A row per phenomenon and claim; the count of each verdict stands in the column of its name.

    `answer` is that of `judge.answers`, empty where no cell was asked, and for calibrations.
    """
    known = kinds(results)
    return pd.DataFrame(
        [_universality_row(row, known.get((row.phenomenon, row.claim_name), "")) for row in results.rows]
    )


def _universality_row(row: ClaimRow, answer: str) -> dict[str, object]:
    about, share, pooled, joint = row.about, row.prevalence, row.pooled, row.joint
    return {
        "phenomenon": row.phenomenon,
        "claim": row.claim_name,
        "claim_title": row.title,
        "title": about.title,
        "strand": about.strand,
        "sense": about.sense,
        "source": about.source,
        "bounds": str(row.claim),
        "unit": row.claim.unit,
        "answer": answer,
        "prevalence": share and share.estimate,
        "prevalence_low": share and share.low,
        "prevalence_high": share and share.high,
        "effective_cells": share and share.effective,
        **{name: row.counts[name] for name in VERDICTS},
        **{f"{name}_after_holm": count for name, count in row.confirmed.items()},
        "groups_holding": joint and joint.holding,
        "groups_decided": joint and joint.decided,
        "groups_effective": joint and joint.trials,
        "groups_p": joint and joint.p,
        "groups_p_holm": joint and joint.p_holm,
        "bounds_moved": "; ".join(map(str, row.moved)),
        "decided": row.decided,
        "applicable": row.applicable,
        "coverage": row.coverage,
        "controls": phrases.controls_text(row.validated),
        "failed_controls": "; ".join(row.failed_controls),
        "pooled": pooled and pooled.estimate,
        "pooled_low": pooled and pooled.low,
        "pooled_high": pooled and pooled.high,
        "between_cell_sd": pooled and pooled.between_sd,
        "prediction_low": pooled and pooled.prediction_low,
        "prediction_high": pooled and pooled.prediction_high,
        "pooled_cells": pooled and pooled.cells,
        # Columns only of tables that have something in them: published ones have none.
        **({"dispute": about.dispute} if about.dispute else {}),
        **({"calibration": "failed" if row.distrusted else row.standing} if about.calibration else {}),
    }


NOTE = (
    "(Holm): of these, cells whose verdict survives Holm's correction over all cells and claims at 5 %; - where so few "
    "seeds cannot. Groups that hold: of all cells together, p of one half after Holm's correction over claims. "
    "Pooled effect and next cell: only where one number is claimed for all cells."
)

COLUMNS = (
    ("Claim", "what is claimed of the effect, its unit, and the version of the claim"),
    ("same number, form or sign", "what cells would have to share: one value, the shape of a law, or a direction"),
    ("Prevalence", "share of decided cells in which the claim holds; its interval counts that cells share networks and tasks"),
    ("Present, absent (Holm)", "decided cells; in brackets those left after Holm's correction over all cells and claims, - where so few "
     "seeds could not be. It enters the answers above only where two absent cells refute"),
    ("Not decided", "inconclusive: a gate or the interval forbids a verdict; invalid: a control failed; others did not end"),
    ("Coverage", "decided cells, of those to which the claim applies"),
    ("Groups that hold (p)", "runs, or pairs of runs, in all cells together; p against one half, after Holm's correction over claims"),
    ("Pooled effect", "mean over all measured cells, the undecided among them; only where one number is claimed for all"),
    ("Next cell", "where the effect of a further network on a further task is expected"),
    ("Controls", "settings with a known answer. There is no overall score"),
)  # fmt: skip
"""Of the table on the page, each in a line."""

HEADERS = (
    "Phenomenon", "Claim", "Sense", "Prevalence [95%]", "Present (Holm)", "Absent (Holm)", "Not decided",
    "Coverage", "Groups that hold (p)", "Pooled effect [95%]", "Next cell [95%]", "Controls",
)  # fmt: skip


def calibrations(rows: Sequence[ClaimRow]) -> Section:
    """Exact theory, by which a build and a machine are tested: no behaviours that could be universal."""
    lines = [
        (
            row.about.title,
            phrases.claim_text(row.claim_name, row.title, row.claim),
            phrases.controls_text(row.validated, row.failed_controls),
        )
        for row in rows
        if row.about.calibration
    ]
    return Section("", ("Calibration", "Claim", "Controls"), lines)


def crossed(rows: Sequence[ClaimRow]) -> list[ClaimRow]:
    """Those of behaviours that may be universal, and were asked in cells."""
    return [row for row in rows if row.asked and not row.about.calibration]


def controls_alone(results: ResultSet) -> Section:
    """The controls of claims that were asked in no cell, each with how many of its groups hold: of a negative control
    how often something is seen that is not there."""
    lines = [
        (
            row.about.title,
            row.title,
            str(v.record.control),
            v.raw,
            f"{v.holding} of {v.decided}",
            PASSED[v.control_result],
        )
        for row in results.rows
        if not row.asked
        for v in results.by_claim[row.phenomenon, row.claim_name]
        if v.record.control
    ]
    return Section(
        "", ("Phenomenon", "Claim", "Control", "Came out", "Groups that hold", "As it must"), lines
    )


def readable_rows(rows: Sequence[ClaimRow]) -> list[tuple[str, ...]]:
    """The universality table as text, one tuple per row of `crossed` under `HEADERS`."""
    return [
        (
            row.about.title,
            phrases.claim_text(row.claim_name, row.title, row.claim),
            row.about.sense,
            phrases.share_text(row.prevalence),
            *phrases.confirmed_texts(row),
            ", ".join(f"{row.counts[v]} {v}" for v in VERDICTS[2:] if row.counts[v]) or "-",
            f"{row.decided}/{row.applicable}",
            phrases.joint_text(row.joint),
            *phrases.pooled_texts(row.pooled),
            phrases.controls_text(row.validated, row.failed_controls),
        )
        for row in crossed(rows)
    ]


def markdown(results: ResultSet) -> str:
    """The universality table in GitHub's Markdown; where claims end, and the source of each phenomenon, below."""
    warnings = [phrases.distrust(results.rows), phrases.unfinished(results)]
    blocks = [f"**{text.escaped(line, 1000)}**\n" for line in warnings if line]
    blocks += markdown_sections([calibrations(results.rows), controls_alone(results)])
    if known := [f"- {text.escaped(line, 1000)}\n" for line in phrases.answer_lines(results)]:
        blocks.append("".join(known))
    if rows := readable_rows(results.rows):
        blocks += [text.markdown_table(HEADERS, rows), f"{NOTE}\n"]
    ends = [
        f"- {text.escaped(phrases.boundary_text(results, b, f'({b.beside})'), 1000)}\n"
        for b in results.boundaries
    ]
    other = [f"- {text.escaped(line, 1000)}\n" for line in phrases.moved_lines(results.rows)]
    if other:
        blocks += ["Cells under a claim twice as strict, and twice as lax:\n", "".join(other)]
    if ends:
        blocks += ["Where claims end, along one parameter with everything else fixed:\n", "".join(ends)]
    abouts = {row.phenomenon: row.about for row in results.rows}.values()
    sources = [
        f"- {text.escaped(a.title)}: {text.escaped(line, 1000)}\n"
        for a in abouts
        if (line := phrases.source_text(a))
    ]
    return "\n".join([*blocks, "".join(sources)] if sources else blocks)


def print_table(rows: Sequence[ClaimRow], stream: TextIO | None = None) -> None:
    """The universality table on `stream`: by rich in a terminal, else aligned plain text."""
    out = sys.stdout if stream is None else stream
    if line := phrases.distrust(rows):
        out.write(f"{text.plain(line, 1000)}\n")
    print_sections([calibrations(rows)], out)
    if readable := readable_rows(rows):
        text.print_table(HEADERS, readable, out)
        out.write(f"{NOTE}\n")
