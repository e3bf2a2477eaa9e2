"""Before training: parameters that nothing reaches, and networks without a second derivative, by their names."""

from __future__ import annotations

import argparse
import copy
import functools
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from universality.errors import MeasurementError
from universality.plan.planner import Planner
from universality.plan.suite import CrossSpec, Suite
from universality.plan.trial import try_network
from universality.plugin import registry
from universality.plugin.architecture import Architecture, InputSpec
from universality.plugin.registry import component
from universality.plugin.spec import Component, Recipe, RunSpec
from universality.plugin.task import Split, Splits
from universality.train.engine.loop import train

ROWS = 24
NUMBERS, TOKENS = torch.randn(ROWS, 5), torch.randint(7, (ROWS, 4))
TARGETS = torch.arange(ROWS) % 3


class Checkpointed(nn.Module):
    def __init__(
        self, *, reentrant: bool, embedded: bool = False, training_only: bool = False, leaf: bool = False
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(5, 5) if embedded else nn.Identity()
        self.first, self.last = nn.Linear(5, 4), nn.Linear(4, 3)
        self.reentrant, self.training_only, self.leaf = reentrant, training_only, leaf

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        if self.leaf:  # the usual way to make a reentrant checkpoint reach its parameters
            x = x.detach().requires_grad_()
        if self.training_only and not self.training:
            return self.last(self.first(x))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            h = checkpoint(lambda z: torch.tanh(self.first(z)), x, use_reentrant=self.reentrant)
        logits: Tensor = self.last(h)
        return logits


class Detached(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.last = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(self.body(x).detach())
        return logits


class Dropped(nn.Module):
    """A block that is left out of half of the updates."""

    def __init__(self) -> None:
        super().__init__()
        self.block, self.last = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(x + torch.tanh(self.block(x)) if torch.rand(()) < 0.5 else x)
        return logits


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *grads: Any) -> Tensor:
        (x,) = ctx.saved_tensors
        out: Tensor = 2 * grads[0] * x
        return out


class Square(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = _Once.apply(x)
        return out


class Bag(nn.Module):
    """The bag lies in a part of a part."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Sequential(nn.EmbeddingBag(7, 5), nn.Tanh()), nn.Linear(5, 4))
        self.last = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(self.encoder(x))
        return logits


def compiled() -> nn.Module:
    part = nn.Sequential(nn.Linear(5, 8), nn.Tanh())
    body: Any = torch.compile(part, backend="aot_eager")
    return nn.Sequential(body, nn.Linear(8, 3))


def sparse() -> nn.Module:
    return nn.Sequential(nn.Embedding(7, 5, sparse=True), nn.Flatten(), nn.Linear(20, 3))


class Replaced(nn.Module):
    """Its weights move to other memory, by new data or as a new parameter."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.first, self.last, self.how = nn.Linear(5, 4), nn.Linear(4, 3), how

    def forward(self, x: Tensor) -> Tensor:
        small = self.first.weight.detach().clamp(-0.1, 0.1)
        if self.how == "data":
            self.first.weight.data = small
        else:
            self.first.weight = nn.Parameter(small)
        logits: Tensor = self.last(self.first(x))
        return logits


def frozen() -> nn.Module:
    net = Detached()
    net.body.requires_grad_(False)
    return net


def tried(net: nn.Module, *, curvature: bool = False) -> MeasurementError | None:
    embeds = any(isinstance(m, nn.Embedding | nn.EmbeddingBag) for m in net.modules())
    try:
        try_network(
            net, cross_entropy, TOKENS if embeds else NUMBERS, TARGETS, where="here", curvature=curvature
        )
    except MeasurementError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("make", "where"),
    [
        (lambda: Checkpointed(reentrant=True), "here: first.weight and 1 more of 4"),
        (lambda: Checkpointed(reentrant=True, embedded=True), "here: first.weight and 1 more of 6"),
        (lambda: Checkpointed(reentrant=True, training_only=True), "here: first.weight and 1 more of 4"),
        (lambda: Checkpointed(reentrant=True, leaf=True), "here: first.weight and 1 more of 4"),
        (Detached, "here: body.weight and 1 more of 4"),
        (sparse, "here: 0.weight of Embedding"),
        (lambda: Replaced("data"), "here: first.weight"),
        (lambda: Replaced("parameter"), "here: first.weight"),
    ],
    ids=[
        "checkpoint",
        "after a layer",
        "in training",
        "of a leaf",
        "detached",
        "sparse",
        "new data",
        "new parameter",
    ],
)
def test_a_parameter_that_no_update_would_change_is_named(make: Callable[[], nn.Module], where: str) -> None:
    error = tried(make())
    assert error is not None
    assert error.where == where
    assert error.do


@pytest.mark.parametrize(
    "make",
    [
        lambda: Checkpointed(reentrant=False),
        lambda: Checkpointed(reentrant=False, embedded=True),
        Dropped,
        frozen,
        compiled,
        Bag,
        lambda: nn.Sequential(nn.Linear(5, 3), Square()),
        lambda: nn.Sequential(nn.Embedding(7, 5, max_norm=1.0), nn.Flatten(), nn.Linear(20, 3)),
    ],
    ids=[
        "checkpoint",
        "deep checkpoint",
        "left out at times",
        "frozen",
        "compiled",
        "bag",
        "once",
        "max_norm",
    ],
)
def test_what_can_be_trained_passes_and_is_left_alone(make: Callable[[], nn.Module]) -> None:
    net = make()
    before, noise = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    assert tried(net) is None
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), before.values(), strict=True))
    assert all(parameter.grad is None for parameter in net.parameters())
    assert net.training
    assert torch.equal(torch.get_rng_state(), noise)


