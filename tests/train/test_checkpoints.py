"""Checkpoints in a store: taken up by the next worker, and never believed where they are not what they seem."""

from __future__ import annotations

import math
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import torch

from universality.errors import StoreError
from universality.plan.plan import Job
from universality.plan.runs_file import PlannedRun
from universality.plugin import registry
from universality.plugin.registry import component
from universality.plugin.spec import Recipe, RunSpec
from universality.store.checkpoints import read_header
from universality.store.store import Store
from universality.store.untrusted import UntrustedFile
from universality.train import checkpoints, worker
from universality.train.checkpoints import Checkpoints, decode, encode
from universality.train.engine import loop_steps, saving
from universality.train.engine.member import Member
from universality.train.engine.snapshot import Snapshot
from universality.train.executors import local
from universality.train.executors.local import run_all
from universality.train.interruption import Stopped
from universality.train.leases import Leases
from universality.train.messages import WorkerSettings

RECIPE = Recipe(steps=40, lr=0.05, momentum=0.9, batch_size=8)


def planned(seed: int = 0, recipe: Recipe = RECIPE, width: int = 5) -> PlannedRun:
    parts = (
        registry.resolve("architecture", f"mlp[width={width},depth=1]"),
        registry.resolve("task", "digits[subset=20]"),
    )
    spec = RunSpec(component(parts[0]), component(parts[1]), recipe, seed)
    return PlannedRun(spec=spec, observe={"accuracy": (0, 20, 40), "displacement": (10, 40)})


