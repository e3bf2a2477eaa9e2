"""A hunt finds what was planted, finds nothing where a claim holds, and is not led astray by chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.judge.toy_cells import cell, control, group, set_of
from universality import hunt
from universality.commands import main as cli
from universality.errors import BadParameter, UnknownName
from universality.hunting.hunt import (
    ALPHA,
    MAX_REPLICATED,
    REPLICATES,
    Costs,
    Hunted,
    Quarry,
    absences,
    findings,
    is_confirmed,
    suite_of,
    trained_within,
)  # fmt: skip
from universality.hunting.settings import Setting, changed, ordinary, settings
from universality.hunting.told import lines
from universality.judge.decide import decide
from universality.judge.resultset import ResultSet
from universality.plan.suite import parse
from universality.plugin import registry
from universality.plugin.bounds import Bound, Most, Within
from universality.plugin.trajectory import RunState
from universality.store.cells import CellRecord

PLUGINS = '''
import random
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from universality import plugin as u


@u.register("hunt_net", family="toy", accepts={"vector"})
@dataclass(frozen=True, kw_only=True)
class Net(u.Architecture):
    """One hidden layer."""

    width: int = 4
    kind: Literal["plain", "odd", "other"] = "plain"

    def build(self, inputs, outputs):
        return nn.Sequential(nn.Linear(inputs.size, self.width), nn.Tanh(), nn.Linear(self.width, outputs))

    def taps(self, net):
        return {"hidden": net[0]}

    def readout(self, net):
        return net[2]


@u.register("hunt_points", family="toy")
@dataclass(frozen=True, kw_only=True)
class Points(u.Task):
    """Eight points in two classes."""

    def read(self, rng, root):
        part = u.Split(torch.from_numpy(rng.normal(size=(8, 3))).float(), torch.arange(8) % 2)
        return u.Splits(part, part, part, u.InputSpec("vector", (3,)), 2)


CHART = u.Lines({"train_loss": "loss"}, "loss")


@u.register("hunt_claims")
@dataclass(frozen=True, kw_only=True)
class Claims(u.Phenomenon):
    """Made-up effects of real trainings: 1 up to noise, but 2 for networks that are odd, on claim `usually`."""

    broken: bool = False

    title, version, strand, sense = "Hunted", 1, "laws", "number"

    @u.per_seed
    def runs(self, run):
        return run.trained(steps=2, lr=0.1)

    @u.claim(u.Within(low=0.9, high=1.1), runs=runs, title="usually one", chart=CHART)
    def usually(self, run):
        odd = dict(run.spec.architecture.params)["kind"] == "odd" or self.broken
        return (2.0 if odd else 1.0) + random.Random(repr(run.spec)).gauss(0, 0.01)

    @u.claim(u.Within(low=0.9, high=1.1), runs=runs, title="always one", chart=CHART)
    def always(self, run):
        return (2.0 if self.broken else 1.0) + random.Random(repr(run.spec)).gauss(0, 0.01)

    reference = "hunt_net", "hunt_points"
    controls = u.positive("plain", "it is one"), u.negative("broken", "it is two", broken=True)
'''


@pytest.fixture
def plugins(tmp_path: Path, clean_registry: None) -> Path:
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "hunted.py").write_text(PLUGINS)
    registry.load_plugins([folder])
    return folder


def hunted(tmp_path: Path, plugins: Path, claim: str, **more: object):  # type: ignore[no-untyped-def]
    return hunt(
        claim, budget=2.0, architectures=["hunt_net"], tasks=["hunt_points"], results=tmp_path / "results", workers=0,
        plugins=[plugins], data_root=tmp_path, **more,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("universality.output.build.write_figures", lambda *of: [])


def test_a_planted_counterexample_is_found_and_the_most_ordinary_comes_first(
    tmp_path: Path, plugins: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("universality.hunting.settings.MAX_CHANGES", 1)
    done = hunted(tmp_path, plugins, "hunt_claims:usually")
    found = {each.setting.addresses: each for each in done.findings}
    odd = found["hunt_claims", "hunt_net[kind=odd]", "hunt_points"]
    assert odd.setting.changes == ("kind=odd",)
    assert odd.first.verdict == odd.again.verdict == "absent"
    # Seeds that the search has not seen, and that no suite uses.
    seeds = {unit for each in odd.again.record.groups for unit in each.units}
    assert len(seeds) == REPLICATES
    assert not seeds & {unit for each in odd.first.record.groups for unit in each.units}
    # The option of the negative control breaks the claim, too, which is no finding; nothing else does.
    assert set(found) == {odd.setting.addresses}
    assert "hunt_claims[broken=true]" not in {each.phenomenon for each in done.searched}
    assert any(not each.changes for each in done.searched)
    told = (tmp_path / "results" / "hunt-hunt_claims-usually" / "report" / "counterexamples.md").read_text()
    assert "hunt\\_net\\[kind=odd\\]" in told
    # Both are result sets, of which no setting counts towards a prevalence; a second call trains nothing.
    for name in ("hunt-hunt_claims-usually", "hunt-hunt_claims-usually-again"):
        results = ResultSet.load(tmp_path / "results" / name)
        assert not any(v.counted for v in results.verdicts if v.record.architecture != "hunt_net")
    capsys.readouterr()
    again = hunted(tmp_path, plugins, "hunt_claims:usually")
    assert capsys.readouterr().err.count(", 0 to train") == 2
    assert [each.setting for each in again.findings] == [each.setting for each in done.findings]
    assert 0 < again.seconds < again.budget == 120.0
    assert cli.main(["check", str(tmp_path / "results" / "hunt-hunt_claims-usually")]) == 0


def test_nothing_is_found_of_a_claim_that_holds_everywhere(
    tmp_path: Path, plugins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("universality.hunting.settings.variants", no_options)
    done = hunted(tmp_path, plugins, "hunt_claims:always")
    assert len(done.searched) >= 4
    assert done.search is not None
    assert done.findings == done.replicated == done.absent == ()
    assert done.again is None


def no_options(kind: str, address: str):  # type: ignore[no-untyped-def]
    """Networks alone: the option of the phenomenon breaks both claims."""
    names = ("width=2", "width=8", "kind=odd", "kind=other") if kind == "architecture" else ()
    return [f"hunt_net[{name}]" for name in names if address == "hunt_net"]


def test_a_dry_run_lists_and_a_budget_that_is_too_small_is_refused(tmp_path: Path, plugins: Path) -> None:
    done = hunted(tmp_path, plugins, "hunt_claims:usually", dry_run=True)
    assert done.search is None
    assert done.searched[0].changes == ()
    assert [len(each.changes) for each in done.searched] == sorted(
        len(each.changes) for each in done.searched
    )
    assert not (tmp_path / "results").exists()
    with pytest.raises(BadParameter, match="too small for the controls"):
        hunt(
            "hunt_claims:usually", budget=1e-6, architectures=["hunt_net"], tasks=["hunt_points"],
            results=tmp_path / "results", workers=0, plugins=[plugins], data_root=tmp_path,
        )  # fmt: skip
    with pytest.raises(BadParameter, match="minutes"):
        hunt("hunt_claims:usually", budget=0.0)


@pytest.mark.parametrize("text", ["grokking", "conservation_laws:order"])
def test_what_is_no_claim_to_hunt_is_refused(text: str) -> None:
    with pytest.raises(BadParameter):
        Quarry.parse(text)


def test_a_claim_that_compares_networks_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    """Its setting has runs, those of the claims about seeds, which say nothing of it."""
    with pytest.raises(BadParameter, match="compares networks") as refusal:
        hunt("function_agreement:errors_architectures", results=tmp_path / "results", budget=1.0)
    assert refusal.value.expected.endswith("errors_seeds, answers_seeds")
    assert "universality run --phenomena 'function_agreement'" in refusal.value.do
    assert not (tmp_path / "results").exists()
    setting = Setting("function_agreement", "mlp", "gaussian_mixture[separation=4.0]")
    for claim, asked in (("errors_architectures", False), ("errors_seeds", True)):
        costs = Costs(Quarry("function_agreement", claim), tmp_path)
        assert bool(costs.of([setting])) == asked, claim


def test_a_search_without_an_answer_says_so_and_one_with_failures_counts_them() -> None:
    quarry, setting = Quarry("edge", "ratio"), Setting("edge", "mlp", "digits")

    def told(*records: CellRecord) -> str:
        return "\n".join(lines(Hunted(quarry=quarry, searched=(setting,), search=set_of(records))))

    elsewhere = made_up(Within(low=1.0), [0.1, 0.2, 0.3], architecture="cnn")
    for text in (told(elsewhere), told(made_up(Within(low=1.0), [2.0] * 3, state="diverged"))):
        assert "nothing was measured of edge:ratio" in text
        assert "no counterexample" not in text
        assert "absences replicated" not in text
    assert "no verdict" in told(elsewhere)
    assert "1 diverged" in told(made_up(Within(low=1.0), [2.0] * 3, state="diverged"))
    assert "no counterexample" in told(made_up(Within(low=1.0), [2.0, 2.1, 2.2]))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Time that passes only where it is told to."""
    now = [0.0]
    monkeypatch.setattr("universality.hunting.hunt.monotonic", lambda: now[0])

    def passes(seconds: float) -> None:
        now[0] += seconds

    return passes


