"""`universality run` from a suite to a table, in processes of its own: resumed, killed, and with plugins."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]

GROKKING = "grokking[steps=60]"
EDGE = "edge_of_stability[gd_steps=20,momentum_steps=20,adaptive_steps=20,rates=2,records=6]"
COLLAPSE = "neural_collapse[steps=40,batch_size=16]"
SIMILARITY = "representation_similarity[steps=30,batch_size=32]"
MODULAR, DIGITS = "modular[p=5,train_fraction=0.7]", "digits[subset=60]"
MLP, TANH = "mlp[width=8,depth=1]", "mlp[width=4,depth=1,activation=tanh]"
WIDER = TANH.replace("4", "8")


def cross(phenomena: Sequence[str], architectures: Sequence[str], tasks: Sequence[str], seeds: int) -> str:
    def listed(names: Sequence[str]) -> str:
        return "[" + ", ".join(f'"{name}"' for name in names) + "]"

    return (
        f"[[cross]]\nphenomena = {listed(phenomena)}\narchitectures = {listed(architectures)}\n"
        f"tasks = {listed(tasks)}\nseeds = {seeds}\n"
    )


@dataclass
class Bench:
    """A folder to run in. Results lie under `folder / results / tiny`."""

    folder: Path

    def suite(self, *crosses: str, name: str = "tiny") -> Path:
        path = self.folder / f"{name}.toml"
        path.write_text(f'name = "{name}"\ncontrols = false\n\n' + "\n".join(crosses))
        return path

    def command(self, suite: Path, *more: str, workers: int = 2) -> list[str]:
        return [
            *(sys.executable, "-m", "universality", "run", "--suite", str(suite)),
            *("--results", str(self.folder / "results"), "--workers", str(workers)),
            *("--device", "cpu", "--data-root", str(self.folder / "data"), *more),
        ]

    def run(self, suite: Path, *more: str, expect: int = 0) -> str:
        """Run to the end, check the exit code; returns what was said on standard error."""
        done = subprocess.run(
            self.command(suite, *more), env=environment(), capture_output=True, text=True, cwd=self.folder
        )
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stderr

    @property
    def results(self) -> Path:
        return self.folder / "results" / "tiny"

    def evidence(self) -> pd.DataFrame:
        return pd.read_csv(self.results / "evidence.csv", keep_default_na=False)

    def stored(self) -> Mapping[str, int]:
        """Every stored file with the time of its last change."""
        runs = (self.results / "runs").rglob("*")
        return {str(p.relative_to(self.results)): p.stat().st_mtime_ns for p in runs}


def environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def only(frame: pd.DataFrame, **values: str) -> pd.DataFrame:
    for column, value in values.items():
        frame = frame[frame[column].astype(str) == value]
    assert len(frame), values
    return frame


def test_a_suite_becomes_a_table_and_is_trained_once(bench: Bench) -> None:
    pair = "digits[subset=60,classes=2]"
    suite = bench.suite(
        cross([GROKKING], [MLP], [MODULAR], seeds=3),
        cross([EDGE, SIMILARITY], [TANH, WIDER], [DIGITS], seeds=3),
        # Ten class means do not fit into fewer than nine features: said before training.
        cross([COLLAPSE], ["mlp[width=12,depth=1]"], [DIGITS, pair], seeds=3),
    )
    # 3 of grokking, 2 x 3 of each of five optimizers at two rates, 2 x 3 of each kind of labels, 3 of collapse.
    said = bench.run(suite)
    assert "78 runs, 0 stored, 78 to train on 2 cpu worker(s)" in said
    rows = bench.evidence()
    optimizers = [(claim, DIGITS) for claim in ("gd", "heavy_ball", "nesterov", "rmsprop", "adam")]
    similarities = [
        (f"{m}_{s}", DIGITS) for m in ("cka", "knn") for s in ("seeds", "architectures", "beyond_labels")
    ]
    similarities.append(("layers_cka", DIGITS))
    collapse = [
        (claim, task) for claim in ("nc1", "nc2_norms", "nc2_angles", "nc3") for task in (DIGITS, pair)
    ]
    assert sorted(zip(rows.phenomenon, rows.claim, rows.task, strict=True)) == sorted(
        [
            ("grokking", "delay", MODULAR),
            *[("edge_of_stability", *of) for of in optimizers for _ in (TANH, WIDER)],
            *[("representation_similarity", *of) for of in similarities for _ in (TANH, WIDER)],
            *[("neural_collapse", *of) for of in collapse],
        ]
    )
    assert set(only(rows, task=pair).verdict) == {"not applicable"}
    assert all("simplex" in reason for reason in only(rows, task=pair).reason)
    asked = rows[rows.verdict != "not applicable"]
    assert set(rows[rows.verdict == "not applicable"].claim) >= {"layers_cka"}
    assert {int(n) for n in only(asked, task=DIGITS).groups} == {3}
    assert not set(rows.verdict) & {"failed", "crashed", "timeout", "missing", "diverged", "invalid"}
    kinds = ("cka_seeds", "cka_architectures", "knn_seeds")
    drawn = ["heatmap", "grokking", "edge_of_stability-gd-lines", "neural_collapse"]
    drawn += [f"representation_similarity-{kind}" for kind in kinds]
    expected = {"universality.md", *(f"{name}.{kind}" for name in drawn for kind in ("svg", "png"))}
    assert expected <= {p.name for p in (bench.results / "report").iterdir()}
    assert set(pd.read_csv(bench.results / "universality.csv").phenomenon) == set(rows.phenomenon)

    before, evidence = bench.stored(), (bench.results / "evidence.csv").read_bytes()
    assert "78 stored, 0 to train" in bench.run(suite)
    assert bench.stored() == before
    assert (bench.results / "evidence.csv").read_bytes() == evidence


def test_a_phenomenon_that_needs_what_is_stored_trains_nothing(bench: Bench) -> None:
    plugins = bench.folder / "plugins"
    plugins.mkdir()
    (plugins / "last_loss.py").write_text(LAST_LOSS)
    one = cross([GROKKING], [MLP], [MODULAR], seeds=3)
    bench.run(bench.suite(one))
    before = bench.stored()
    two = cross([GROKKING, "last_loss[steps=60]"], [MLP], [MODULAR], seeds=3)
    said = bench.run(bench.suite(two), "--plugins", str(plugins))
    assert "3 stored, 0 to train" in said
    assert bench.stored() == before
    rows = bench.evidence()
    assert list(rows.phenomenon) == ["grokking", "last_loss"]
    (row,) = only(rows, phenomenon="last_loss").to_dict("records")
    assert row["verdict"] == "present"
    assert (int(row["groups"]), int(row["holding"])) == (3, 3)
    assert row["bounds"] == "<= 100"
    assert "Last loss" in (bench.results / "report" / "universality.md").read_text()


def test_what_an_edit_of_a_plugin_changes_is_trained_or_measured_again(bench: Bench) -> None:
    plugins = bench.folder / "plugins"
    plugins.mkdir()
    texts = {"_size.py": "HIDDEN = 4\n", "own_net.py": OWN_NET, "last_step.py": LAST_STEP}
    for name, text in texts.items():
        (plugins / name).write_text(text)
    task = "gaussian_mixture[dim=4,classes=3]"
    suite = bench.suite(cross(["last_step"], ["own_net"], [task], seeds=3))
    options = "--plugins", str(plugins)

    def run() -> str:
        said = subprocess.run(
            bench.command(suite, *options, workers=0), env=environment(), capture_output=True, text=True
        )
        assert said.returncode == 0, said.stderr
        return said.stderr

    def effect() -> float:
        return float(bench.evidence().effect.iloc[0])

    assert "3 runs, 0 stored, 3 to train" in run()
    assert effect() == 4.0

    (plugins / "_size.py").write_text("HIDDEN = 5\n")
    said = run()
    assert (
        "note: architecture own_net was edited since 3 stored runs were made: they are trained again" in said
    )
    assert "3 runs, 0 stored, 3 to train" in said
    assert effect() == 5.0

    (plugins / "last_step.py").write_text(LAST_STEP.replace("float(training", "10 * float(training"))
    said = run()
    assert "note: probe own_size was edited since 3 stored runs were made: they are trained again" in said
    assert effect() == 50.0
    assert len(list((bench.results / "runs").glob("*.r2"))) == 3

    (plugins / "_size.py").write_text("HIDDEN = 4\n")
    (plugins / "last_step.py").write_text(LAST_STEP)
    assert "3 runs, 3 stored, 0 to train" in run(), "the first edition is stored"
    assert effect() == 4.0


OWN_NET = """
from dataclasses import dataclass
from torch import nn
from universality.plugin import Architecture, register
from ._size import HIDDEN

