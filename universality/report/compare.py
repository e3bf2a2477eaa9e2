"""`universality compare A B`: a comparison in the terminal, in Markdown, JSON and on one page."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from universality.judge.compare import Comparison, Difference, Joined, RowChange, compare
from universality.judge.resultset import ResultSet, labels, load, unused_damage
from universality.judge.verdicts import CellVerdict, Universality
from universality.report.small_page import page
from universality.store.files import storing
from universality.store.layout import Layout
from universality.text import (
    bracket,
    escaped,
    json_text,
    markdown_table,
    number_text,
    plain,
    print_table,
)

MOST_LISTED = 10
"""Cells that only one set has, in the terminal and in Markdown."""

Lines = list[tuple[str, ...]]

CELL = ("Phenomenon", "Claim", "Architecture", "Task", "Control")
CHANGE = ("Verdict", "Effect before", "Effect after", "Change [95%]", "p (Holm)", "Test")
ROW = ("Phenomenon", "Claim", "Prevalence [95%]", "Present", "Absent", "Decided", "Pooled effect", "Controls")
SETS = ("", "Set", "Version", "Commit", "torch", "Device", "Cells", "Trained for")


def show(first: Path, second: Path, out: Path | None, *, allow_versions: bool = False) -> int:
    """The command; returns 1 where a verdict flipped or a claim is validated in one set only, else 0."""
    names = labels([first, second])
    if names[0] == names[1]:
        names = ["A", "B"]
    result = compare(load(first, names[0]), load(second, names[1]), allow_versions=allow_versions)
    for folder in (first, second):
        for damage in unused_damage(Layout(folder)):
            print(f"warning: {plain(str(folder))}: {plain(damage, 400)}", file=sys.stderr)
    print_comparison(result)
    if out is not None:
        for path in write(result, out):
            print(f"written: {path}", file=sys.stderr)
    return 1 if result.differs else 0


def write(result: Comparison, folder: Path) -> list[Path]:
    """comparison.md, comparison.json and comparison.html in `folder`."""
    forms: Mapping[str, Callable[[Comparison], str]] = {
        "comparison.md": markdown,
        "comparison.json": json_form,
        "comparison.html": html,
    }
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, form in forms.items():
            (folder / name).write_text(form(result), encoding="utf-8")
    return [folder / name for name in forms]


def print_comparison(result: Comparison, stream: TextIO | None = None) -> None:
    """What differs, on `stream`; cells that agree are only counted."""
    out = sys.stdout if stream is None else stream
    print_table(SETS, sets(result), out)
    for title, headers, lines in _sections(result):
        out.write(f"\n{title}\n")
        if lines:
            print_table(headers, lines, out)
    out.write(f"\n{headline(result)}\n")


def markdown(result: Comparison) -> str:
    """What `print_comparison` shows, in GitHub's Markdown."""
    parts = [f"# {escaped(_title(result))}\n", f"{headline(result)}\n", markdown_table(SETS, sets(result))]
    for title, headers, lines in _sections(result):
        parts.append(f"## {escaped(title)}\n")
        if lines:
            parts.append(markdown_table(headers, lines))
    return "\n".join([*parts, f"{NOTE}\n"])


def html(result: Comparison) -> str:
    """One page that opens offline, with every joined cell."""
    return page(
        "comparison.html",
        title=_title(result),
        headline=headline(result),
        note=NOTE,
        differs=result.differs,
        sets=(SETS, sets(result)),
        sections=_sections(result, most=None),
        cells=((*CELL, *CHANGE), [_cell_line(j) for j in result.joined]),
    )


