"""What runs inside a worker process, around the function that serves jobs."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

from universality.errors import UniversalityError


class _Pipe:
    """The child's end. Announces itself when the first job is asked for, so that neither imports
    nor a death while loading plugins are charged to a job."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._announced = False

    def recv(self) -> Any:
        if not self._announced:
            self._announced = True
            self._connection.send({"state": "ready"})
        try:
            return self._connection.recv()
        except EOFError:
            raise SystemExit(0) from None

    def send(self, reply: Mapping[str, Any]) -> None:
        self._connection.send(reply)


def entry_point(target: str) -> Callable[[Any, Mapping[str, Any]], None]:
    """The function that `module:function` names."""
    module, _, function = target.partition(":")
    entry: Callable[[Any, Mapping[str, Any]], None] = getattr(importlib.import_module(module), function)
    return entry


def serve(connection: Connection, lifeline: Connection, target: str, settings: Mapping[str, Any]) -> None:
    """Main function of a child."""
    # Ctrl-C reaches the whole process group; what happens then is the parent's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, args=(lifeline,), daemon=True).start()
    try:
        entry_point(target)(_Pipe(connection), settings)
    except UniversalityError as error:
        fields = {name: getattr(error, name) for name in ("what", "where", "got", "expected", "do")}
        connection.send({"state": "unusable", "kind": type(error).__name__, "fields": fields})
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        connection.send({"state": "crashed", "message": message, "traceback": traceback.format_exc()})
        sys.exit(1)


def _die_with_parent(lifeline: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(1)
