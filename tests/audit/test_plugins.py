"""Checking a plugin before anything is trained with it: a good one passes, every broken promise is named."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from universality.audit.plugins.architectures import check_architecture
from universality.audit.plugins.check import check_plugin as check
from universality.audit.plugins.questions import Finding
from universality.errors import BadParameter, UnknownName
from universality.plugin import Lines, Phenomenon, Run, Within, at_end, claim, per_seed, registry
from universality.plugin.architecture import Link
from universality.plugin.modifier import Modifier
from universality.plugin.task import Split, Splits

CHART = Lines({"train_loss": "loss"}, "loss")


def wrong(findings: dict[str, list[Finding]]) -> list[str]:
    return [f"{f.question}: {f.wrong}" for answers in findings.values() for f in answers if f.wrong]


def variant(kind: str, base: str, **members: Any) -> None:
    """Register `broken`: `base` with other members."""
    parent = registry.plugin_class(kind, base)
    cls = type("Broken", (parent,), {"__doc__": "Broken.", **members})
    registry.register("broken", accepts={"vector"}, refuses={"image": "flat"})(
        dataclass(frozen=True, kw_only=True)(cls)
    )


@pytest.mark.parametrize(("address", "asked"), [("mlp[width=8]", 48), ("lstm[width=4]", 44)])
def test_a_built_in_architecture_keeps_its_contract(address: str, asked: int, tmp_path: Path) -> None:
    findings = check(address, tmp_path)
    assert list(findings) == ["architecture"]
    assert wrong(findings) == []
    questions = [f.question for f in findings["architecture"]]
    assert len(questions) == len(set(questions)) == asked
    assert not any(f.skipped for f in findings["architecture"])


def test_what_the_toys_leave_undone_is_said(toys: Path, tmp_path: Path) -> None:
    assert wrong(check("toy_net", tmp_path)) == []
    assert wrong(check("toy_points", tmp_path)) == ["reference does not depend on the seed: it does"]
    assert wrong(check("toy_early", tmp_path)) == [
        "it has a negative control: without one no claim is ever validated",
    ]


class Net(nn.Module):
    """Two layers, and whatever a test breaks."""

    def __init__(self, inputs: Any, outputs: int) -> None:
        super().__init__()
        self.hidden, self.readout = nn.Linear(inputs.size, 4), nn.Linear(4, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.readout(torch.tanh(self.hidden(x)))


class Scaled(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


class Nan(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * float("nan")


class Idle(Net):
    def __init__(self, inputs: Any, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.idle = nn.Linear(2, 2)


class _Flip(torch.autograd.Function):
    """A gradient that is right and a second derivative that is not."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return grads[0] * 3 * x.detach() ** 2


