"""Code of plugins: its errors are named, and who watches is told of every call."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from universality.errors import BadParameter, DataUnavailable, UniversalityError
from universality.plugin import foreign as calls
from universality.plugin.foreign import foreign, line_in
from universality.plugin.loading import load_plugins


class Notes(list[str]):
    """A watcher that keeps what it is told."""

    def enter(self, error: UniversalityError, seconds: float) -> None:
        self.append(f"{error.what}, {error.where}, {error.do}, {seconds:g}")

    def leave(self) -> None:
        self.append("back")


@pytest.fixture
def notes() -> Iterator[Notes]:
    notes = Notes()
    calls.watch(notes)
    yield notes
    calls.watch(None)


@pytest.mark.parametrize(
    ("error", "got"),
    [
        (ValueError("no"), "ValueError: no"),
        (SystemExit(0), "SystemExit: 0"),
        (SystemExit("bye"), "SystemExit: bye"),
        (RecursionError("deep"), "RecursionError: deep"),
    ],
)
def test_an_error_is_named(error: BaseException, got: str) -> None:
    with pytest.raises(BadParameter) as caught, foreign("it fails", where="here", do="mend it"):
        raise error
    assert str(caught.value) == f"it fails\n  where: here\n  got:   {got}\n  do:    mend it"
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [DataUnavailable("no data"), KeyboardInterrupt()])
def test_what_says_enough_passes(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, foreign("it fails", where="here", do="mend it"):
        raise error
    assert caught.value is error


def test_who_watches_is_told_of_the_beginning_and_the_end_of_a_call(notes: Notes) -> None:
    with foreign("it fails", where="here", do="mend it", seconds=5):
        notes.append("running")
    with pytest.raises(BadParameter), foreign("two", where="there", do="look"):
        raise ValueError
    assert notes == [
        "it fails, here, mend it, 5",
        "running",
        "back",
        f"two, there, look, {calls.ANSWER_SECONDS:g}",
        "back",
    ]


@pytest.mark.usefixtures("clean_registry")
@pytest.mark.parametrize(
    ("body", "where"),
    [
        ("int('no')", "here, {file}:2"),
        ("Recipe(steps=-1)", "{file}:2"),
        ("raise BadParameter('no', where='my own words')", "my own words"),
    ],
)
def test_an_error_has_the_line_of_the_plugin_unless_that_raised_it(
    body: str, where: str, tmp_path: Path
) -> None:
    file = tmp_path / "asked.py"
    file.write_text(f"from universality.plugin import BadParameter, Recipe\ndef ask(): {body}\n")
    load_plugins([tmp_path])
    module = next(
        m for n, m in sys.modules.items() if n.startswith(calls.USER_MODULES) and n.endswith(".asked")
    )
    with pytest.raises(BadParameter) as caught, foreign("it fails", where="here", do="mend it"):
        module.ask()
    assert caught.value.where == where.format(file=file)


def test_the_line_of_an_error_is_told_without_the_folder_that_holds_the_file() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        1 / 0  # noqa: B018
    file = Path(__file__)
    line = line_in(caught.value, file).rpartition(":")[2]
    assert line_in(caught.value, file) == f"{file.name}:{line}"
    assert line_in(caught.value, file.parents[1]) == f"{file.parent.name}/{file.name}:{line}"
    assert line_in(caught.value, file.parent / "other.py") == ""
