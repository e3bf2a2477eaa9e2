"""A comparison of two result sets in the terminal, in Markdown, JSON and on one page."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import msgspec

from universality.judge.compare import Comparison, Difference, Joined, RowChange
from universality.judge.decide import CellVerdict
from universality.judge.ideogram import of_sets
from universality.judge.resultset import ResultSet
from universality.judge.summary import ALPHA, ClaimRow
from universality.judge.transitions import BROKEN, MOVED
from universality.output import phrases
from universality.output.displays import ideogram
from universality.output.displays.collection import ideogram_file, ideogram_panels
from universality.output.displays.svg import styles
from universality.output.links import page_links
from universality.output.sections import Line, Section, markdown_sections, print_sections, write_texts
from universality.output.template import fill
from universality.text import escaped, json_text, number, plain, with_interval

MAX_LISTED = 10
"""Cells that only one set has, in the terminal and in Markdown."""

CELL = ("Phenomenon", "Claim", "Architecture", "Task", "Control")
CHANGE = (*CELL, "Verdict", "Effect before", "Effect after", "Change [95%]", "p (Holm)", "Test")
ROW = ("Phenomenon", "Claim", "Prevalence [95%]", "Present", "Absent", "Decided", "Pooled effect", "Controls")
NOTE = (
    "Verdicts are decided anew from the measurements of both sets. Lost and gained: decided in the first or the second "
    "set only. What chance alone would give is the mean over all ways in which the replicates of a cell could "
    "have been dealt to the two sets. A change is second minus first, or second over first where the claim is on "
    "a log scale. paired: the same runs in both sets, by replicate; Welch: independent replicates; log-rank: some "
    "times are censored, an exact permutation test. Where the sets compare a network with others that are not the same, the "
    "change is over those of both. Cannot be told: so few replicates give no p below 0.05. p-values are "
    "corrected by Holm's method over all cells that both sets measured."
)


def write(comparison: Comparison, folder: Path) -> list[Path]:
    """comparison.md, comparison.json and comparison.html in `folder`; comparison.svg where both measured one number."""
    texts = {"md": markdown(comparison), "json": json_form(comparison), "html": html(comparison, folder)}
    if panels := ideogram_panels(of_sets([comparison.first, comparison.second])):
        texts["svg"] = ideogram_file(panels)
    return write_texts(folder, "comparison", texts)


def print_comparison(comparison: Comparison, stream: TextIO | None = None) -> None:
    """The answer, then what differs, on `stream`; cells that agree are only counted."""
    out = sys.stdout if stream is None else stream
    out.writelines(f"{plain(line, 1000)}\n" for line in _distrusted(comparison))
    out.write(f"{headline(comparison)}\n\n")
    print_sections(_sections(comparison), out)


def markdown(comparison: Comparison) -> str:
    """What `print_comparison` shows, in GitHub's Markdown."""
    title, sections = escaped(_title(comparison)), markdown_sections(_sections(comparison))
    distrusted = [f"**{escaped(line, 1000)}**\n" for line in _distrusted(comparison)]
    return "\n".join([f"# {title}\n", *distrusted, f"{headline(comparison)}\n", *sections, f"{NOTE}\n"])


def html(comparison: Comparison, folder: Path | None = None) -> str:
    """One page that opens offline, with every joined cell.

    Args:
        folder: where it will lie, so that it leads to the pages of both sets.
    """
    sets = comparison.first, comparison.second
    lines = [_cell_line(j, comparison) for j in comparison.joined]
    links = page_links(sets, folder)
    sections = [each._replace(links=links) for each in _sections(comparison, most=None)]
    abouts = {name: about for s in reversed(sets) for name, about in s.plan.phenomena.items()}
    return fill(
        "comparison.html",
        title=_title(comparison),
        headline=headline(comparison),
        distrusted=_distrusted(comparison),
        note=NOTE,
        panels=ideogram_panels(of_sets(sets)),
        panels_note=ideogram.NOTE,
        displays=styles(),
        differs=comparison.differs,
        sections=[*sections, Section("Every cell of both", CHANGE, lines, folded=True)],
        abouts=abouts.values(),
        source_text=phrases.source_text,
    )


