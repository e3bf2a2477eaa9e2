"""Networks trained side by side are, each, what they are alone; fused gradients are those of the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.train.engine.test_loop import Dropping
from universality.plan.plan import Job
from universality.plan.stacks import alike
from universality.plugin import registry
from universality.plugin.architecture import Architecture, InputSpec, Kind
from universality.plugin.registry import component
from universality.plugin.spec import Recipe, RunSpec
from universality.plugin.task import Split, Splits
from universality.train.engine import choice
from universality.train.engine import run as run_module
from universality.train.engine.batches import Batches
from universality.train.engine.choice import time_gradients
from universality.train.engine.ensemble import CannotStack, Ensemble
from universality.train.engine.fused_steps import FusedSteps
from universality.train.engine.loop import train_stack
from universality.train.engine.loop_steps import LoopSteps
from universality.train.engine.member import Member, Trained, build_network
from universality.train.engine.optimizers import build_optimizer
from universality.train.messages import Engine

CPU = torch.device("cpu")
TANH = "mlp[width=7,depth=1,activation=tanh]"
NETS = (
    "mlp[width=13]",
    "mlp[width=9,depth=1,centred=true,output_scale=3]",
    "cnn[width=3]",
    "resnet[width=4,blocks=1,stages=2]",
    "lstm[width=7]",
    "lstm[width=5,cell=gru]",
    "transformer[dim=8,heads=2]",
    "vit[dim=8,depth=1,heads=2]",
    "mixer[dim=8]",
)
RECIPES = {
    "sgd": Recipe(steps=7, lr=0.1),
    "heavy ball, L2": Recipe(steps=7, lr=0.05, momentum=0.9, weight_decay=0.01, batch_size=10),
    "nesterov, milestones": Recipe(
        steps=7, lr=0.05, momentum=0.9, nesterov=True, milestones=(0.3, 0.6), gamma=0.3
    ),
    "adam, L2": Recipe(steps=7, lr=0.01, optimizer="adam", weight_decay=0.01, batch_size=10),
    "adamw, warmup": Recipe(steps=7, lr=0.01, optimizer="adamw", weight_decay=1.0, warmup=0.5),
    "rmsprop": Recipe(steps=7, lr=0.01, optimizer="rmsprop", beta2=0.97, momentum=0.5, loss="mse"),
}


def made_up_splits(seed: int, rows: int = 23, side: int = 8) -> Splits:
    generator = torch.Generator().manual_seed(seed)

    def split(n: int) -> Split:
        images = torch.randn(n, 1, side, side, generator=generator)
        return Split(images, torch.randint(4, (n,), generator=generator))

    return Splits(split(rows), split(9), split(9), InputSpec("image", (1, side, side)), 4)


def member(
    address: str | Architecture,
    recipe: Recipe,
    seed: int = 0,
    observe: Mapping[str, Sequence[int]] | None = None,
    splits: Splits | None = None,
) -> Member:
    """A run on data of its own."""
    architecture = registry.resolve("architecture", address) if isinstance(address, str) else address
    task = component(registry.resolve("task", "digits"))
    spec = RunSpec(component(architecture), task, recipe, seed)
    return Member(spec, architecture, splits or made_up_splits(seed), observe or {})


def alone(one: Member) -> Trained:
    """Trained separately: torch's optimizer on the network's own parameters."""
    return train_stack([one], CPU, "separate")[0]


def assert_the_same_run(found: Trained, expected: Trained) -> None:
    """Every bit of weights, buffers, series and arrays."""
    assert found.state == expected.state
    assert found.facts.get("diverged_at") == expected.facts.get("diverged_at")
    left, right = found.net.state_dict(), expected.net.state_dict()
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        assert tensor.numpy().tobytes() == right[name].numpy().tobytes(), name
    assert found.series.keys() == expected.series.keys()
    for name, series in found.series.items():
        np.testing.assert_array_equal(series.steps, expected.series[name].steps)
        assert series.values.tobytes() == expected.series[name].values.tobytes(), name
    assert found.arrays.keys() == expected.arrays.keys()
    for key, array in found.arrays.items():
        np.testing.assert_array_equal(array, expected.arrays[key])


@pytest.mark.parametrize("address", NETS)
@pytest.mark.parametrize("name", ["heavy ball, L2", "adamw, warmup"])
def test_every_network_is_trained_in_a_stack_as_alone(address: str, name: str) -> None:
    members = [member(address, RECIPES[name], seed, {"accuracy": (0, 7)}) for seed in range(3)]
    runs = train_stack(members, CPU)
    for one, run in zip(members, runs, strict=True):
        assert_the_same_run(run, alone(one))
        assert run.facts["engine"] == {"mode": "loop", "asked": "auto", "members": 3, "fallback": ""}


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("engine", ["loop", "fused"])
def test_output_scales_are_members_of_one_stack(engine: Engine, centred: bool) -> None:
    nets = [f"mlp[width=9,depth=1,centred={str(centred).lower()},output_scale={s}]" for s in (0.3, 3, 100)]
    members = [
        member(net, replace(RECIPES["sgd"], lr=0.1 / (1 + seed) ** 4), seed, {"accuracy": (0, 7)})
        for seed, net in enumerate(nets)
    ]
    assert len({alike(one.spec) for one in members}) == 1
    for one, run in zip(members, train_stack(members, CPU, engine), strict=True):
        assert run.facts["engine"]["mode"] == engine
        assert run.facts["engine"]["members"] == 3
        if engine == "loop":
            assert_the_same_run(run, alone(one))
        else:
            torch.testing.assert_close(run.net.state_dict(), alone(one).net.state_dict())


def test_an_output_scale_of_one_and_other_parameters_make_another_stack() -> None:
    kinds = {
        alike(member(f"mlp[width=9,{rest}]", RECIPES["sgd"]).spec)
        for rest in ("output_scale=1", "output_scale=2", "output_scale=3", "output_scale=2,init_scale=2")
    }
    assert len(kinds) == 3


class GatedNet(nn.Module):
    """Two layers; what `Gated` says of them is kept by the gain only."""

    def __init__(self, inputs: int, outputs: int, *, width: int, gain: float, memory: int) -> None:
        super().__init__()
        self.hidden, self.readout = nn.Linear(inputs, width), nn.Linear(width, outputs)
        self.register_buffer("gain", torch.tensor(gain))
        self.register_buffer("memory", torch.zeros(memory))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.readout(torch.tanh(self.gain * self.hidden(x.flatten(1))))
        return logits


@dataclass(frozen=True, kw_only=True)
class Gated(Architecture):
    stacks_over = frozenset({"gain", "width", "memory"})

    gain: float = 1.0
    width: int = 5
    memory: int = 2
    depth: int = 1

    def build(self, inputs: InputSpec, outputs: int) -> nn.Module:
        return GatedNet(inputs.size, outputs, width=self.width, gain=self.gain, memory=self.memory)

    def taps(self, net: nn.Module) -> dict[str, nn.Module]:
        return {}

    def readout(self, net: nn.Module) -> nn.Linear:
        raise NotImplementedError


@pytest.mark.usefixtures("clean_registry")
@pytest.mark.parametrize(
    ("parameter", "engine", "mode", "fallback"),
    [
        ("gain", "loop", "loop", ""),
        ("gain", "fused", "fused", ""),
        ("width", "loop", "loop", "the networks have different parameters"),
        ("width", "fused", "fused", "the networks have different parameters"),
        ("memory", "fused", "loop", "the networks have different buffers"),
    ],
)
def test_an_architecture_says_what_its_stacks_may_differ_in_and_a_lie_is_noticed(
    parameter: str, engine: Engine, mode: str, fallback: str
) -> None:
    registry.register("gated", accepts={"image"})(Gated)
    members = [member(f"gated[{parameter}={v}]", RECIPES["sgd"], seed) for seed, v in enumerate((3, 4))]
    assert len({Job(one.spec, {}).kind for one in members}) == 1
    for other in ("gated", f"gated[{parameter}=3,depth=2]"):
        assert alike(member(other, RECIPES["sgd"]).spec) != alike(members[0].spec)
    for one, run in zip(members, train_stack(members, CPU, engine), strict=True):
        how = run.facts["engine"]
        assert (how["mode"], how["fallback"]) == (mode, fallback)
        torch.testing.assert_close(run.net.state_dict(), alone(one).net.state_dict())


@pytest.mark.parametrize("scale", [0.1, 3.0, 1e-3, 1 / 3])
def test_the_output_scale_multiplies_as_a_number_does(scale: float) -> None:
    net = registry.resolve("architecture", f"mlp[width=9,output_scale={scale}]").build(
        InputSpec("vector", (5,)), 3
    )
    x = torch.randn(11, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(net(x), scale * net.net(x))


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("differing", [False, True], ids=["one group", "a group per member"])
def test_every_optimizer_treats_a_row_as_it_treats_a_network(name: str, differing: bool) -> None:
    recipe = RECIPES[name]
    recipes = [
        replace(recipe, lr=recipe.lr * (1 + seed), weight_decay=0.1 * seed) if differing else recipe
        for seed in range(3)
    ]
    probes = {"sharpness": (0, 1, 5), "accuracy": (5,)}  # sharpness reads the optimizer's state and rate
    members = [member(TANH, recipe, seed, probes) for seed, recipe in enumerate(recipes)]
    for one, run in zip(members, train_stack(members, CPU), strict=True):
        assert_the_same_run(run, alone(one))


def test_members_may_observe_at_different_steps_share_data_and_have_derived_rates() -> None:
    splits = made_up_splits(0)
    recipe = Recipe(steps=9, lr_over_stability=2.0, loss="mse")
    asked: list[dict[str, Sequence[int]]] = [{"accuracy": (0, 3)}, {}, {"sharpness": (3, 4), "weights": (9,)}]
    members = [member(TANH, recipe, 5, observe, splits) for observe in asked]
    members.append(member(TANH, replace(recipe, lr_over_stability=4.0), 6, {}, splits))
    for one, run in zip(members, train_stack(members, CPU), strict=True):
        assert_the_same_run(run, alone(one))


def test_a_member_that_diverges_stops_as_it_would_alone_and_the_others_go_on() -> None:
    wild, tame = Recipe(steps=450, lr=10.0, loss="mse"), Recipe(steps=450, lr=0.01, loss="mse")
    # What the tame ones observe makes the stack stop at steps at which the wild one alone would not look.
    members = [member(TANH, r, s, {"accuracy": (50 + s, 450)}) for s, r in enumerate((tame, wild, tame))]
    members[1] = replace(members[1], observe={"accuracy": (0, 450)})
    runs = train_stack(members, CPU)
    assert [run.state for run in runs] == ["done", "diverged", "done"]
    for one, run in zip(members, runs, strict=True):
        assert_the_same_run(run, alone(one))


def test_a_trained_network_keeps_nothing_of_its_neighbours() -> None:
    runs = train_stack([member(TANH, RECIPES["sgd"], seed) for seed in range(4)], CPU)
    for parameter in runs[0].net.parameters():
        assert parameter.untyped_storage().nbytes() == parameter.nbytes


class Wide(nn.Module):
    """A scale in double precision."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale.to(x.dtype)