@register("own_net", family="toy", accepts={"vector"}, source="x")
@dataclass(frozen=True, kw_only=True)
class OwnNet(Architecture):
    def build(self, inputs, outputs):
        return nn.Sequential(nn.Linear(inputs.size, HIDDEN), nn.Linear(HIDDEN, outputs))
    def taps(self, net):
        return {"hidden": net[0]}
    def readout(self, net):
        return net[1]
"""
LAST_STEP = """
from dataclasses import dataclass
from universality.plugin import (
    At, Lines, Phenomenon, Probe, Within, at_end, claim, per_seed, positive, register,
)

@register("own_size")
@dataclass(kw_only=True)
class OwnSize(Probe):
    def record(self, training):
        return {"size": float(training.net[0].out_features)}

@register("last_step", source="nobody")
@dataclass(frozen=True, kw_only=True)
class LastStep(Phenomenon):
    title, version, strand, sense = "Last step", 1, "laws", "number"

    @per_seed
    def run(self, run):
        return run.trained(steps=4, lr=0.1).observing(own_size=At(1.0))

    size = claim(
        Within(high=100.0), at_end("own_size.size"), runs=run, title="size",
        chart=Lines({"own_size.size": ""}, "size"),
    )
    controls = (positive("p", "a toy", architecture="mlp", task="digits"),)
