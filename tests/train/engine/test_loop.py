"""The loop is a bare torch.optim loop, to the last bit, whatever is observed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from universality.errors import NotFinite
from universality.plugin import registry
from universality.plugin.architecture import Architecture, InputSpec, Kind
from universality.plugin.probe import Probe, Training
from universality.plugin.registry import component
from universality.plugin.spec import Recipe, RunSpec, derive_seed
from universality.plugin.task import Split, Splits
from universality.train.engine.loop import train
from universality.train.engine.member import Trained, build_network

registry.load_plugins()

CPU = torch.device("cpu")
SMALL = "mlp[width=6,depth=1,activation=tanh]"
NETS = (
    "mlp[width=16]",
    "resnet[width=8,blocks=1,stages=2]",
    "lstm[width=8]",
    "transformer[dim=8,heads=2]",
    "vit[dim=8,depth=1,heads=2]",
)


def made_up_splits(seed: int = 0, rows: int = 46, side: int = 8, classes: int = 4) -> Splits:
    generator = torch.Generator().manual_seed(seed)

    def split(n: int) -> Split:
        images = torch.randn(n, 1, side, side, generator=generator)
        return Split(images, torch.randint(classes, (n,), generator=generator))

    return Splits(split(rows), split(23), split(31), InputSpec("image", (1, side, side)), classes)


def spec_of(address: str, recipe: Recipe, seed: int = 0, task: str = "digits") -> RunSpec:
    parts = registry.resolve("architecture", address), registry.resolve("task", task)
    return RunSpec(component(parts[0]), component(parts[1]), recipe, seed)


def trained(
    address: str,
    recipe: Recipe,
    splits: Splits,
    observe: Mapping[str, Sequence[int]] | None = None,
    seed: int = 0,
) -> Trained:
    architecture = registry.resolve("architecture", address)
    return train(spec_of(address, recipe, seed), architecture, splits, observe or {}, CPU)


def assert_bit_identical(a: nn.Module, b: nn.Module) -> None:
    left, right = a.state_dict(), b.state_dict()
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        assert torch.equal(tensor, right[name]), f"{name} differs"


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits, targets)


def half_squared_error(logits: Tensor, targets: Tensor) -> Tensor:
    onehot = torch.zeros_like(logits)
    onehot[torch.arange(len(targets)), targets] = 1.0
    return 0.5 * (logits - onehot).square().sum() / len(targets)


Optimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]

CASES: dict[str, tuple[Recipe, Optimizer]] = {
    "sgd": (Recipe(steps=25, lr=0.1), lambda p: torch.optim.SGD(p, lr=0.1)),
    "heavy ball with decay": (
        Recipe(steps=25, lr=0.05, momentum=0.9, weight_decay=0.01),
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.01),
    ),
    "nesterov": (
        Recipe(steps=25, lr=0.05, momentum=0.9, nesterov=True),
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    ),
    "adam": (
        Recipe(steps=25, lr=0.01, optimizer="adam", beta1=0.8, beta2=0.98, weight_decay=0.01),
        lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.8, 0.98), weight_decay=0.01),
    ),
    "adamw": (
        Recipe(steps=25, lr=0.01, optimizer="adamw", beta2=0.98, eps=1e-6, weight_decay=1.0),
        lambda p: torch.optim.AdamW(p, lr=0.01, betas=(0.9, 0.98), eps=1e-6, weight_decay=1.0),
    ),
    "rmsprop": (
        Recipe(steps=25, lr=0.01, optimizer="rmsprop", beta2=0.97, momentum=0.5),
        lambda p: torch.optim.RMSprop(p, lr=0.01, alpha=0.97, momentum=0.5),
    ),
    "squared error": (Recipe(steps=25, lr=0.1, loss="mse"), lambda p: torch.optim.SGD(p, lr=0.1)),
    "mini-batches": (
        Recipe(steps=25, lr=0.1, momentum=0.9, batch_size=10),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    ),
    "a batch larger than the training set": (
        Recipe(steps=5, lr=0.1, batch_size=1000),
        lambda p: torch.optim.SGD(p, lr=0.1),
    ),
    "milestones and mini-batches": (
        Recipe(steps=25, lr=0.1, milestones=(1 / 3, 2 / 3), gamma=0.3, batch_size=10),
        lambda p: torch.optim.SGD(p, lr=0.1),
    ),
    "linear warmup, then milestones": (
        Recipe(steps=25, lr=0.1, warmup=0.2, milestones=(0.6, 0.8), gamma=0.3, optimizer="adam"),
        lambda p: torch.optim.Adam(p, lr=0.1),
    ),
    "a milestone at the start": (
        Recipe(steps=5, lr=0.1, milestones=(0.0,), gamma=0.5),
        lambda p: torch.optim.SGD(p, lr=0.1),
    ),
}


def hand_written_loop(
    address: str, recipe: Recipe, make: Optimizer, splits: Splits, seed: int = 0
) -> tuple[nn.Module, list[float]]:
    """What a reader of the recipe would write; nothing but the initialisation is shared."""
    architecture = registry.resolve("architecture", address)
    net = build_network(spec_of(address, recipe, seed), architecture, splits)
    net.train()
    optimizer = make(net.parameters())
    loss_of = cross_entropy if recipe.loss == "cross_entropy" else half_squared_error
    inputs, targets = splits.train.inputs, splits.train.targets
    drops = [round(fraction * recipe.steps) for fraction in recipe.milestones]
    warmup = round(recipe.warmup * recipe.steps)
    rate = optimizer.param_groups[0]["lr"]
    per_epoch = len(targets) // recipe.batch_size if 0 < recipe.batch_size < len(targets) else 0
    losses: list[float] = []
    for step in range(recipe.steps):
        factor = (step + 1) / warmup if step < warmup else 1.0
        for drop in drops:
            factor *= recipe.gamma if step >= drop else 1.0
        optimizer.param_groups[0]["lr"] = rate * factor
        x, y = inputs, targets
        if per_epoch:
            epoch, turn = divmod(step, per_epoch)
            generator = torch.Generator().manual_seed(derive_seed("batches", seed, epoch))
            order = torch.randperm(len(targets), generator=generator)
            rows = order[turn * recipe.batch_size :][: recipe.batch_size]
            x, y = inputs[rows], targets[rows]
        optimizer.zero_grad()
        loss = loss_of(net(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return net, losses


@pytest.mark.parametrize("case", CASES)
def test_weights_and_losses_are_those_of_a_hand_written_loop(case: str) -> None:
    recipe, make = CASES[case]
    splits = made_up_splits()
    net, losses = hand_written_loop("mlp[width=16]", recipe, make, splits)
    result = trained("mlp[width=16]", recipe, splits)
    assert result.state == "done"
    assert_bit_identical(result.net, net)
    assert result.series["train_loss"].steps.tolist() == list(range(recipe.steps))
    assert result.series["train_loss"].values.tolist() == losses


@pytest.mark.parametrize("address", NETS)
def test_every_network_trains_as_by_hand(address: str) -> None:
    recipe, make = CASES["mini-batches"]
    splits = made_up_splits()
    assert_bit_identical(
        trained(address, recipe, splits).net, hand_written_loop(address, recipe, make, splits)[0]
    )


def test_a_run_longer_than_the_check_for_divergence_trains_as_by_hand() -> None:
    recipe = Recipe(steps=450, lr=0.1, batch_size=10)
    splits = made_up_splits()
    net, losses = hand_written_loop(SMALL, recipe, lambda p: torch.optim.SGD(p, lr=0.1), splits)
    result = trained(SMALL, recipe, splits, {"accuracy": (0, 201, 450)})
    assert_bit_identical(result.net, net)
    assert result.series["train_loss"].values.tolist() == losses


def assert_does_not_perturb_training(address: str, recipe: Recipe, probes: Iterable[str]) -> None:
    """Every bit of weights, buffers and losses is the same with `probes` and without."""
    splits = made_up_splits()
    alone = trained(address, recipe, splits)
    observe = dict.fromkeys(probes, range(recipe.steps + 1))
    if recipe.optimizer != "sgd" or recipe.momentum or recipe.weight_decay or not recipe.batch_size:
        observe.pop("batch_sharpness", None)  # which is refused there
    if recipe.optimizer != "sgd" or recipe.weight_decay:
        observe.pop("flows", None)  # likewise
    if observe.pop("projected_updates", None):  # trains forks of its own: dear
        observe["projected_updates[steps=1]"] = range(1, 2)
    watched = trained(address, recipe, splits, observe)
    assert_bit_identical(watched.net, alone.net)
    losses = [t.series["train_loss"].values.tolist() for t in (alone, watched)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("address", NETS)
def test_no_registered_probe_perturbs_training(address: str) -> None:
    probes = set(registry.names("probe"))
    assert {"accuracy", "balance", "collapse", "sharpness", "taps"} <= probes
    if not address.startswith(("mlp", "transformer", "mixer")):
        probes.remove("balance")  # which is refused where no linear map feeds another
    recipe = Recipe(steps=6, lr=0.01, optimizer="adam", batch_size=10)
    assert_does_not_perturb_training(address, recipe, probes)


@pytest.mark.parametrize("case", ["heavy ball with decay", "rmsprop", "milestones and mini-batches"])
def test_no_registered_probe_perturbs_an_optimizer(case: str) -> None:
    assert_does_not_perturb_training(SMALL, CASES[case][0], registry.names("probe"))


@dataclass(kw_only=True)
class Rude(Probe):
    """Does everything that a probe may do, and cleans nothing up."""

    def record(self, training: Training) -> Mapping[str, float | Tensor]:
        training.net.train()
        training.net(100 * training.splits.validation.inputs).sum().backward()
        training.net.eval()
        torch.manual_seed(training.step)
        return {"drawn": float(torch.rand(()))}


@dataclass(kw_only=True)
class Vandal(Probe):
    """Moves a weight by one unit in the last place."""

    def record(self, training: Training) -> Mapping[str, float | Tensor]:
        with torch.no_grad():
            weight = next(training.net.parameters()).view(-1)[:1]
            weight.copy_(torch.nextafter(weight, weight + 1))
        return {}


def test_a_probe_that_cleans_nothing_up_is_cleaned_up_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._plugins["probe"], "rude", Rude)
    recipe = Recipe(steps=8, lr=0.01, optimizer="adam", batch_size=10)
    assert_does_not_perturb_training("resnet[width=8,blocks=1,stages=2]", recipe, ["rude"])


def test_a_weight_that_a_probe_moves_is_put_back_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._plugins["probe"], "vandal", Vandal)
    assert_does_not_perturb_training(SMALL, Recipe(steps=2, lr=0.1), ["vandal"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropping(Architecture):
    """A network that draws from torch's global generator in every forward pass."""

    name: ClassVar[str] = "dropping"
    family: ClassVar[str] = "feedforward"
    accepts: ClassVar[frozenset[Kind]] = frozenset({"image"})

    def build(self, inputs: InputSpec, outputs: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(inputs.size, outputs))

    def taps(self, net: nn.Module) -> dict[str, nn.Module]:
        return {}

    def readout(self, net: nn.Module) -> nn.Linear:
        last = net.get_submodule("2")
        assert isinstance(last, nn.Linear)
        return last


