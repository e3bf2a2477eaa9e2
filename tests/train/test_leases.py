"""Leases: a live lease is respected, an abandoned one is taken, and nothing is taken by mistake."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from universality.errors import StoreError
from universality.store.owner import is_orphan, owner_tag
from universality.train import leases
from universality.train.leases import Leases, held


def age(folder: Path, name: str, seconds: float) -> None:
    """Let the heartbeat of a lease lie `seconds` in the past; the links share it."""
    past = time.time() - seconds
    os.utime(folder / name, (past, past))


def pid_of_a_dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_name_is_leased_by_one_holder_at_a_time(tmp_path: Path) -> None:
    with Leases(tmp_path) as one, Leases(tmp_path) as two:
        assert one.acquire("run")
        assert one.acquire("run")
        assert not two.acquire("run")
        assert two.acquire("another")
        one.release("run")
        assert two.acquire("run")


def test_closing_leaves_no_file_behind(tmp_path: Path) -> None:
    with Leases(tmp_path) as held:
        held.acquire("a")
        held.acquire("b")
        assert len(list(tmp_path.iterdir())) == 3
    assert list(tmp_path.iterdir()) == []


def test_a_lease_without_heartbeat_is_taken_over_and_its_first_owner_cannot_release_it(
    tmp_path: Path,
) -> None:
    with (
        Leases(tmp_path, stale_after=60) as slow,
        Leases(tmp_path, stale_after=60) as other,
        Leases(tmp_path, stale_after=60) as third,
    ):
        assert slow.acquire("run")
        age(tmp_path, "run", 59)
        assert not other.acquire("run")
        age(tmp_path, "run", 61)
        assert other.acquire("run")
        slow.release("run")
        assert not third.acquire("run")


def test_the_heartbeat_keeps_every_lease_of_a_process_alive(tmp_path: Path) -> None:
    with Leases(tmp_path, stale_after=1.5) as alive, Leases(tmp_path, stale_after=1.5) as other:
        alive.acquire("a")
        alive.acquire("b")
        time.sleep(2.5)
        assert not other.acquire("a")
        assert not other.acquire("b")


def test_the_lease_of_a_dead_process_of_this_machine_is_taken_over_at_once(tmp_path: Path) -> None:
    machine = owner_tag().partition("-")[0]
    (tmp_path / "run").write_text(f"{machine}-{pid_of_a_dead_process()}-00000000")
    (tmp_path / "elsewhere").write_text(f"00000000-{pid_of_a_dead_process()}-00000000")
    with Leases(tmp_path) as live:
        assert live.acquire("run")
        assert not live.acquire("elsewhere")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not tell")
def test_a_process_that_has_ended_is_gone_though_its_parent_has_not_noticed() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    tag = f"{owner_tag().partition('-')[0]}-{process.pid}-00000000"
    assert not is_orphan(tag)
    process.kill()
    deadline = time.monotonic() + 20
    while not is_orphan(tag):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.communicate()
    assert is_orphan(tag)


def test_leases_and_files_of_dead_processes_are_swept_away_and_others_stay(tmp_path: Path) -> None:
    machine = owner_tag().partition("-")[0]
    dead = f"{machine}-{pid_of_a_dead_process()}-00000000"
    for name in (f".{dead}", "run"):
        (tmp_path / name).write_text(dead)
    (tmp_path / "kept").write_text(f"{machine}-{os.getpid()}-00000000")
    with Leases(tmp_path):
        assert not (tmp_path / f".{dead}").exists()
        assert not (tmp_path / "run").exists()
        assert (tmp_path / "kept").exists()


@pytest.mark.parametrize("tag", ["", "-", "x", "deadbeef-1-0", "{machine}-0-0", "{machine}-x-0", "{machine}"])
def test_what_does_not_name_a_dead_process_of_this_machine_is_no_orphan(tag: str) -> None:
    assert not is_orphan(tag.format(machine=owner_tag().partition("-")[0]))
    assert not is_orphan(owner_tag())


def test_whoever_comes_second_puts_the_lease_of_the_new_owner_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        Leases(tmp_path) as gone,
        Leases(tmp_path) as fast,
        Leases(tmp_path) as late,
        Leases(tmp_path) as third,
    ):
        gone.acquire("run")
        age(tmp_path, "run", 3600)
        rename = os.rename

        def overtaken(source: Path, target: Path) -> None:
            # Between the look and the rename of `late`, `fast` takes the lease over.
            monkeypatch.setattr(os, "rename", rename)
            assert fast.acquire("run")
            rename(source, target)

        monkeypatch.setattr(os, "rename", overtaken)
        assert not late.acquire("run")
        assert not third.acquire("run")
        fast.release("run")
        assert third.acquire("run")


RACER = """
import sys
from pathlib import Path
from universality.train.leases import Leases, held
held = Leases(Path(sys.argv[1]))
print("ready", flush=True)
input()
print(*[name for name in (f"run-{i}" for i in range(200)) if held.acquire(name)], flush=True)
input()
"""


def test_processes_that_race_for_leases_never_share_one(tmp_path: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(tmp_path)],
            cwd=Path(leases.__file__).resolve().parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]

    def tell_all() -> None:
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("\n")
            racer.stdin.flush()

    def hear_all() -> list[str]:
        return [racer.stdout.readline() for racer in racers if racer.stdout is not None]

    assert hear_all() == ["ready\n"] * 3
    tell_all()
    won = " ".join(hear_all()).split()
    tell_all()
    for racer in racers:
        racer.communicate()
        assert racer.returncode == 0
    assert sorted(won) == sorted(f"run-{i}" for i in range(200))


def test_without_hard_links_work_goes_on_unprotected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    with Leases(tmp_path) as one, Leases(tmp_path) as two:
        assert one.acquire("run")
        assert two.acquire("run")


def test_a_folder_that_cannot_be_written_is_an_error_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, data: str) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(StoreError, match="cannot be written") as caught:
        Leases(tmp_path)
    assert caught.value.got == "Read-only file system"


@pytest.mark.parametrize("name", ["../run", "/etc/passwd", "a/b", "", ".hidden", "run\n"])
def test_names_that_are_paths_are_refused(tmp_path: Path, name: str) -> None:
    with Leases(tmp_path) as held, pytest.raises(StoreError, match="cannot be a file name"):
        held.acquire(name)


def test_who_only_reads_sees_live_leases_and_nothing_else(tmp_path: Path) -> None:
    with Leases(tmp_path) as mine:
        mine.acquire("run")
        mine.acquire("old")
        (tmp_path / "gone").write_text(f"{owner_tag().partition('-')[0]}-{pid_of_a_dead_process()}-00000000")
        (tmp_path / "link").symlink_to("/dev/zero")
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "large").write_bytes(b"x" * 5000)
        assert held(tmp_path) == {"run", "old"}
        age(tmp_path, "run", 200)
        assert held(tmp_path) == set()
    assert held(tmp_path / "nothing") == set()
