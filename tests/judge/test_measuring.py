"""Measuring in workers: the same files as in this process, and a plugin that misbehaves fails its own cell."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from universality.errors import UniversalityError
from universality.judge import earlier, measuring
from universality.judge.measure import failed_measuring
from universality.judge.measuring import measure_all
from universality.judge.measuring_worker import decode_cell, encode_cell, limit_memory
from universality.plan.plan import Plan, PlannedCell, PlannedGroup
from universality.plugin import registry
from universality.plugin.phenomenon import Control
from universality.plugin.spec import Component, Recipe, RunSpec
from universality.plugin.trajectory import Series
from universality.store import environment
from universality.store.cells import CellRecord
from universality.store.store import Recording, Store
from universality.train.messages import WorkerSettings

PLUGIN = '''
import ctypes, os, signal, sys, threading, time
from dataclasses import dataclass

import numpy as np
from universality.plugin import Lines, Outcome, Phenomenon, Within, claim, per_seed, positive, register

CHART = Lines({"train_loss": "loss"}, "loss")


@register("acting")
@dataclass(frozen=True, kw_only=True)
class Acting(Phenomenon):
    """Twice the last value, after an act."""

    act: str = "none"
    title, version, strand, sense = "Acting", 1, "laws", "number"

    @per_seed
    def run(self, run):
        return run.trained(steps=10, lr=0.1)

    @claim(Within(low=0.0), runs=run, title="twice", chart=CHART)
    def twice(self, run):
        act = self.act
        marker = run.stored.folder.parents[1] / "tmp" / act
        tries = len(marker.read_text()) if marker.exists() else 0
        marker.parent.mkdir(exist_ok=True)
        marker.write_text("x" * (tries + 1))
        if act == "hang":
            time.sleep(600)
        elif act == "spin":
            while True:
                pass
        elif act == "segfault":
            print("about to read address 0")
            ctypes.string_at(0)
        elif act == "exit0":
            os._exit(0)
        elif act == "sysexit":
            sys.exit(0)
        elif act == "kill" or (act == "kill_once" and tries == 0):
            os.kill(os.getpid(), signal.SIGKILL)
        elif act == "interrupt":
            raise KeyboardInterrupt
        elif act == "print":
            while True:
                print("x" * 10_000)
        elif act == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif act == "memory":
            kept = [np.ones(1 << 24) for _ in range(10_000)]
        elif act == "close":
            os.closerange(3, 256)
        elif act == "talk":
            print("a word \\x1b[31m")
        elif act == "unwritable":
            return Outcome(effect=1.0, details={"\\ud800": 1.0})
        elif act == "raise":
            raise ZeroDivisionError("by zero")
        return np.float64(2 * run.series("toy.value").at(10))

    @claim(Within(low=0.0), runs=run, title="thrice", chart=CHART)
    def thrice(self, run):
        return 3 * run.series("toy.value").at(10) / 7

    controls = (positive("p", "a toy", architecture="mlp", task="digits"),)
'''

OBSERVED = {"toy": (0, 10)}


@pytest.fixture
def folder(tmp_path: Path, clean_registry: None) -> Path:
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "acting.py").write_text(PLUGIN)
    registry.load_plugins([folder])
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(tmp_path / "results")
    for seed in range(2):
        store.publish(
            Recording(
                spec=a_run(seed),
                state="done",
                series={"toy.value": Series(np.array([0, 10]), np.array([0.0, 1.0 + seed]))},
                arrays={},
                observed=OBSERVED,
                facts={},
                seconds=0.1,
            )
        )
    return store


def a_run(seed: int) -> RunSpec:
    return RunSpec(Component("net"), Component("points"), Recipe(steps=10, lr=0.1), seed)


def a_cell(act: str, task: str = "points", seeds: tuple[int, ...] = (0,)) -> PlannedCell:
    groups = tuple(
        PlannedGroup(f"s{seed}", (f"s{seed}",), {"run": a_run(seed).id}, {"run": OBSERVED}, "run", None)
        for seed in seeds
    )
    return PlannedCell(registry.resolve("phenomenon", f"acting[act={act}]"), "net", task, groups)


def measure(
    cells: list[PlannedCell], store: Store, folder: Path, slots: int = 2, timeout_s: float = 60.0
) -> list[CellRecord]:
    settings = WorkerSettings(
        store_root=store.layout.root, device="cpu", plugins=(str(folder),), data_root=store.layout.root
    )
    return measure_all(Plan(cells), store, settings, slots=slots, timeout_s=timeout_s)


def saved(store: Store) -> set[bytes]:
    """The lines of all that was measured, but for what could not be."""
    lines = store.layout.measured.read_bytes().splitlines()
    return {record for line in lines for record in line.split(b"\t")[2:]}


def test_workers_leave_the_records_and_lines_of_this_process_in_the_order_of_the_plan(
    store: Store, folder: Path
) -> None:
    cells = [a_cell("none", f"points{i}", (0, 1)) for i in range(5)] + [
        a_cell("raise"),
        a_cell("gone", "p", (7,)),
    ]
    here = measure(cells, store, folder, slots=0)
    written = saved(store)
    assert {r.groups[0].state for r in here} == {"done", "failed", "missing"}
    kept = {r.line() for r in here if r.groups[0].state != "failed" and "raise" not in r.variant}
    assert kept == {line + b"\n" for line in written}, (
        "a cell of which a claim could not be measured is tried again"
    )
    store.layout.measured.unlink()
    assert measure(cells, store, folder, slots=2) == here
    assert saved(store) == written
    assert [(r.task, r.claim_name) for r in here[:3]] == [
        ("points0", "twice"),
        ("points0", "thrice"),
        ("points1", "twice"),
    ]


def test_a_cell_is_measured_again_where_something_changed_that_it_follows_from(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [a_cell("none"), a_cell("late", seeds=(7,)), a_cell("raise")]

    def attempts(act: str) -> int:
        return len((store.layout.tmp / act).read_text())

    first = measure(cells, store, folder, slots=0)
    assert [record.groups[0].state for record in first[::2]] == ["done", "missing", "failed"]
    assert measure(cells, Store.open(store.layout.root), folder, slots=0) == first
    # What could not be measured is tried again.
    assert (attempts("none"), attempts("raise")) == (1, 2)
    written, path = saved(store), store.layout.measured
    path.write_bytes(path.read_bytes().replace(b'"effect":2.0', b'"effect":9.0'))
    assert measure(cells, store, folder, slots=0) == first
    assert (attempts("none"), saved(store)) == (2, written)
    late = Recording(
        spec=a_run(7),
        state="done",
        series={"toy.value": Series(np.array([0, 10]), np.array([0.0, 8.0]))},
        arrays={},
        observed=OBSERVED,
        facts={},
        seconds=0.1,
    )
    store.publish(late)
    assert measure(cells, Store.open(store.layout.root), folder, slots=0)[2].groups[0].effect == 16.0
    assert (attempts("none"), attempts("late")) == (2, 1)
    monkeypatch.setattr(earlier, "code_digest", lambda: "edited")
    measure(cells, store, folder, slots=0)
    assert (attempts("none"), attempts("late")) == (3, 2)
    store.layout.measured.write_text("{")
    measure(cells, store, folder, slots=0)
    assert (attempts("none"), attempts("late")) == (4, 3)


def test_what_was_measured_before_the_command_ended_is_not_measured_again(store: Store, folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        measure([a_cell("none"), a_cell("interrupt"), a_cell("none", "p2")], store, folder, slots=0)
    assert len(saved(store)) == 2, "the claims of the first cell"
    measure([a_cell("none"), a_cell("none", "p2")], Store.open(store.layout.root), folder, slots=0)
    assert len((store.layout.tmp / "none").read_text()) == 2, "once for each of the two"
    assert len(saved(store)) == 4


@pytest.mark.parametrize(
    ("act", "told", "attempts"),
    [
        ("hang", "killed after 1.", 1),
        ("spin", "the limit is 1.5 s", 1),
        ("stop", "the limit is 1.5 s", 1),
        ("segfault", "killed by SIGSEGV; it printed last: about to read address 0", 2),
        ("exit0", "exited with code 0", 2),
        ("kill", "killed by SIGKILL", 2),
        ("interrupt", "KeyboardInterrupt", 2),
        ("print", "printing more than 1 MiB", 1),
    ],
)
def test_a_plugin_that_misbehaves_fails_its_own_cell_and_says_what_it_did(
    store: Store, folder: Path, act: str, told: str, attempts: int
) -> None:
    records = measure(
        [a_cell("none", "p1"), a_cell(act, seeds=(0, 7)), a_cell("none", "p2")], store, folder, timeout_s=1.5
    )
    good, bad = [r for r in records if r.task != "points"], [r for r in records if r.task == "points"]
    assert [r.groups[0].outcome.effect for r in good if r.groups[0].outcome] == [2.0, 3 / 7, 2.0, 3 / 7]
    assert [r.claim_name for r in bad] == ["twice", "thrice"]
    for record in bad:
        lost, missing = record.groups
        assert (lost.state, lost.outcome, missing.state) == ("failed", None, "missing")
        assert lost.problem is not None
        assert lost.problem.stage == "measuring"
        assert lost.problem.text.startswith("measure() of phenomenon 'acting': ")
        assert told in lost.problem.text
        assert len(lost.problem.text) <= 2000
    assert len(failed_measuring(records)) == 2
    assert saved(store) == {r.line().removesuffix(b"\n") for r in good}
    assert len((store.layout.root / "tmp" / act).read_text()) == attempts


def test_a_plugin_that_eats_memory_gets_an_error_of_its_own(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "memory_share", lambda slots: 3 << 30)
    records = measure([a_cell("memory"), a_cell("none", "p1")], store, folder, slots=1)
    problem = records[0].groups[0].problem
    assert problem is not None
    assert "MemoryError" in problem.text
    assert records[2].groups[0].outcome is not None


def test_a_worker_that_something_else_killed_is_given_a_second_attempt(store: Store, folder: Path) -> None:
    (cell,) = {r.groups[0].state for r in measure([a_cell("kill_once")], store, folder)}
    assert cell == "done"


def test_what_a_plugin_prints_is_shown_without_its_escapes(
    store: Store, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    measure([a_cell("talk")], store, folder)
    assert "acting[act=talk], net, points printed:\na word \\u001b[31m\n" in capfd.readouterr().err


@pytest.mark.parametrize("slots", [0, 1])
@pytest.mark.parametrize(
    ("act", "told"),
    [
        ("sysexit", r"acting\.py:\d+: it called sys\.exit\(0\)"),
        ("raise", r"acting\.py:\d+: ZeroDivisionError: by zero"),
        ("unwritable", r"acting\.py:\d+: MeasurementError: its outcome cannot be stored"),
    ],
)
def test_what_python_can_tell_fails_its_own_claim_and_names_the_line(
    store: Store, folder: Path, act: str, told: str, slots: int
) -> None:
    records = measure([a_cell(act), a_cell("none", "p1")], store, folder, slots=slots)
    assert [r.groups[0].state for r in records] == ["failed", "done", "done", "done"]
    problem = records[0].groups[0].problem
    assert problem is not None
    assert re.match(told, problem.text)
    assert str(folder) not in problem.text
    assert [CellRecord.read(record.line()) for record in records] == records


def test_a_plugin_that_a_worker_cannot_find_ends_the_command_with_the_reason(
    store: Store, folder: Path
) -> None:
    cell = a_cell("none")
    (folder / "acting.py").unlink()
    with pytest.raises(UniversalityError, match="unknown phenomenon 'acting'"):
        measure([cell], store, folder)


def test_a_cell_crosses_to_a_worker_with_its_plugins_by_name_and_parameters(folder: Path) -> None:
    phenomenon = registry.resolve("phenomenon", "acting[act=raise]")
    control = Control("c", "positive", phenomenon, "net", "points", {"twice": frozenset({"present"})}, "")
    cell = PlannedCell(phenomenon, "net", "points", a_cell("none").groups, control=control)
    data = encode_cell(cell)
    assert b"universality_plugins" not in data
    assert decode_cell(data) == cell


def test_a_limit_of_memory_is_no_more_than_the_one_there_is() -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_DATA)
    try:
        limit_memory(None)
        assert resource.getrlimit(resource.RLIMIT_DATA) == before
        limit_memory(1 << 40)
        assert resource.getrlimit(resource.RLIMIT_DATA) == (1 << 40, before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def test_workers_share_the_memory_and_none_gets_too_little_to_work(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = {"SC_PAGE_SIZE": 1 << 12, "SC_PHYS_PAGES": 10 << 18}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    monkeypatch.setattr(environment, "_CGROUP", Path("/nowhere"))
    assert [measuring.memory_share(slots) for slots in (1, 2, 64)] == [9 << 30, 9 << 29, 4 << 30]
    pages["SC_PHYS_PAGES"] = 1 << 18
    assert measuring.memory_share(8) == int(0.9 * (1 << 30))


def test_a_limit_of_the_container_counts_where_it_is_less(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 1 << 12, "SC_PHYS_PAGES": 100 << 18}.__getitem__)
    monkeypatch.setattr(environment, "_CGROUP", tmp_path / "memory.max")
    for text, expected in ((f"{20 << 30}", 18 << 30), ("max", 90 << 30)):
        (tmp_path / "memory.max").write_text(text + "\n")
        assert measuring.memory_share(1) == expected
