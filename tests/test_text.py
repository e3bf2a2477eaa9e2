"""Text for people."""

from __future__ import annotations

import io
import math
import re

import pytest

from universality import text
from universality.text import beside, clock, csv_cell, is_printable, plain, telling_digits


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00"), (59.4, "0:59"), (59.6, "1:00"), (3599.6, "1:00:00"), (360_000, "100:00:00")],
)
def test_a_clock_rounds_to_seconds_and_carries(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


LONG = [
    ("Neural collapse", "class means are equally long (nc2_norms): <= 0.1", "67% [14%, 98%]", "cnn[width=8,activation=tanh]"),
    ("Neural collapse", "class means are equally far apart (nc2_angles): <= 0.08", "-", "cnn[width=8,activation=relu]"),
]  # fmt: skip


@pytest.mark.parametrize("width", [200, 120, 80, 40])
def test_no_name_is_shortened_however_narrow_the_terminal(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    stream = Terminal()
    text.print_table(("Phenomenon", "Claim", "Prevalence [95%]", "Architecture"), LONG, stream)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
    assert max(map(len, shown.splitlines())) <= width
    assert "…" not in shown
    words = set(re.split(r"[\s│┃;]+", shown))
    for word in " ".join(cell for row in LONG for cell in row if cell != "-").split():
        assert words & {word, f"{word},"}, word


def test_a_word_wider_than_the_terminal_is_folded_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    stream = Terminal()
    names = [f"mlp[{'depth=3,' * 20}seed={i}]" for i in range(2)]
    text.print_table(("Architecture", "Task"), [(name, "digits") for name in names], stream)
    shown = "".join(line.strip() for line in stream.getvalue().splitlines())
    assert all(name in shown for name in names)


def test_names_that_differ_at_their_end_stay_two_in_every_table() -> None:
    names = ["x" * 299 + end for end in "ab"]
    stream = io.StringIO()
    text.print_table(("Name",), [(name,) for name in names], stream)
    markdown = text.markdown_table(("Name",), [(name,) for name in names])
    assert all(name in stream.getvalue() and name in markdown for name in names)


@pytest.mark.parametrize(
    ("value", "bounds", "digits"),
    [
        (1.0, (0.9, 1.15), 3),
        (1.1504, (0.9, 1.15), 5),
        (1.15, (0.9, 1.15), 3),
        (0.8996, (0.9, 1.15), 4),
        (math.nextafter(1.15, 2), (0.9, 1.15), 17),
        (0.9499, (0.95, math.inf), 4),
        (math.nan, (0.95,), 3),
        (0.1234, (), 3),
    ],
)
def test_a_number_is_written_with_the_digits_that_keep_it_on_its_side(
    value: float, bounds: tuple[float, ...], digits: int
) -> None:
    assert telling_digits(value, bounds) == digits


@pytest.mark.parametrize("bound", [0.95, -0.1, 1e-6, 12345.678])
def test_a_number_beside_a_bound_never_reads_as_the_bound_or_beyond_it(bound: float) -> None:
    for step in (1e-2, 1e-4, 1e-8, 1e-12):
        assert float(beside(bound * (1 - step), bound)) != bound
        below, above = sorted(float(beside(bound * (1 + d), bound)) for d in (-step, step))
        assert below < bound < above
    assert float(beside(bound, bound, digits=17)) == bound


HIDDEN = {
    "an escape sequence": ("\x1b[31mred", "\\u001b[31mred"),
    "NUL": ("a\0b", "a\\u0000b"),
    "a carriage return": ("good\rbad", "good bad"),
    "a wrong direction": ("a\u202egnp", "a\\u202egnp"),
    "half a character": ("a\ud800", "a\\ud800"),
    "no character": ("a\U0010ffff", "a\\U0010ffff"),
    "a zero width": ("ad\u200bmin", "ad\\u200bmin"),
    "C1 control": ("\x9b31m", "\\u009b31m"),
}


@pytest.mark.parametrize(("given", "shown"), HIDDEN.values(), ids=HIDDEN)
def test_what_cannot_be_seen_is_spelled_by_its_number(given: str, shown: str) -> None:
    assert plain(given) == shown
    assert not is_printable(given)
    assert is_printable(shown)


@pytest.mark.parametrize("given", ["損失 ロス 손실", "הפסד", "مهمة", "R&D $1", "👍", "é e\u0301", ""])
def test_names_in_any_script_stay_as_they_are(given: str) -> None:
    assert plain(given) == given
    assert is_printable(given)


def test_line_feeds_stay_where_lines_are_asked_for_and_nothing_else() -> None:
    assert plain("a\r\n\tb", lines=True) == "a\\u000d\n\\u0009b"


FORMULAS = ("=1+1", "+1", "-1+1", "@SUM(A1)", "\uff1dA1", "'=1", " =1", "\t=1", "\n=1", "\x1d=1")


@pytest.mark.parametrize("given", FORMULAS)
def test_no_cell_of_a_csv_file_is_computed(given: str) -> None:
    cell = csv_cell(given)
    assert is_printable(cell)
    assert cell.startswith(("'", "\\u"))


@pytest.mark.parametrize("given", ["", " ", "mlp[width=8]", "a=b", "1 - 2", "0.5", "損失"])
def test_other_cells_stay_as_they_are(given: str) -> None:
    assert csv_cell(given) == given


def test_texts_that_differ_differ_as_cells() -> None:
    cells = [csv_cell(given) for given in FORMULAS]
    assert len(set(cells)) == len(FORMULAS) - 1  # a line feed is a space
