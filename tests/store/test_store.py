"""The store: nothing finished is lost, nothing half-done is counted, nothing damaged is believed."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import platform
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from numpy.testing import assert_array_equal

from tests.stored import edit_line
from universality.errors import StoreError
from universality.plugin.bounds import Within
from universality.plugin.outcome import Check, Outcome
from universality.plugin.spec import Component, Recipe, RunSpec
from universality.plugin.trajectory import Recorded, Series
from universality.store import files, layout, measurements
from universality.store.cells import CellRecord, GroupRecord
from universality.store.environment import commit
from universality.store.files import decode_json, encode_json
from universality.store.layout import SCHEMA_VERSION
from universality.store.owner import owner_tag
from universality.store.recording import DamagedRecordingError
from universality.store.store import Recording, Store
from universality.store.untrusted import UntrustedFile

REPOSITORY = Path(layout.__file__).resolve().parents[2]


def a_spec(seed: int = 0) -> RunSpec:
    return RunSpec(Component("mlp", (("width", 8),)), Component("xor"), Recipe(steps=10, lr=0.1), seed)


def a_recording(**changes: Any) -> Recording:
    default = Recording(
        spec=a_spec(),
        state="done",
        series={
            "train_loss": Series(np.arange(3), np.array([1.0, np.nan, -np.inf])),
            "sharpness[top=2/3].value": Series(np.array([0, 10]), np.array([2.0, 3.0])),
        },
        arrays={
            ("taps.first", 0): np.arange(6, dtype=np.float32).reshape(2, 3).T,
            ("taps.first", 10): np.float32(7.0) * np.ones((), np.float32),
            ("labels", 0): np.array([True, False]),
        },
        observed={"sharpness[top=2/3]": (0, 10), "taps": (0, 10)},
        facts={"lr": 0.1, "parameters": np.int64(33), "initial_sharpness": math.nan, "taps": ["first"]},
        seconds=1.5,
        log="line\n",
    )
    return replace(default, **changes)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "results")


def reopened(store: Store) -> Store:
    return Store.open(store.layout.root)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_recording_that_came_as_bytes_is_published_as_it_was(store: Store, tmp_path: Path) -> None:
    recording = a_recording()
    there = Store.create(tmp_path / "there").publish(recording)
    here = store.adopt(recording.spec.id, files_of(there), recording.observed)
    assert here == store.layout.recording(recording.spec.id, 1)
    assert files_of(here) == files_of(there)
    assert store.covers(recording.spec.id, recording.observed)
    assert store.adopt(recording.spec.id, files_of(there), recording.observed) == here
    assert list(store.layout.tmp.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arrays.safetensors": None}, "has the files"),
        ({"../../escaped": b"x"}, "has the files"),
        ({"/escaped": b"x"}, "has the files"),
        ({"log.txt": b"another\n"}, "sha256"),
        ({"manifest.json": b"{}"}, "manifest.json"),
        ({"log.txt": bytes((64 << 20) + 1)}, "bytes, at most"),
        ("another run", "holds the run"),
        ("observed less", "not observed as was asked"),
    ],
)
def test_bytes_that_are_no_whole_recording_of_the_run_leave_nothing(
    store: Store, tmp_path: Path, change: Any, message: str
) -> None:
    recording = a_recording()
    files = files_of(Store.create(tmp_path / "there").publish(recording))
    run_id, observed = recording.spec.id, dict(recording.observed)
    if change == "another run":
        run_id = a_spec(1).id
    elif change == "observed less":
        observed["taps"] = (0, 5, 10)
    else:
        files = {name: data for name, data in (files | change).items() if data is not None}
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DamagedRecordingError, match=message):
        store.adopt(run_id, files, observed)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_failure_names_the_machine_on_which_it_happened(store: Store) -> None:
    store.fail("mine", "crashed", "gone", host="there\ud800")
    store.fail("mine", "crashed", "gone")
    assert [failure.host for failure in store.failures("mine")] == ["there\\ud800", platform.node()]


def run_folders(store: Store) -> list[str]:
    return sorted(path.name for path in store.layout.runs.iterdir())


# Publishing and reading


def test_a_published_run_is_read_back_exactly(store: Store) -> None:
    recording = a_recording()
    folder = store.publish(recording, device="cpu")
    assert folder == store.layout.runs / recording.spec.id
    stored = reopened(store).trajectory(recording.spec.id, recording.observed)
    assert stored is not None
    run: Recorded = stored
    assert run.spec == recording.spec
    assert run.state == "done"
    assert stored.seconds == 1.5
    for name, series in recording.series.items():
        assert_array_equal(run.series(name).steps, series.steps)
        assert_array_equal(run.series(name).values, series.values)
        assert run.series(name).steps.dtype == np.int64
        assert run.series(name).values.dtype == np.float64
    for (name, step), array in recording.arrays.items():
        assert_array_equal(run.array(name, step), array)
        assert run.array(name, step).dtype == array.dtype
        assert run.array(name, step).shape == array.shape
    assert run.steps("taps.first") == (0, 10)
    assert run.steps("train_loss") == (0, 1, 2)
    assert run.steps("nothing") == ()
    # Of a probe, where it left anything.
    assert run.steps("taps") == (0, 10)
    assert run.steps("tap") == ()
    assert run.facts["parameters"] == 33
    assert math.isnan(run.facts["initial_sharpness"])
    assert (folder / "log.txt").read_text() == "line\n"
    assert json.loads((folder / "environment.json").read_text())["device"] == "cpu"
    assert list(store.layout.tmp.iterdir()) == []


def test_names_that_were_not_recorded_are_key_errors(store: Store) -> None:
    store.publish(a_recording())
    (run,) = store.recordings(a_spec().id)
    with pytest.raises(
        KeyError, match=r"no series 'loss' was recorded, only sharpness\[top=2/3\]\.value, train_loss"
    ):
        run.series("loss")
    with pytest.raises(KeyError, match=r"holds no array/taps\.first/5"):
        run.array("taps.first", 5)


def test_every_file_of_a_run_is_strict_json_or_safetensors(store: Store) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    folder = store.publish(a_recording())
    assert {path.name for path in folder.iterdir()} == {*layout.HASHED, "manifest.json"}
    for path in folder.glob("*.json"):
        json.loads(path.read_text(), parse_constant=refuse)


def test_a_request_is_covered_only_when_every_address_and_step_was_observed(store: Store) -> None:
    store.publish(a_recording(observed={"a": (0, 5, 10), "b": (10,)}))
    run_id = a_spec().id
    assert store.covers(run_id, {})
    assert store.covers(run_id, {"a": [0, 10]})
    assert store.covers(run_id, {"a": [5], "b": [10]})
    assert not store.covers(run_id, {"a": [0, 1]})
    assert not store.covers(run_id, {"b": [0]})
    assert not store.covers(run_id, {"c": []})
    assert not store.covers(a_spec(seed=1).id, {})


def test_a_second_recording_is_dropped_unless_it_observed_something_new(store: Store) -> None:
    run_id = a_spec().id
    first = store.publish(a_recording(observed={"a": (0, 10)}))
    before = {path.name: path.read_bytes() for path in first.iterdir()}
    assert store.publish(a_recording(observed={"a": (10,)}, log="again")) == first
    assert store.publish(a_recording(observed={"b": (10,)})).name == f"{run_id}.r2"
    # Both parts are stored, but no single recording answers a request for both.
    assert store.publish(a_recording(observed={"a": (0,), "b": (10,)})).name == f"{run_id}.r3"
    assert store.publish(a_recording(observed={"b": (10,)}, log="again")).name == f"{run_id}.r2"
    assert {path.name: path.read_bytes() for path in first.iterdir()} == before
    assert store.covers(run_id, {"a": (0,), "b": (10,)})
    assert store.run_ids() == [run_id]
    assert list(store.layout.tmp.iterdir()) == []


def test_a_diverged_run_counts_as_observed_though_it_stopped_early(store: Store) -> None:
    store.publish(a_recording(state="diverged", series={}, arrays={}))
    run = store.trajectory(a_spec().id, a_recording().observed)
    assert run is not None
    assert run.state == "diverged"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state": "crashed"}, "leaves no recording"),
        ({"series": {"x": Series(np.array([0, 1]), np.array([1.0]))}}, "2 steps, 1 values"),
        ({"series": {"x": Series(np.array([1, 0]), np.array([1.0, 2.0]))}}, "do not increase"),
        ({"series": {"x": Series(np.array([-1, 0]), np.array([1.0, 2.0]))}}, "do not increase from 0"),
        ({"series": {"x\x1b[31m": Series(np.array([0]), np.array([1.0]))}}, "something cannot be seen"),
        ({"series": {"": Series(np.array([0]), np.array([1.0]))}}, "something cannot be seen"),
        ({"arrays": {("x\u202e", 0): np.zeros(2)}}, "something cannot be seen"),
    ],
)
def test_malformed_recordings_are_refused_before_anything_is_written(
    store: Store, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        store.publish(a_recording(**changes))
    assert run_folders(store) == []
    assert list(store.layout.tmp.iterdir()) == []


PUBLISHER = """
import os, sys, time
sys.path.insert(0, {tests!r})
import numpy as np
from universality.plugin.trajectory import Series
from universality.plugin.spec import Component, Recipe, RunSpec
from universality.store.store import Recording, Store
store = Store.open({root!r})
spec = RunSpec(Component("mlp", (("width", 8),)), Component("xor"), Recipe(steps=10, lr=0.1), 0)
loss = Series(np.arange(1000), np.random.rand(1000))
recording = Recording(spec=spec, state="done", series={{"loss": loss}}, arrays={{}},
                      observed={{"a": (0,)}}, facts={{}}, seconds=0.0)