class Sometimes(nn.Module):
    """Sends a batch through one of two scales, as a router would."""

    def __init__(self) -> None:
        super().__init__()
        self.spare, self.other = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return x * (self.spare if x[0, 0] > 0 else self.other)


@dataclass(frozen=True, slots=True, kw_only=True)
class Odd(Architecture):
    """Networks that cannot be stacked, each for a reason of its own."""

    kind: str = "dropout"
    name: ClassVar[str] = "odd"
    family: ClassVar[str] = "feedforward"
    accepts: ClassVar[frozenset[Kind]] = frozenset({"image"})

    def build(self, inputs: InputSpec, outputs: int) -> nn.Module:
        net = nn.Sequential(nn.Flatten(), nn.Identity(), nn.Linear(inputs.size, outputs))
        if self.kind == "dropout":
            net[1] = nn.Dropout(0.5)
        elif self.kind == "sometimes unused":
            net[1] = Sometimes()
        elif self.kind == "mixed types":
            net[1] = Wide()
        elif self.kind == "transposed":
            net[2].weight = nn.Parameter(torch.randn(inputs.size, outputs).t())
        elif self.kind == "tied":
            first, second = nn.Linear(inputs.size, inputs.size), nn.Linear(inputs.size, inputs.size)
            second.weight = first.weight
            net[1] = nn.Sequential(first, nn.Tanh(), second)
        elif self.kind == "frozen":
            net[2].bias.requires_grad_(False)
        return net

    def taps(self, net: nn.Module) -> dict[str, nn.Module]:
        return {}

    def readout(self, net: nn.Module) -> nn.Linear:
        last = net.get_submodule("2")
        assert isinstance(last, nn.Linear)
        return last