def json_form(result: Comparison) -> str:
    """Everything, for programs."""
    return json_text(
        {
            "sets": [_set_record(result.first), _set_record(result.second)],
            "differs": result.differs,
            "flips": len(result.flips),
            "changed_effects": len(result.changes),
            "cells": [_joined_record(j) for j in result.joined],
            "only_first": [_identity(v) for v in result.only_first],
            "only_second": [_identity(v) for v in result.only_second],
            "rows": [
                {
                    "phenomenon": row.first.phenomenon,
                    "claim": row.first.claim_name,
                    "changed": row.changed,
                    "first": _row_record(row.first),
                    "second": _row_record(row.second),
                }
                for row in result.rows
            ],
        }
    )


NOTE = (
    "Verdicts are decided anew from the measurements of both sets. A change is second minus first, or second "
    "over first where the claim is on a log scale. paired: the same runs in both sets, by replicate; "
    "Welch: independent replicates; log-rank: some times are censored. p-values are corrected by Holm's method "
    "over all cells that both sets measured."
)


def headline(result: Comparison) -> str:
    """One line: how many cells flipped, how many effects changed, and what could not be joined."""
    n = len(result.joined)
    lost = [row for row in result.rows if row.validation_changed]
    parts = [
        f"{len(result.flips)} of {n} verdicts flipped",
        f"{len(result.changes)} effects changed",
        f"{len(result.only_first)} cells only in the first set, {len(result.only_second)} only in the second",
    ]
    if lost:
        parts.insert(1, f"{len(lost)} claims validated in one set only")
    return "; ".join(parts)


def sets(result: Comparison) -> Lines:
    """What was compared, and on what it ran."""
    return [
        (which, *set_line(results)) for which, results in (("first", result.first), ("second", result.second))
    ]


def set_line(results: ResultSet) -> tuple[str, ...]:
    """Label, version, commit, torch, device, cells, time that all runs took."""
    about = results.environment
    device = about.get("accelerator") or f"{about.get('device') or '?'}, {about.get('cpu') or '?'}"
    return (
        results.label,
        str(about.get("universality") or "?"),
        str(about.get("commit") or "?")[:12],
        str(about.get("torch") or "?"),
        str(device),
        str(len(results.records)),
        f"{results.run_seconds / 60:.0f} min" if results.run_seconds > 0 else "?",
    )


def _title(result: Comparison) -> str:
    return f"{result.first.label} and {result.second.label}"


def _sections(result: Comparison, most: int | None = MOST_LISTED) -> list[tuple[str, tuple[str, ...], Lines]]:
    """Titles, headers and lines of what differs; sections that say nothing are left out."""
    changed = [j for j in result.changes if not j.flipped]
    mismatched = [j for j in result.joined if j.mismatch]
    rows = [row for row in result.rows if row.changed]
    found: list[tuple[str, tuple[str, ...], Lines]] = []
    if result.flips:
        found.append(("Flipped verdicts", (*CELL, *CHANGE), [_cell_line(j) for j in result.flips]))
    if changed:
        found.append(("Changed effects", (*CELL, *CHANGE), [_cell_line(j) for j in changed]))
    if mismatched:
        lines = [(*_cell(j.first), j.mismatch) for j in mismatched]
        found.append(("Judged by different claims", (*CELL, "Difference"), lines))
    if rows:
        found.append(("Changed rows of the table", ROW, [_row_line(row) for row in rows]))
    for name, cells in ((result.first.label, result.only_first), (result.second.label, result.only_second)):
        if cells:
            shown = cells[:most]
            more = f", the first {len(shown)}" if len(shown) < len(cells) else ""
            found.append(
                (
                    f"Only in {plain(name)} ({len(cells)} cells{more})",
                    (*CELL, "Verdict"),
                    [(*_cell(v), v.verdict) for v in shown],
                )
            )
    return found


def _cell(verdict: CellVerdict) -> tuple[str, ...]:
    r = verdict.record
    return (r.variant or r.phenomenon, f"{r.claim_name}: {r.claim}", r.architecture, r.task, r.control)


def _cell_line(j: Joined) -> tuple[str, ...]:
    verdict = f"{j.first.verdict} -> {j.second.verdict}" if j.flipped else j.first.verdict
    return (*_cell(j.first), verdict, _effect(j.first), _effect(j.second), *_difference(j.difference))


