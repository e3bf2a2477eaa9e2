"""A comparison of two result sets in the terminal, in Markdown, JSON and on one page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import msgspec

from universality.judge.compare import Comparison, Difference, Joined, RowChange
from universality.judge.decide import CellVerdict
from universality.judge.resultset import ResultSet
from universality.judge.summary import ClaimRow
from universality.output import phrases
from universality.output.sections import Line, Section, markdown_sections, print_sections, write_texts
from universality.output.template import fill
from universality.text import escaped, json_text, number, with_interval

MAX_LISTED = 10
"""Cells that only one set has, in the terminal and in Markdown."""

CELL = ("Phenomenon", "Claim", "Architecture", "Task", "Control")
CHANGE = (*CELL, "Verdict", "Effect before", "Effect after", "Change [95%]", "p (Holm)", "Test")
ROW = ("Phenomenon", "Claim", "Prevalence [95%]", "Present", "Absent", "Decided", "Pooled effect", "Controls")
NOTE = (
    "Verdicts are decided anew from the measurements of both sets. A change is second minus first, or second "
    "over first where the claim is on a log scale. paired: the same runs in both sets, by replicate; "
    "Welch: independent replicates; log-rank: some times are censored. p-values are corrected by Holm's method "
    "over all cells that both sets measured."
)


def write(comparison: Comparison, folder: Path) -> list[Path]:
    """comparison.md, comparison.json and comparison.html in `folder`."""
    texts = {"md": markdown(comparison), "json": json_form(comparison), "html": html(comparison)}
    return write_texts(folder, "comparison", texts)


def print_comparison(comparison: Comparison, stream: TextIO | None = None) -> None:
    """What differs, on `stream`; cells that agree are only counted."""
    print_sections(_sections(comparison), headline(comparison), stream)


def markdown(comparison: Comparison) -> str:
    """What `print_comparison` shows, in GitHub's Markdown."""
    title, sections = escaped(_title(comparison)), markdown_sections(_sections(comparison))
    return "\n".join([f"# {title}\n", f"{headline(comparison)}\n", *sections, f"{NOTE}\n"])


def html(comparison: Comparison) -> str:
    """One page that opens offline, with every joined cell."""
    every = Section("Every cell of both", CHANGE, [_cell_line(j, comparison) for j in comparison.joined])
    return fill(
        "comparison.html",
        title=_title(comparison),
        headline=headline(comparison),
        note=NOTE,
        differs=comparison.differs,
        sections=[*_sections(comparison, most=None), every],
    )


def json_form(comparison: Comparison) -> str:
    """Everything but the groups of runs, for programs."""
    return json_text(
        {
            "sets": [phrases.set_record(results) for results in (comparison.first, comparison.second)],
            "differs": comparison.differs,
            "flips": len(comparison.flips),
            "changed_effects": len(comparison.changes),
            "cells": [
                {
                    "flipped": j.flipped,
                    "changed": j.changed,
                    "mismatch": j.mismatch,
                    "first": _verdict_record(j.first),
                    "second": _verdict_record(j.second),
                    "difference": j.difference,
                }
                for j in comparison.joined
            ],
            "only_first": list(map(_verdict_record, comparison.only_first)),
            "only_second": list(map(_verdict_record, comparison.only_second)),
            "rows": [
                {"changed": row.changed, "first": _row_record(row.first), "second": _row_record(row.second)}
                for row in comparison.rows
            ],
        }
    )


def _verdict_record(v: CellVerdict) -> dict[str, Any]:
    """`record` is what was asked; its groups of runs are in the measurement of this id."""
    verdict = msgspec.to_builtins(replace(v, record=msgspec.structs.replace(v.record, groups=())))
    del verdict["record"]["groups"]
    return {"id": v.record.id, **verdict}


def _row_record(row: ClaimRow) -> dict[str, Any]:
    known = {"decided": row.decided, "applicable": row.applicable, "validated": row.validated}
    return {**msgspec.to_builtins(row), **known}


