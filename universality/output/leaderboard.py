"""Claims in order of prevalence over result sets: in the terminal, Markdown, JSON and on a page."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import msgspec

from universality.errors import StoreError
from universality.judge.answers import KINDS, KNOWN, Answer, Kind, answer_of
from universality.judge.ideogram import of_board
from universality.judge.leaderboard import Board, BoardRow
from universality.output import phrases, predictions
from universality.output.displays import ideogram
from universality.output.displays.collection import ideogram_file, ideogram_panels
from universality.output.displays.svg import styles
from universality.output.links import page_links
from universality.output.sections import Line, Section, markdown_sections, print_sections, write_texts
from universality.output.template import fill
from universality.store.files import storing
from universality.store.layout import safe_name
from universality.text import escaped, json_text, plain

HEADERS = (
    "Phenomenon", "Claim", "Prevalence [95%]", "Answer", "Present", "Absent", "Coverage", "Pooled effect [95%]",
    "Next cell [95%]", "Sets", "Shared cells", "Controls",
)  # fmt: skip
CONFLICT = ("Phenomenon", "Claim", "Architecture", "Task", "Verdicts")
NOTE = (
    "In order of the lower bound of the prevalence. A cell counts once however many sets measured it; only sets "
    "in which the controls of a claim came out right are pooled. Universal here: the whole interval of the prevalence lies "
    "above one half, and no cell is absent. With exceptions: it lies above, and some are. Not universal: it lies below, or it "
    "does not lie above and two cells are absent beyond chance. One claim in another setting of its phenomenon (the recipe in "
    "brackets) is another row. Claims are not averaged, and architectures not ranked."
)
_BEGIN = re.compile(r"<!-- leaderboard:(?P<sets>[\w\- ]*)-->")
_END = "<!-- end of leaderboard -->"


def write(board: Board, folder: Path) -> list[Path]:
    """leaderboard.md, leaderboard.json and leaderboard.html in `folder`; leaderboard.svg where sets measured one number."""
    text = f"# Leaderboard\n\n{markdown(board)}"
    texts = {"md": text, "json": json_form(board), "html": html(board, folder)}
    if panels := ideogram_panels(of_board(board)):
        texts["svg"] = ideogram_file(panels)
    return write_texts(folder, "leaderboard", texts)


def print_board(board: Board, stream: TextIO | None = None) -> None:
    """The table, and conflicts between sets, on `stream`."""
    surviving = sum(row.survives for row in board.rows)
    count = (
        f"{len(board.sets)} result set(s); {surviving} of {len(board.rows)} claims hold in most cells of all "
        "sets together, by the lower bound of their prevalence"
    )
    out = sys.stdout if stream is None else stream
    out.writelines(f"{plain(line, 1000)}\n" for line in _distrusted(board))
    print_sections([table(board), conflicts(board), *predictions.sections(board.theories)], out)
    out.writelines(f"{plain(line, 1000)}\n" for line in known_lines(board))
    out.write(f"\n{count}\n")


def markdown(board: Board) -> str:
    """Sets, table and conflicts in GitHub's Markdown."""
    distrusted = [f"**{escaped(line, 1000)}**\n" for line in _distrusted(board)]
    known = "".join(f"- {escaped(line, 1000)}\n" for line in known_lines(board))
    tables = [*distrusted, *filter(None, [known]), *markdown_sections([_sets(board), table(board)])]
    left_out = [f"- left out: {escaped(name)}: {escaped(why)}\n" for name, why in board.skipped]
    scored = markdown_sections(predictions.sections(board.theories, details=True))
    scored += [f"{predictions.NOTE}\n"] if scored else []
    below = [*markdown_sections([conflicts(board)]), *scored, "".join(left_out)]
    return "\n".join([*tables, f"{NOTE}\n", *filter(None, below)])


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


def html(board: Board, folder: Path | None = None) -> str:
    """One page that opens offline.

    Args:
        folder: where it will lie, so that it leads to the pages of its sets.
    """
    groups = _answers(board)
    return fill(
        "leaderboard.html",
        title="Leaderboard",
        note=NOTE,
        distrusted=_distrusted(board),
        answers=groups,
        known_kinds=KNOWN,
        source_text=phrases.source_text,
        sections=[
            *_tables(groups),
            conflicts(board),
            *predictions.sections(board.theories, details=True),
            _sets(board, "Result sets")._replace(links=page_links(board.sets, folder)),
        ],
        panels=ideogram_panels(of_board(board)),
        panels_note=ideogram.NOTE,
        displays=styles(),
        skipped=board.skipped,
        title_of=_title,
        label_of=phrases.claim_label,
        abouts={row.phenomenon: row.about for row in board.rows}.values(),
    )


