"""A plugin that ends, blocks or floods a command: an error that names it, and never the exit code 0."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import universality

CHECKOUT = Path(universality.__file__).resolve().parents[1]
WATCHED = """
import sys
from universality.commands.guard import guarded
from universality.plugin.foreign import foreign

def command():
    with foreign("it fails", where="here.py", do="mend it", seconds={limit}):
        exec({code!r})
    print("done")
    return {status}

sys.exit(guarded(command))
"""
"""A command that runs a plugin's code under a watcher, without torch."""
ERROR = "error: it fails\n  where: here.py\n  got:   {}\n  do:    mend it\n"
CLI = """
import sys
from universality.plugin import asking, loading
loading.IMPORT_SECONDS = asking.ANSWER_SECONDS = {limit}
from universality.commands.main import main
sys.exit(main())
"""
"""The command line, with another limit for a plugin that is silent."""


def start(script: str, cwd: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    with process:
        try:
            out, err = process.communicate(timeout=100)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return process.returncode, out, err


def watched(cwd: Path, code: str, limit: float = 60.0, status: int = 0) -> tuple[int, str, str]:
    return finish(start(WATCHED.format(code=code, limit=limit, status=status), cwd))


ENDS = {
    "exits": ("import os; os._exit(0)", "the process exited with code 0, without an error"),
    "exits with a code": ("import os; os._exit(7)", "the process exited with code 7, without an error"),
    "crashes": ("import ctypes; ctypes.string_at(0)", "the process was killed by SIGSEGV"),
    "is killed": ("import os; os.kill(os.getpid(), 9)", "the process was killed by SIGKILL"),
    "aborts": ("import os; os.abort()", "the process was killed by SIGABRT"),
    "closes everything": (
        "import os; os.closerange(3, 100); os._exit(0)",
        "the process exited with code 0, without an error",
    ),
}


@pytest.mark.parametrize(("code", "got"), ENDS.values(), ids=ENDS)
def test_code_that_ends_the_process_is_named(tmp_path: Path, code: str, got: str) -> None:
    status, out, err = watched(tmp_path, code)
    assert (status, out) == (2, "")
    assert err.endswith(ERROR.format(got))


@pytest.mark.parametrize("status", [0, 1, 3])
def test_a_command_that_ends_well_keeps_its_exit_code_and_its_output(tmp_path: Path, status: int) -> None:
    assert watched(tmp_path, "pass", status=status) == (status, "done\n", "")


def test_what_a_plugin_does_at_exit_does_not_change_the_exit_code(tmp_path: Path) -> None:
    assert watched(tmp_path, "import atexit, os; atexit.register(os._exit, 0)", status=3)[0] == 3


@pytest.mark.parametrize(
    "code",
    ["import time; time.sleep(600)", "import signal; signal.pause()",
     "while True:\n  try:\n    while True: pass\n  except BaseException: pass"],
    ids=["sleeps", "waits", "loops and catches all"],
)  # fmt: skip
def test_code_that_hangs_is_ended_after_a_limit(tmp_path: Path, code: str) -> None:
    assert watched(tmp_path, code, limit=1.0) == (2, "", ERROR.format("no answer for 1 seconds"))


@pytest.mark.parametrize("write", ["print({})", "import os; os.write(1, ({} + '\\n').encode())"])
def test_what_code_prints_is_shown_on_stderr(tmp_path: Path, write: str) -> None:
    assert watched(tmp_path, write.format("'hello'")) == (0, "done\n", "hello\n")


def test_of_a_long_output_the_beginning_is_shown(tmp_path: Path) -> None:
    status, out, err = watched(tmp_path, "print('x' * 50_000)")
    assert (status, out) == (0, "done\n")
    assert err == "x" * 10_000 + "\n(here.py printed 40,001 bytes more)\n"


def test_code_that_floods_is_ended(tmp_path: Path) -> None:
    status, out, err = watched(tmp_path, "while True: print('x' * 999)")
    assert (status, out) == (2, "")
    assert err.endswith(ERROR.format("printed more than 1,000,000 bytes"))
    assert len(err) < 11_000


def test_an_end_that_no_call_announced_is_no_success_either(tmp_path: Path) -> None:
    script = WATCHED.format(code="pass", limit=60, status=0).replace(
        'print("done")', "import os; os._exit(0)"
    )
    status, out, err = finish(start(script, tmp_path))
    assert (status, out) == (2, "")
    got = "the process exited with code 0, without an error"
    assert err.startswith(f"error: the command ended before it was done\n  got: {got}\n")


def test_an_exception_of_the_command_itself_is_shown_once(tmp_path: Path) -> None:
    script = WATCHED.format(code="pass", limit=60, status=0).replace('print("done")', "1 / 0")
    status, out, err = finish(start(script, tmp_path))
    assert (status, out) == (1, "")
    assert err.count("ZeroDivisionError") == 1
    assert "error: " not in err


# ------------------------------------------------------------------------------------------------- signals

WAITS = "from pathlib import Path; import time; Path('begun').touch(); time.sleep({})"
MAIN = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore them
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from universality.commands import main as cli
from universality.commands.guard import guarded
from universality.plugin.foreign import foreign

def talk(lines):
    with foreign("it fails", where="here.py", do="mend it"):
        exec({code!r})

cli._print_lines = talk
sys.exit(guarded(lambda: cli._execute({{cli._CALL: (cli, lambda: None)}})))
"""
"""The same inside of what the command line catches."""


def child_of(process: subprocess.Popen[str]) -> int:
    listing = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not listing.exists():
        process.kill()
        finish(process)
        pytest.skip("this system does not tell the children of a process")
    (child,) = map(int, listing.read_text().split())
    return child


def waiting(cwd: Path, script: str) -> subprocess.Popen[str]:
    """A command whose plugin has begun to wait."""
    process = start(script, cwd)
    deadline = time.monotonic() + 100
    while not (cwd / "begun").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


@pytest.mark.parametrize("everybody", [False, True], ids=["the watcher alone", "the whole group"])
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_the_command(tmp_path: Path, number: int, status: int, everybody: bool) -> None:
    process = waiting(tmp_path, MAIN.format(code=WAITS.format(600)))
    for each in [process.pid, *([child_of(process)] if everybody else [])]:
        os.kill(each, number)
    said = "interrupted: what is finished is kept, the same command resumes\n"
    assert finish(process) == (status, "", said)


def test_a_process_that_was_stopped_was_not_silent(tmp_path: Path) -> None:
    process = waiting(tmp_path, WATCHED.format(code=WAITS.format(0.5), limit=2.5, status=0))
    both = [process.pid, child_of(process)]
    for each in both:
        os.kill(each, signal.SIGSTOP)
    time.sleep(4)
    for each in both:
        os.kill(each, signal.SIGCONT)
    assert finish(process) == (0, "done\n", "")


def test_a_command_whose_watcher_is_killed_ends(tmp_path: Path) -> None:
    process = waiting(tmp_path, WATCHED.format(code=WAITS.format(600), limit=60, status=0))
    child = child_of(process)
    process.kill()
    finish(process)  # its output ends when the child is gone
    deadline = time.monotonic() + 20
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{child}").exists()


# -------------------------------------------------------------------------------------- on the command line

ILL = """
from dataclasses import dataclass
import torch
from torch import nn
import universality.plugin as u

def mischief(where):
    if where == {where!r}:
        {code}

@u.register("ill_net", family="toy", accepts={{"vector"}}, source="x")
@dataclass(frozen=True, kw_only=True)
class IllNet(u.Architecture):
    def reject(self, inputs):
        mischief("reject")
        return super().reject(inputs)
    def build(self, inputs, outputs):
        mischief("build")
        return nn.Sequential(nn.Linear(inputs.size, outputs))
    def taps(self, net):
        return {{}}
    def readout(self, net):
        return net[0]

@u.register("ill_points", family="toy")
@dataclass(frozen=True, kw_only=True)
class IllPoints(u.Task):
    def read(self, rng, root):
        mischief("read")
        part = u.Split(torch.from_numpy(rng.normal(size=(8, 3))).float(), torch.arange(8) % 2)
        return u.Splits(part, part, part, u.InputSpec("vector", (3,)), 2)
"""
CASES = {
    "read": (
        "task 'ill_points'",
        "import os; os._exit(0)",
        "the process exited with code 0, without an error",
    ),
    "reject": ("architecture 'ill_net'", "import time; time.sleep(600)", "no answer for 3 seconds"),
    "build": ("architecture 'ill_net'", "import sys; sys.exit(0)", "SystemExit: 0"),
}


def with_plugin(cwd: Path, text: str, *arguments: str, limit: float = 60.0) -> tuple[int, str, str]:
    (cwd / "p").mkdir()
    (cwd / "p" / "ill.py").write_text(text)
    return finish(start(CLI.format(limit=limit), cwd, *arguments, "--plugins", "p"))


@pytest.mark.parametrize("where", CASES)
def test_a_plugin_that_fails_so_while_it_is_planned_is_named_with_its_method(
    tmp_path: Path, where: str
) -> None:
    asked, code, got = CASES[where]
    command = ["run", "--dry-run", "--architectures", "ill_net", "--tasks", "ill_points", "--seeds", "1"]
    command += ["--phenomena", "neural_collapse"]
    status, out, err = with_plugin(tmp_path, ILL.format(where=where, code=code), *command, limit=3.0)
    assert (status, out) == (2, "")
    file = tmp_path / "p" / "ill.py"
    line = r"(:\d+)?"  # which is not known of a process that is gone
    what = (
        rf"error: {re.escape(asked)} cannot be planned\n  where: {re.escape(str(file))}{line}, {where}\(\)\n"
    )
    assert re.match(what, err)
    assert f"  got:   {got}\n" in err


def test_a_plugin_that_ends_the_process_while_it_is_imported_is_named(tmp_path: Path) -> None:
    assert with_plugin(tmp_path, "import os; os._exit(0)", "list", "suites") == (
        2,
        "",
        "error: a plugin does not import\n"
        f"  where: {tmp_path / 'p' / 'ill.py'}\n"
        "  got:   the process exited with code 0, without an error\n"
        "  do:    mend the file or move it out of the folder\n",
    )


def test_a_plugin_that_leaves_while_it_is_checked_keeps_no_contract(tmp_path: Path) -> None:
    text = ILL.format(where="build", code="import sys; sys.exit(0)")
    status, out, _ = with_plugin(tmp_path, text, "check", "ill_net")
    assert status == 1
    assert "  wrong vector: builds the same network from the same seed: SystemExit: 0; " in out