def test_dropout_is_drawn_from_the_seed_of_the_run_and_from_nothing_else() -> None:
    splits, recipe, net = made_up_splits(), Recipe(steps=5, lr=0.1), Dropping()

    def run(seed: int, observe: Mapping[str, Sequence[int]]) -> nn.Module:
        spec = RunSpec(component(net), component(registry.resolve("task", "digits")), recipe, seed)
        return train(spec, net, splits, observe, CPU).net

    torch.manual_seed(1)
    first = run(0, {})
    torch.manual_seed(2)
    outside = torch.get_rng_state()
    second = run(0, {"accuracy": range(6)})
    assert torch.equal(outside, torch.get_rng_state())
    assert_bit_identical(first, second)
    with pytest.raises(AssertionError, match="differs"):
        assert_bit_identical(first, run(1, {}))


@pytest.mark.parametrize("address", NETS)
def test_a_seed_gives_the_same_run_twice_and_another_seed_another_run(address: str) -> None:
    splits, recipe = made_up_splits(), Recipe(steps=3, lr=0.1, batch_size=10)
    first = trained(address, recipe, splits, seed=0)
    assert_bit_identical(first.net, trained(address, recipe, splits, seed=0).net)
    with pytest.raises(AssertionError, match="differs"):
        assert_bit_identical(first.net, trained(address, recipe, splits, seed=1).net)