REASONS = {
    "dropout": "the networks draw random numbers",
    "sometimes unused": "a parameter without a gradient",
    "mixed types": "parameters of several types",
    "transposed": "a parameter that is not contiguous",
    "tied": "",
    "frozen": "",
}


@pytest.mark.parametrize("kind", REASONS)
def test_what_cannot_be_stacked_is_trained_alone_for_a_reason_that_is_recorded(kind: str) -> None:
    # Decay moves a parameter that has no gradient, where an optimizer would have skipped it.
    recipe = Recipe(steps=5, lr=0.1, momentum=0.9, weight_decay=0.1)
    members = [member(Odd(kind=kind), recipe, seed) for seed in range(2)]
    for one, run in zip(members, train_stack(members, CPU), strict=True):
        assert_the_same_run(run, alone(one))
        stacked = not REASONS[kind]
        assert run.facts["engine"] == {
            "mode": "loop" if stacked or kind == "dropout" else "separate",
            "asked": "auto",
            "members": 2 if stacked else 1,
            "fallback": REASONS[kind],
        }
        assert stacked or f"not as tried first: {REASONS[kind]}\n" in run.log


def test_recipes_that_cannot_run_side_by_side_are_refused() -> None:
    members = [member(TANH, Recipe(steps=steps, lr=0.1)) for steps in (5, 6)]
    with pytest.raises(ValueError, match="differ in one of optimizer, batch_size, steps"):
        train_stack(members, CPU)