"""
LAST_LOSS = '''
"""The last training loss is small. Trained exactly as for grokking, so that nothing is trained anew."""
from dataclasses import dataclass

from universality.plugin import (
    At, Lines, Phenomenon, Within, at_end, claim, negative, per_seed, positive, register,
)


@register("last_loss", source="nobody")
@dataclass(frozen=True, kw_only=True)
class LastLoss(Phenomenon):
    steps: int = 60
    lr: float = 0.03

    title, version, strand, sense = "Last loss", 1, "laws", "sign"

    @per_seed
    def run(self, run):
        run = run.trained(steps=self.steps, optimizer="adamw", lr=self.lr, weight_decay=1.0, beta2=0.98)
        return run.observing(accuracy=At(1.0))

    small = claim(
        Within(high=100.0, unit="nats"), at_end("accuracy.train_loss"), runs=run, title="small",
        chart=Lines({"train_loss": "loss"}, "nats"),
    )
    reference = "mlp", "modular[p=5]"
    controls = (
        positive("positive", "a toy", follows=True),
        negative("unbounded", "a toy", follows=True, lr=1e4),
    )
'''

BROKEN = '''
"""A network that cannot be trained."""
from dataclasses import dataclass

from torch import nn

from universality.plugin import Architecture, register


class Net(nn.Module):
    def __init__(self, size, outputs, updates):
        super().__init__()
        self.flat, self.hidden, self.readout = nn.Flatten(), nn.Linear(size, 4), nn.Linear(4, outputs)
        self.left = updates

    def forward(self, x):
        self.left -= self.training
        if self.left < 0:
            raise ArithmeticError("the plugin's own mistake")
        return self.readout(self.hidden(self.flat(x.float())))


@register("broken", family="feedforward", accepts={"vector", "image", "tokens"})
@dataclass(frozen=True, slots=True, kw_only=True)
class Broken(Architecture):
    updates: int = 10

    def build(self, inputs, outputs):
        return Net(inputs.size // (inputs.vocabulary or 1), outputs, self.updates)

    def taps(self, net):
        return {"hidden": net.hidden}

    def readout(self, net):
        return net.readout
'''


WILD = """