@pytest.mark.parametrize(
    ("pace", "trained", "calls"),
    [(0.5, 16, 5), (1.0, 16, 5), (2.0, 9, 3), (3.0, 5, 2), (4.0, 4, 2), (10.0, 3, 1)],
)
def test_a_search_on_a_busy_machine_begins_nothing_that_would_end_too_late(
    tmp_path: Path, clock: Callable[[float], None], pace: float, trained: int, calls: int
) -> None:
    """Sixteen settings of 10 s on one core, with controls of 10 s, in 100 s of two cores."""
    costs = Costs(Quarry("edge", "ratio"), tmp_path)
    costs.count({"control": 10.0})
    settings_ = [Setting("edge", f"net{i}", "digits") for i in range(16)]
    for each in settings_:
        costs.count({each.network: 10.0}, each)
    before: list[int] = []

    def train(settings: Sequence[Setting]) -> None:
        assert list(settings) == settings_[: len(settings)]  # in order, and all that came before
        new = len(settings) - (before[-1] if before else 0)
        clock(pace * (10.0 * new + (0 if before else 10.0)) / 2)
        before.append(len(settings))

    taken, forecast = trained_within(costs, [], settings_, train, wall=100.0, slots=2)
    assert (len(taken), len(before)) == (trained, calls)
    assert forecast == 10.0 + 10.0 * trained
    assert pace * forecast / 2 <= 100.0 or calls == 1  # what began is finished