def test_networks_of_different_shapes_are_trained_alone() -> None:
    members = [member(f"mlp[width={width}]", RECIPES["sgd"]) for width in (4, 5)]
    for one, run in zip(members, train_stack(members, CPU), strict=True):
        assert_the_same_run(run, alone(one))
        assert run.facts["engine"]["fallback"] == "the networks have different parameters"


def test_the_optimizer_of_a_member_is_the_one_it_would_have_alone() -> None:
    recipe = RECIPES["adam, L2"]
    nets = [
        build_network(member(TANH, recipe, s).spec, member(TANH, recipe).architecture, made_up_splits(0))
        for s in (0, 1)
    ]
    state = Ensemble(nets, [recipe, replace(recipe, weight_decay=0.5)], [0.1, 0.2])
    for number in (0, 1):
        state.take(number, [torch.full_like(p, 1.0 + number) for p in state.trainable[number]])
    state.scale_rates(0.5)
    state.step()
    own = state.optimizer_of(1)
    (group,) = own.param_groups
    assert (group["lr"], group["weight_decay"]) == (0.1, 0.5)
    assert [id(p) for p in group["params"]] == [id(p) for p in nets[1].parameters()]
    for parameter in nets[1].parameters():
        found = own.state[parameter]
        assert float(found["step"]) == 1
        assert found["exp_avg"].shape == parameter.shape
        # The gradient is 2 plus half the weight before the step.
        before = (found["exp_avg"] / (1 - recipe.beta1) - 2) / 0.5
        assert (parameter - before).abs().max() <= 0.1 + 1e-5  # Adam's first step is the rate


def layout_bug(make: Callable[[list[Tensor]], torch.optim.Optimizer]) -> float:
    """Largest error of one step from a gradient that lies transposed, as vmapped linear layers give it."""
    weight, gradient = torch.zeros(3, 5), torch.arange(15.0).view(5, 3).t()
    expected = torch.zeros(3, 5)
    for parameter, grad in ((weight, gradient), (expected, gradient.contiguous())):
        parameter.grad = grad
        make([parameter]).step()
    return float((weight - expected).abs().max())


def test_gradients_of_any_strides_reach_the_right_numbers() -> None:
    """torch's fused CPU optimizers take gradients as they lie: the reason why `take` copies them."""
    assert layout_bug(lambda p: torch.optim.SGD(p, lr=1.0)) == 0
    nets = [nn.Linear(5, 3, bias=False) for _ in range(2)]
    before = [net.weight.detach().clone() for net in nets]
    state = Ensemble(nets, [Recipe(steps=1, lr=1.0)] * 2, [1.0, 1.0])
    state.keep_on_device()
    assert state.optimizer.defaults["fused"]
    transposed = torch.randn(2, 5, 3).transpose(1, 2)
    state.take_stacked([transposed])
    state.step()
    for net, old, gradient in zip(nets, before, transposed, strict=True):
        torch.testing.assert_close(net.weight.detach(), old - gradient)


# ------------------------------------------------------------------------------------ fused


def drift(runs: Sequence[Trained], others: Sequence[Trained]) -> Tensor:
    """Distance of the final weights relative to their size, per member."""

    def flat(run: Trained) -> Tensor:
        return torch.cat([p.detach().double().flatten() for p in run.net.parameters()])

    pairs = [(flat(a), flat(b)) for a, b in zip(runs, others, strict=True)]
    return torch.stack([(a - b).norm() / a.norm() for a, b in pairs])


def nudged(monkeypatch: pytest.MonkeyPatch, members: Sequence[Member]) -> list[Trained]:
    """The same runs from weights of which each is moved to its neighbouring float."""

    def build(spec: RunSpec, architecture: Architecture, splits: Splits) -> nn.Module:
        net = build_network(spec, architecture, splits)
        sign = torch.Generator().manual_seed(spec.seed)
        with torch.no_grad():
            for p in net.parameters():
                up = torch.rand(p.shape, generator=sign) < 0.5
                p.copy_(torch.nextafter(p, torch.where(up, torch.inf, -torch.inf)))
        return net

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "build_network", build)
        return train_stack(members, CPU, "loop")