"""


def start(store: Store, tail: str) -> subprocess.Popen[str]:
    code = PUBLISHER.format(tests="", root=str(store.layout.root)) + textwrap.dedent(tail)
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_processes_that_publish_the_same_run_at_once_leave_one_folder(store: Store) -> None:
    racers = [start(store, "print('ready', flush=True); input(); store.publish(recording)") for _ in range(3)]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    for racer in racers:
        racer.communicate(timeout=30)
        assert racer.returncode == 0
    assert run_folders(store) == [a_spec().id]
    assert store.covers(a_spec().id, {"a": (0,)})
    assert store.damaged == []
    assert list(store.layout.tmp.iterdir()) == []


def test_a_rename_lost_to_another_process_drops_ours(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    other, rename = reopened(store), os.rename

    def overtaken(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "rename", rename)
        other.publish(a_recording(log="first"))
        rename(source, target)

    monkeypatch.setattr(os, "rename", overtaken)
    folder = store.publish(a_recording(log="second"))
    assert run_folders(store) == [a_spec().id]
    assert (folder / "log.txt").read_text() == "first"


@pytest.mark.parametrize("stop", ["write", "rename"])
def test_publishing_killed_before_the_rename_leaves_nothing_that_counts(store: Store, stop: str) -> None:
    killed = start(
        store,
        f"""
        import signal
        from universality.store import store as module
        def die(*arguments): os.kill(os.getpid(), signal.SIGKILL)
        if {stop!r} == "rename":
            os.rename = die
        else:
            write = module.write_durably
            module.write_durably = lambda path, data: die() if path.name == "log.txt" else write(path, data)
        store.publish(recording)
        """,
    )
    killed.communicate(timeout=30)
    assert killed.returncode == -signal.SIGKILL
    (garbage,) = store.layout.tmp.iterdir()
    assert (garbage / "arrays.safetensors").exists()
    assert run_folders(store) == []
    assert not reopened(store).covers(a_spec().id, {})
    Store.open(store.layout.root, writable=True)
    assert list(store.layout.tmp.iterdir()) == []


def test_opening_for_writing_keeps_what_live_processes_have_in_work(store: Store) -> None:
    mine, theirs, old = (store.layout.tmp / name for name in (owner_tag(), "deadbeef-1-0", "deadbeef-2-0"))
    for folder in (mine, theirs, old):
        folder.mkdir()
    os.utime(old, (0, 0))
    Store.open(store.layout.root, writable=True)
    assert sorted(store.layout.tmp.iterdir()) == sorted([mine, theirs])


def test_old_work_of_another_machine_is_kept_while_its_process_gives_heartbeats(store: Store) -> None:
    alive, silent = (store.layout.tmp / f"deadbeef-{pid}-00000000" for pid in (1, 2))
    for folder, heartbeat in ((alive, None), (silent, (0, 0))):
        folder.mkdir()
        os.utime(folder, (0, 0))
        (store.layout.leases / f".{folder.name[:-1]}1").touch()
        os.utime(store.layout.leases / f".{folder.name[:-1]}1", heartbeat)
    Store.open(store.layout.root, writable=True)
    assert list(store.layout.tmp.iterdir()) == [alive]


def test_a_clock_that_runs_ahead_makes_no_garbage(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = store.layout.tmp / "deadbeef-1-0"
    theirs.mkdir()
    ahead = time.time() + 3 * 86_400
    monkeypatch.setattr(time, "time", lambda: ahead)
    Store.open(store.layout.root, writable=True)
    assert theirs.exists()


# Given up


def test_discarding_runs_deletes_all_their_recordings_and_no_others(store: Store) -> None:
    for seed in (0, 1):
        store.publish(a_recording(spec=a_spec(seed)))
    store.publish(a_recording(observed={"accuracy": (0, 1, 2)}))
    assert len(run_folders(store)) == 3
    assert store.covers(a_spec(0).id, {})
    assert store.discard({a_spec(0).id, "unknown"}) == 1
    assert run_folders(store) == [a_spec(1).id]
    assert not store.covers(a_spec(0).id, {})
    assert list(store.layout.tmp.iterdir()) == []


def test_measurements_are_those_of_the_plan_and_nothing_of_an_earlier_form_is_left(store: Store) -> None:
    one, two = a_measurement(), a_measurement(task="parity")
    (store.layout.root / "measurements").mkdir()
    for name in ("plan.json", "measured.json", "measurements/0123456789ab.json"):
        (store.layout.root / name).touch()
    store.write_measurements([one, two], b"first")
    assert [cell.id for cell in measured(store)] == [one.id, two.id]
    store.write_measurements([two], b"second")
    assert [cell.id for cell in measured(store)] == [two.id]
    assert store.layout.plan.read_bytes() == b"second"
    left = {path.name for path in store.layout.root.iterdir() if path.is_file()}
    assert left == {"manifest.json", "plan.json.gz", "measurements.jsonl.gz"}
    assert not (store.layout.root / "measurements").exists()


@pytest.mark.parametrize("writes", [0, 1, 2])
def test_a_plan_finds_its_measurements_whenever_their_writer_is_killed(
    store: Store, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    one, two, three = (a_measurement(task=task) for task in "abc")
    store.write_measurements([one, two], b"first")
    write, left = store.write, [writes]

    def killed(path: Path, data: bytes) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        write(path, data)

    monkeypatch.setattr(store, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        store.write_measurements([two, three], b"second")
    named = {b"first": {one.id, two.id}, b"second": {two.id, three.id}}[store.layout.plan.read_bytes()]
    assert named <= {cell.id for cell in measured(store)}


# Damage


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def edit(path: Path, change: Callable[[Any], object]) -> None:
    raw = decode_json(path.read_bytes())
    change(raw)
    path.write_bytes(encode_json(raw))


def edit_manifest(folder: Path, change: Callable[[Any], object]) -> None:
    edit(folder / "manifest.json", change)


def list_hash(folder: Path, name: str) -> None:
    """In the manifest of a recording, as whoever forges its files would."""
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    edit_manifest(folder, lambda record: record["sha256"].update({name: digest}))


def forged(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Changes a file of a recording together with its hash."""

    def damage(folder: Path) -> None:
        (folder / name).write_bytes(change((folder / name).read_bytes()))
        list_hash(folder, name)

    return damage


