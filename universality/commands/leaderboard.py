"""`universality leaderboard`: claims in order of prevalence, over one or many result sets."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from universality.commands.cli import several

if TYPE_CHECKING:
    from universality.judge.leaderboard import Board


def leaderboard(
    places: Sequence[Path] = (Path("results"),), *, out: Path | None = None, write: Path | None = None
) -> Board:
    """Claims in order of prevalence, over the cells of one or many result sets. Exits with 1 where a set could
    not be used.

    Args:
        places: result sets, folders of them, or hf:owner/name, sets on the Hugging Face hub (default: results)
        out: write leaderboard.md, leaderboard.json and leaderboard.html into this folder, and leaderboard.svg where
            sets measured one number
        write: put the table between the markers of this Markdown file

    Raises:
        StoreError: where none of the sets can be used, or the Markdown file has no markers.

    Examples:
        universality leaderboard results/quick-cpu results/mine hf:owner/name --out board
    """
    from universality.judge.leaderboard import read_board
    from universality.output import leaderboard as forms
    from universality.sharing.hub import local
    from universality.text import plain

    board = read_board(list(map(local, several(places))))
    written = [] if out is None else forms.write(board, Path(out))
    if write is not None:
        forms.write_between_markers(board, Path(write))
        written.append(Path(write))
    for path in written:
        print(f"written: {plain(path, None)}", file=sys.stderr)
    return board


def show(board: Board) -> int:
    from universality.output.leaderboard import print_board
    from universality.text import plain

    print_board(board)
    for name, why in board.skipped:
        print(f"left out: {plain(name)}: {plain(why)}", file=sys.stderr)
    return 1 if board.skipped else 0