@pytest.mark.parametrize(
    ("make", "where"),
    [
        (Bag, "here: encoder.0.0 (EmbeddingBag)"),
        (compiled, "here: 0 (OptimizedModule)"),
        (lambda: nn.Sequential(nn.Linear(5, 3), Square()), "here: 1 (Square)"),
        (
            lambda: nn.Sequential(nn.utils.weight_norm(nn.Linear(5, 4)), nn.Linear(4, 3)),
            "here: the loss of the whole network",
        ),
    ],
    ids=["bag", "compiled", "once", "weight_norm"],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_what_has_no_second_derivative_is_named_where_curvature_is_asked_for(
    make: Callable[[], nn.Module], where: str
) -> None:
    error = tried(make(), curvature=True)
    assert error is not None
    assert error.where == where
    assert error.got


def test_attention_and_recurrence_have_a_second_derivative() -> None:
    registry.load_plugins()
    for address in ("transformer[dim=8,heads=2]", "lstm[width=4]", "cnn[width=3]"):
        plugin = registry.resolve("architecture", address)
        net = plugin.build(InputSpec("image", (1, 8, 8)), 3)
        try_network(net, cross_entropy, torch.randn(8, 1, 8, 8), TARGETS[:8], where="", curvature=True)


def test_a_loss_that_is_not_finite_is_for_the_run_to_say() -> None:
    net = nn.Linear(5, 3)
    nn.init.constant_(net.bias, float("inf"))
    assert tried(net, curvature=True) is None


@dataclass(frozen=True, kw_only=True)
class Tried(Architecture):
    kind: str = "Checkpointed"

    def build(self, inputs: InputSpec, outputs: int) -> nn.Module:
        nets: dict[str, Callable[[], nn.Module]] = {
            "checkpoint": lambda: Checkpointed(reentrant=True),
            "once": lambda: nn.Sequential(nn.Linear(5, outputs), Square()),
        }
        return nets[self.kind]()

    def taps(self, net: nn.Module) -> dict[str, nn.Module]:
        return {"first": next(iter(net.children()))}

    def readout(self, net: nn.Module) -> nn.Linear:
        return next(module for module in net.modules() if isinstance(module, nn.Linear))


@pytest.mark.usefixtures("clean_registry")
@pytest.mark.parametrize(
    ("kind", "phenomenon", "name"),
    [
        ("checkpoint", "neural_collapse", "first.weight and 1 more of 4"),
        ("checkpoint", "edge_of_stability", "first.weight and 1 more of 4"),
        ("once", "edge_of_stability", "1 (Square)"),
    ],
)
def test_planning_finds_it_and_so_does_a_run_without_a_plan(
    kind: str, phenomenon: str, name: str, tmp_path: Path
) -> None:
    registry.register("tried", accepts={"vector"})(Tried)
    cross = CrossSpec(
        phenomena=(phenomenon,),
        architectures=(f"tried[kind={kind}]",),
        tasks=("gaussian_mixture[dim=5,classes=3]",),
        seeds=2,
    )
    with pytest.raises(MeasurementError) as caught:
        Planner(tmp_path).add_suite(Suite(name="x", crosses=(cross,), controls=False))
    assert name in caught.value.where
    part = Split(NUMBERS, TARGETS)
    splits = Splits(part, part, part, InputSpec("vector", (5,)), 3)
    plugin = Tried(kind=kind)
    spec = RunSpec(component(plugin), Component("made_up"), Recipe(steps=9, lr=0.1), 0)
    with pytest.raises(MeasurementError) as caught:
        train(spec, plugin, splits, {"sharpness": (9,)}, torch.device("cpu"))
    assert name in caught.value.where


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.last = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(torch.tanh(self.body(x)))
        return logits


class WritesInputs(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.mul_(0.97))


class KeepsLayersInAList(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Linear(5, 5)]

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.layers[0](x))