class WrongCurvature(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.readout(_Flip.apply(self.hidden(x)))


def built(net: Callable[[Any, int], nn.Module]) -> dict[str, Any]:
    return {
        "build": lambda self, inputs, outputs: net(inputs, outputs),
        "taps": lambda self, n: {"hidden": n.hidden},
        "readout": lambda self, n: n.readout,
    }


COUNTER = iter(range(10**6))


class Stateful(Net):
    """Of each kind of state one piece, as a test asks."""

    def __init__(self, inputs: Any, outputs: int, kind: str) -> None:
        super().__init__(inputs, outputs)
        self.kind, self.step = kind, 0
        self.register_buffer("mean", None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(self.hidden(x))
        if self.training and self.kind == "count":
            self.step += 1
            h = h * (1 + 2.0**-self.step)
        if self.training and self.kind == "random":
            h = h * random.random()
        if self.training and self.kind == "buffer":
            self.mean = h.detach().mean(0)
        if self.training and self.kind == "unseeded":
            h = h * np.random.default_rng().random()
        return self.readout(h)


class Own(Net):
    """Has a generator that nothing seeds, for training only."""

    def __init__(self, inputs: Any, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.own = np.random.default_rng()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * (self.own.random() if self.training else 1.0)


def unseeded(inputs: Any, outputs: int) -> nn.Module:
    net = Net(inputs, outputs)
    nn.init.constant_(net.hidden.bias, next(COUNTER))
    return net


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"stacks_over": frozenset({"gian"})}, "stacks_over names its parameters: it has no gian"),
        (built(unseeded), "vector: builds the same network from the same seed: its weights differ"),
        (built(Own), "vector: the same run again gives the same: a network that is another when it is built again from the same seeds"),
        (built(lambda i, o: Net(i, o + 1)), "vector: gives finite logits [n, classes]: got [6, 4]"),
        (built(Nan), "vector: gives finite logits [n, classes]: not all are finite"),
        (built(Scaled), "vector: its readout gives the logits: what leaves it is not what the network returns"),
        ({**built(Net), "readout": lambda s, n: n.hidden}, "vector: its readout gives the logits: got Linear"),
        ({**built(Net), "taps": lambda s, n: {}}, "vector: taps give one row per example: there are none"),
        (
            {**built(Net), "taps": lambda s, n: {"last": n.readout, "first": n.hidden}},
            "vector: taps give one row per example: asked in the order last, first, passed in the order first, last",
        ),
        (
            {**built(Net), "taps": lambda s, n: {"other": nn.Linear(1, 1)}},
            "vector: taps give one row per example: other is not a part of the network",
        ),
        (built(Idle), "vector: gradients are finite and reach parameters: idle.weight has none"),
        (
            built(WrongCurvature),
            "vector: Hessian-vector products are symmetric and match differences: differs from the finite",
        ),
        (
            {**built(Net), "build": lambda s, i, o: 1 / 0},
            "vector: builds the same network from the same seed: ZeroDivisionError: division by zero",
        ),
        (
            {**built(Net), "chain": lambda s, n: (Link(n.hidden, n.readout, "identity"),)},
            "vector: maps of its chain feed each other: between the maps of link 1 lies more than identity",
        ),
        (
            {**built(Idle), "chain": lambda s, n: (Link(n.hidden, n.idle, "tanh"),)},
            "vector: maps of its chain feed each other: of link 1 one map never ran",
        ),
        ({**built(Net), "scaled": lambda s, f: s}, "scaled(2) is a wider network of the same family: "),
    ],
    ids=[
        "stray parameter", "own randomness", "own generator", "classes", "nan", "scaled logits", "wrong readout", "no taps", "order of taps",
        "stray tap", "unused parameters", "wrong curvature", "build raises", "chain", "stray chain", "no wider",
    ],
)  # fmt: skip
def test_a_broken_architecture_is_told_what_is_wrong(
    toys: Path, tmp_path: Path, members: dict[str, Any], expected: str
) -> None:
    variant("architecture", "toy_net", **members)
    texts = wrong(check("broken", tmp_path))
    assert [text for text in texts if text.startswith(expected)], texts


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (
            "count",
            "ok       vector: observing changes nothing: forward changes step, put back after every probe",
        ),
        (
            "count",
            "ok       vector: two seeds side by side, gradients at once, are what they are alone: not trained so: "
            "forward changes what torch does not list: step",
        ),
        (
            "buffer",
            "ok       vector: two seeds side by side, gradients at once, are what they are alone: not trained so: "
            "forward changes what torch does not list: mean",
        ),
        (
            "random",
            "ok       vector: the same run again gives the same: it draws from random, which is seeded by the run",
        ),
        (
            "unseeded",
            "wrong    vector: the same run again gives the same: a network whose gradient is another when it is taken "
            "again; keep what forward or a hook changes in a buffer, draw from torch's generator, and call "
            "torch.utils.checkpoint with use_reentrant=False; broken on made_up, seed 0: hidden.weight",
        ),
    ],
)
def test_state_that_torch_does_not_list_is_found(toys: Path, tmp_path: Path, kind: str, line: str) -> None:
    variant("architecture", "toy_net", **built(lambda i, o: Stateful(i, o, kind)))
    answers = check("broken", tmp_path)["architecture"]
    assert line in [str(answer) for answer in answers]
    assert [answer for answer in answers if answer.wrong] == [
        a for a in answers if str(a) == line and a.wrong
    ]


def test_a_network_without_a_scaling_axis_is_no_mistake(toys: Path, tmp_path: Path) -> None:
    assert [f.skipped for f in check("toy_net", tmp_path)["architecture"] if f.skipped] == [
        "it has no scaling axis"
    ]


def test_missing_data_is_skipped_and_says_what_to_do(toys: Path, tmp_path: Path) -> None:
    findings = check("toy_points[absent=true]", tmp_path)
    assert wrong(findings) == []
    assert [f.skipped for f in findings["task"] if f.skipped] == [
        "no points; universality data fetch toy_points"
    ]


def changed(split: Callable[[Any], Any]) -> dict[str, Any]:
    """`read` of the toy points, with its splits changed."""
    original = registry.plugin_class("task", "digits")

    def read(self: Any, rng: Any, root: Path) -> Any:
        return split(original(subset=0).read(rng, root))

    return {"read": read}


def replaced(name: str, **fields: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def change(splits: Any) -> Any:
        part = getattr(splits, name)
        return replace(splits, **{name: replace(part, **{k: f(getattr(part, k)) for k, f in fields.items()})})

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            replaced("train", targets=lambda y: y.int()),
            "train: rows, types and ranges: inputs are torch.float32",
        ),
        (replaced("train", targets=lambda y: y + 1), "train: rows, types and ranges: classes from 1 to 10"),
        (
            replaced("validation", inputs=lambda x: x / 0),
            "validation: rows, types and ranges: not all inputs",
        ),
        (replaced("train", inputs=lambda x: x[:-1]), "train: rows, types and ranges: inputs"),
        (replaced("train", inputs=lambda x: x + torch.rand(1)), "one seed gives the same data: two loads"),
        (
            replaced("reference", inputs=lambda x: x + torch.rand(1)),
            "reference does not depend on the seed: it",
        ),
        (
            replaced("train", targets=lambda y: y.clamp(max=8)),
            "every class has training rows: class 9 has none",
        ),
    ],
    ids=["type", "range", "nan", "length", "random", "reference", "a class"],
)
def test_a_broken_task_is_told_what_is_wrong(
    toys: Path, tmp_path: Path, change: Callable[[Any], Any], expected: str
) -> None:
    variant("task", "toy_points", **changed(change))
    texts = wrong(check("broken", tmp_path))
    assert [text for text in texts if text.startswith(expected)], texts