def headline(comparison: Comparison) -> str:
    """One line: how many cells flipped, how many effects changed, and what could not be joined."""
    only_first, only_second = len(comparison.only_first), len(comparison.only_second)
    parts = [
        f"{len(comparison.flips)} of {len(comparison.joined)} verdicts flipped",
        f"{len(comparison.changes)} effects changed",
        f"{only_first} cells only in the first set, {only_second} only in the second",
    ]
    if changed := sum(row.validation_changed for row in comparison.rows):
        parts.insert(1, f"{changed} claims validated in one set only")
    return "; ".join(parts)


def _title(comparison: Comparison) -> str:
    return f"{comparison.first.label} and {comparison.second.label}"


def _sections(comparison: Comparison, most: int | None = MAX_LISTED) -> list[Section]:
    """What was compared, and what differs."""
    first, second, joined = comparison.first, comparison.second, comparison.joined
    flipped = [_cell_line(j, comparison) for j in comparison.flips]
    moved = [_cell_line(j, comparison) for j in comparison.changes if not j.flipped]
    mismatches = [(*_cell(j.first, first), j.mismatch) for j in joined if j.mismatch]
    sets = [("first", *phrases.set_line(first)), ("second", *phrases.set_line(second))]
    sections = [
        Section("", ("", *phrases.SETS), sets),
        Section("Flipped verdicts", CHANGE, flipped),
        Section("Changed effects", CHANGE, moved),
        Section("Judged by different claims", (*CELL, "Difference"), mismatches),
        Section("Changed rows of the table", ROW, [_row_line(row) for row in comparison.rows if row.changed]),
    ]
    for results, cells in ((first, comparison.only_first), (second, comparison.only_second)):
        lines = [(*_cell(v, results), v.verdict) for v in cells[:most]]
        more = f", the first {len(lines)}" if len(lines) < len(cells) else ""
        title = f"Only in {results.label} ({len(cells)} cells{more})"
        sections.append(Section(title, (*CELL, "Verdict"), lines))
    return sections


def _cell(verdict: CellVerdict, results: ResultSet) -> Line:
    r = verdict.record
    claim = f"{phrases.label_in(results, r.phenomenon, r.claim_name)}: {r.claim}"
    return r.variant or r.phenomenon, claim, r.architecture, r.task, str(r.control or "")


def _cell_line(j: Joined, comparison: Comparison) -> Line:
    effects = (with_interval(v.effect, v.low, v.high) for v in (j.first, j.second))
    verdict = _arrow(j.first.verdict, j.second.verdict)
    return (*_cell(j.first, comparison.first), verdict, *effects, *_difference(j.difference))


def _difference(d: Difference | None) -> tuple[str, str, str]:
    if d is None:
        return "-", "-", "-"
    units = f"{d.units[0]}" if d.method == "paired" else f"{d.units[0]} and {d.units[1]}"
    how = f"{d.method}, {units}"
    p = "no spread" if d.p is None else number(d.p_holm, 2)
    if d.estimate is None or d.low is None or d.high is None:
        return "-", p, how
    if d.scale == "log":
        return f"x {with_interval(d.estimate, d.low, d.high)}", p, how
    estimate, low, high = (f"{'' if x < 0 else '+'}{number(x)}" for x in (d.estimate, d.low, d.high))
    return f"{estimate} [{low}, {high}]", p, how


def _row_line(row: RowChange) -> Line:
    first, second = (
        (
            phrases.share_text(r.prevalence),
            str(r.counts["present"]),
            str(r.counts["absent"]),
            f"{r.decided}/{r.applicable}",
            number(r.pooled.estimate if r.pooled else None),
            phrases.controls_text(r.validated),
        )
        for r in (row.first, row.second)
    )
    claim = phrases.claim_label(row.first.claim_name, row.first.title)
    return row.first.phenomenon, claim, *map(_arrow, first, second)


def _arrow(a: str, b: str) -> str:
    return a if a == b else f"{a} -> {b}"
