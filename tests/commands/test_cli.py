"""Arguments that follow from a signature."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from universality.commands.cli import add_arguments, explained, summary

if TYPE_CHECKING:
    from nowhere import Answer


def command(
    folder: Path,
    more: Sequence[Path] = (),
    *,
    names: Sequence[str] = (),
    plugins: Sequence[Path] = (),
    count: int | None = None,
    share: float = 0.5,
    how: Literal["fast", "slow"] = "fast",
    dry_run: bool = False,
) -> Answer:
    """Do something,
    in two lines.

    More of it.

    Args:
        folder: where
        more: elsewhere
        names: 5 % of them,
            or all
        plugins: each of its own
        count: how many
        share: which part
        how: in which way
        dry_run: nothing at all

    Raises:
        StoreError: never.
    """
    raise NotImplementedError


def read(*words: str) -> dict[str, object]:
    parser = argparse.ArgumentParser()
    add_arguments(parser, command)
    return vars(parser.parse_args(words))


def test_defaults_are_those_of_the_signature() -> None:
    assert read("here") == {
        "folder": Path("here"),
        "more": (),
        "names": (),
        "plugins": [],
        "count": None,
        "share": 0.5,
        "how": "fast",
        "dry_run": False,
    }


def test_values_have_the_types_of_the_signature() -> None:
    words = [
        "here",
        "a",
        "b",
        "--names",
        "x",
        "y",
        "--plugins",
        "p",
        "--plugins",
        "q",
        "--count",
        "3",
        "--share",
        "1",
        "--how",
        "slow",
        "--dry-run",
    ]
    assert read(*words) == {
        "folder": Path("here"),
        "more": [Path("a"), Path("b")],
        "names": ["x", "y"],
        "plugins": [Path("p"), Path("q")],
        "count": 3,
        "share": 1.0,
        "how": "slow",
        "dry_run": True,
    }
    assert read("here")["plugins"] == [], "folders given once are not those of the next call"


@pytest.mark.parametrize("words", [[], ["here", "--how", "odd"], ["here", "--count", "many"]], ids=" ".join)
def test_what_the_signature_does_not_take_is_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        read(*words)
    assert "error: " in capsys.readouterr().err


def test_help_is_the_docstring_and_may_hold_percent_signs(capsys: pytest.CaptureFixture[str]) -> None:
    assert summary(command) == "Do something, in two lines."
    assert explained(command)["dry_run"] == "nothing at all"
    with pytest.raises(SystemExit, match="0"):
        read("--help")
    assert "5 % of them, or all" in capsys.readouterr().out