def test_tokens_that_follow_no_training_window_are_noted_and_not_wrong(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("abcd" * 200 + "z")
    (findings,) = check("char_lm[path=a.txt,context=4,rows=50]", tmp_path).values()
    assert not any(f.wrong for f in findings)
    assert findings[-1].note == "1 of 5 tokens have none"


def numbers(outputs: int) -> Callable[[Any], Any]:
    return lambda y: torch.stack([y.float()] * outputs, 1)


def test_a_task_of_regression_keeps_its_contract(toys: Path, tmp_path: Path) -> None:
    def as_numbers(splits: Splits) -> Splits:
        parts = {n: getattr(splits, n) for n in ("train", "validation", "reference")}
        return replace(splits, **{n: Split(p.inputs, numbers(2)(p.targets)) for n, p in parts.items()})

    parent = registry.plugin_class("task", "toy_points")
    variant("task", "toy_points", read=lambda self, rng, root: as_numbers(parent.read(self, rng, root)))
    assert wrong(check("broken", tmp_path)) == ["reference does not depend on the seed: it does"]

    def endless(self: Any, rng: Any, root: Path) -> Splits:
        splits = as_numbers(parent.read(self, rng, root))
        return replace(splits, train=Split(splits.train.inputs, splits.train.targets / 0))

    variant("task", "toy_points", read=endless)
    assert "train: rows, types and ranges: not all targets are finite" in wrong(check("broken", tmp_path))


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"title": ""}, "it has a title: title is empty"),
        ({"source": ""}, "it names its source: source is empty"),
        (
            {"asks": (lambda cell: "never",)},
            "positive control 'wide toy' can be planned: it does not apply to its own control: never",
        ),
        (
            {"run": None},
            "positive control 'wide toy' can be planned: the run set broken.run gives no runs",
        ),
        (
            {"run": 1 / 2},
            "positive control 'wide toy' can be planned: phenomenon 'broken' cannot be planned; ZeroDivisionError: division by zero",
        ),
    ],
)
def test_a_broken_phenomenon_is_told_what_is_wrong(
    toys: Path, tmp_path: Path, members: dict[str, Any], expected: str
) -> None:
    raises = members.get("run")

    def run(self: Phenomenon, run: Run) -> Any:
        return 1 / 0 if raises else None

    if "run" in members:
        one = claim(Within(low=0.0), at_end("train_loss"), runs=per_seed(run), title="one", chart=CHART)
        members = {"one": one, "two": one}
    variant("phenomenon", "toy_early", **{"title": "Broken", **members})
    texts = wrong(check("broken", tmp_path))
    assert [text for text in texts if text.startswith(expected)], texts


@pytest.fixture
def few_architectures(monkeypatch: pytest.MonkeyPatch) -> None:
    few = {name: registry.plugin_class("architecture", name) for name in ("mlp", "transformer")}
    monkeypatch.setitem(registry._plugins, "architecture", few)


@pytest.mark.usefixtures("few_architectures")
def test_a_modifier_is_tried_on_every_architecture(tmp_path: Path) -> None:
    findings = check("mup[base=10]", tmp_path)
    assert [str(finding) for finding in findings["modifier"]] == [
        "ok       its address leads back to it",
        "ok       stacks_over names its parameters",
        "ok       mlp: keeps its contract when modified",
        "skipped  transformer: keeps its contract when modified: refused: its dim cannot be 10; the nearest is 8",
    ]
    assert wrong(check("mlp[width=8]+output_scale[alpha=3]", tmp_path)) == []


class Lost(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


@pytest.mark.usefixtures("clean_registry", "few_architectures")
@pytest.mark.parametrize(
    ("members", "text"),
    [
        (
            {"modify": lambda self, net, *rest: Lost(net)},
            "mlp: keeps its contract when modified: vector: taps give one row per example: AssertionError",
        ),
        (
            {"modify": lambda self, net, *rest: net.requires_grad_(False)},
            "gradients are finite and reach parameters: ",
        ),
    ],
    ids=["not unwrapped", "nothing to train"],
)
def test_a_broken_modifier_is_told_what_is_wrong(members: dict[str, Any], text: str, tmp_path: Path) -> None:
    cls = type("Broken", (Modifier,), members)
    registry.register("broken")(dataclass(frozen=True)(cls))
    assert text in wrong(check("broken", tmp_path))[0]


def test_a_name_of_nothing_is_answered_with_the_closest(tmp_path: Path) -> None:
    with pytest.raises(UnknownName) as caught:
        check("resnt", tmp_path)
    assert "did you mean 'resnet'" in str(caught.value)
    with pytest.raises(BadParameter, match="not a number"):
        check("mlp[width=wide]", tmp_path)


def test_checking_leaves_the_random_state_alone(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    list(check_architecture(registry.resolve("architecture", "mlp[width=8]")))
    assert torch.equal(torch.get_rng_state(), before)