STACKABLE = [address for address in NETS if "lstm" not in address]


SLOWEST = ("resnet", "mixer", "vit")
"""Of the fused ones: a second recipe of these is trained where there is time."""


@pytest.mark.parametrize(
    ("name", "address"),
    [
        pytest.param(name, address, marks=[pytest.mark.slow] if slow else [])
        for name in ("heavy ball, L2", "sgd")
        for address in STACKABLE
        for slow in [name != "sgd" and address.startswith(SLOWEST)]
    ],
)
def test_fused_training_stays_as_near_to_the_loop_as_a_nudge_of_the_last_bit(
    address: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(RECIPES[name], steps=20)
    members = [member(address, recipe, seed, {"accuracy": (0, 10)}) for seed in range(12)]
    expected = train_stack(members, CPU, "loop")
    fused = train_stack(members, CPU, "fused")
    assert {run.facts["engine"]["mode"] for run in fused} == {"fused"}
    # Rounding enters a fused run at every step and a nudged one once: 20 steps may add up to a few nudges.
    apart = drift(fused, expected)
    near = apart <= 10 * drift(nudged(monkeypatch, members), expected) + 1e-7
    # A unit of a ReLU network that is nearly at 0 may switch under any rounding: 2 of 36 residual networks
    # did, by this size.
    assert near.sum() >= len(members) - 2
    assert apart.max() < 5e-3
    for run, other in (
        pair for pair, close in zip(zip(fused, expected, strict=True), near, strict=True) if close
    ):
        for (key, found), wanted in zip(run.net.named_buffers(), other.net.buffers(), strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6, msg=lambda m, k=key: f"{k}: {m}")
        assert run.series["train_loss"].values == pytest.approx(other.series["train_loss"].values, rel=1e-4)
        assert run.series["accuracy.train_loss"].values == pytest.approx(
            other.series["accuracy.train_loss"].values, rel=1e-4
        )


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("captured", [False, True])
def test_fused_training_knows_every_optimizer_and_schedule(name: str, captured: bool) -> None:
    recipe = replace(RECIPES[name], steps=12, eps=1e-3)
    members = [member(TANH, replace(recipe, lr=recipe.lr / (1 + s)), s, {"accuracy": (5,)}) for s in range(3)]
    calls: list[str] = []

    def plain(update: Callable[[], None]) -> Callable[[], None]:
        calls.append("captured")
        return lambda: (calls.append("replayed"), update())[1]

    fused = train_stack(members, CPU, "fused", capture=plain if captured else None)
    assert (drift(fused, train_stack(members, CPU, "loop")) < 2e-6).all()
    assert {run.facts["engine"]["captured"] for run in fused} == {captured}
    # Three updates run as they are; the fourth is captured and, as all after it, replayed.
    assert calls == (["captured"] + ["replayed"] * 9 if captured else [])


def test_a_fused_member_does_not_depend_on_its_neighbours() -> None:
    recipe = RECIPES["heavy ball, L2"]
    members = [member(TANH, recipe, seed) for seed in range(4)]
    pair, all_four = train_stack(members[:2], CPU, "fused"), train_stack(members, CPU, "fused")
    for a, b in zip(pair, all_four, strict=False):
        assert_the_same_run(a, b)


def test_a_fused_member_that_diverges_leaves_the_others_as_they_are() -> None:
    tame = [member(TANH, Recipe(steps=250, lr=0.01, loss="mse"), s) for s in range(3)]
    wild = [tame[0], member(TANH, Recipe(steps=250, lr=10.0, loss="mse"), 1), tame[2]]
    runs, expected = (train_stack(group, CPU, "fused") for group in (wild, tame))
    assert [run.state for run in runs] == ["done", "diverged", "done"]
    assert runs[1].facts["diverged_at"] < 200
    for number in (0, 2):
        assert drift([runs[number]], [expected[number]]) < 1e-6


@pytest.mark.parametrize("size", [0, 10])
@pytest.mark.parametrize("labels", ["the same", "another's"])
def test_members_that_share_their_inputs_keep_their_own_labels(size: int, labels: str) -> None:
    recipe, one = replace(RECIPES["sgd"], batch_size=size), made_up_splits(0)
    other = replace(one, train=Split(one.train.inputs, (one.train.targets + 1) % 4))
    members = [member(TANH, recipe, 0, splits=one), member(TANH, recipe, 1, splits=one)]
    if labels == "another's":
        members[1] = replace(members[1], splits=other)
    runs = train_stack(members, CPU, "fused")
    assert {run.facts["engine"]["mode"] for run in runs} == {"fused"}
    assert (drift(runs, train_stack(members, CPU, "loop")) < 1e-6).all()


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([member("lstm[width=5]", RECIPES["sgd"], s) for s in range(2)], "Batching rule not implemented"),
        (
            [member(f"mlp[width=5,depth=1,activation={a}]", RECIPES["sgd"]) for a in ("relu", "tanh")],
            "fused gradients differ from the loop's",
        ),
        (
            [member(TANH, RECIPES["sgd"], splits=made_up_splits(0, rows)) for rows in (10, 12)],
            "training sets of different shapes",
        ),
    ],
    ids=["no batched form", "code that differs", "data that differs"],
)
def test_what_cannot_be_fused_runs_as_a_loop_and_says_why(members: list[Member], reason: str) -> None:
    runs = train_stack(members, CPU, "fused")
    for one, run in zip(members, runs, strict=True):
        assert run.facts["engine"]["mode"] == "loop"
        assert run.facts["engine"]["members"] == 2
        assert reason in run.facts["engine"]["fallback"]
        assert reason in run.log
        assert_the_same_run(run, alone(one))


