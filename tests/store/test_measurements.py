"""All measurements of a set in one file: read line by line, within bounds."""

from pathlib import Path

import pytest

from tests.store.test_cells import a_cell
from universality.errors import StoreError
from universality.store import measurements
from universality.store.compressed import gzipped
from universality.store.measurements import encoded, lines, others, read
from universality.store.untrusted import UntrustedFile

CELLS = [a_cell(task=f"t{number}") for number in range(3)]
IDS = [cell.id for cell in CELLS]


def written(folder: Path, content: bytes) -> Path:
    path = folder / "measurements.jsonl.gz"
    path.write_bytes(gzipped([content]))
    return path


def test_measurements_survive_their_file_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "measurements.jsonl.gz"
    path.write_bytes(encoded(cell.line() for cell in CELLS[::-1]))
    assert list(read(path)) == CELLS[::-1]
    assert path.read_bytes() == encoded(cell.line() for cell in CELLS[::-1])
    assert list(read(written(tmp_path, b""))) == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (CELLS[0].line() + b"\n", "line 2 is no JSON"),
        (CELLS[0].line() + b"[]\n", "line 2 is no measurement"),
        (CELLS[0].line()[:-1], "does not end with a line"),
        (CELLS[0].line() * 2, f"holds {IDS[0]} twice"),
        (b" " + CELLS[0].line(), "line 1 is not in the form that universality writes"),
        (CELLS[0].line()[:-1] + b" \n", "line 1 is not in the form that universality writes"),
    ],
    ids=["an empty line", "a list", "no end", "twice", "a space before", "a space behind"],
)
def test_a_file_of_anything_else_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    with pytest.raises(UntrustedFile, match=told):
        list(read(written(tmp_path, content)))


def test_more_than_has_room_is_refused_where_it_is_read_and_where_it_would_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, b"".join(cell.line() for cell in CELLS))
    size, parts = len(CELLS[0].line()), CELLS[0].line().count(b",")
    for name, least in (("MAX_LINES", 2), ("MAX_CONTENT", 2 * size), ("MAX_PARTS", 2 * parts)):
        with monkeypatch.context() as patch:
            patch.setattr(measurements, name, least)
            with pytest.raises(UntrustedFile, match="holds more than"):
                list(lines(path))
            with pytest.raises(StoreError, match="too much was measured for one result set"):
                encoded(cell.line() for cell in CELLS)
    monkeypatch.setattr(measurements, "MAX_BYTES", 1 << 20)
    with pytest.raises(UntrustedFile, match="has a line of more than 1,048,576 bytes"):
        list(lines(written(tmp_path, b"x" * (3 << 20))))


def test_the_others_of_a_file_are_found_without_reading_them_and_none_of_a_damaged_one(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, b"".join(cell.line() for cell in CELLS))
    assert others(path, {IDS[1]}) == [CELLS[0].line(), CELLS[2].line()]
    assert others(path, set(IDS)) == others(tmp_path / "none", set()) == []
    path.write_bytes(path.read_bytes()[:-1])
    assert others(path, set()) == []
    assert others(written(tmp_path, b'{"no": "id"}\n'), set()) == []
