"""`universality leaderboard`: claims in order of prevalence, in the terminal, Markdown, JSON and a page."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from universality.errors import StoreError, UniversalityError
from universality.judge.leaderboard import Board, BoardRow, leaderboard
from universality.judge.resultset import ResultSet, find, labels, load
from universality.judge.verdicts import VERDICTS
from universality.report.compare import set_line
from universality.report.small_page import page
from universality.store.files import storing
from universality.store.layout import safe_name
from universality.text import (
    bracket,
    escaped,
    json_text,
    markdown_table,
    number_text,
    plain,
    print_table,
)

Lines = list[tuple[str, ...]]

HEADERS = (
    "Phenomenon",
    "Claim",
    "Prevalence [95%]",
    "Extent",
    "Present",
    "Absent",
    "Coverage",
    "Pooled effect [95%]",
    "Next cell [95%]",
    "Sense",
    "Strand",
    "Sets",
    "Shared cells",
    "Controls",
)
SETS = ("Set", "Version", "Commit", "torch", "Device", "Cells and controls", "Trained for")
NOTE = (
    "In order of the lower bound of the prevalence. A cell counts once however many sets measured it; only sets "
    "in which the controls of a claim came out right are pooled. Extent: most (few) cells where the whole interval "
    "of the prevalence lies above (below) one half. Claims are not averaged, and architectures not ranked."
)
_BEGIN = re.compile(r"<!-- leaderboard:(?P<sets>[\w\- ]*)-->")
_END = "<!-- end of leaderboard -->"


def show(places: Sequence[Path], out: Path | None = None, write_into: Path | None = None) -> int:
    """The command; returns 1 where a set could not be used and was left out, else 0."""
    board = read_board(places or [Path("results")])
    print_board(board)
    for name, why in board.skipped:
        print(f"left out: {plain(name)}: {plain(why)}", file=sys.stderr)
    if out is not None:
        for path in write(board, out):
            print(f"written: {path}", file=sys.stderr)
    if write_into is not None:
        write_between_markers(board, write_into)
        print(f"written: {write_into}", file=sys.stderr)
    return 1 if board.skipped else 0


def read_board(places: Sequence[Path]) -> Board:
    """The leaderboard of the result sets in `places`. Raises `StoreError` where none can be used."""
    paths = find(places)
    sets: list[ResultSet] = []
    skipped: list[tuple[str, str]] = []
    for path, label in zip(paths, labels(paths), strict=True):
        try:
            sets.append(load(path, label))
        except UniversalityError as error:
            skipped.append((str(path), f"{error.what}: {error.got}"))
    if not sets:
        raise StoreError(
            "none of these result sets can be used",
            where=skipped[0][0],
            got=plain(skipped[0][1]),
            do="`universality check` lists everything that is wrong with one",
        )
    return leaderboard(sets, skipped)


def write(board: Board, folder: Path) -> list[Path]:
    """leaderboard.md, leaderboard.json and leaderboard.html in `folder`."""
    forms: Mapping[str, Callable[[Board], str]] = {
        "leaderboard.md": lambda b: f"# Leaderboard\n\n{markdown(b)}",
        "leaderboard.json": json_form,
        "leaderboard.html": html,
    }
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, form in forms.items():
            (folder / name).write_text(form(board), encoding="utf-8")
    return [folder / name for name in forms]


def print_board(board: Board, stream: TextIO | None = None) -> None:
    """The table, and conflicts between sets, on `stream`."""
    out = sys.stdout if stream is None else stream
    print_table(HEADERS, table(board), out)
    if conflicts := conflict_lines(board):
        out.write("\nSets that contradict each other\n")
        print_table(CONFLICT, conflicts, out)
    surviving = sum(row.survives for row in board.rows)
    out.write(
        f"\n{len(board.sets)} result set(s); {surviving} of {len(board.rows)} claims hold in most cells of all "
        "sets together, by the lower bound of their prevalence\n"
    )


def markdown(board: Board) -> str:
    """Sets, table and conflicts in GitHub's Markdown."""
    parts = [
        markdown_table(SETS, [set_line(s) for s in board.sets]),
        markdown_table(HEADERS, table(board)),
        f"{NOTE}\n",
    ]
    if conflicts := conflict_lines(board):
        parts += ["Sets that contradict each other:\n", markdown_table(CONFLICT, conflicts)]
    if board.skipped:
        parts += ["".join(f"- left out: {escaped(n)}: {escaped(why)}\n" for n, why in board.skipped)]
    return "\n".join(parts)


def write_between_markers(board: Board, path: Path) -> None:
    """Put `markdown` between the markers of a file, and the names of the sets into the first marker.

    Raises:
        StoreError: where the file has not exactly one pair of markers, or a set's name could end one.
    """
    with storing(path):
        text = path.read_text(encoding="utf-8")
    begins = list(_BEGIN.finditer(text))
    if len(begins) != 1 or text.count(_END) != 1 or text.index(_END) < begins[0].end():
        raise StoreError(
            "the leaderboard has no place in this file",
            where=str(path),
            expected=f"one line <!-- leaderboard: --> and below it {_END}",
            do="add both lines where the table belongs",
        )
    names = " ".join(safe_name(s.label) for s in board.sets)
    start, end = begins[0].start(), text.index(_END)
    block = f"<!-- leaderboard: {names} -->\n\n{markdown(board)}\n"
    with storing(path):
        path.write_text(text[:start] + block + text[end:], encoding="utf-8")