def test_settings_of_an_earlier_sitting_are_trained_first_and_stored_ones_cost_nothing(
    tmp_path: Path, clock: Callable[[float], None]
) -> None:
    costs = Costs(Quarry("edge", "ratio"), tmp_path)
    kept, stored, new = (Setting("edge", name, "digits") for name in ("kept", "stored", "new"))
    for each, price in ((kept, 30.0), (stored, 0.0), (new, 30.0)):
        costs.count({each.network: price}, each)
    calls: list[list[Setting]] = []

    def train(settings: Sequence[Setting]) -> None:
        calls.append(list(settings))
        clock(90.0)

    assert trained_within(costs, [kept], [stored, new], train, wall=100.0, slots=1) == ([kept, stored], 30.0)
    assert calls == [[kept]]
    assert trained_within(costs, [kept, new], [stored], train, wall=1.0, slots=1)[1] == 60.0
    nothing = Costs(Quarry("edge", "ratio"), tmp_path)
    nothing.count({}, stored)
    assert trained_within(nothing, [], [stored], train, wall=1.0, slots=1) == ([stored], 0.0)
    assert len(calls) == 2  # what is stored trains nothing


def test_it_is_said_how_long_a_hunt_took_and_what_it_left(tmp_path: Path, plugins: Path) -> None:
    quarry, setting = Quarry("edge", "ratio"), Setting("edge", "mlp", "digits")
    search = set_of([made_up(Within(low=1.0), [2.0, 2.1, 2.2])])
    slow = Hunted(quarry=quarry, searched=(setting,), search=search, unbegun=3, seconds=95.0, budget=60.0)
    told = "\n".join(lines(slow))
    assert "took 1:35 of a budget of 1:00; 3 further settings were not begun" in told
    assert "not begun" not in "\n".join(lines(replace(slow, unbegun=0)))


def test_an_unknown_claim_is_told() -> None:
    with pytest.raises(UnknownName, match="claim of grokking"):
        Quarry.parse("grokking:late")


def test_ordinary_are_defaults_and_what_suites_have() -> None:
    tasks = ordinary("task")
    assert {"digits", "mnist[subset=1000]"} <= set(tasks)
    assert changed("task", "mnist[subset=1000]") == ()
    assert changed("task", "mnist[subset=1000,label_noise=0.1]") == ("label_noise=0.1",)
    assert changed("architecture", "mlp") == changed("architecture", "kan[width=16]") == ()
    assert changed("architecture", "mlp+output_scale[alpha=10]") == ("output_scale[alpha=10.0]",)
    assert changed("phenomenon", "grokking[decay=0.7]", "grokking[decay=0.7]") == ()
    assert changed("phenomenon", "grokking[decay=0.7]", "grokking") == ("decay=0.7",)