@register("wild_loss", source="nobody")
@dataclass(frozen=True, kw_only=True)
class WildLoss(LastLoss):
    lr: float = 1e12
"""


def test_a_diverging_run_is_recorded_and_the_rest_goes_on(bench: Bench) -> None:
    plugins = bench.folder / "plugins"
    plugins.mkdir()
    descent = LAST_LOSS.replace('"adamw"', '"sgd"').replace("beta2=0.98", 'loss="mse"')
    (plugins / "losses.py").write_text(descent + WILD)
    suite = bench.suite(cross(["last_loss[lr=0.1]", "wild_loss"], [MLP], [MODULAR], seeds=3))
    said = bench.run(suite, "--plugins", str(plugins))
    assert said.count(" diverged ") == 3
    assert said.count(" done ") == 3
    rows = bench.evidence()
    assert list(only(rows, phenomenon="wild_loss").verdict) == ["diverged"]
    assert list(only(rows, phenomenon="last_loss").verdict) == ["present"]
    assert "6 stored, 0 to train" in bench.run(suite, "--plugins", str(plugins))


@pytest.mark.parametrize("updates", [0, 10], ids=["at once", "in the middle of training"])
def test_a_plugin_that_raises_fails_its_own_runs_and_no_others(bench: Bench, updates: int) -> None:
    plugins = bench.folder / "plugins"
    plugins.mkdir()
    (plugins / "broken.py").write_text(BROKEN)
    suite = bench.suite(cross([GROKKING], [MLP, f"broken[updates={updates}]"], [MODULAR], seeds=3))
    said = bench.run(suite, "--plugins", str(plugins), expect=3)
    assert "3 runs failed" in said
    rows = bench.evidence()
    (broken,) = [r for r in rows.to_dict("records") if r["architecture"].startswith("broken")]
    assert broken["verdict"] == "failed"
    assert only(rows, architecture=MLP).verdict.iloc[0] not in ("failed", "missing", "crashed")
    records = list((bench.results / "failed").rglob("*.json"))
    assert len(records) == 3
    assert all("the plugin's own mistake" in path.read_text() for path in records)


def test_where_every_run_fails_there_is_a_table_that_says_so(bench: Bench) -> None:
    plugins = bench.folder / "plugins"
    plugins.mkdir()
    (plugins / "broken.py").write_text(BROKEN)
    suite = bench.suite(cross([GROKKING], ["broken[updates=10]"], [MODULAR], seeds=3))
    assert "3 runs failed" in bench.run(suite, "--plugins", str(plugins), expect=3)
    assert set(bench.evidence().verdict) == {"failed"}


def test_killed_in_the_middle_the_same_command_ends_in_the_same_evidence(tmp_path: Path) -> None:
    benches = [Bench(tmp_path / name) for name in ("killed", "whole")]
    suites = []
    for bench in benches:
        bench.folder.mkdir()
        suites.append(bench.suite(cross(["grokking[steps=800]"], [MLP], [MODULAR], seeds=8)))
    killed, whole = benches
    process = subprocess.Popen(
        killed.command(suites[0]),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd=killed.folder,
    )
    runs = killed.results / "runs"
    deadline = time.monotonic() + 120
    try:
        while len(list(runs.glob("*"))) < 2 and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.01)
        assert process.poll() is None, "ended before it was killed"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    finished = len(list(runs.glob("*")))
    assert 2 <= finished < 8, "killed too late to show anything"
    assert not (killed.results / "evidence.csv").exists()
    before = killed.stored()
    assert f"{finished} stored, {8 - finished} to train" in killed.run(suites[0])
    assert before.items() <= killed.stored().items()
    whole.run(suites[1])
    assert (killed.results / "evidence.csv").read_bytes() == (whole.results / "evidence.csv").read_bytes()
    left = [p.name for d in ("leases", "tmp", "failed") for p in (killed.results / d).iterdir()]
    assert left == []