def test_the_initialisation_depends_on_the_architecture_and_the_seed_only() -> None:
    recipe, other = Recipe(steps=1, lr=0.1), Recipe(steps=9, lr=0.3, optimizer="adam")

    def initial(address: str, recipe: Recipe, task: str, data: int, seed: int = 0) -> Tensor:
        architecture = registry.resolve("architecture", address)
        net = build_network(spec_of(address, recipe, seed, task), architecture, made_up_splits(data))
        return torch.cat([p.detach().flatten() for p in net.parameters()])

    reference = initial(SMALL, recipe, "digits", data=0)
    assert torch.equal(reference, initial(SMALL, other, "digits[subset=100]", data=1))
    assert not torch.equal(reference, initial(SMALL, recipe, "digits", data=0, seed=1))
    relu = SMALL.replace("tanh", "relu")
    assert not torch.equal(reference, initial(relu, recipe, "digits", data=0))


def test_probes_see_the_network_after_as_many_updates_as_their_step_says() -> None:
    splits = made_up_splits()
    steps = (0, 1, 4, 7)
    seen = trained(SMALL, Recipe(steps=7, lr=0.1), splits, {"accuracy": steps})
    recorded = seen.series["accuracy.train_loss"]
    assert recorded.steps.tolist() == list(steps)
    for step in steps[1:]:
        net = trained(SMALL, Recipe(steps=step, lr=0.1), splits).net.eval()
        with torch.no_grad():
            loss = cross_entropy(net(splits.train.inputs), splits.train.targets)
        assert recorded.at(step) == loss.item()


