"""What was measured is saved cell by cell, and survives whatever ends its writer."""

from pathlib import Path

import pytest

from tests.store.test_cells import a_cell
from universality.store.journal import Journal
from universality.store.store import Store

ONE, TWO = [a_cell(task="a").line(), a_cell(task="b").line()], [a_cell(task="c").line()]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "set")


def test_what_was_added_is_found_by_whoever_opens_the_file_next(store: Store) -> None:
    first = Journal(store)
    first.add("k1", ONE)
    first.add("k2", TWO)
    first.add("k1", TWO)
    for journal in (first, Journal(store)):
        assert (journal.get("k1"), journal.get("k2"), journal.get("k3")) == (TWO, TWO, None)


def test_the_end_of_a_line_that_was_cut_costs_that_line_alone(store: Store) -> None:
    Journal(store).add("k1", ONE)
    whole = store.layout.measured.read_bytes()
    Journal(store).add("k2", TWO)
    data = store.layout.measured.read_bytes()
    for end in range(len(whole), len(data)):
        store.layout.measured.write_bytes(data[:end])
        journal = Journal(store)
        assert (journal.get("k1"), journal.get("k2")) == (ONE, None)
        journal.add("k3", TWO)
        assert Journal(store).get("k3") == TWO


def test_a_line_of_which_a_byte_changed_is_none(store: Store) -> None:
    Journal(store).add("k1", ONE)
    data = store.layout.measured.read_bytes()
    for place in range(0, len(data), 7):
        changed = bytearray(data)
        changed[place] ^= 1
        store.layout.measured.write_bytes(changed)
        assert Journal(store).get("k1") is None


def test_two_writers_lose_nothing_of_each_other(store: Store) -> None:
    one, two = Journal(store), Journal(store)
    for number in range(20):
        (one if number % 2 else two).add(f"k{number}", ONE if number % 3 else TWO)
    journal = Journal(store)
    assert [journal.get(f"k{n}") for n in range(20)] == [ONE if n % 3 else TWO for n in range(20)]
    assert [one.get(f"k{n}") for n in range(1, 20, 2)] == [ONE if n % 3 else TWO for n in range(1, 20, 2)]


def test_what_is_not_kept_is_gone(store: Store) -> None:
    journal = Journal(store)
    for key in ("k1", "k2", "k3", "k2"):
        journal.add(key, ONE)
    journal.keep(["k3", "k2"])
    for each in (journal, Journal(store)):
        assert (each.get("k1"), each.get("k2"), each.get("k3")) == (None, ONE, ONE)
    before = store.layout.measured.stat().st_ino
    journal.keep(["k2", "k3"])
    assert store.layout.measured.stat().st_ino == before, "nothing was to be dropped"
    journal.keep([])
    assert store.layout.measured.read_bytes() == b""
