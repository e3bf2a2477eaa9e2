"""A command with plugins of the user's own runs in a child of this process, which watches it.

What no exception tells must not look like success: a plugin that ends the process, kills it, hangs or
prints without end while it is imported or asked something. The child says before and after each such call
(`universality.plugin.foreign`) what it is about; this process ends a child that is silent for too long and
says what it was doing. Output of a plugin in such a call goes to stderr, a limited part of it.

Signals, standard input and the terminal are the child's as if there were no watcher: both are in one process
group, and a signal that reached this process alone is passed on. A child whose watcher is gone ends.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from universality.errors import BadParameter, UniversalityError
from universality.plugin import foreign
from universality.train import interruption

SHOWN_BYTES = 10_000
"""Of what one plugin prints while it is imported or asked."""
MOST_BYTES = 1_000_000
"""A plugin that prints more in one call is stopped."""
EXIT_SECONDS = 60.0
"""For ending workers and threads after the command has its exit code."""

_PASSED_ON = (signal.SIGINT, *interruption.ASKING)
_TICK = 0.2
"""Seconds between two looks at the clock, and in which a signal to the whole group reaches the child by itself."""


def guarded(command: Callable[[], int]) -> int:
    """What `command` returns, run in a child; 2 where a plugin ended or blocked it, which stderr then says.

    Call it before anything has started a thread.
    """
    messages, output, life = os.pipe(), os.pipe(), os.pipe()
    _flush()
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # else the end of a child cannot be asked for
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)  # until both have their handlers
    child = os.fork()
    if child == 0:
        for end in (messages[0], output[0], life[1]):
            os.close(end)
        return _child(command, messages[1], output[1], life[0], before)
    for end in (messages[1], output[1], life[0]):
        os.close(end)
    return _Watch(child, messages[0], output[0]).run(before)


# ----------------------------------------------------------------------------------------- in the child


def _child(command: Callable[[], int], messages: int, output: int, life: int, mask: set[Any]) -> int:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # of a standard error that is none
        faulthandler.enable(all_threads=False)
    threading.Thread(target=_end_with_parent, args=(life,), daemon=True).start()

    def say(**message: Any) -> None:
        # A plugin may have closed what it did not open; the parent sees how the child ends.
        with contextlib.suppress(OSError):
            os.write(messages, (json.dumps(message) + "\n").encode())

    def interrupt(number: int, frame: Any) -> None:
        say(kind="interrupted")
        (signal.default_int_handler if number == signal.SIGINT else interruption.interrupt)(number, frame)

    for number in _PASSED_ON:
        if signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL):
            signal.signal(number, interrupt)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    foreign.watch(_Announcer(say, output))
    try:
        code = command()
    except BaseException:
        say(kind="raised")
        raise
    finally:
        foreign.watch(None)
    say(kind="finished", code=code)
    return code


def _end_with_parent(life: int) -> None:
    """Wait for the end of a pipe that nobody writes to."""
    with contextlib.suppress(OSError):
        os.read(life, 1)
    os._exit(1)


class _Announcer:
    """Tells the parent of calls of plugins, and sends their output there meanwhile."""

    def __init__(self, say: Callable[..., None], output: int) -> None:
        self._say, self._output = say, output
        self._depth = 0
        self._kept: dict[int, int] = {}

    def enter(self, error: UniversalityError, seconds: float) -> None:
        self._say(kind="enter", what=error.what, where=error.where, do=error.do, seconds=seconds)
        if self._depth == 0:
            _flush()
            for stream in (1, 2):
                with contextlib.suppress(OSError):  # started with a closed stream
                    self._kept[stream] = os.dup(stream)
                    os.dup2(self._output, stream)
        self._depth += 1

    def leave(self) -> None:
        self._depth -= 1
        if self._depth == 0:
            _flush()
            for stream, kept in self._kept.items():
                os.dup2(kept, stream)
                os.close(kept)
            self._kept.clear()
        self._say(kind="leave")


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()


# ---------------------------------------------------------------------------------------- in the parent


class _Call:
    """A call of a plugin that the child is in."""

    def __init__(self, message: dict[str, Any]) -> None:
        self.what, self.where, self.do = message["what"], message["where"], message["do"]
        self.limit = float(message["seconds"])
        self.seconds = 0.0
        self.bytes = 0

    def error(self, got: str) -> BadParameter:
        return BadParameter(self.what, where=self.where, got=got, do=self.do)


class _Watch:
    """Watches one child until it has ended."""

    def __init__(self, child: int, messages: int, output: int) -> None:
        self._child, self._messages, self._output = child, messages, output
        self._rest = b""
        self._calls: list[_Call] = []
        self._shown: dict[str, int] = {}
        self._dropped = 0
        self._line_begun = False
        self._code: int | None = None
        self._raised = self._interrupted = False
        self._signals: list[tuple[int, float]] = []
        self._open = {messages, output}
        os.set_blocking(messages, False)
        os.set_blocking(output, False)

    def run(self, mask: set[Any]) -> int:
        """The exit code. `mask`: of signals, to be set when they have handlers."""
        with _handling(self._note_signal) as woken:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            last, ending = time.monotonic(), 0.0
            while (status := self._ended()) is None:
                select.select([*self._open, woken], [], [], _TICK)
                now = time.monotonic()
                # A process that was stopped, or a machine that slept, was not waiting.
                passed, last = min(now - last, 5 * _TICK), now
                with contextlib.suppress(BlockingIOError):
                    os.read(woken, 1 << 10)
                self._read()
                self._pass_on(now)
                if self._calls:
                    self._calls[-1].seconds += passed
                if wrong := self._too_much():
                    self._kill()
                    return self._refuse(wrong)
                ending += passed if self._is_ending() else 0.0
                if ending > EXIT_SECONDS:
                    self._kill()
                    return 1 if self._code is None else self._code
            self._read()
        return self._result(os.waitstatus_to_exitcode(status))

    def _is_ending(self) -> bool:
        return self._code is not None or self._raised or (signal.SIGTERM, 0.0) in self._signals

    def _ended(self) -> int | None:
        pid, status = os.waitpid(self._child, os.WNOHANG)
        return status if pid else None

    def _kill(self) -> None:
        os.kill(self._child, signal.SIGKILL)
        os.waitpid(self._child, 0)
        self._read()

    def _result(self, code: int) -> int:
        if self._code is not None:
            return self._code
        if self._raised and code:
            return code
        if -code in {number for number, _ in self._signals}:
            return 128 - code
        return self._refuse(_ending(code))

    def _refuse(self, got: str) -> int:
        if self._calls:
            error: UniversalityError = self._calls[-1].error(got)
        else:
            error = UniversalityError(
                "the command ended before it was done",
                got=got,
                do="a plugin may have ended it: look at what it does; what was stored stays",
            )
        self._say(f"error: {error}")
        return 2

    def _say(self, text: str) -> None:
        print("\n" * self._line_begun + text, file=sys.stderr, flush=True)
        self._line_begun = False

    def _too_much(self) -> str:
        call = self._calls[-1] if self._calls else None
        if call is not None and call.bytes > MOST_BYTES:
            return f"printed more than {MOST_BYTES:,} bytes"
        if call is not None and call.seconds > call.limit:
            return f"no answer for {call.limit:g} seconds"
        return ""

    # ---- messages and output

    def _read(self) -> None:
        while data := self._drain(self._messages):
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._take(json.loads(line))
        self._forward()

    def _take(self, message: dict[str, Any]) -> None:
        match message["kind"]:
            case "enter":
                self._calls.append(_Call(message))
            case "leave":
                self._forward()
                call = self._calls.pop()
                if self._dropped and not self._calls:
                    self._say(f"({call.where} printed {self._dropped:,} bytes more)")
                    self._dropped = 0
            case "interrupted":
                self._interrupted = True
            case "raised":
                self._raised = True
            case "finished":
                self._code = message["code"]

    def _forward(self) -> None:
        """Show what a plugin has printed, up to a limit."""
        while data := self._drain(self._output):
            where = self._calls[-1].where if self._calls else ""
            room = max(0, SHOWN_BYTES - self._shown.get(where, 0))
            self._shown[where] = self._shown.get(where, 0) + len(data)
            self._dropped += len(data[room:])
            if self._calls:
                self._calls[-1].bytes += len(data)
                if self._calls[-1].bytes > MOST_BYTES:
                    return
            if room:
                self._line_begun = data[:room][-1:] != b"\n"
                with contextlib.suppress(OSError):
                    os.write(2, data[:room])

    def _drain(self, pipe: int) -> bytes:
        """What a pipe holds now; nothing at its end."""
        try:
            data = os.read(pipe, 1 << 16)
        except BlockingIOError:
            return b""
        if not data:
            self._open.discard(pipe)
        return data

    # ---- signals

    def _note_signal(self, number: int, frame: object) -> None:
        self._signals.append((number, time.monotonic()))

    def _pass_on(self, now: float) -> None:
        """Send a signal on that has not reached the child by itself, as Ctrl-C on a terminal does."""
        for index, (number, when) in enumerate(self._signals):
            if 0 < when < now - _TICK:
                self._signals[index] = (number, 0.0)
                if not self._interrupted:
                    os.kill(self._child, number)
                self._interrupted = False


@contextlib.contextmanager
def _handling(handler: Callable[[int, object], None]) -> Iterator[int]:
    """Signals go to `handler`, those that were ignored stay so; yields what can be read when one came or a child
    ended."""
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    handlers: dict[int, Any] = {n: handler for n in _PASSED_ON if signal.getsignal(n) is not signal.SIG_IGN}
    handlers[signal.SIGCHLD] = lambda *_: None
    earlier = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    before = {number: signal.signal(number, each) for number, each in handlers.items()}
    try:
        yield woken
    finally:
        for number, old in before.items():
            signal.signal(number, old)
        signal.set_wakeup_fd(earlier)
        os.close(woken)
        os.close(wake)


def _ending(code: int) -> str:
    if code >= 0:
        return f"the process exited with code {code}, without an error"
    try:
        return f"the process was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"the process was killed by signal {-code}"