def sets_of(path: Path) -> list[str]:
    """The names of the sets that the table between the markers of a file was made from."""
    found = _BEGIN.search(path.read_text(encoding="utf-8"))
    return [] if found is None else found["sets"].split()


def html(board: Board) -> str:
    """One page that opens offline."""
    lines = [(row, line) for row, line in zip(board.rows, table(board), strict=True)]
    return page(
        "leaderboard.html",
        title="Leaderboard",
        note=NOTE,
        headers=HEADERS,
        rows=[(_bar(row), line) for row, line in lines],
        sets=(SETS, [set_line(s) for s in board.sets]),
        conflicts=(CONFLICT, conflict_lines(board)),
        skipped=board.skipped,
        sources=_sources(board),
    )


def json_form(board: Board) -> str:
    """Everything, for programs."""
    return json_text(
        {
            "sets": [
                {"label": s.label, "environment": dict(s.environment), "cells": len(s.records)}
                for s in board.sets
            ],
            "skipped": [{"path": name, "reason": why} for name, why in board.skipped],
            "rows": [_record(row) for row in board.rows],
        }
    )


CONFLICT = ("Phenomenon", "Claim", "Architecture", "Task", "Verdicts")


def table(board: Board) -> Lines:
    """The board as text, under `HEADERS`."""
    return [_line(row) for row in board.rows]


def conflict_lines(board: Board) -> Lines:
    """Cells on which sets that measured them alike do not agree."""
    return [
        (
            row.variant or row.phenomenon,
            row.claim_name,
            cell.architecture,
            cell.task,
            ", ".join(f"{label}: {verdict}" for label, verdict in cell.copies),
        )
        for row in board.rows
        for cell in row.conflicts
    ]


def _line(row: BoardRow) -> tuple[str, ...]:
    share, pooled = row.prevalence, row.pooled
    title = row.facts.get("title") or row.phenomenon
    settings = row.variant.removeprefix(row.phenomenon)
    unit = f" ({row.claim.unit})" if row.claim.unit else ""
    return (
        f"{title} {settings}".strip(),
        f"{row.claim_name}: {row.claim}{unit}, v{row.version}",
        f"{share.estimate:.0%} [{share.low:.0%}, {share.high:.0%}]" if share else "-",
        row.extent if row.validated else "-",
        str(row.counts["present"]),
        str(row.counts["absent"]),
        f"{row.decided}/{row.applicable}",
        number_text(pooled.estimate) + bracket(pooled.low, pooled.high) if pooled else "-",
        bracket(pooled.prediction_low, pooled.prediction_high).strip() or "-" if pooled else "-",
        row.facts.get("sense", ""),
        row.facts.get("strand", ""),
        str(len(row.sets)) + (f" ({row.spread[0]:.0%} to {row.spread[1]:.0%})" if row.spread else ""),
        f"{row.shared}, {len(row.conflicts)} in conflict" if row.shared else "-",
        _controls(row),
    )


def _controls(row: BoardRow) -> str:
    passed = sum(s.row.validated for s in row.sets)
    if passed == len(row.sets):
        return "validated"
    if passed:
        return f"validated in {passed} of {len(row.sets)} sets"
    return f"unvalidated: {'; '.join(dict.fromkeys(f for s in row.sets for f in s.row.failed_controls))}"


def _bar(row: BoardRow) -> tuple[str, str, str] | None:
    """Left end, width and point of the interval, as percentages."""
    share = row.prevalence
    if share is None:
        return None
    return f"{100 * share.low:.1f}", f"{100 * (share.high - share.low):.1f}", f"{100 * share.estimate:.1f}"


def _sources(board: Board) -> list[tuple[str, str]]:
    found = {
        row.phenomenon: (row.facts.get("title") or row.phenomenon, row.facts.get("source", ""))
        for row in board.rows
    }
    return [pair for pair in found.values() if pair[1]]


def _record(row: BoardRow) -> dict[str, Any]:
    share, pooled = row.prevalence, row.pooled
    return {
        "phenomenon": row.phenomenon,
        "variant": row.variant,
        "version": row.version,
        "claim": row.claim_name,
        "bounds": str(row.claim),
        "unit": row.claim.unit,
        "facts": dict(row.facts),
        "validated": row.validated,
        "survives": row.survives,
        "extent": row.extent,
        "prevalence": share and share.estimate,
        "prevalence_low": share and share.low,
        "prevalence_high": share and share.high,
        "effective_cells": share and share.effective,
        "counts": {verdict: row.counts[verdict] for verdict in VERDICTS},
        "decided": row.decided,
        "applicable": row.applicable,
        "pooled": pooled and pooled.estimate,
        "pooled_low": pooled and pooled.low,
        "pooled_high": pooled and pooled.high,
        "between_cell_sd": pooled and pooled.between_sd,
        "prediction_low": pooled and pooled.prediction_low,
        "prediction_high": pooled and pooled.prediction_high,
        "shared": row.shared,
        "conflicts": [
            {"architecture": c.architecture, "task": c.task, "verdicts": [list(copy) for copy in c.copies]}
            for c in row.conflicts
        ],
        "sets": [
            {
                "label": s.label,
                "pooled": s.pooled,
                "present": s.row.counts["present"],
                "decided": s.row.decided,
                "applicable": s.row.applicable,
                "prevalence": s.row.prevalence and s.row.prevalence.estimate,
                "effect": s.row.pooled and s.row.pooled.estimate,
                "validated": s.row.validated,
                "failed_controls": list(s.row.failed_controls),
            }
            for s in row.sets
        ],
    }
