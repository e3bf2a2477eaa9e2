"""Standard output and error that fail: work goes on, and a lost answer is known."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from universality.train.standard_streams import Stream, lasting


def broken_pipe() -> int:
    read, write = os.pipe()
    os.close(read)
    return write


def full_device() -> int:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    return os.open("/dev/full", os.O_WRONLY)


@pytest.mark.parametrize(("number", "lost"), [(broken_pipe, None), (full_device, errno.ENOSPC)])
@pytest.mark.parametrize("text", ["short", "x" * 100_000], ids=["buffered", "longer than the buffer"])
def test_what_cannot_be_written_is_dropped(number: Callable[[], int], lost: int | None, text: str) -> None:
    with open(number(), "w") as file:  # whose end writes nothing that was left
        stream = Stream(file, 1)
        for _ in range(2):
            assert stream.write(text) == len(text)
            stream.writelines(["a", "b"])
            stream.flush()
    assert (stream.lost and stream.lost.errno) == lost


def test_what_can_be_written_is(tmp_path: Path) -> None:
    with open(tmp_path / "out", "w") as file:
        stream = Stream(file, 1)
        print("answer", file=stream, flush=True)
    assert ((tmp_path / "out").read_text(), stream.lost) == ("answer\n", None)


def test_a_character_that_the_terminal_lacks_is_spelled() -> None:
    raw = io.BytesIO()
    stream = Stream(io.TextIOWrapper(raw, encoding="ascii"), 1)
    print("損", file=stream, flush=True)
    assert raw.getvalue() == b"\\u640d\n"


def test_streams_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    mine: Any = io.StringIO()
    monkeypatch.setattr(sys, "stdout", mine)
    with lasting() as output:
        print("answer")
    assert sys.stdout is mine
    assert (mine.getvalue(), output.lost) == ("answer\n", None)


def test_the_number_of_a_closed_stream_is_given_to_no_file(tmp_path: Path) -> None:
    code = (
        "import os\n"
        "from universality.train.standard_streams import lasting\n"
        "with lasting() as output:\n"
        "    with open('other', 'w') as file: number = file.fileno()\n"
        "    os.write(1, b'printed by a library')\n"
        "    print('answer', flush=True)\n"
        "os._exit(number > 2 and output.lost is not None and 7)\n"
    )
    command = [sys.executable, "-c", code]
    script = f'exec {" ".join(map(repr, command[:2]))} "$1" >&-'
    done = subprocess.run(
        ["sh", "-c", script, "sh", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stderr=subprocess.PIPE,
        text=True,
        timeout=100,
    )
    assert (done.returncode, done.stderr) == (7, "")
    assert (tmp_path / "other").read_bytes() == b""