def _effect(v: CellVerdict) -> str:
    return number_text(v.effect) + bracket(v.low, v.high)


def _difference(d: Difference | None) -> tuple[str, str, str]:
    if d is None:
        return "-", "-", "-"
    units = f"{d.units[0]}" if d.method == "paired" else f"{d.units[0]} and {d.units[1]}"
    how = f"{d.method}, {units}"
    p = "no spread" if d.p is None else f"{d.p_holm:.2g}"
    if d.estimate is None or d.low is None or d.high is None:
        return "-", p, how
    if d.scale == "log":
        return f"x {d.estimate:.3g} [{d.low:.3g}, {d.high:.3g}]", p, how
    return f"{d.estimate:+.3g} [{d.low:+.3g}, {d.high:+.3g}]", p, how


def _row_line(row: RowChange) -> tuple[str, ...]:
    a, b = row.first, row.second
    return (
        a.phenomenon,
        a.claim_name,
        _arrow(share_text(a), share_text(b)),
        _arrow(str(a.counts["present"]), str(b.counts["present"])),
        _arrow(str(a.counts["absent"]), str(b.counts["absent"])),
        _arrow(f"{a.decided}/{a.applicable}", f"{b.decided}/{b.applicable}"),
        _arrow(_pooled(a), _pooled(b)),
        _arrow(*("validated" if r.validated else "unvalidated" for r in (a, b))),
    )


def share_text(row: Universality) -> str:
    """Prevalence with its interval."""
    share = row.prevalence
    return f"{share.estimate:.0%} [{share.low:.0%}, {share.high:.0%}]" if share else "-"


def _pooled(row: Universality) -> str:
    return number_text(row.pooled.estimate) if row.pooled else "-"


def _arrow(a: str, b: str) -> str:
    return a if a == b else f"{a} -> {b}"


def _set_record(results: ResultSet) -> dict[str, Any]:
    return {
        "label": results.label,
        "cells": len(results.records),
        "environment": dict(results.environment),
        "run_seconds": results.run_seconds,
    }


def _identity(v: CellVerdict) -> dict[str, Any]:
    r = v.record
    return {
        "phenomenon": r.phenomenon,
        "variant": r.variant,
        "version": r.version,
        "claim": r.claim_name,
        "architecture": r.architecture,
        "task": r.task,
        "control": r.control,
        "verdict": v.verdict,
    }


def _joined_record(j: Joined) -> dict[str, Any]:
    d = j.difference
    return {
        **{key: value for key, value in _identity(j.first).items() if key not in ("verdict", "version")},
        "flipped": j.flipped,
        "mismatch": j.mismatch,
        "first": _verdict_record(j.first),
        "second": _verdict_record(j.second),
        "difference": None
        if d is None
        else {
            "scale": d.scale,
            "method": d.method,
            "units": list(d.units),
            "estimate": d.estimate,
            "low": d.low,
            "high": d.high,
            "p": d.p,
            "p_holm": d.p_holm,
            "changed": d.changed,
        },
    }


def _verdict_record(v: CellVerdict) -> dict[str, Any]:
    return {
        "id": v.record.id,
        "version": v.record.version,
        "bounds": str(v.record.claim),
        "verdict": v.verdict,
        "raw_verdict": v.raw,
        "reason": v.reason,
        "effect": v.effect,
        "low": v.low,
        "high": v.high,
        "units": v.units,
    }


def _row_record(row: Universality) -> dict[str, Any]:
    share, pooled = row.prevalence, row.pooled
    return {
        "prevalence": share and share.estimate,
        "prevalence_low": share and share.low,
        "prevalence_high": share and share.high,
        "counts": dict(row.counts),
        "decided": row.decided,
        "applicable": row.applicable,
        "pooled": pooled and pooled.estimate,
        "validated": row.validated,
        "failed_controls": list(row.failed_controls),
    }