class MakesALayer(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(nn.Linear(5, 5)(x))


class CountsInALibrarysObject(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.seen = argparse.Namespace(scale=1.0)

    def forward(self, x: Tensor) -> Tensor:
        self.seen.scale *= 1.05
        return super().forward(self.seen.scale * x)


def counting_hook(kind: str) -> nn.Module:
    """A hook, whose own memory no list of torch's has."""
    net, scale = Plain(), [1.0]

    def grow(*arguments: Any) -> Any:
        scale[0] *= 1.05
        return arguments[-1] * scale[0]

    if kind == "forward":
        net.body.register_forward_hook(grow)
    else:
        net.body.weight.register_hook(grow)
    return net


class _Inner(torch.autograd.Function):
    """As a reentrant checkpoint does it: `backward` calls `backward`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: nn.Module) -> Tensor:
        ctx.layer, ctx.x = layer, x.detach()
        with torch.no_grad():
            out: Tensor = layer(x)
        return out

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        with torch.enable_grad():
            x = ctx.x.requires_grad_()
            ctx.layer(x).backward(slope)
        return x.grad, None


class HidesAPart(Plain):
    """The first layer is used twice, once where only `backward` finds it."""

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.body(x))
        return self.last(h + _Inner.apply(h @ torch.ones(4, 5), self.body))  # type: ignore[no-any-return,no-untyped-call]


@functools.cache
def drawn_once(size: int) -> Tensor:
    return torch.rand(size)


class KeepsADraw(nn.Module):
    """Whichever network calls first draws for all."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(x * drawn_once(x.shape[1]))
        return logits


ANOTHER = "a network whose gradient is another when it is taken again"


@pytest.mark.parametrize(
    ("net", "expected"),
    [
        (KeepsADraw(), "a network that draws once and keeps what it drew"),
        (WritesInputs(), "a network that writes to its inputs"),
        (KeepsLayersInAList(), "a weight that the network does not list"),
        (MakesALayer(), "a weight that the network does not list"),
        (CountsInALibrarysObject(), ANOTHER),
        (HidesAPart(), ANOTHER),
    ],
    ids=[
        "a kept draw",
        "inputs",
        "list",
        "made in forward",
        "library's object",
        "hidden part",
    ],
)
def test_what_torch_does_not_list_is_refused(net: nn.Module, expected: str) -> None:
    inputs = NUMBERS.clone()
    with pytest.raises(MeasurementError, match=expected):
        try_network(net, cross_entropy, inputs, TARGETS, where="a net")
    assert torch.equal(inputs, NUMBERS)


@pytest.mark.parametrize("kind", ["forward", "gradient"])
def test_what_a_hook_keeps_is_put_back(kind: str) -> None:
    try_network(counting_hook(kind), cross_entropy, NUMBERS, TARGETS, where="")


def test_what_draws_or_has_no_number_is_tried_as_ever() -> None:
    dropping = nn.Sequential(Plain(), nn.Dropout())
    for net, inputs in ((dropping, NUMBERS), (Plain(), NUMBERS * math.nan)):
        try_network(net, cross_entropy, inputs, TARGETS, where="")