class Bench:
    """A store, and one beside it in which nothing is interrupted."""

    def __init__(self, folder: Path) -> None:
        self.store = Store.create(folder / "r")
        self.whole = Store.create(folder / "whole")
        self.data = folder

    def train(self, *runs: PlannedRun, store: Store | None = None) -> list[str]:
        store = store or self.store
        settings = WorkerSettings(store_root=store.layout.root, device="cpu", plugins=(), data_root=self.data)
        return [reply.state for reply in worker.replies(runs, store, settings)]

    def path(self, run: PlannedRun) -> Path:
        return self.store.layout.checkpoint(run.spec.id)

    def resumed_at(self, run: PlannedRun) -> list[int]:
        stored = self.store.trajectory(run.spec.id, run.observe)
        assert stored is not None
        return list(stored.facts.get("resumed_at", ()))

    def log(self, run: PlannedRun) -> str:
        return (self.store.layout.recording(run.spec.id, 1) / "log.txt").read_text()

    def check(self, *runs: PlannedRun) -> None:
        """What is stored is, byte for byte, what an uninterrupted worker stores."""
        for run in runs:
            if not self.whole.covers(run.spec.id, run.observe):
                self.train(run, store=self.whole)
            files = [
                s.layout.recording(run.spec.id, 1) / "arrays.safetensors" for s in (self.store, self.whole)
            ]
            assert files[0].read_bytes() == files[1].read_bytes()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def interrupt(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Train runs until each has a checkpoint after so many updates, and no further."""
    kept = Checkpoints.keep

    def until(step: int, *runs: PlannedRun) -> None:
        left = {run.spec.id for run in runs}

        def keep(self: Checkpoints, member: Member, snapshot: Snapshot) -> None:
            if snapshot.step == step:
                kept(self, member, snapshot)
                left.discard(member.spec.id)
                if not left:
                    raise Stopped

        with monkeypatch.context() as patch:
            patch.setattr(saving, "EVERY", 0.0)
            patch.setattr(loop_steps, "TURN", 0.0)
            patch.setattr(Checkpoints, "keep", keep)
            with pytest.raises(Stopped):
                bench.train(*runs)
        assert all(bench.path(run).exists() for run in runs)

    return until


def test_a_run_goes_on_from_its_checkpoint(bench: Bench, interrupt: Callable[..., None]) -> None:
    run = planned()
    interrupt(17, run)
    header = read_header(bench.path(run))
    assert (header.step, header.spec, header.observed) == (17, run.spec, run.observe)
    assert bench.train(run) == ["done"]
    assert bench.resumed_at(run) == [17]
    bench.check(run)


def test_members_of_a_stack_go_on_from_where_each_was(bench: Bench, interrupt: Callable[..., None]) -> None:
    runs = [planned(seed) for seed in range(4)]
    interrupt(17, *runs[:2])
    interrupt(30, runs[2])
    assert bench.train(*runs) == ["done"] * 4
    assert [bench.resumed_at(run) for run in runs] == [[17], [17], [30], []]
    bench.check(*runs)


def test_a_member_is_published_as_it_ends_while_the_others_train(bench: Bench) -> None:
    wild, *others = (planned(seed, replace(RECIPE, lr=lr)) for seed, lr in enumerate((1e25, 0.05, 0.05)))
    settings = WorkerSettings(
        store_root=bench.store.layout.root, device="cpu", plugins=(), data_root=bench.data
    )
    replies = worker.replies([wild, *others], bench.store, settings)
    first = next(replies)
    assert (first.run_id, first.state) == (wild.spec.id, "diverged")
    assert bench.store.run_ids() == [wild.spec.id]
    assert [reply.state for reply in replies] == ["done", "done"]
    bench.check(wild, *others)


def header_with(data: bytes, **changes: object) -> bytes:
    header, tensors = decode(data)
    return encode(msgspec.structs.replace(header, **changes), tensors)


def other_shape(data: bytes) -> bytes:
    header, tensors = decode(data)
    return encode(header, {name: torch.zeros(2) for name in tensors})


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("executed",)


def torch_file(path: Path) -> None:
    torch.save({"header": Bomb()}, path)


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda data: b"", "is no checkpoint"),
    "truncated": (lambda data: data[:-100], "is no checkpoint"),
    "a flipped bit": (lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:], "another SHA-256"),
    "a pickle": (lambda data: pickle.dumps(Bomb()), "is no checkpoint"),
    "no header": (lambda data: encode_without_header(), "is no checkpoint"),
    "another version": (lambda data: encode_raw(data, b'"version": 1', b'"version": 2'), "version"),
    "other code": (lambda data: header_with(data, code="0" * 64), "other code"),
    "another run": (lambda data: header_with(data, spec=planned(9).spec), "is of the run"),
    "another request": (lambda data: header_with(data, observed={"accuracy": (0,)}), "observed otherwise"),
    "other shapes": (other_shape, "was not used"),
    "nonsense": (lambda data: header_with(data, run={"dict": {"weights": 5}}), "was not used"),
    "deep nonsense": (lambda data: header_with(data, run=deep(39)), "was not used"),
    "too deep": (lambda data: header_with(data, run=deep(100)), "was not used"),
    "another step": (lambda data: header_with(data, step=3), "another number of updates"),
    "a step beyond the end": (lambda data: header_with(data, step=10**9), "another number of updates"),
}


def deep(levels: int) -> object:
    value: object = None
    for _ in range(levels):
        value = {"list": [value]}
    return value


def encode_without_header() -> bytes:
    tensors = {"0": torch.zeros(1)}
    told = torch.frombuffer(bytearray(checkpoints._sha256(tensors)), dtype=torch.uint8)
    return bytes(checkpoints.safetensors.torch.save({**tensors, "sha256": told}))


def encode_raw(data: bytes, old: bytes, new: bytes) -> bytes:
    """The same with an edited header, whose SHA-256 is right."""
    header, tensors = decode(data)
    text = header.encode()
    assert old in text
    named = {**tensors, "header": torch.frombuffer(bytearray(text.replace(old, new)), dtype=torch.uint8)}
    told = torch.frombuffer(bytearray(checkpoints._sha256(named)), dtype=torch.uint8)
    return bytes(checkpoints.safetensors.torch.save({**named, "sha256": told}))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A checkpoint."""
    bench = Bench(tmp_path_factory.mktemp("written"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saving, "EVERY", 0.0)
        patch.setattr(loop_steps, "TURN", 0.0)
        data: list[bytes] = []
        patch.setattr(Store, "write", lambda store, path, content: data.append(content))
        bench.train(planned())
    return data[20]


@pytest.mark.parametrize("kind", DAMAGE)
def test_what_is_not_the_checkpoint_of_this_run_is_left_unread_and_noted(
    bench: Bench, written: bytes, kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    run, (damage, note) = planned(), DAMAGE[kind]
    bench.path(run).write_bytes(damage(written))
    assert bench.train(run) == ["done"]
    assert bench.resumed_at(run) == []
    assert "the checkpoint was not used: " in bench.log(run)
    assert note in bench.log(run)
    assert not (tmp_path / "executed").exists()
    bench.check(run)


def test_a_checkpoint_that_would_be_too_large_is_not_written(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "EVERY", 0.0)
    monkeypatch.setattr(checkpoints, "MAX_BYTES", 100)
    bench.train(planned())
    assert "no checkpoint: it would have " in bench.log(planned())


@pytest.mark.parametrize("kind", ["a link", "a folder", "of torch", "too large"])
def test_what_is_no_plain_file_is_left_unread(
    bench: Bench, written: bytes, kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    run = planned()
    if kind == "a link":
        (tmp_path / "elsewhere").write_bytes(written)
        bench.path(run).symlink_to(tmp_path / "elsewhere")
    elif kind == "a folder":
        bench.path(run).mkdir()
    elif kind == "of torch":
        torch_file(bench.path(run))
    else:
        bench.path(run).write_bytes(written)
        monkeypatch.setattr(checkpoints, "MAX_BYTES", len(written) - 1)
    assert bench.train(run) == ["done"]
    assert (bench.resumed_at(run), (tmp_path / "executed").exists()) == ([], False)
    assert "the checkpoint was not used: it " in bench.log(run)


def test_a_checkpoint_is_of_one_device_and_engine(bench: Bench, written: bytes) -> None:
    bench.path(planned()).write_bytes(written)
    for device, engine in (("cuda", "auto"), ("cpu", "fused")):
        assert Checkpoints(bench.store, torch.device(device), engine).load(planned()) is None  # type: ignore[arg-type]
    assert Checkpoints(bench.store, torch.device("cpu"), "auto").load(planned()) is not None


def test_a_run_whose_checkpoints_cannot_be_written_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise StoreError("no space is left for results")

    monkeypatch.setattr(saving, "EVERY", 0.0)
    monkeypatch.setattr(Store, "write", full)
    run = planned()
    assert bench.train(run) == ["done"]
    assert "no checkpoint: no space is left for results" in bench.log(run)


# ---------------------------------------------------------------------------------- what is left behind


def test_checkpoints_that_may_still_be_of_use_survive_the_opening_of_the_store(
    bench: Bench, written: bytes
) -> None:
    run, root = planned(), bench.store.layout.root

    def left() -> bool:
        Store.open(root, writable=True)
        return bench.path(run).exists()

    bench.path(run).write_bytes(written)
    assert left(), "of a run that is not stored"
    bench.path(run).write_bytes(b"damaged")
    assert left(), "of another version, perhaps"
    bench.path(run).write_bytes(written)
    less = PlannedRun(spec=run.spec, observe={"accuracy": (0,)})
    bench.train(less)
    assert left(), "of a run that is stored with less"
    with Leases(bench.store.layout.leases) as leases:
        leases.acquire(run.spec.id)
        bench.train(run)
        os.utime(bench.path(run), (0, 0))
        assert left(), "of a run that is held"
    assert not left(), "of a run that is stored"


def test_a_checkpoint_that_nobody_takes_up_is_deleted_after_a_month(bench: Bench) -> None:
    paths = [bench.path(planned(seed)) for seed in range(2)]
    for path, days in zip(paths, (29, 31), strict=True):
        path.write_bytes(b"")
        os.utime(path, (time.time() - days * 86_400,) * 2)
    Store.open(bench.store.layout.root, writable=True)
    assert [path.exists() for path in paths] == [True, False]


def test_a_run_that_is_trained_anew_has_no_checkpoint(bench: Bench, written: bytes) -> None:
    run, other = planned(), planned(1)
    for each in (run, other):
        bench.path(each).write_bytes(written)
    bench.store.discard({run.spec.id})
    assert (bench.path(run).exists(), bench.path(other).exists()) == (False, True)


def test_a_header_that_is_none_is_refused(tmp_path: Path) -> None:
    for data in (b"", b"\xff" * 100, encode_without_header()):
        (tmp_path / "x").write_bytes(data)
        with pytest.raises(UntrustedFile):
            read_header(tmp_path / "x")


# ---------------------------------------------------------------------------------- processes

SAVING_WORKER = """
import os, signal
from universality.train import checkpoints, worker
from universality.train.engine import loop_steps, pulse, saving

def prepare(settings):
    saving.EVERY, saving.WORTH, loop_steps.TURN = EVERY, 0.0, 0.0
    marker = settings.store_root.parent / "died"
    keep = checkpoints.Checkpoints.keep

    def keep_and_die(self, member, snapshot):
        keep(self, member, snapshot)
        if EVERY == 0 and snapshot.step == 17 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoints.Checkpoints.keep = keep_and_die
    advance = loop_steps.LoopSteps.advance

    def advance_and_tell(self, begin, end):
        (settings.store_root.parent / "training").touch()
        return advance(self, begin, end)

    loop_steps.LoopSteps.advance = advance_and_tell
    return worker.prepare(settings)
"""


def a_job(run: PlannedRun) -> Job:
    return Job(run.spec, dict(run.observe), 1.0, stack=4)


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "code").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "code")
    yield tmp_path / "code"
    sys.modules.pop("saving_worker", None)


def write_worker(code: Path, every: float) -> None:
    """In the file, since the process that workers are forked from may run with an earlier environment."""
    (code / "saving_worker.py").write_text(f'EVERY = float("{every}")\n{SAVING_WORKER}')


@pytest.mark.slow
def test_what_a_killed_worker_had_saved_is_taken_up_by_the_next(bench: Bench, code: Path) -> None:
    write_worker(code, every=0.0)
    runs = [planned(seed) for seed in range(2)]
    settings = WorkerSettings(
        store_root=bench.store.layout.root, device="cpu", plugins=(), data_root=bench.data
    )
    states = run_all(
        [a_job(run) for run in runs],
        settings,
        slots=1,
        timeout_s=600,
        on_event=lambda event: None,
        target="saving_worker:prepare",
    )
    assert set(states.values()) == {"done"}
    # The first of the two had been written when its stack was killed.
    assert sorted(bench.resumed_at(run) for run in runs) == [[16], [17]]
    bench.check(*runs)
    assert [*bench.store.layout.tmp.iterdir(), *bench.store.layout.leases.iterdir()] == []


PARENT = """
import sys
from pathlib import Path
from universality.plan.runs_file import PlannedRun
from tests.train.test_checkpoints import a_job, planned, LONG
from universality.train.executors import supervisor
from universality.train.executors.local import run_all
from universality.train.messages import WorkerSettings

if __name__ == "__main__":
    from universality.plugin import registry
    registry.load_plugins()
    supervisor.WORTH = 0.0
    root = Path(sys.argv[1])
    settings = WorkerSettings(store_root=root, device="cpu", plugins=(), data_root=root.parent)
    run_all([a_job(planned(0, LONG, width=300))], settings, slots=1, timeout_s=600, on_event=lambda event: None,
            target="saving_worker:prepare")
"""

LONG = replace(RECIPE, steps=10_000)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_is_asked_to_end_saves_within_seconds_and_the_next_goes_on(
    bench: Bench, code: Path, tmp_path: Path, number: signal.Signals
) -> None:
    write_worker(code, every=math.inf)
    script = code / "parent.py"
    script.write_text("import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n" + PARENT)
    repository = str(Path(local.__file__).resolve().parents[3])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([repository, str(code)])}
    command = [sys.executable, str(script), str(bench.store.layout.root)]
    parent = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    run = planned(0, LONG, width=300)
    deadline = time.monotonic() + 120
    while not (tmp_path / "training").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(3)
    parent.send_signal(number)
    start = time.monotonic()
    parent.communicate(timeout=60)
    assert time.monotonic() - start < 15
    assert parent.returncode == {signal.SIGTERM: 143, signal.SIGINT: -signal.SIGINT}[number]
    assert not (bench.store.layout.leases / run.spec.id).exists()
    step = read_header(bench.path(run)).step
    assert 0 < step < LONG.steps
    subprocess.run(command, env=environment, check=True)
    assert bench.resumed_at(run) == [step]
    assert not bench.path(run).exists()
    bench.check(run)
