"""A loop of one's own that is watched: the numbers of the benchmark, the weights of a loop that is not watched."""

from __future__ import annotations

import copy
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler, TensorDataset

import universality
from universality.errors import BadParameter, MeasurementError, UniversalityError, UnknownName
from universality.judge.outcomes import outcome_of
from universality.measures import HessianOperator
from universality.plugin import At, Every, Splits, registry
from universality.plugin.kit.losses import objective
from universality.plugin.registry import component
from universality.plugin.spec import Recipe, RunSpec, derive_seed
from universality.probes.collapse import CollapseProbe
from universality.train.engine.batches import Batches
from universality.train.engine.loop import train
from universality.train.engine.member import build_network
from universality.watching.live_recipe import recipe_of, unknown
from universality.watching.report import Report
from universality.watching.selection import SEVERAL
from universality.watching.session import Watch

STEPS = 60
NET, TASK = "mlp[width=32]", "digits[subset=300]"
RECIPE = Recipe(steps=STEPS, lr=0.05, momentum=0.9, weight_decay=1e-3, batch_size=64)


def spec_and_splits() -> tuple[RunSpec, Splits]:
    network, task = registry.resolve("architecture", NET), registry.resolve("task", TASK)
    data = task.load(np.random.default_rng(derive_seed("data", task.name, 0)), Path())
    return RunSpec(component(network), component(task), RECIPE, seed=0), data


def pair(split: Any) -> tuple[Tensor, Tensor]:
    return split.inputs, split.targets


def points(rows: int = 90, classes: int = 3, d: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(rows) % classes
    return torch.randn(rows, d, generator=generator) + 3 * torch.eye(classes, d)[targets], targets


def small(d: int = 6, classes: int = 3) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(d, 8), nn.Tanh(), nn.Linear(8, classes))


def sgd(net: nn.Module, lr: float = 0.1, **more: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(net.parameters(), lr=lr, **more)


def go_on(net: nn.Module, optimizer: torch.optim.Optimizer, watch: Watch | None, steps: int) -> None:
    """Full-batch updates."""
    inputs, targets = points()
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(inputs), targets)
        loss.backward()
        optimizer.step()
        if watch is not None:
            watch.step(loss)


def watched(steps: int = 20, updates: int | None = None, **asked: Any) -> Watch:
    net = small()
    optimizer = sgd(net, momentum=0.9, weight_decay=0.01)
    given = {"phenomena": ["neural_collapse"], "data": points(), **asked}
    watch = universality.watch(net, optimizer, steps=steps, **given)
    go_on(net, optimizer, watch, steps if updates is None else updates)
    return watch


class EngineRun:
    """What the engine trained, as a claim reads it."""

    state = "done"

    def __init__(self, spec: RunSpec, trained: Any) -> None:
        self.spec, self.facts, self._trained = spec, trained.facts, trained

    def series(self, name: str) -> Any:
        return self._trained.series[name]