def json_form(board: Board) -> str:
    """Everything but the verdicts of single cells, for programs."""
    return json_text(
        {
            "sets": list(map(phrases.set_record, board.sets)),
            "distrusted": _distrusted(board),
            "skipped": [{"path": name, "reason": why} for name, why in board.skipped],
            "rows": list(map(_record, board.rows)),
            "theories": predictions.records(board.theories),
        }
    )


def _record(row: BoardRow) -> dict[str, Any]:
    answer = answer_of(row)
    known = ("title", "survives", "extent", "decided", "applicable", "shared")
    conflicts = [
        {"architecture": cell.architecture, "task": cell.task, "verdicts": cell.copies}
        for cell in row.conflicts
    ]
    record = msgspec.to_builtins(replace(row, cells=()))
    return {
        **record,
        **{name: getattr(row, name) for name in known},
        "answer": {"kind": answer.kind, "text": answer.text},
        "cells": len(row.cells),
        "conflicts": conflicts,
    }


def _distrusted(board: Board) -> list[str]:
    return [line for s in board.sets if (line := phrases.distrust(s.rows, s.label))]


def _sets(board: Board, title: str = "") -> Section:
    return Section(title, phrases.SETS, list(map(phrases.set_line, board.sets)))


def table(board: Board) -> Section:
    """A line per row of the board."""
    return _table(board.rows)


def _table(rows: Sequence[BoardRow]) -> Section:
    return Section("", HEADERS, list(map(_line, rows)), [row.prevalence for row in rows])


def _tables(groups: Mapping[Kind, Sequence[tuple[BoardRow, Answer]]]) -> list[Section]:
    """`table`, one for each kind of answer: most claims of many sets are not known yet, and are long to pass."""
    return [
        _table([row for row, _ in pairs])._replace(
            title=f"{kind.capitalize()}, in numbers", folded=kind not in KNOWN and len(groups) > 1
        )
        for kind, pairs in groups.items()
    ]


def known_lines(board: Board) -> list[str]:
    """Claims of which something is known, each in a sentence, in order of what is known."""
    return [
        phrases.answer_line(_title(row), row, answer)
        for kind, pairs in _answers(board).items()
        if kind in KNOWN
        for row, answer in pairs
    ]


def _answers(board: Board) -> dict[Kind, list[tuple[BoardRow, Answer]]]:
    """Every row under the kind of its answer, in order of what is known; kinds without a row are left out."""
    found = [(row, answer_of(row)) for row in board.rows]
    groups = {kind: [pair for pair in found if pair[1].kind == kind] for kind in KINDS}
    return {kind: pairs for kind, pairs in groups.items() if pairs}


def conflicts(board: Board) -> Section:
    """Cells on which sets that measured them alike do not agree."""
    lines = [
        (
            _title(row),
            phrases.claim_label(row.claim_name, row.title),
            cell.architecture,
            cell.task,
            ", ".join(f"{label}: {verdict}" for label, verdict in cell.copies),
        )
        for row in board.rows
        for cell in row.conflicts
    ]
    return Section("Sets that contradict each other", CONFLICT, lines)


def _line(row: BoardRow) -> Line:
    return (
        _title(row),
        f"{phrases.claim_text(row.claim_name, row.title, row.claim)}, v{row.version}",
        phrases.share_text(row.prevalence),
        answer_of(row).kind if row.validated else "-",
        str(row.counts["present"]),
        str(row.counts["absent"]),
        f"{row.decided}/{row.applicable}",
        *phrases.pooled_texts(row.pooled),
        str(len(row.sets)) + (f" ({row.spread[0]:.0%} to {row.spread[1]:.0%})" if row.spread else ""),
        f"{row.shared}, {len(row.conflicts)} in conflict" if row.shared else "-",
        _controls(row),
    )


def _title(row: BoardRow) -> str:
    """Of the phenomenon, with its settings."""
    return phrases.phenomenon_text(row.about, row.phenomenon, row.variant)


def _controls(row: BoardRow) -> str:
    passed = sum(s.row.validated for s in row.sets)
    if 0 < passed < len(row.sets):
        return f"validated in {passed} of {len(row.sets)} sets"
    failures = dict.fromkeys(f for s in row.sets for f in s.row.failed_controls)
    return phrases.controls_text(passed > 0, failures)