def test_settings_come_in_order_of_their_changes_and_each_once() -> None:
    found = list(settings("grokking", ["mlp"], ["sparse_parity"]))
    assert [len(each.changes) for each in found] == sorted(len(each.changes) for each in found)
    assert len({each.addresses for each in found}) == len(found) > 50
    assert found == list(settings("grokking", ["mlp"], ["sparse_parity"]))


def test_the_suite_of_a_hunt_is_a_suite() -> None:
    settings_ = [
        Setting("grokking", "gru", "sparse_parity"),
        Setting("grokking[decay=0.5]", "lstm", "sparse_parity"),
    ]
    quarry = Quarry("grokking", "delay")
    suite = suite_of(quarry, settings_, again=True)
    assert parse(suite.toml(), where="") == suite
    assert {each.replicates for each in suite.sweeps} == {range(1000, 1000 + REPLICATES)}
    assert [each.replicates for each in suite.crosses] == [range(5)]  # trained by the search
    own = suite_of(quarry, [Setting(*quarry.reference)], again=True)
    assert own.crosses == own.sweeps


# ------------------------------------------------------------------------------- made-up outcomes, nothing is trained

RNG = np.random.default_rng(0)


def made_up(claim: Bound, effects: list[float], state: RunState = "done", **where: str) -> CellRecord:
    groups = [group(i, x, state=state) for i, x in enumerate(effects)]
    return cell(groups, claim, swept=True, variant="edge", **where)  # type: ignore[arg-type]


def false_rate(claim: Bound, draw: object, cells: int) -> float:
    """Of replications of cells whose truth lies on the bound, the worst that a claim which holds can have."""
    return float(np.mean([is_confirmed(decide(made_up(claim, draw()))) for _ in range(cells)]))  # type: ignore[operator]


def test_replication_keeps_false_findings_of_a_whole_hunt_below_5_percent() -> None:
    """The most that is replicated, all of them on the bound: the chance that any is confirmed. Effects of normal noise, and
    runs of which one half hold; the level of one replication is exact for both, so that a rate three standard errors
    above it would be a mistake."""
    level = ALPHA / MAX_REPLICATED
    assert level >= 0.5**REPLICATES
    assert 1 - (1 - level) ** MAX_REPLICATED < 0.05
    for claim, draw in (
        (Within(low=1.0), lambda: list(1 + 0.2 * RNG.standard_normal(REPLICATES))),
        (Most(at_least=1.0), lambda: list(RNG.choice([0.5, 1.5], REPLICATES))),
    ):
        cells = 1500
        rate = false_rate(claim, draw, cells)
        assert rate < level + 3 * np.sqrt(level / cells), (claim, rate)


def test_a_hunt_of_a_claim_that_is_on_its_bound_everywhere_ends_without_a_finding() -> None:
    """Two hundred settings searched over three seeds, the absences again over nine: whole hunts by the code that judges them."""
    hunts, false, replicated = 25, 0, 0
    settings_ = [Setting("edge", f"net{i}", "digits") for i in range(200)]
    for _ in range(hunts):
        search = [
            made_up(Within(low=1.0), list(1 + 0.2 * RNG.standard_normal(3)), architecture=each.network)
            for each in settings_
        ]
        seen = absences(set_of(search), Quarry("edge", "ratio"))
        absent = [each for each in settings_ if each.addresses in seen][:MAX_REPLICATED]
        again = [
            made_up(
                Within(low=1.0), list(1 + 0.2 * RNG.standard_normal(REPLICATES)), architecture=each.network
            )
            for each in absent
        ]
        false += bool(findings(absent, seen, set_of(again), Quarry("edge", "ratio")))
        replicated += len(absent)
    assert replicated > hunts  # chance alone shows several in each search
    assert false <= 3  # of 25; P(more) < 0.04 at 5 %


def test_where_a_control_fails_nothing_is_found() -> None:
    wrong = [made_up(Within(low=1.0), [0.1, 0.11, 0.12, 0.1]), control("positive", 3.0, "present")]
    assert absences(set_of([wrong[0]]), Quarry("edge", "ratio"))
    bad = [
        *wrong[:1],
        cell(
            [group(i, 0.1) for i in range(3)], Within(low=1.0), control=wrong[1].control, expects=("present",)
        ),
    ]
    assert not absences(set_of(bad), Quarry("edge", "ratio"))