def test_a_capture_that_fails_loses_no_update() -> None:
    def refuse(update: Callable[[], None]) -> Callable[[], None]:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    members = [member(TANH, RECIPES["adam, L2"], seed) for seed in range(2)]
    runs = train_stack(members, CPU, "fused", capture=refuse)
    facts = runs[0].facts["engine"]
    assert (facts["captured"], facts["not_captured"]) == (
        False,
        "operation not permitted when stream is capturing",
    )
    for run, other in zip(runs, train_stack(members, CPU, "fused", capture=lambda f: f), strict=True):
        assert_the_same_run(run, other)


def test_without_memory_for_all_half_of_them_are_trained_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    class Tight(FusedSteps):
        def advance(self, begin: int, end: int) -> int:
            tried.append(len(self._members))
            if len(self._members) > 2:
                raise torch.OutOfMemoryError("no memory left\nmore")
            return super().advance(begin, end)

    members = [member(TANH, RECIPES["sgd"], seed) for seed in range(5)]
    expected = train_stack(members, CPU, "fused")
    monkeypatch.setattr(choice, "FusedSteps", Tight)
    runs = train_stack(members, CPU, "fused")
    assert tried[0] == 5
    assert [run.facts["engine"]["members"] for run in runs] == [2, 2, 1, 2, 2]
    assert {run.facts["engine"]["fallback"] for run in runs} == {"no memory left"}
    assert all("not as tried first: no memory left\n" in run.log for run in runs)
    assert (drift(runs, expected) < 1e-6).all()


def test_a_network_that_has_no_memory_alone_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> nn.Module:
        raise torch.OutOfMemoryError("no memory left")

    monkeypatch.setattr(run_module, "build_network", full)
    with pytest.raises(torch.OutOfMemoryError):
        train_stack([member(TANH, RECIPES["sgd"])], CPU)


def test_an_ensemble_of_nothing_is_refused() -> None:
    with pytest.raises(CannotStack, match="nothing to train"):
        Ensemble([nn.Flatten()], [RECIPES["sgd"]], [0.1])