def json_form(comparison: Comparison) -> str:
    """Everything but the groups of runs, for programs."""
    return json_text(
        {
            "sets": [phrases.set_record(results) for results in (comparison.first, comparison.second)],
            "differs": comparison.differs,
            "distrusted": _distrusted(comparison),
            "transitions": Counter(j.transition for j in comparison.joined),
            "by_chance": sum((Counter(j.chance) for j in comparison.joined), Counter()),
            "excess_p": comparison.excess_p,
            "changed_effects": len(comparison.changes),
            "cells": [
                {
                    "transition": j.transition,
                    "chance": j.chance,
                    "changed": j.changed,
                    "mismatch": j.mismatch,
                    "shared": j.shared,
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
    """One sentence: whether the sets contradict each other, then what else became of verdicts and effects."""
    changed = _count(len(comparison.changes), "effect changed", "effects changed")
    agree, every = len(comparison.cells("same")), len(comparison.joined)
    if contradicted := len(comparison.contradictions):
        chance = _chance(comparison.by_chance("contradicted"))
        answer = f"{contradicted} of {every} verdicts contradicted, {chance}: {agree} agree"
    else:
        beyond = _beyond(comparison, changed)
        but = f", but {' and '.join(beyond)}" if beyond else ""
        answer = f"No contradiction{but}: {agree} of {every} verdicts agree"
    moved = [f"{n} {kind}" for kind in MOVED if (n := len(comparison.cells(kind)))]
    expected = comparison.by_chance(*MOVED)
    parts = [
        ", ".join([answer, *moved, *([_chance(expected)] if moved or expected >= 0.05 else [])]),
        changed,
    ]
    voided, blind = len(comparison.cells("voided")), sum(_blind(j) for j in comparison.joined)
    others = len(comparison.cells("other networks"))
    lost_controls = len(comparison.validated_once) - len(comparison.unsupported)
    only = len(comparison.only_first), len(comparison.only_second)
    notes = {
        f"{_count(blind, 'effect', 'effects')} with too few replicates to tell a change": blind,
        f"{voided} voided in one set, whose control failed": voided,
        f"{_count(others, 'verdict differs', 'verdicts differ')} where the sets compare with other networks": others,
        f"{_count(lost_controls, 'claim', 'claims')} validated in one set only, since a control was left undecided in the "
        "other": lost_controls,
        f"{only[0]} cells only in the first set, {only[1]} only in the second": any(only),
    }
    return "; ".join([*parts, *(text for text, said in notes.items() if said)])


def _distrusted(comparison: Comparison) -> list[str]:
    sets = comparison.first, comparison.second
    return [line for s in sets if (line := phrases.distrust(s.rows, s.label))]


def _beyond(comparison: Comparison, changed: str) -> list[str]:
    """What makes the sets differ, apart from contradictions."""
    unsupported, broken = len(comparison.unsupported), len(comparison.cells(*BROKEN))
    explained = comparison.excess_p
    reasons = {
        changed: bool(comparison.changes),
        f"{_count(unsupported, 'claim', 'claims')} validated in one set only, since a control failed or was not run in "
        "the other": unsupported,
        f"{_count(broken, 'cell', 'cells')} without an answer in one set": broken,
        f"more verdicts lost or gained than chance explains (p <= {number(explained, 2)})": explained
        <= ALPHA,
    }
    return [text for text, said in reasons.items() if said]


def _count(n: int, one: str, many: str) -> str:
    return f"{n or 'no'} {one if n < 2 else many}"


def _chance(expected: float) -> str:
    return f"chance alone would give {f'{expected:.1f}' if expected >= 0.05 else 'none' if expected == 0 else '< 0.1'}"


def _blind(j: Joined) -> bool:
    return j.difference is not None and not j.difference.telling


def _title(comparison: Comparison) -> str:
    return f"{comparison.first.label} and {comparison.second.label}"


def _sections(comparison: Comparison, most: int | None = MAX_LISTED) -> list[Section]:
    """What was compared, and what differs."""
    first, second, joined = comparison.first, comparison.second, comparison.joined
    moved = comparison.cells(*MOVED)
    chance = _chance(comparison.by_chance(*MOVED))

    def lines(cells: Sequence[Joined]) -> list[Line]:
        return [_cell_line(j, comparison) for j in cells]

    mismatches = [(*_cell(j.first, first), j.mismatch) for j in joined if j.mismatch]
    sets = [("first", *phrases.set_line(first)), ("second", *phrases.set_line(second))]
    sections = [
        Section("", ("", *phrases.SETS), sets),
        Section("Contradictions", CHANGE, lines(comparison.contradictions)),
        Section("Changed effects", CHANGE, lines(comparison.changes)),
        Section("Without an answer in one set", CHANGE, lines(comparison.cells(*BROKEN))),
        Section(f"Lost, gained, or diverged in one set: {len(moved)}, {chance}", CHANGE, lines(moved)),
        Section("Voided in one set, whose control failed", CHANGE, lines(comparison.cells("voided"))),
        Section(
            "Changed where the sets compare with other networks",
            CHANGE,
            lines(comparison.cells("other networks")),
        ),
        Section("Judged by different claims", (*CELL, "Difference"), mismatches),
        Section("Changed rows of the table", ROW, [_row_line(row) for row in comparison.rows if row.changed]),
    ]
    for results, cells in ((first, comparison.only_first), (second, comparison.only_second)):
        listed = [(*_cell(v, results), v.verdict) for v in cells[:most]]
        more = f", the first {len(listed)}" if len(listed) < len(cells) else ""
        title = f"Only in {results.label} ({len(cells)} cells{more})"
        sections.append(Section(title, (*CELL, "Verdict"), listed, folded=True))
    return sections


def _cell(verdict: CellVerdict, results: ResultSet) -> Line:
    r = verdict.record
    claim = f"{phrases.label_in(results, r.phenomenon, r.claim_name)}: {r.claim}"
    phenomenon = phrases.phenomenon_text(results.plan.phenomena[r.phenomenon], r.phenomenon, r.variant)
    return phenomenon, claim, r.architecture, r.task, str(r.control or "")


def _cell_line(j: Joined, comparison: Comparison) -> Line:
    effects = (with_interval(v.effect, v.low, v.high) for v in (j.first, j.second))
    verdict = _arrow(j.first.verdict, j.second.verdict)
    return (*_cell(j.first, comparison.first), verdict, *effects, *_difference(j.difference, j.shared))


def _difference(d: Difference | None, shared: int | None) -> tuple[str, str, str]:
    if d is None:
        return "-", "-", "-"
    units = f"{d.units[0]}" if d.method == "paired" else f"{d.units[0]} and {d.units[1]}"
    over = "" if shared is None else f", over {_count(shared, 'network', 'networks')} of both"
    how = f"{d.method}, {units}{over}"
    p = number(d.p_holm, 2)
    if d.p is None:
        p = "cannot be told: nothing happened" if d.method == "log-rank" else "cannot be told: no spread"
    elif not d.telling:
        p = f"cannot be told: p >= {number(d.least, 2)}"
    if d.estimate is None or d.low is None or d.high is None:
        return "-", p, how
    if d.scale == "log":
        return f"x {with_interval(d.estimate, d.low, d.high)}", p, how
    estimate, low, high = (
        f"{'+' if x > 0 else ''}{number(x)}" if x else "0" for x in (d.estimate, d.low, d.high)
    )
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
    return row.first.about.title or row.first.phenomenon, claim, *map(_arrow, first, second)


def _arrow(a: str, b: str) -> str:
    return a if a == b else f"{a} -> {b}"