def test_gradient_descent_with_the_derived_rate_is_gradient_descent_with_that_rate() -> None:
    splits = made_up_splits(side=3)
    derived = trained(SMALL, Recipe(steps=5, lr_over_stability=2.0, loss="mse"), splits)
    given = trained(SMALL, Recipe(steps=5, lr=derived.facts["lr"], loss="mse"), splits)
    assert_bit_identical(derived.net, given.net)


def test_a_run_that_diverges_keeps_what_was_recorded_before_and_says_when() -> None:
    splits, recipe = made_up_splits(), Recipe(steps=600, lr=10.0, loss="mse")
    _, losses = hand_written_loop("mlp[width=6]", recipe, lambda p: torch.optim.SGD(p, lr=10.0), splits)
    finite = [bool(np.isfinite(loss)) for loss in losses]
    end = finite.index(False)
    assert 2 < end < 200, "the setting must diverge inside the first block"
    result = trained("mlp[width=6]", recipe, splits, {"accuracy": (0, 1, 2, 600)})
    assert result.state == "diverged"
    assert result.facts["diverged_at"] == end
    assert result.series["accuracy.train"].steps.tolist() == [0, 1, 2]
    assert result.series["train_loss"].values[:end].tolist() == losses[:end]


def splits_of_steep_loss() -> Splits:
    """One update at the largest float32 rate takes the weights beyond all finite numbers."""
    splits = made_up_splits()
    return replace(splits, train=Split(1e6 * splits.train.inputs, splits.train.targets))


FURTHEST = 3e38
LINEAR = "mlp[depth=0]"


@pytest.mark.parametrize("probe", ["sharpness", "accuracy", "collapse", "taps"])
def test_divergence_is_recorded_where_the_next_to_look_is_a_probe(probe: str) -> None:
    recipe = Recipe(steps=10, lr=FURTHEST, loss="mse")
    result = trained(LINEAR, recipe, splits_of_steep_loss(), {probe: (0, 1)})
    assert result.state == "diverged"
    assert result.facts["diverged_at"] == 1
    assert np.isfinite(result.series["train_loss"].values[0])
    assert all(0 in t.steps for n, t in result.series.items() if n.startswith(probe))


@pytest.mark.parametrize(("lr", "state"), [(1e-3, "failed"), (10.0, "diverged")])
def test_values_that_are_not_finite_are_divergence_only_where_the_loss_has_risen(
    lr: float, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def record(self: Probe, training: Training) -> dict[str, float]:
        raise NotFinite("a product that is not finite")

    monkeypatch.setattr(registry.plugin_class("probe", "sharpness"), "record", record)

    def run() -> Trained:
        return trained(LINEAR, Recipe(steps=3, lr=lr, loss="mse"), made_up_splits(), {"sharpness": (2,)})

    if state == "failed":
        with pytest.raises(NotFinite):
            run()
        return
    result = run()
    assert np.isfinite(result.series["train_loss"].values[:2]).all()
    assert (result.state, result.facts["diverged_at"]) == ("diverged", 2)


def test_a_network_without_finite_curvature_at_its_start_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def record(self: Probe, training: Training) -> dict[str, float]:
        raise NotFinite("a product that is not finite")

    monkeypatch.setattr(registry.plugin_class("probe", "sharpness"), "record", record)
    with pytest.raises(NotFinite):
        trained(LINEAR, Recipe(steps=3, lr=10.0, loss="mse"), made_up_splits(), {"sharpness": (0,)})


def test_curvature_overflows_before_loss_and_gradient_do() -> None:
    """Weights of a saturated tanh network reach 1e16 while the loss is 1e34: 1 - tanh^2 is 0, times infinity."""
    recipe = Recipe(steps=60, lr=2.0, momentum=0.5, loss="mse")
    network = "mlp[width=6,depth=3,activation=tanh]"
    result = trained(network, recipe, made_up_splits(), {"sharpness": tuple(range(61))})
    assert result.state == "diverged"
    end = result.facts["diverged_at"]
    assert np.isfinite(result.series["train_loss"].values).all(), "the probe, not the loss, must meet it"
    assert result.series["sharpness.value"].steps[-1] < end


def test_weights_that_leave_the_finite_numbers_in_the_last_update_are_no_finished_run() -> None:
    result = trained(LINEAR, Recipe(steps=1, lr=FURTHEST, loss="mse"), splits_of_steep_loss())
    assert np.isfinite(result.series["train_loss"].values).all()
    assert (result.state, result.facts["diverged_at"]) == ("diverged", 1)