def test_the_optimizer_on_the_device_is_torchs_own_fused_one() -> None:
    weight = torch.zeros(3)
    for name, kind in (("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)):
        built = build_optimizer(Recipe(steps=1, lr=0.1, optimizer=name), [weight], 0.1, on_device=True)  # type: ignore[arg-type]
        assert type(built) is kind
        assert built.defaults["fused"]
        assert isinstance(built.param_groups[0]["lr"], Tensor)


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` chooses as on CUDA."""
    monkeypatch.setattr(choice, "_may_fuse", lambda members: len(members) >= choice.MIN_FUSED)


def test_where_both_ways_are_open_a_short_trial_decides_and_is_recorded(
    as_on_a_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = [member(TANH, RECIPES["adam, L2"], seed) for seed in range(4)]
    for seconds, mode, why in (((2.0, 1.0), "fused", ""), ((1.0, 2.0), "loop", "the loop is faster")):
        monkeypatch.setattr(choice, "time_gradients", lambda *_, seconds=seconds: seconds)
        runs = train_stack(members, CPU, capture=lambda update: update)
        for run in runs:
            how = run.facts["engine"]
            assert (how["mode"], how["asked"], how["fallback"]) == (mode, "auto", why)
            assert (how["loop_seconds"], how["fused_seconds"]) == seconds
    for one, run in zip(members, runs, strict=True):  # the loop's optimizer is torch's usual one again
        assert_the_same_run(run, alone(one))
    assert "not as tried first: the loop is faster" in runs[0].log


def test_fewer_than_four_are_not_worth_a_trial(as_on_a_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "time_gradients", None)  # would raise
    runs = train_stack([member(TANH, RECIPES["sgd"], seed) for seed in range(3)], CPU)
    assert {run.facts["engine"]["mode"] for run in runs} == {"loop"}


@pytest.mark.parametrize("address", STACKABLE)
@pytest.mark.parametrize("captured", [False, True])
def test_a_trial_changes_no_bit_of_what_follows(
    address: str, captured: bool, as_on_a_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = [member(address, RECIPES["heavy ball, L2"], seed, {"accuracy": (0, 7)}) for seed in range(4)]
    capture = (lambda update: update) if captured else None
    trials = []

    def won_by(mode: str) -> Callable[..., tuple[float, float]]:
        def tried(*arguments: Any) -> tuple[float, float]:
            trials.append(time_gradients(*arguments))
            return (2.0, 1.0) if mode == "fused" else (1.0, 2.0)

        return tried

    for mode in ("fused", "loop"):
        monkeypatch.setattr(choice, "time_gradients", won_by(mode))
        tried = train_stack(members, CPU, capture=capture)
        asked = train_stack(members, CPU, mode, capture=capture)  # type: ignore[arg-type]
        for run, other in zip(tried, asked, strict=True):
            assert run.facts["engine"]["mode"] == other.facts["engine"]["mode"] == mode
            assert_the_same_run(run, other)
    assert all(0 < seconds < 60 for trial in trials for seconds in trial)


def test_separate_is_one_network_after_another_with_an_optimizer_of_its_own() -> None:
    members = [member(TANH, RECIPES["adam, L2"], seed) for seed in range(2)]
    runs = train_stack(members, CPU, "separate")
    assert [run.facts["engine"] for run in runs] == [
        {"mode": "separate", "asked": "separate", "members": 1, "fallback": ""}
    ] * 2
    # No storage in common: each parameter is as it was built, a tensor alone.
    assert all(p.untyped_storage().nbytes() == p.nbytes for run in runs for p in run.net.parameters())


class Watched(TorchDispatchMode):
    """Notes operations that bring numbers from a device, and so wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        if any(word in name for word in ("_local_scalar_dense", "nonzero", "masked_select")):
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("engine", ["loop", "fused"])
@pytest.mark.parametrize("name", ["heavy ball, L2", "sgd"])
def test_between_two_looks_at_the_losses_nothing_waits_for_the_device(
    engine: Engine, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, watched = (LoopSteps if engine == "loop" else FusedSteps), Watched()
    tables = []

    class Quiet(kind):  # type: ignore[misc, valid-type]
        def advance(self, begin: int, end: int) -> int:
            with watched:
                return super().advance(begin, end)

    def table(self: Batches, begin: int, end: int) -> Tensor:
        tables.append((begin, end))
        return made(self, begin, end)

    made = Batches.table
    monkeypatch.setattr(Batches, "table", table)
    monkeypatch.setattr(choice, kind.__name__, Quiet)
    recipe = replace(RECIPES[name], steps=30)
    runs = train_stack([member(TANH, recipe, s, {"accuracy": (15,)}) for s in range(2)], CPU, engine)
    assert {run.facts["engine"]["mode"] for run in runs} == {engine}
    assert watched.seen == []
    # Rows come to the device once between two events, not once per epoch of two updates.
    later = [t for t in tables if t[1] - t[0] > 1]
    assert later == ([(0, 15)] * 2 + [(15, 30)] * 2 if recipe.batch_size else [])


STRIDED: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda g: g.contiguous(),
    "transposed": lambda g: g.transpose(-1, -2).contiguous().transpose(-1, -2),
    "every other": lambda g: torch.stack([g, torch.zeros_like(g)], -1)[..., 0],
    "reversed layout": lambda g: (
        g.permute(*reversed(range(g.ndim))).contiguous().permute(*reversed(range(g.ndim)))
    ),
    "expanded": lambda g: g.mean(-1, keepdim=True).expand_as(g),
}


@pytest.mark.parametrize("layout", STRIDED)
@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("on_device", [False, True], ids=["torch's usual form", "torch's fused form"])
def test_every_optimizer_takes_gradients_of_any_strides(name: str, layout: str, on_device: bool) -> None:
    recipe, shapes = RECIPES[name], [(4, 3, 2, 2), (5, 3)]
    nets = [nn.ParameterList(torch.randn(shape) for shape in shapes) for _ in range(2)]
    copies = [[nn.Parameter(p.detach().clone()) for p in net] for net in nets]
    own = [build_optimizer(recipe, copy, recipe.lr) for copy in copies]
    state = Ensemble(nets, [recipe] * 2, [recipe.lr] * 2)
    if on_device:
        state.keep_on_device()
    for turn in range(3):
        gradients = [[STRIDED[layout](torch.randn(shape)) for shape in shapes] for _ in nets]
        if turn == 2:
            state.take_stacked([torch.stack(pair) for pair in zip(*gradients, strict=True)])
        else:
            for number, each in enumerate(gradients):
                state.take(number, each)
        state.step()
        for copy, optimizer, each in zip(copies, own, gradients, strict=True):
            for parameter, gradient in zip(copy, each, strict=True):
                parameter.grad = gradient.contiguous()
            optimizer.step()
    for net, copy in zip(nets, copies, strict=True):
        for found, wanted in zip(net, copy, strict=True):
            if on_device:
                torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
            else:
                assert torch.equal(found, wanted)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("engine", ["loop", "fused"])
def test_on_a_gpu_nothing_waits_between_two_looks_at_the_losses(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = LoopSteps if engine == "loop" else FusedSteps

    class Quiet(kind):  # type: ignore[misc, valid-type]
        def advance(self, begin: int, end: int) -> int:
            # The first block makes the table's copy, warms up and captures, which all may wait.
            torch.cuda.set_sync_debug_mode("error" if begin else "default")
            try:
                return super().advance(begin, end)
            finally:
                torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(choice, kind.__name__, Quiet)
    recipe = replace(RECIPES["sgd"], steps=30)
    observe = {"accuracy": (15,)}
    train_stack([member(TANH, recipe, s, observe) for s in range(4)], torch.device("cuda"), engine)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("address", STACKABLE)
def test_on_a_gpu_a_captured_ensemble_follows_the_cpu(address: str) -> None:
    recipe = replace(RECIPES["heavy ball, L2"], steps=20)
    members = [member(address, recipe, seed, {"accuracy": (0, 10)}) for seed in range(4)]
    runs = train_stack(members, torch.device("cuda"), "fused")
    assert {(r.facts["engine"]["mode"], r.facts["engine"]["captured"]) for r in runs} == {("fused", True)}
    for run, other in zip(runs, train_stack(members, CPU), strict=True):
        assert run.series["train_loss"].values == pytest.approx(other.series["train_loss"].values, rel=1e-3)


@pytest.mark.parametrize("name", ["heavy ball, L2", "adamw, warmup", "rmsprop"])
@pytest.mark.parametrize("engine", ["loop", "separate"])
def test_who_ends_leaves_the_storage_and_the_others_go_on_as_alone(
    name: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[list[int]] = []
    only = Ensemble.only
    monkeypatch.setattr(Ensemble, "only", lambda self, who: left.append(list(who)) or only(self, who))
    members = [
        member(TANH, replace(RECIPES[name], lr=lr, loss="mse"), seed, {"accuracy": (step, 7)})
        for seed, (lr, step) in enumerate([(1e30, 2), (0.01, 2), (1e30, 4), (0.02, 5), (1e30, 4)])
    ]
    runs = train_stack(members, CPU, engine)
    assert [run.state for run in runs] == ["diverged", "done", "diverged", "done", "diverged"]
    assert left == ([[1, 3]] if engine == "loop" else [])
    for one, run in zip(members, runs, strict=True):
        assert_the_same_run(run, alone(one))


class DropsLater(nn.Linear):
    """Draws in its sixth update and after it."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += self.training
        return super().forward(nn.functional.dropout(x.flatten(1), 0.5, self.training and self.calls > 8))


@dataclass(frozen=True, slots=True, kw_only=True)
class Later(Dropping):
    def build(self, inputs: InputSpec, outputs: int) -> nn.Module:
        return nn.Sequential(DropsLater(inputs.size, outputs))

    def readout(self, net: nn.Module) -> nn.Linear:
        return net[0]  # type: ignore[index, no-any-return]


def test_the_last_of_a_stack_that_draws_is_trained_alone() -> None:
    recipe = replace(RECIPES["sgd"], steps=15)
    members = [
        member(Later(), replace(recipe, lr=lr), seed, {"accuracy": (step,)})
        for seed, (lr, step) in enumerate([(1e38, 2), (0.1, 15)])
    ]
    runs = train_stack(members, CPU)
    assert "the networks draw random numbers" in runs[1].facts["engine"]["fallback"]
    for one, run in zip(members, runs, strict=True):
        assert_the_same_run(run, train_stack([one], CPU)[0])
