"""Messages that say what is wrong, where, what was got, what was expected and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from universality.text import plain

MAX_SHOWN = 4000
"""Characters of one part of a message."""


class UniversalityError(Exception):
    """Something the user can mend. Shown without a traceback; the command exits with 2."""

    def __init__(
        self, what: str, *, where: str = "", got: str = "", expected: str = "", do: str = ""
    ) -> None:
        self.what, self.where, self.got, self.expected, self.do = what, where, got, expected, do
        super().__init__(what)

    def __str__(self) -> str:
        rows = {"where": self.where, "got": self.got, "expected": self.expected, "do": self.do}
        width = max((len(name) for name, text in rows.items() if text), default=0)
        lines = [_printable(self.what, 2)]
        for name, text in rows.items():
            lines += [f"  {name + ':':<{width + 1}} {_printable(text, width + 4)}"] if text else []
        return "\n".join(lines)


def _printable(text: str, indent: int) -> str:
    """Names and messages of others move no cursor, and no line of theirs looks like one of ours."""
    return plain(text, MAX_SHOWN, lines=True).strip("\n").replace("\n", "\n" + " " * indent)


class UnknownName(UniversalityError):
    """A name that nothing is registered under."""


class BadParameter(UniversalityError):
    """A parameter that does not exist, is of another type or lies outside its range."""


class BadSuite(UniversalityError):
    """A suite that cannot be read, or that asks for nothing."""


class DataUnavailable(UniversalityError):
    """A data set that is neither on disk nor to be downloaded, or that is damaged."""


class StoreError(UniversalityError):
    """A results folder that cannot be read or written."""


class DeviceUnavailable(UniversalityError):
    """A device that this machine or this build of torch does not have."""


class MeasurementError(UniversalityError):
    """Input for which a measure would give a number without meaning."""


class NotFinite(MeasurementError):
    """Values of a network, or what was computed from them, that hold NaN or infinity."""


def described(error: BaseException) -> str:
    """The type of an error and its text, which may have several lines."""
    return f"{type(error).__name__}: {error}"


def first_line(error: object) -> str:
    """Of the text of an error."""
    return str(error).partition("\n")[0]


def unknown_name(kind: str, name: str, known: Iterable[str], *, where: str = "") -> UnknownName:
    """The error for `name`, with the closest of the `known` names."""
    options = sorted(known)
    close = difflib.get_close_matches(name, options, n=2, cutoff=0.6)
    return UnknownName(
        f"unknown {kind} '{name}'",
        where=where,
        expected=f"one of: {', '.join(options) or '(none registered)'}",
        do=f"did you mean {' or '.join(repr(c) for c in close)}?" if close else "",
    )