def test_series_and_outcomes_are_those_of_the_engine_to_the_last_bit() -> None:
    spec, splits = spec_and_splits()
    network = registry.resolve("architecture", NET)
    observe = {probe: Every(20).steps(STEPS) for probe in ("collapse", "accuracy")}
    trained = train(spec, network, splits, observe, torch.device("cpu"))

    net = build_network(spec, network, splits)
    optimizer = sgd(net, RECIPE.lr, momentum=RECIPE.momentum, weight_decay=RECIPE.weight_decay)
    watch = universality.watch(
        net, optimizer, data=pair(splits.train), validation=pair(splits.validation), steps=STEPS,
        batch_size=RECIPE.batch_size, phenomena=["neural_collapse"],
    )  # fmt: skip
    loss_of = objective(RECIPE)
    batches = Batches(len(splits.train), RECIPE.batch_size, 0, torch.device("cpu"))
    for rows in batches.table(0, STEPS):
        loss = loss_of(net(splits.train.inputs[rows]), splits.train.targets[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watch.step(loss)

    same = trained.net.state_dict()
    assert all(torch.equal(tensor, same[name]) for name, tensor in net.state_dict().items())
    # Permuted labels are drawn by the id of the run, which this training does not have.
    for name in sorted(set(trained.series) - {"collapse.nc1_permuted"}):
        ours, theirs = watch.series(name), trained.series[name]
        np.testing.assert_array_equal(ours.steps, theirs.steps, err_msg=name)
        np.testing.assert_array_equal(ours.values, theirs.values, err_msg=name)

    report = watch.report()
    phenomenon = registry.resolve("phenomenon", "neural_collapse")
    assert [row.address for row in report.claims] == [f"neural_collapse.{name}" for name in phenomenon.claims]
    for name, claim in phenomenon.claims.items():
        outcome = report[f"neural_collapse.{name}"].outcome
        expected = outcome_of(phenomenon, claim, EngineRun(spec, trained))  # type: ignore[arg-type]
        assert outcome is not None
        assert outcome.effect == expected.effect
        assert [c.name for c in outcome.gates] == [c.name for c in expected.gates]
        assert [c.value for c in outcome.gates] == pytest.approx([c.value for c in expected.gates], rel=1e-12)
        assert outcome.criteria == expected.criteria
    assert report.finished


class Noisy(nn.Module):
    """Dropout, running statistics, and a counter that torch does not know of."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3))
        self.head = nn.Linear(16, 3)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        logits: Tensor = self.head(self.layers(x))
        return logits


@pytest.mark.parametrize("own_generator", [False, True])
def test_weights_draws_and_counters_are_those_of_a_loop_that_is_not_watched(own_generator: bool) -> None:
    def trained(watching: bool) -> tuple[nn.Module, list[Tensor], Tensor]:
        torch.manual_seed(7)
        net = Noisy()
        optimizer = sgd(net, momentum=0.9, weight_decay=1e-3)
        own = torch.Generator().manual_seed(3) if own_generator else None
        loader = DataLoader(TensorDataset(*points()), batch_size=30, shuffle=True, generator=own)
        watch = None
        if watching:
            asked = {"sharpness": Every(4), "weights": At(0.5)}
            watch = universality.watch(
                net, optimizer, data=loader, steps=12, phenomena=["neural_collapse"], probes=asked
            )
        for _ in range(4):
            for inputs, targets in loader:
                # Gradients that were there before are added to.
                loss = nn.functional.cross_entropy(net(inputs), targets)
                loss.backward()
                optimizer.step()
                if watch is not None:
                    watch.step(loss)
                optimizer.zero_grad(set_to_none=False)
        if watch is not None:
            assert watch.failures == {}
            assert watch.series("sharpness.value").steps.tolist() == [0, 3, 6, 9, 12]
            str(watch.report())
        return net, [torch.get_rng_state()], torch.rand(1)

    (plain, states, draw), (observed, other_states, other_draw) = trained(False), trained(True)
    same = observed.state_dict()
    assert all(torch.equal(tensor, same[name]) for name, tensor in plain.state_dict().items())
    assert torch.equal(states[0], other_states[0])
    assert torch.equal(draw, other_draw)
    assert plain.calls == observed.calls


@pytest.mark.parametrize("probe", ["accuracy", "sharpness"])
def test_hooks_of_the_loop_see_its_own_passes_alone(probe: str) -> None:
    def trained(watching: bool) -> Tensor:
        net, seen = small(), []
        net.get_submodule("1").register_forward_hook(lambda *given: seen.append(given[2]))
        optimizer, (inputs, targets) = sgd(net), points()
        watch = None
        if watching:
            watch = universality.watch(
                net, optimizer, data=(inputs, targets), steps=4, probes={probe: Every(4)}
            )
        for _ in range(4):
            loss = nn.functional.cross_entropy(net(inputs), targets)
            loss = loss + 0.1 * sum(each.square().sum() for each in seen)
            seen.clear()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if watch is not None:
                watch.step(loss)
                assert watch.failures == {}
        return nn.utils.parameters_to_vector(net.parameters()).detach()

    assert torch.equal(trained(True), trained(False))


def test_a_loop_that_is_interrupted_is_judged_at_its_last_record() -> None:
    watch = watched(steps=40, updates=13)
    report = watch.report()
    assert "After 13 of 40 updates so far." in str(report)
    assert "holds so far" in str(report)
    nc1 = watch.series("collapse.nc1")
    assert nc1.steps.tolist() == [0, 2, 4, 6, 8, 10, 12]
    outcome = report["neural_collapse.nc1"].outcome
    assert outcome is not None
    assert outcome.effect == nc1.values[-1]
    assert len(watch.series("train_loss")) == 13
    # As if the training ended here: 13 updates at 0.1 with momentum 0.9 and decay 0.01.
    memory = next(gate for gate in outcome.gates if gate.name == "memory of initialisation")
    assert memory.value == pytest.approx(np.exp(-2 * 0.01 * 13 * 0.1 / 0.1))


def test_rates_of_a_schedule_are_added_up() -> None:
    net = small()
    optimizer = sgd(net, lr=0.4, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: t / 4)  # begins at 0
    watch = universality.watch(net, optimizer, data=points(), steps=8, phenomena=["neural_collapse"])
    for _ in range(8):
        go_on(net, optimizer, watch, 1)
        schedule.step()
    outcome = watch.report()["neural_collapse.nc1"].outcome
    assert outcome is not None
    memory = next(gate for gate in outcome.gates if gate.name == "memory of initialisation")
    assert memory.value == pytest.approx(np.exp(-2 * 0.01 * sum(0.1 * t for t in range(8))))


def test_a_probe_that_raises_is_told_and_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    record = CollapseProbe.record

    def fails(self: CollapseProbe, training: Any) -> Any:
        if training.step >= 4:
            raise ValueError("no luck today")
        return record(self, training)

    monkeypatch.setattr(CollapseProbe, "record", fails)
    with pytest.warns(RuntimeWarning, match="collapse failed after 4 updates: ValueError: no luck") as caught:
        watch = watched(steps=20, probes={"sharpness": Every(2)})
    assert len(caught) == 1
    assert watch.updates == 20
    assert list(watch.failures) == ["collapse"]
    row = watch.report()["neural_collapse.nc1"]
    assert row.holds is None
    assert "the probe collapse failed after 4 updates: ValueError: no luck today" in row.why
    assert "no luck today" in str(watch.report())
    assert len(watch.series("sharpness.value")) == 3
    assert len(watch.series("accuracy.train")) == 21


def test_a_loss_that_is_no_number_raises_nothing() -> None:
    net = small()
    watch = universality.watch(net, sgd(net), data=points(), steps=5, phenomena=["neural_collapse"])
    with pytest.warns(RuntimeWarning, match="a loss that is no number"):
        watch.step("low")  # type: ignore[arg-type]
    watch.step(torch.ones(3))
    watch.step(0.5)
    watch.step()
    watch.step(torch.tensor([0.25]))
    assert watch.updates == 5
    loss = watch.series("train_loss")
    assert (loss.steps.tolist(), loss.values.tolist()) == ([2, 4], [0.5, 0.25])
    assert watch.series("accuracy.train").steps.tolist() == [0, 1, 2, 3, 4, 5]
    assert all(row.outcome is not None for row in watch.report().claims)


class Elsewhere(Tensor):
    """A number of which reading the value would wait for a device."""

    is_cpu = False

    def item(self) -> Any:
        raise AssertionError("a wait for the device")


def test_losses_on_a_device_are_not_waited_for_and_are_copied() -> None:
    net = small()
    watch = universality.watch(net, sgd(net), data=points(), steps=450, probes={"accuracy": At(0)})
    loss = torch.zeros(1).as_subclass(Elsewhere)
    for update in range(430):
        loss.fill_(update)  # as a captured graph does
        watch.step(loss)
    assert watch.failures == {}
    assert watch.series("train_loss").values.tolist() == list(range(430))


def test_a_training_that_diverges_says_so_and_is_recorded_no_more() -> None:
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = sgd(net, lr=1e30)
    watch = universality.watch(net, optimizer, data=points(), steps=20, phenomena=["neural_collapse"])
    go_on(net, optimizer, watch, 20)
    report = watch.report()
    assert all("diverged" in row.why for row in report.claims)
    assert "nothing was recorded afterwards" in str(report)


def test_updates_beyond_the_last_are_not_looked_at() -> None:
    watch = watched(steps=5, updates=9)
    assert len(watch.series("train_loss")) == 5
    assert "4 updates beyond the 5 were not looked at" in str(watch.report())


def test_rows_of_a_loader_are_taken_once() -> None:
    inputs, targets = points()
    passed = Mock()  # which nothing puts back

    class Batches:
        batch_size = 10

        def __iter__(self) -> Any:
            passed()
            order = torch.randperm(90)
            return ((inputs[rows], targets[rows]) for rows in order.split(10))

    net = small()
    optimizer = sgd(net)
    before = torch.get_rng_state()
    watch = universality.watch(
        net, optimizer, data=Batches(), steps=6, phenomena=["neural_collapse"], rows=40, probes={"sharpness": Every(3)}
    )  # fmt: skip
    assert torch.equal(before, torch.get_rng_state())
    go_on(net, optimizer, watch, 6)
    assert passed.call_count == 2  # and a look whether another pass gives the same
    told = "training rows: the first 40 rows of one pass through the loader, taken once; begins its next pass"
    assert any(note.startswith(told) for note in watch.report().notes)


def test_the_size_of_an_update_is_told() -> None:
    x, y = points()
    whole, batches = [(x, y)], [(x[:30], y[:30]), (x[30:], y[30:])]
    by_sampler = DataLoader(
        TensorDataset(x, y), batch_sampler=BatchSampler(SequentialSampler(x), 18, drop_last=False)
    )
    notes = {
        "updates are taken to be of all rows: batch_size=... says": {"data": (x, y)},
        "updates of all rows (batch_size=0)": {"data": (x, y), "batch_size": 0},
        "updates of 7 rows each (batch_size=7)": {"data": (x, y), "batch_size": 7},
        "updates of 15 rows each, as the batches of the loader (batch_size=15)": {
            "data": DataLoader(TensorDataset(x, y), 15)
        },
        "updates of 18 rows each, as the batches of the loader (batch_size=18)": {"data": by_sampler},
        "updates of 30 rows each, as the batches of the loader (batch_size=30)": {"data": batches},
    }
    for note, given in notes.items():
        assert note in watched(steps=2, **given).report().notes
    assert any("of all rows" in note for note in watched(steps=2, data=whole).report().notes)


@pytest.mark.parametrize("spread", [False, True])
def test_a_network_that_waits_for_other_processes_is_refused(
    spread: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda *_: 2 if spread else 1)
    net = nn.Sequential(nn.Linear(6, 8), nn.SyncBatchNorm(8), nn.Linear(8, 3))
    given: dict[str, Any] = {"data": points(), "steps": 2, "probes": {"accuracy": At(0)}}
    if not spread:
        universality.watch(net, sgd(net), **given)
        return
    with pytest.raises(
        BadParameter, match=r"waits for other processes[\s\S]*1 \(SyncBatchNorm\), of 2 processes"
    ):
        universality.watch(net, sgd(net), **given)
    net.get_submodule("1").eval()
    universality.watch(net, sgd(net), **given)


def test_of_many_rows_a_sample_is_taken_which_is_always_the_same() -> None:
    first, again = (watched(steps=2, rows=31) for _ in range(2))
    note = "training rows: 31 random rows of 90, each class in its share, always the same"
    assert note in first.report().notes
    np.testing.assert_array_equal(
        first.series("accuracy.train").values, again.series("accuracy.train").values
    )
    assert first.series("collapse.imbalance").values[0] == 11 / 10


def test_without_held_out_rows_what_is_read_of_them_is_no_number() -> None:
    watch = watched(steps=2)
    assert np.isnan(watch.series("accuracy.validation").values).all()
    assert np.isfinite(watch.series("accuracy.train").values).all()
    held_out = watched(steps=2, validation=points())
    assert np.isfinite(held_out.series("accuracy.validation").values).all()


def test_probes_alone_give_series() -> None:
    watch = watched(phenomena=(), probes={"sharpness": Every(2), "displacement": At(0, 1)})
    assert watch.series("sharpness.ratio").steps.tolist() == [0, 10, 20]
    assert watch.report().claims == ()
    with pytest.raises(UnknownName, match=r"unknown series 'sharpness.rato'"):
        watch.series("sharpness.rato")


def test_claims_that_one_training_says_nothing_of_are_named() -> None:
    asked = ["neural_collapse", "edge_of_stability", "representation_similarity", "lazy_to_rich", "grokking"]
    left_out = watched(steps=2, phenomena=[*asked, "conservation_laws"]).report().left_out
    assert left_out["edge_of_stability.gd"] == SEVERAL
    assert left_out["representation_similarity.cka_seeds"] == SEVERAL
    assert any("output_scale" in why for claim, why in left_out.items() if claim.startswith("lazy_to_rich"))
    assert "algorithmic tasks" in left_out["grokking.delay"]
    assert all("exact theory" in why for claim, why in left_out.items() if claim.startswith("conservation"))
    with pytest.raises(BadParameter) as error:
        watched(phenomena=["edge_of_stability"])
    assert "phenomena of which this training says nothing" in str(error.value)
    assert SEVERAL in str(error.value)


def test_a_claim_about_a_family_of_data_is_asked_where_the_family_is_named() -> None:
    report = watched(steps=20, phenomena=["grokking"], family="algorithmic", validation=points()).report()
    row = report["grokking.delay"]
    assert row.outcome is not None
    assert "grokking is trained otherwise by the benchmark: optimizer sgd, there adamw" in str(report)


def test_claims_of_the_middle_of_a_training_wait_for_it() -> None:
    row = watched(steps=40, updates=3, phenomena=["gradient_subspace"]).report().claims[0]
    assert row.why == "projected_updates records first after 20 updates"


def one_number() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 1), nn.Flatten(0))


class Cut(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * 2


class WithoutCurvature(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(Cut.apply(self.first(x)).tanh())  # type: ignore[no-untyped-call]
        return logits


frozen = small().requires_grad_(False)
numbers = points()[0], torch.randn(90, 3)
BAD: dict[str, tuple[dict[str, Any], type[UniversalityError], str]] = {
    "no update": ({"steps": 0}, BadParameter, "steps of a training that is watched"),
    "steps that are no number": ({"steps": 2.5}, BadParameter, "got:      2.5"),
    "nothing trainable": ({"net": frozen}, BadParameter, "without a parameter to train"),
    "no module": ({"net": print}, BadParameter, "no network"),
    "no logits": ({"net": one_number()}, BadParameter, "outputs are no logits"),
    "other inputs": ({"net": small(d=5)}, BadParameter, "cannot run on its data"),
    "too few outputs": ({"net": small(classes=2)}, BadParameter, "targets that do not fit"),
    "unknown phenomenon": ({"phenomena": ["neural_colapse"]}, UnknownName, "did you mean 'neural_collapse'"),
    "a text": ({"phenomena": "neural_collapse"}, BadParameter, "a list of addresses"),
    "unknown probe": ({"probes": {"sharpnes": Every(2)}}, UnknownName, "did you mean 'sharpness'"),
    "no schedule": ({"probes": {"sharpness": 5}}, BadParameter, "has no schedule"),
    "nothing asked": ({"phenomena": ()}, BadParameter, "nothing to watch for"),
    "optimizer of others": ({"optimizer": sgd(small())}, BadParameter, "an optimizer of other weights"),
    "no optimizer": ({"optimizer": 0.1}, BadParameter, "no optimizer"),
    "double precision": (
        {"net": small().double(), "data": (points()[0].double(), points()[1])},
        BadParameter,
        "other precision than float32",
    ),
    "an iterator": ({"data": iter([points()])}, BadParameter, "which would be used up"),
    "an empty loader": ({"data": []}, BadParameter, "a loader without rows"),
    "inputs alone": ({"data": [points()[0]] * 3}, BadParameter, "no inputs with their targets"),
    "one-hot of whole numbers": (
        {"data": (points()[0], torch.eye(3, dtype=torch.long)[points()[1]])},
        BadParameter,
        "neither classes nor numbers",
    ),
    "no loss": ({"loss": "hinge"}, UnknownName, "unknown loss 'hinge'"),
    "numbers and classes": ({"data": numbers}, BadParameter, 'do:    loss="mse"'),
    "other held-out rows": ({"validation": numbers}, BadParameter, "validation rows of another form"),
    "an unknown optimizer": (
        {"make": torch.optim.Adagrad},
        BadParameter,
        "the optimizer Adagrad is not known",
    ),
    "amsgrad": (
        {"make": lambda p: torch.optim.Adam(p, amsgrad=True)},
        BadParameter,
        "Adam is not known with amsgrad=True",
    ),
    "no second derivative": (
        {"net": WithoutCurvature(), "probes": {"sharpness": Every(2)}},
        MeasurementError,
        "differentiable once has no second derivative",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_watched_is_refused_before_the_first_update(case: str) -> None:
    changes, kind, text = BAD[case]
    given = {"net": small(), "data": points(), "steps": 4, "phenomena": ["neural_collapse"], **changes}
    net, make = given.pop("net"), given.pop("make", lambda parameters: torch.optim.SGD(parameters, lr=0.1))
    optimizer = given.pop("optimizer", None)
    if optimizer is None:
        optimizer = make(net.parameters() if isinstance(net, nn.Module) else small().parameters())
    before = copy.deepcopy(net.state_dict()) if isinstance(net, nn.Module) else {}
    with pytest.raises(kind) as error:
        universality.watch(net, optimizer, **given)
    assert text in str(error.value)
    assert all(torch.equal(tensor, net.state_dict()[name]) for name, tensor in before.items())


def test_series_of_an_optimizer_without_a_recipe_are_recorded() -> None:
    net = small()
    optimizer = torch.optim.Adagrad(net.parameters())
    watch = universality.watch(
        net, optimizer, data=points(), steps=4, phenomena=["neural_collapse"], probes={"accuracy": Every(2)}
    )
    go_on(net, optimizer, watch, 4)
    assert len(watch.series("accuracy.train")) == 3
    report = watch.report()
    assert "the optimizer Adagrad is not known" in report.left_out["neural_collapse.nc1"]
    assert any("Adagrad" in note for note in report.notes)


WITHOUT_THRESHOLD: dict[str, tuple[Any, str]] = {
    "another kind": (lambda net: torch.optim.Adagrad(net.parameters(), lr=0.05, weight_decay=0.5), "Adagrad"),
    "decay of some": (
        lambda net: torch.optim.Adam([{"params": net[0].parameters()}, {"params": net[2].parameters(), "weight_decay": 0.5}]),
        "2 parameter groups with different settings",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", WITHOUT_THRESHOLD)
def test_sharpness_of_an_optimizer_without_a_threshold_is_that_of_the_hessian(kind: str) -> None:
    make, told = WITHOUT_THRESHOLD[kind]
    net = small()
    optimizer, asked = make(net), {"sharpness": Every(2), "sharpness[audit=1]": At(1.0)}
    watch = universality.watch(
        net, optimizer, data=points(), steps=4, phenomena=["progressive_sharpening"], probes={**asked, "accuracy": At(0)}
    )  # fmt: skip
    go_on(net, optimizer, watch, 4)
    assert watch.failures == {}
    inputs, targets = points()
    hessian = HessianOperator(
        lambda: nn.functional.cross_entropy(net(inputs), targets), list(net.parameters())
    )
    exact = torch.linalg.eigvalsh(torch.stack([hessian(row) for row in torch.eye(hessian.dim)]))[-1].item()
    for address in asked:
        value = watch.series(f"{address}.value").values
        assert value[-1] == pytest.approx(exact, rel=1e-2)
        assert watch.series(f"{address}.converged").values[-1] == 1
        for key in ("threshold", "ratio"):
            series = watch.series(f"{address}.{key}")
            assert len(series) == len(value)
            assert np.isnan(series.values).all()
    report = watch.report()
    assert any(
        note.startswith(f"no stability threshold is known of {told}: sharpness") for note in report.notes
    )
    # A claim reads ratios: where they are no numbers, it is not told.
    assert all(row.outcome is None and told in row.why for row in report.claims)
    assert "progressive_sharpening.rises" in {*report.left_out, *(row.address for row in report.claims)}


def test_sharpness_of_an_optimizer_with_a_threshold_is_compared_with_it() -> None:
    watch = watched(steps=4, phenomena=(), probes={"sharpness": At(0)})
    assert watch.series("sharpness.threshold").values.tolist() == [pytest.approx(2 * 1.9 / 0.1)]
    assert not any("stability threshold" in note for note in watch.report().notes)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (
            lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.5, nesterov=True, weight_decay=0.25),
            {"momentum": 0.5, "nesterov": True, "weight_decay": 0.25},
        ),
        (
            lambda p: torch.optim.Adam(p, lr=0.1, betas=(0.5, 0.75), eps=0.125),
            {"optimizer": "adam", "beta1": 0.5, "beta2": 0.75, "eps": 0.125},
        ),
        (lambda p: torch.optim.AdamW(p, lr=0.1), {"optimizer": "adamw", "weight_decay": 0.01}),
        (
            lambda p: torch.optim.RMSprop(p, lr=0.1, alpha=0.5, momentum=0.25),
            {"optimizer": "rmsprop", "beta2": 0.5, "momentum": 0.25},
        ),
    ],
)
def test_a_recipe_is_read_of_the_live_optimizer(make: Any, expected: dict[str, Any]) -> None:
    optimizer = make([nn.Parameter(torch.zeros(2))])
    assert unknown(optimizer) == ""
    recipe = recipe_of(optimizer, steps=10, loss="mse", batch_size=4)
    assert recipe == Recipe(steps=10, lr=0.1, loss="mse", batch_size=4, **expected)


def test_groups_of_parameters_are_read_by_the_largest() -> None:
    net = small()
    weights = [p for p in net.parameters() if p.ndim > 1]
    biases = [p for p in net.parameters() if p.ndim == 1]
    optimizer = torch.optim.SGD([{"params": biases}, {"params": weights, "weight_decay": 0.5}], lr=0.1)
    assert recipe_of(optimizer, steps=1, loss="mse", batch_size=0).weight_decay == 0.5
    watch = universality.watch(net, optimizer, data=points(), steps=2, phenomena=["neural_collapse"])
    assert any("2 groups of parameters" in note for note in watch.report().notes)


def test_rates_that_probes_read_are_those_of_the_largest_group() -> None:
    probes = {"flows": At(0), "projected_updates[steps=2]": At(0)}
    found = []
    for groups in (1, 2):
        net = small()
        large = {"params": [p for p in net.parameters() if p.ndim > 1], "lr": 0.5}
        rest = {"params": [p for p in net.parameters() if p.ndim == 1], "lr": 1e-6}
        optimizer = torch.optim.SGD([rest, large] if groups == 2 else net.parameters(), lr=0.5)
        watch = universality.watch(net, optimizer, data=points(), steps=2, probes=probes)
        assert watch.failures == {}
        losses = watch.array("projected_updates[steps=2].loss_sgd", 0)
        found.append((watch.series("flows.threshold").values[0], *losses))
    assert found[0][0] == 4.0
    assert found[1] == pytest.approx(found[0], rel=1e-6)


def test_a_parameter_of_the_loss_alone_is_none_of_the_forks() -> None:
    temperature = nn.Parameter(torch.ones(1))
    found = []
    for others in ([], [temperature]):
        net = small()
        optimizer = torch.optim.SGD([*net.parameters(), *others], lr=0.1, momentum=0.9)
        temperature.grad = torch.ones(1)
        optimizer.step()  # so that it has a state
        watch = universality.watch(net, optimizer, data=points(), steps=2, probes={"rotation": At(0)})
        assert watch.failures == {}
        found.append(watch.series("rotation.angle").values[0])
    assert found[0] == found[1]
    assert temperature.item() == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("momentum", "batch_size", "note"),
    [
        (0.0, 0, ""),
        (0.9, 0, "this training has momentum 0.9"),
        (0.9, 30, "this training has momentum 0.9 and batches of 30 rows"),
    ],
)
def test_flows_beside_another_training_are_told(momentum: float, batch_size: int, note: str) -> None:
    net = small()
    watch = universality.watch(
        net,
        sgd(net, momentum=momentum),
        data=points(),
        steps=2,
        batch_size=batch_size,
        probes={"flows": At(0)},
    )
    told = [each for each in watch.report().notes if each.startswith("flows are those")]
    assert [each.endswith(note) for each in told] == ([True] if note else [])


def test_wrappers_are_taken_off_and_evaluation_mode_is_noted() -> None:
    net = small()
    optimizer = sgd(net)
    wrapped = nn.DataParallel(net).eval()
    watch = universality.watch(wrapped, optimizer, data=points(), steps=2, phenomena=["neural_collapse"])
    notes = watch.report().notes
    assert any("DataParallel" in note for note in notes)
    assert any("net.train()" in note for note in notes)
    assert not net.training


def normalised(*, frozen: bool) -> nn.Module:
    torch.manual_seed(1)
    norm = nn.BatchNorm1d(8)
    with torch.no_grad():
        norm.running_mean.fill_(0.5)  # type: ignore[union-attr]
        norm.running_var.fill_(9.0)  # type: ignore[union-attr]
    net = nn.Sequential(nn.Linear(6, 8), norm, nn.Tanh(), nn.Linear(8, 3))
    norm.train(not frozen)
    return net


OF_THE_LOSS = {
    "sharpness": "sharpness.value",
    "noise_scale": "noise_scale.value",
    "batch_sharpness": "batch_sharpness.value",
    "rotation": "rotation.angle",
    "projected_updates[steps=2]": "projected_updates[steps=2].share",
    "flows": "flows.central_loss",
}


@pytest.mark.parametrize("probe", OF_THE_LOSS)
def test_a_part_in_evaluation_mode_stays_there(probe: str) -> None:
    def recorded(net: nn.Module) -> tuple[float, Report]:
        watch = universality.watch(
            net, sgd(net), data=points(), steps=4, batch_size=30, probes={probe: At(0)}
        )
        assert watch.failures == {}
        return float(watch.series(OF_THE_LOSS[probe]).values[0]), watch.report()

    class Fixed(nn.Module):
        """The same function, whose mode does not matter."""

        def __init__(self) -> None:
            super().__init__()
            self.inside = normalised(frozen=True)

        def train(self, mode: bool = True) -> Fixed:
            return self

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.inside(x)
            return logits

    held, report = recorded(normalised(frozen=True))
    assert held == pytest.approx(recorded(Fixed())[0], rel=1e-5)
    other, plain = recorded(normalised(frozen=False))
    assert held != pytest.approx(other, rel=1e-3)
    note = "1 modules are held in evaluation mode, such as 1"
    assert any(note in each for each in report.notes)
    assert not any(note in each for each in plain.notes)


def test_a_compiled_network_is_observed_inside() -> None:
    net = small()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler's own imports
        compiled = torch.compile(net, backend="eager")
    watch = universality.watch(
        compiled, sgd(net), data=points(), steps=2, phenomena=["neural_collapse"], probes={"sharpness": At(0)}
    )  # type: ignore[arg-type]
    assert any("torch.compile" in note for note in watch.report().notes)
    assert watch.failures == {}


@pytest.fixture
def group_of_one(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process group of this process, over the loopback interface and a store in memory."""
    if not (torch.distributed.is_available() and torch.distributed.is_gloo_available()):
        pytest.skip("torch without gloo")
    loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", loopback)  # which is 127.0.0.1
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("group_of_one")
def test_a_distributed_network_is_observed_inside_and_its_updates_are_its_own() -> None:
    def trained(watching: bool) -> list[Tensor]:
        torch.manual_seed(7)
        net = nn.parallel.DistributedDataParallel(Noisy())
        optimizer = sgd(net, momentum=0.9)
        watch = None
        if watching:
            watch = universality.watch(
                net,
                optimizer,
                data=points(),
                steps=6,
                phenomena=["neural_collapse"],
                probes={"sharpness": Every(3)},
            )
        go_on(net, optimizer, watch, 6)
        if watch is not None:
            assert watch.failures == {}
            assert watch.series("sharpness.value").steps.tolist() == [0, 2, 4, 6]
            assert watch.report()["neural_collapse.nc1"].outcome is not None
            told = "probes take the network inside DistributedDataParallel (data parallelism)"
            assert told in watch.report().notes
        return [tensor.detach().clone() for tensor in net.state_dict().values()]

    plain, observed = trained(False), trained(True)
    assert all(map(torch.equal, plain, observed))


class NoReadout(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 3))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


def test_a_network_without_a_readout_has_series_that_need_none() -> None:
    net = NoReadout()
    optimizer = sgd(net)
    with pytest.warns(RuntimeWarning, match="collapse failed"):
        watch = universality.watch(
            net, optimizer, data=points(), steps=2, phenomena=["neural_collapse"], probes={"sharpness": At(0)}
        )
    report: Report = watch.report()
    assert "readout" in report["neural_collapse.nc1"].why
    assert any("no layers are known of this network" in note for note in report.notes)
    assert len(watch.series("sharpness.value")) == 1


@pytest.mark.parametrize(
    ("last", "loss", "told"),
    [
        (nn.Softmax(-1), "cross_entropy", True),
        (nn.Softmax(-1), "mse", False),
        (nn.LogSoftmax(-1), "cross_entropy", False),
        (nn.Sigmoid(), "cross_entropy", False),
        (nn.Identity(), "cross_entropy", False),
    ],
)
def test_outputs_that_are_probabilities_are_told(last: nn.Module, loss: Any, told: bool) -> None:
    net = nn.Sequential(small(), last)
    watch = universality.watch(net, sgd(net), data=points(), steps=2, loss=loss, probes={"accuracy": At(0)})
    notes = [note for note in watch.report().notes if "look like probabilities" in note]
    assert [note.endswith("leave the softmax to the loss") for note in notes] == [True] * told


@pytest.mark.filterwarnings("ignore:universality.watch")
def test_advice_on_a_readout_behind_a_softmax_is_told_whole() -> None:
    net = nn.Sequential(small(), nn.Softmax(-1))
    report = universality.watch(net, sgd(net), data=points(), steps=2, phenomena=["neural_collapse"]).report()
    advice = "let forward end in `return self.readout(x)`, without a softmax or a scale behind it"
    assert str(report).count(advice) == 2  # of the probe that failed, and of the network
    assert "…" not in str(report)


def test_numbers_are_watched_under_the_squared_loss() -> None:
    net = small()
    watch = universality.watch(
        net, sgd(net), data=numbers, steps=4, loss="mse", phenomena=["progressive_sharpening"]
    )
    assert [row.address for row in watch.report().claims] == ["progressive_sharpening.rises"]
    assert watch.failures == {}


def test_settings_of_the_loop_are_its_own() -> None:
    net, data = small(), points()
    optimizer = sgd(net)
    torch.set_default_dtype(torch.float64)
    try:
        watch = universality.watch(
            net, optimizer, data=data, steps=2, phenomena=["neural_collapse"], probes={"sharpness": At(0)}
        )
        with torch.no_grad(), torch.autocast("cpu"):
            watch.step(0.5)
            watch.step(0.25)
            assert not torch.is_grad_enabled()
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert watch.failures == {}
    assert np.isfinite(watch.series("sharpness.value").values).all()


def test_a_phenomenon_of_ones_own_is_watched(toys: Path) -> None:
    net = small(d=6, classes=2)
    data = points(classes=2)
    watch = universality.watch(net, sgd(net), data=data, steps=8, phenomena=["toy_early"], plugins=[toys])
    early = watch.report()
    assert early["toy_early.one"].why == "toy_probe records first after 2 updates"
    for _ in range(8):
        watch.step()
    report = watch.report()
    assert watch.series("toy_probe.step").values.tolist() == [2.0]
    assert (report["toy_early.one"].holds, report["toy_early.two"].holds) == (True, False)


def test_an_effect_that_raises_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import universality.watching.session as session

    def fails(*_: Any) -> Any:
        np.random.default_rng(0)
        torch.rand(3)
        raise KeyError("nothing was recorded")

    monkeypatch.setattr(session, "outcome_of", fails)
    watch = watched(steps=2)
    before = torch.get_rng_state()
    row = watch.report()["neural_collapse.nc1"]
    assert row.why == "cannot be measured so far: KeyError: 'nothing was recorded'"
    assert torch.equal(before, torch.get_rng_state())