def forged_json(name: str, change: Callable[[Any], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        edit(folder / name, change)
        list_hash(folder, name)

    return damage


DEEP = b"[" * 200_000 + b"]" * 200_000


def forged_arrays(**arrays: Any) -> Callable[[Path], None]:
    """Other arrays with their own hash: a series x of two steps but for `steps` and `values`, or None of it, and `more`."""
    given = {"steps": np.array([0, 1]), "values": np.array([1.0, 2.0])} | arrays
    more = given.pop("more", {})
    tensors = {f"series/x/{part}": array for part, array in given.items() if array is not None} | more
    return forged("arrays.safetensors", lambda data: safetensors.numpy.save(tensors))


FORGED_ARRAYS = {
    "a series without axes": (
        forged_arrays(steps=np.array(1), values=np.array(1.0)),
        "series/x/steps is I64 of shape []",
    ),
    "a series of two axes": (
        forged_arrays(steps=np.zeros((1, 2), int), values=np.zeros((1, 2))),
        "series/x/steps is I64 of shape [1, 2]",
    ),
    "a series of unequal parts": (
        forged_arrays(values=np.zeros(3)),
        "series/x/steps has no values of its length",
    ),
    "a series without values": (forged_arrays(values=None), "series/x/steps has no values of its length"),
    "a series without steps": (forged_arrays(steps=None), "series/x/values has no steps of its length"),
    "steps that are NaN": (forged_arrays(steps=np.array([0, np.nan])), "series/x/steps is F64 of shape [2]"),
    "steps that go back": (forged_arrays(steps=np.array([1, 0])), "series/x/steps do not increase"),
    "a step twice": (forged_arrays(steps=np.array([1, 1])), "series/x/steps do not increase"),
    "negative steps": (forged_arrays(steps=np.array([-1, 0])), "series/x/steps do not increase from 0"),
    "steps that no float holds": (
        forged_arrays(steps=np.array([0, 2**53 + 1])),
        "series/x/steps do not increase from 0 to at most 2^53",
    ),
    "values of half the bits": (
        forged_arrays(values=np.zeros(2, np.float32)),
        "series/x/values is F32 of shape [2]",
    ),
    "an array of a type that numpy lacks": (
        forged(
            "arrays.safetensors",
            lambda data: safetensors.torch.save({"array/x/0": torch.zeros(2).bfloat16()}),
        ),
        "array/x/0 holds BF16, which numpy does not know",
    ),
    "an array that nobody names so": (
        forged_arrays(more={"weights": np.zeros(2)}),
        "no recording has an array called 'weights'",
    ),
    "an array at no step": (
        forged_arrays(more={"array/x/a": np.zeros(2)}),
        "no recording has an array called",
    ),
    "an array with an escape sequence": (
        forged_arrays(more={"array/\x1b[31m/0": np.zeros(2)}),
        "no recording has an array called 'array/\\x1b[31m/0'",
    ),
}
"""What readers of series would stop at, with hashes that fit."""


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    **FORGED_ARRAYS,
    **{f"a changed {n}": (lambda f, n=n: flip_a_byte(f / n), f"{n} does not have") for n in layout.HASHED},  # type: ignore[misc]
    **{
        f"a missing {n}": (lambda f, n=n: (f / n).unlink(), f"{n} is missing")  # type: ignore[misc]
        for n in (*layout.HASHED, "manifest.json")
    },
    "truncated arrays": (
        lambda f: (f / "arrays.safetensors").write_bytes(b"\x08"),
        "arrays.safetensors does not have",
    ),
    "truncated arrays with their own hash": (
        forged("arrays.safetensors", lambda data: data[:-8]),
        "arrays.safetensors",
    ),
    "a manifest that is no JSON": (
        lambda f: (f / "manifest.json").write_text("{"),
        "manifest.json is no JSON of a result set: Expecting",
    ),
    "a manifest that is a list": (
        lambda f: (f / "manifest.json").write_text("[]"),
        "manifest.json is damaged: Expected `object`, got `array`",
    ),
    "an empty manifest": (
        lambda f: (f / "manifest.json").write_bytes(b""),
        "manifest.json is no JSON of a result set: Expecting",
    ),
    "NaN in the manifest": (
        lambda f: (f / "manifest.json").write_text('{"a": NaN}'),
        "manifest.json is no JSON of a result set: NaN",
    ),
    "binary in the manifest": (
        lambda f: (f / "manifest.json").write_bytes(b"\xff\xfe"),
        "manifest.json is no JSON of a result set: 'utf-8'",
    ),
    "another schema": (
        lambda f: edit_manifest(f, lambda r: r.update(schema_version=SCHEMA_VERSION + 1)),
        f"schema version {SCHEMA_VERSION + 1}",
    ),
    "another run's manifest": (lambda f: edit_manifest(f, lambda r: r.update(run_id="x")), "holds the run"),
    "a manifest that points outside": (
        lambda f: list_hash(f, "../../manifest.json"),
        "lists '../../manifest.json'",
    ),
    "a manifest that says more": (
        lambda f: edit_manifest(f, lambda r: r.update(author="me")),
        "manifest.json is damaged: Object contains unknown field `author`",
    ),
    "True for a schema": (
        lambda f: edit_manifest(f, lambda r: r.update(schema_version=True)),
        "manifest.json is damaged: Expected `int`, got `bool` - at `$.schema_version`",
    ),
    "a fact of facts.json more": (
        forged_json("facts.json", lambda r: r.update(verdict="present")),
        "facts.json is damaged: Object contains unknown field `verdict`",
    ),
    "a fact of facts.json less": (
        forged_json("facts.json", lambda r: r.pop("seconds")),
        "facts.json is damaged: Object missing required field `seconds`",
    ),
    "True for a step": (
        forged_json("facts.json", lambda r: r["observed"].update(taps=[0, True])),
        "facts.json is damaged: Expected `int`, got `bool` - at `$.observed[...][1]`",
    ),
    "a text for seconds": (
        forged_json("facts.json", lambda r: r.update(seconds="1.5")),
        "facts.json is damaged: Expected `float`, got `str` - at `$.seconds`",
    ),
    "a state that leaves no recording": (
        forged_json("facts.json", lambda r: r.update(state="crashed")),
        "facts.json is damaged: Invalid enum value 'crashed' - at `$.state`",
    ),
    "deep facts": (forged("facts.json", lambda data: DEEP), "facts.json is nested too deeply"),
    "NaN in the facts": (
        forged("facts.json", lambda data: data.replace(b'"seconds": 1.5', b'"seconds": NaN')),
        "facts.json is no JSON of a result set: NaN is not JSON",
    ),
    "Infinity in the facts": (
        forged("facts.json", lambda data: data.replace(b'"seconds": 1.5', b'"seconds": Infinity')),
        "facts.json is no JSON of a result set: Infinity is not JSON",
    ),
    "a number too large in the facts": (
        forged("facts.json", lambda data: data.replace(b'"seconds": 1.5', b'"seconds": 1e999')),
        "facts.json is not in the form that universality writes",
    ),
    "a repeated fact": (
        forged("facts.json", lambda data: data.replace(b'"seconds": 1.5', b'"seconds": 9.5, "seconds": 1.5')),
        "facts.json is not in the form that universality writes",
    ),
    "True for a seed": (
        forged_json("spec.json", lambda r: r.update(seed=True)),
        "spec.json is damaged: Expected `int`, got `bool` - at `$.seed`",
    ),
    "True for a number of steps": (
        forged_json("spec.json", lambda r: r["recipe"].update(steps=True)),
        "spec.json is damaged: Expected `int`, got `bool` - at `$.recipe.steps`",
    ),
    "a setting that does not exist": (
        forged_json("spec.json", lambda r: r["recipe"].update(warmdown=0.5)),
        "spec.json is not in the form that universality writes",
    ),
    "a setting that is NaN": (
        forged_json("spec.json", lambda r: r["recipe"].update(gamma=math.nan)),
        "Out of range float values",
    ),
    "a recipe that cannot be": (
        forged_json("spec.json", lambda r: r["recipe"].update(steps=-1)),
        "spec.json is damaged: a recipe has a negative number of steps",
    ),
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_recording_is_named_kept_and_published_anew(
    store: Store, damage: Callable[[Path], Any], reason: str
) -> None:
    recording = a_recording()
    run_id = recording.spec.id
    folder = store.publish(recording)
    damage(folder)
    later = reopened(store)
    assert not later.covers(run_id, {})
    (damaged,) = later.damaged
    assert damaged.path == f"runs/{run_id}"
    assert reason in damaged.reason
    assert later.publish(recording).name == f"{run_id}.r2"
    assert later.covers(run_id, recording.observed)
    assert folder.exists()
    assert len(later.damaged) == 1


SEEN_AT_A_GLANCE = ("facts.json", "manifest.json", "is missing", "schema version", "holds the run", "lists")
"""What damage is about that a glance sees, which reads facts and manifest, and that the others are there."""


@pytest.mark.parametrize(("damage", "reason"), DAMAGE.values(), ids=DAMAGE.keys())
def test_a_glance_names_what_is_wrong_with_facts_and_manifest_and_reads_no_more(
    store: Store, damage: Callable[[Path], Any], reason: str
) -> None:
    recording = a_recording()
    run_id = recording.spec.id
    folder = store.publish(recording)
    damage(folder)
    later = reopened(store)
    seen = any(words in reason for words in SEEN_AT_A_GLANCE)
    assert later.state(run_id, recording.observed) == (None if seen else "done")
    assert [damaged.path for damaged in later.damaged] == ([f"runs/{run_id}"] if seen else [])
    store.publish(recording)
    assert reopened(store).state(run_id, recording.observed) == "done"


def test_a_glance_wants_everything_that_is_asked_of_one_recording(store: Store) -> None:
    store.publish(a_recording(observed={"a": (0,)}, state="diverged"))
    assert store.state(a_spec().id, {"a": (0,)}) == "diverged"
    assert store.state(a_spec().id, {"a": (0, 1)}) is None
    assert store.state(a_spec(seed=1).id, {}) is None


def test_a_recording_under_another_runs_name_is_not_believed(store: Store) -> None:
    folder = store.publish(a_recording())
    other = a_spec(seed=1).id
    folder.rename(store.layout.runs / other)
    later = reopened(store)
    assert not later.covers(other, {})
    assert later.damaged[0].reason == f"holds the run {a_spec().id}"
    assert reopened(store).state(other, {}) is None


def test_a_later_recording_is_found_after_a_person_deleted_the_damaged_first_one(store: Store) -> None:
    first = store.publish(a_recording(observed={"a": (0,)}))
    store.publish(a_recording(observed={"b": (0,)}))
    for path in first.iterdir():
        path.unlink()
    first.rmdir()
    assert reopened(store).covers(a_spec().id, {"b": (0,)})


# Names


@pytest.mark.parametrize(
    "name", ["../x", "/etc/x", "a/b", "..", ".", "", "a\x00b", "a.r2", "-x", "x" * 201, "a\n"]
)
def test_names_that_could_leave_the_folder_are_refused(store: Store, name: str) -> None:
    for use in (
        lambda: store.trajectory(name, {}),
        lambda: store.fail(name, "failed", "message"),
        lambda: store.failures(name),
    ):
        with pytest.raises(StoreError, match="cannot be a file name"):
            use()


# Failures and measurements


def test_failed_attempts_are_counted_and_read_back(store: Store) -> None:
    run_id = a_spec().id
    assert store.failures(run_id) == []
    assert store.attempts(run_id) == 0
    assert store.fail(run_id, "crashed", "killed by SIGKILL") == 1
    assert store.fail(run_id, "failed", "ValueError: x", traceback="T", seconds=2.0, memory_bytes=5) == 2
    first, second = reopened(store).failures(run_id)
    assert (first.kind, first.message, first.memory_bytes) == ("crashed", "killed by SIGKILL", None)
    assert (second.kind, second.traceback, second.seconds, second.memory_bytes) == ("failed", "T", 2.0, 5)
    assert not store.covers(run_id, {})
    assert list(store.layout.tmp.iterdir()) == []


def test_a_failure_never_overwrites_one_that_another_process_wrote_meanwhile(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.fail("run", "failed", "theirs")
    monkeypatch.setattr(store, "attempts", lambda run_id: 0)
    assert store.fail("run", "failed", "ours") == 2
    monkeypatch.undo()
    assert [f.message for f in store.failures("run")] == ["theirs", "ours"]


def in_failure(change: Callable[[Any], object]) -> Callable[[Path], None]:
    return lambda path: edit(path, change)


def in_text(old: bytes, new: bytes) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        assert old in path.read_bytes()
        path.write_bytes(path.read_bytes().replace(old, new))

    return change


OTHER_FORM = "1.json is not in the form that universality writes"
FAILURES: dict[str, tuple[Callable[[Path], object], str]] = {
    "half a record": (lambda p: p.write_text("{"), "1.json is no JSON of a result set: Expecting"),
    "a schema and nothing else": (
        lambda p: p.write_text(json.dumps({"schema_version": SCHEMA_VERSION})),
        "1.json is damaged: Object missing required field `run_id`",
    ),
    "a key less": (in_failure(lambda r: r.pop("host")), "Object missing required field `host`"),
    "a key more": (in_failure(lambda r: r.update(blame="you")), "Object contains unknown field `blame`"),
    "no schema": (in_failure(lambda r: r.pop("schema_version")), OTHER_FORM),
    "an earlier schema": (in_failure(lambda r: r.update(schema_version=1)), "at `$.schema_version`"),
    "True for a schema": (in_failure(lambda r: r.update(schema_version=True)), "at `$.schema_version`"),
    "True for bytes": (in_failure(lambda r: r.update(memory_bytes=True)), "at `$.memory_bytes`"),
    "a text for seconds": (in_failure(lambda r: r.update(seconds="2.0")), "at `$.seconds`"),
    "a kind of its own": (
        in_failure(lambda r: r.update(kind="bored")),
        "Invalid enum value 'bored' - at `$.kind`",
    ),
    "a whole number of seconds": (in_failure(lambda r: r.update(seconds=2)), OTHER_FORM),
    "a repeated key": (in_text(b'"seconds": 2.0', b'"seconds": 9.0,\n "seconds": 2.0'), OTHER_FORM),
    "NaN": (
        in_text(b'"seconds": 2.0', b'"seconds": NaN'),
        "1.json is no JSON of a result set: NaN is not JSON",
    ),
    "Infinity": (
        in_text(b'"seconds": 2.0', b'"seconds": Infinity'),
        "1.json is no JSON of a result set: Infinity is not JSON",
    ),
    "deep JSON": (lambda p: p.write_bytes(DEEP), "is nested too deeply"),
    "no UTF-8": (lambda p: p.write_bytes(b"\xff\xfe"), "'utf-8' codec can't decode"),
}


@pytest.mark.parametrize(("change", "reason"), FAILURES.values(), ids=FAILURES.keys())
def test_a_damaged_failure_record_is_named_and_skipped(
    store: Store, change: Callable[[Path], object], reason: str
) -> None:
    for _ in range(2):
        store.fail("run", "failed", "m", seconds=2.0)
    change(store.layout.failure("run", 1))
    assert len(store.failures("run")) == 1
    (damaged,) = store.damaged
    assert damaged.path == "failed/run/1.json"
    assert reason in damaged.reason


def test_the_message_of_a_failure_may_hold_half_a_character(store: Store) -> None:
    store.fail("run", "failed", "before \ud83d after", traceback="\udc80")
    (failure,) = store.failures("run")
    assert (failure.message, failure.traceback) == ("before \\ud83d after", "\\udc80")


def test_a_failure_may_be_written_with_a_whole_number_of_seconds(store: Store) -> None:
    store.fail("run", "timeout", "m", seconds=3)
    assert [f.seconds for f in store.failures("run")] == [3.0]
    folder = store.publish(a_recording(seconds=3))
    assert [r.seconds for r in reopened(store).recordings(folder.name)] == [3.0]


def a_measurement(**changes: Any) -> CellRecord:
    outcome = Outcome(
        effect=2.0,
        gates=(Check("reached", math.nan, at_least=1),),
        criteria=(Check("flat", math.inf, at_most=2),),
        details={"slope": -math.inf},
    )
    group = GroupRecord(key="s0", units=("s0",), runs={"run": "x"}, state="done", outcome=outcome)
    cell = CellRecord(
        phenomenon="edge",
        version=1,
        claim_name="plateau",
        claim=Within(low=1.8),
        architecture="mlp",
        task="xor",
    )
    return msgspec.structs.replace(cell, **{"groups": (group,), **changes})


def measured(store: Store) -> list[CellRecord]:
    """Every measurement, as a report reads it."""
    return list(measurements.read(store.layout.measurements))


def test_measurements_are_read_back_with_their_non_finite_numbers(store: Store) -> None:
    one, two = a_measurement(), a_measurement(task="parity", not_applicable="why")
    store.write_measurements([one, two], b"")
    cells = {cell.task: cell for cell in measured(store)}
    # NaN is unequal to itself: compare what it is written as.
    assert repr(cells["parity"]) == repr(two)
    assert repr(cells["xor"]) == repr(one)


def test_a_measurement_is_replaced_when_measured_again(store: Store) -> None:
    store.write_measurements([a_measurement(groups=())], b"")
    store.write_measurements([a_measurement(groups=(), not_applicable="now known")], b"")
    (cell,) = measured(store)
    assert cell.not_applicable == "now known"


MEASUREMENTS: dict[str, tuple[Callable[[Any], object], str]] = {
    "True for a version": (lambda m: m.update(version=True), "Expected `int`, got `bool` - at `$.version`"),
    "True for a value": (
        lambda m: m["groups"][0]["outcome"]["gates"][0].update(value=True),
        "Expected `float`, got `bool` - at `$.groups[0].outcome.gates[0].value`",
    ),
    "True for a bound": (
        lambda m: m["claim"].update(low=True),
        "Expected `float`, got `bool` - at `$.claim.low`",
    ),
    "1 for True": (lambda m: m.update(swept=1), "Expected `bool`, got `int` - at `$.swept`"),
    "a text for a number": (
        lambda m: m["groups"][0]["outcome"]["details"].update(slope="1.0"),
        "Expected `float`, got `str` - at `$.groups[0].outcome.details[...]`",
    ),
    "a key less": (lambda m: m.pop("claim"), "Object missing required field `claim`"),
    "a default left out": (
        lambda m: m.pop("swept"),
        "is not in the form that universality writes",
    ),
    "a key more": (
        lambda m: m["groups"][0]["outcome"].update(p=0.01),
        "Object contains unknown field `p` - at `$.groups[0].outcome`",
    ),
    "a claim of neither kind": (
        lambda m: m["claim"].update(kind="about"),
        "Invalid value 'about' - at `$.claim.kind`",
    ),
    "NaN for a bound": (lambda m: m["claim"].update(low=math.nan), "a bound that is no number"),
    "no id": (lambda m: m.pop("id"), "and is named None"),
}


@pytest.mark.parametrize(("change", "reason"), MEASUREMENTS.values(), ids=MEASUREMENTS.keys())
def test_a_measurement_of_another_form_is_refused_with_the_path_of_the_part(
    store: Store, change: Callable[[Any], object], reason: str
) -> None:
    store.write_measurements([a_measurement()], b"")
    edit_line(store.layout.root, 0, change)
    with pytest.raises(UntrustedFile) as caught:
        measured(store)
    assert str(caught.value).startswith("line 1 ")
    assert reason in str(caught.value)


def test_derived_texts_are_replaced_in_one_step(store: Store) -> None:
    store.write(store.layout.evidence, "a,b\n")
    store.write(store.layout.evidence, "a,c\n")
    store.write(store.layout.report / "index.html", "<p>")
    assert store.layout.evidence.read_text() == "a,c\n"
    assert (store.layout.root / "report" / "index.html").read_text() == "<p>"
    assert list(store.layout.tmp.iterdir()) == []


# Opening


def test_creating_twice_opens_what_is_there(store: Store) -> None:
    store.publish(a_recording())
    manifest = store.layout.manifest.read_bytes()
    again = Store.create(store.layout.root)
    assert again.covers(a_spec().id, {})
    assert store.layout.manifest.read_bytes() == manifest


def test_an_interrupted_creation_is_completed(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "tmp").mkdir()
    (tmp_path / "suite.toml").write_text("")
    assert Store.create(tmp_path).layout.manifest.exists()


def test_a_folder_in_use_for_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(StoreError, match="in use for something else") as caught:
        Store.create(tmp_path)
    assert "thesis.tex" in caught.value.got
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    "content",
    [
        *(None, "", "[]", "{}", "{", '{"schema_version": '),
        *('{"schema_version": true}', '{"schema_version": "2"}', '{"schema_version": 2.0}'),
        pytest.param("[" * 200_000, id="deep"),
    ],
)
def test_a_folder_without_a_readable_manifest_is_no_results_folder(
    tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(StoreError, match="no results folder") as caught:
        Store.open(tmp_path)
    assert caught.value.where == str(tmp_path)


def test_results_of_a_newer_version_are_not_touched(store: Store) -> None:
    newer = SCHEMA_VERSION + 1
    store.layout.manifest.write_text(json.dumps({"schema_version": newer}))
    for use in (lambda: reopened(store), lambda: Store.create(store.layout.root)):
        with pytest.raises(StoreError) as caught:
            use()
        assert str(caught.value) == (
            "a result set of another version\n"
            f"  where: {store.layout.manifest}\n"
            f"  got:   has schema version {newer}, this reads {SCHEMA_VERSION}\n"
            "  do:    upgrade universality"
        )


REFUSALS = {
    errno.ENOSPC: "no space is left for results",
    errno.EDQUOT: "no space is left for results",
    errno.EROFS: "a results folder cannot be written",
    errno.EACCES: "a results folder cannot be written",
    errno.EIO: "a results folder cannot be used",
}


@pytest.mark.parametrize("code", REFUSALS, ids=errno.errorcode.__getitem__)
def test_a_full_or_read_only_disk_is_found_before_training(
    store: Store, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(handle: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    for use in (
        lambda: Store.open(store.layout.root, writable=True),
        lambda: Store.create(store.layout.root),
    ):
        with pytest.raises(StoreError, match=REFUSALS[code]) as caught:
            use()
        assert str(store.layout.root) in caught.value.where
        assert caught.value.got == os.strerror(code)
    assert list(store.layout.tmp.iterdir()) == []


def test_a_disk_that_fills_up_while_publishing_leaves_nothing_behind(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(100))

    def fill_up(handle: int) -> None:
        if next(calls) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fill_up)
    with pytest.raises(StoreError, match="no space is left"):
        store.publish(a_recording())
    assert run_folders(store) == []
    assert list(store.layout.tmp.iterdir()) == []


def test_a_truly_full_device_is_a_store_error(tmp_path: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(StoreError, match="no space is left"), files.storing(tmp_path):
        os.write(full, b"x")
    os.close(full)


def test_the_root_may_not_be_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    with pytest.raises(StoreError, match="cannot be used") as caught:
        Store.create(path)
    assert caught.value.where == str(path)


def test_reading_works_where_writing_does_not(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.publish(a_recording())
    store.write_measurements([a_measurement()], b"")

    def refuse(*arguments: Any, **keywords: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for name in ("mkdir", "write_text", "write_bytes"):
        monkeypatch.setattr(Path, name, refuse)
    for name in ("rename", "replace", "link", "fsync", "unlink"):
        monkeypatch.setattr(os, name, refuse)
    reading = reopened(store)
    assert reading.covers(a_spec().id, a_recording().observed)
    assert len(measured(reading)) == 1
    assert reading.failures(a_spec().id) == []


# Provenance


def test_reading_results_does_not_import_torch() -> None:
    code = "import sys, universality.store.store, universality.train.leases; print('torch' in sys.modules)"
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "False"


def test_the_environment_names_what_a_number_depends_on() -> None:
    code = """
        import json
        from universality.store.environment import environment
        before = environment()
        import torch
        torch.set_num_threads(1)
        after = environment("cpu")
        print(json.dumps([before, after, torch.__version__]))
    """
    out = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    before, after, version = json.loads(out.stdout)
    assert (before["torch"], before["threads"], before["device"]) == (None, None, None)
    assert (after["torch"], after["threads"], after["device"]) == (version, 1, "cpu")
    assert after["python"] == sys.version.split()[0]
    assert after["cores"] == len(os.sched_getaffinity(0))
    assert after["cpu"]
    assert after["accelerator"] is None


def test_the_commit_says_whether_tracked_files_differ_from_it(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=n", "-c", "user.email=e@example.org")
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert commit(tmp_path) is None
    commit.cache_clear()
    git("init", "-q")
    assert commit(tmp_path) is None
    (tmp_path / "file").write_text("a")
    git("add", "file")
    git("commit", "-q", "-m", "m")
    (tmp_path / "untracked").write_text("a")
    commit.cache_clear()
    assert commit(tmp_path) == git("rev-parse", "HEAD")
    (tmp_path / "file").write_text("b")
    commit.cache_clear()
    assert commit(tmp_path) == git("rev-parse", "HEAD") + "+changes"
    commit.cache_clear()
