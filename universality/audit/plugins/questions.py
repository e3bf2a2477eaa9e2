"""A question to a plugin, and its answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from universality.errors import DataUnavailable, UniversalityError, described, first_line
from universality.plugin.foreign import announced, placed


@dataclass(frozen=True, slots=True)
class Finding:
    """One question and its answer: `ok`, or what is wrong; `skipped` where it could not be asked. A `note` says what
    one may want to know though nothing is wrong."""

    question: str
    wrong: str = ""
    skipped: str = ""
    note: str = ""

    def __str__(self) -> str:
        mark = "wrong  " if self.wrong else "skipped" if self.skipped else "ok     "
        detail = self.wrong or self.skipped or self.note
        return f"{mark}  {self.question}" + (f": {detail}" if detail else "")


class NotAskedError(Exception):
    """A question that cannot be asked of a plugin, and why."""


def finding(question: str, answer: Callable[[], str | None]) -> Finding:
    """What `answer` complains of; an error that the plugin raises is a complaint."""
    try:
        with announced("a plugin cannot be checked", where=question, do="mend what it does there"):
            return Finding(question, answer() or "")
    except DataUnavailable as error:
        text = "; ".join(filter(None, (error.what, error.got, error.do or "universality data fetch")))
        return Finding(question, skipped=text)
    except NotAskedError as error:
        return Finding(question, skipped=str(error))
    except (Exception, SystemExit) as error:
        return Finding(question, complaint(error))


def complaint(error: BaseException) -> str:
    """An error of a plugin in one line: what it is, what may be meant, and the line of the plugin."""
    if not isinstance(error, UniversalityError):
        return "; ".join(filter(None, (first_line(described(error)), placed("", error))))
    return "; ".join(filter(None, (error.what, error.got, error.do, placed(error.where, error))))
