"""Models of timm: where it is installed, that they keep the contract; where it is not, what is said."""

from __future__ import annotations

import importlib.util
import socket
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from universality.errors import BadParameter
from universality.measures import check_hvp
from universality.plan.inquiry import Inquiry
from universality.plugin import registry
from universality.plugin.architecture import Architecture, InputSpec
from universality.plugin.kit import Found
from universality.plugin.registry import component
from universality.plugin.spec import Recipe, RunSpec
from universality.plugin.task import Split, Splits
from universality.train.engine.loop import train, train_stack
from universality.train.engine.member import Member
from universality.train.messages import Engine

registry.load_plugins()

DIGITS, PHOTOS = InputSpec("image", (1, 8, 8)), InputSpec("image", (3, 32, 32))
needs_timm = pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed")


def model(name: str, settings: str = "") -> Architecture:
    architecture: Architecture = registry.resolve("architecture", f"timm[model={name}{settings}]")
    return architecture


def built(name: str, inputs: InputSpec, settings: str = "") -> tuple[Architecture, Found]:
    torch.manual_seed(0)
    architecture = model(name, settings)
    net = architecture.build(inputs, 4)
    assert isinstance(net, Found)
    return architecture, net


def test_without_timm_it_is_an_error_of_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    inquiry = Inquiry(Path("/nowhere"))
    with pytest.raises(BadParameter) as caught:
        inquiry.built(model("resnet10t"), inquiry.signature(registry.resolve("task", "digits")))
    text = str(caught.value)
    assert "a model of timm, which is not installed" in text
    assert "pip install 'universality[timm]'" in text


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("timm", "needs the parameter 'model'"),
        ("timm[model=resnet10t,side=0]", "side is too small"),
        ("timm[model=resnet10t,drop=1]", "drop is a rate"),
        ("timm[model=resnet10t,drop_path=-0.1]", "drop_path is a rate"),
    ],
)
def test_parameters_out_of_range_are_errors(address: str, message: str) -> None:
    with pytest.raises(BadParameter, match=message):
        registry.resolve("architecture", address)


def test_it_takes_images_alone_and_has_no_width() -> None:
    assert model("resnet10t").reject(DIGITS) == ""
    assert "images" in model("resnet10t").reject(InputSpec("vector", (3,)))
    with pytest.raises(NotImplementedError, match="as wide as their names say"):
        model("resnet10t").scaled(2.0)


@needs_timm
@pytest.mark.parametrize(
    ("name", "taps"),
    [
        ("resnet10t", ["act1", "layer1", "layer2", "layer3", "layer4"]),
        ("test_vit", [f"blocks.{i}" for i in range(6)]),
        ("test_convnext", [f"stages.{i}" for i in range(4)]),
        ("test_efficientnet", [f"blocks.{i}" for i in range(5)]),
    ],
)
def test_stages_are_taps_and_the_classifier_is_the_readout(name: str, taps: list[str]) -> None:
    for inputs in (DIGITS, PHOTOS):
        architecture, net = built(name, inputs)
        assert list(architecture.taps(net)) == taps
        inner = net.net if inputs is PHOTOS else net.net.net
        assert architecture.readout(net) is inner.get_classifier()
        assert net.eval()(torch.randn(3, *inputs.shape)).shape == (3, 4)
        assert not any(getattr(module, "inplace", False) for module in net.modules())


@needs_timm
def test_small_images_are_enlarged_and_others_are_not() -> None:
    sizes: list[tuple[int, ...]] = []
    for settings, inputs in (
        ("", DIGITS),
        (",side=1", DIGITS),
        ("", InputSpec("image", (1, 16, 20))),
        ("", InputSpec("image", (3, 40, 48))),
    ):
        _, net = built("test_resnet", inputs, settings)
        stem = next(module for module in net.modules() if isinstance(module, nn.Conv2d))
        with torch.no_grad():
            handle = stem.register_forward_pre_hook(lambda _, given: sizes.append(tuple(given[0].shape[2:])))
            net.eval()(torch.randn(2, *inputs.shape))
            handle.remove()
    assert sizes == [(32, 32), (8, 8), (32, 40), (40, 48)]


@needs_timm
@pytest.mark.parametrize(
    ("name", "settings", "parts"),
    [
        ("resnet10x", "", ["no model of this name", "did you mean resnet10t"]),
        ("resnet10t.c3_in1k", "", ["no model of this name", "without a tag of weights"]),
        ("hf-hub:timm/resnet10t.c3_in1k", "", ["no model of this name"]),
        ("levit_128s", "", ["readout is not found", "take another model"]),
        ("inception_v3", "", ["cannot run", "side=64"]),
    ],
)
def test_what_cannot_be_built_says_so_without_a_network(
    name: str, settings: str, parts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a connection was asked for")

    monkeypatch.setattr(socket.socket, "connect", refused)
    with pytest.raises(BadParameter) as caught:
        built(name, PHOTOS, settings)
    assert [part for part in parts if part not in str(caught.value)] == []


@needs_timm
@pytest.mark.parametrize(
    ("name", "training"),
    [("test_resnet", True), ("test_resnet", False), pytest.param("resnet10t", True, marks=pytest.mark.slow)],
)
def test_the_kink_of_its_residual_branches_is_named_and_its_products_are_right(
    name: str, training: bool
) -> None:
    _, net = built(name, DIGITS)
    net.train(training)
    x = torch.randn(6, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = check_hvp(net, lambda n: functional.cross_entropy(n(x), torch.arange(6) % 4))
    assert found.ok, found
    assert found.kink > 1e-3
    assert found.asymmetry < 1e-12


def splits() -> Splits:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(24, 1, 8, 8, generator=generator)
    rows = Split(images, torch.arange(24) % 4)
    return Splits(rows, rows, rows, DIGITS, 4)


def spec_of(architecture: Architecture, seed: int, recipe: Recipe) -> RunSpec:
    return RunSpec(component(architecture), component(registry.resolve("task", "digits")), recipe, seed)


@needs_timm
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings", "engine"),
    [
        ("test_resnet", "", "fused"),
        ("test_resnet", ",drop=0.3,drop_path=0.3", "loop"),
        ("test_vit", ",side=32,drop=0.3,drop_path=0.3", "loop"),
    ],
    ids=["statistics of batches", "drawn branches", "drawn branches of a transformer"],
)
def test_networks_side_by_side_are_what_they_are_alone(name: str, settings: str, engine: Engine) -> None:
    recipe, data, device = Recipe(steps=3, lr=0.01, batch_size=8), splits(), torch.device("cpu")
    architecture = model(name, settings if "side" in settings else f",side=1{settings}")
    specs = [spec_of(architecture, seed, recipe) for seed in range(2)]
    alone = [train(spec, architecture, data, {}, device) for spec in specs]
    together = train_stack([Member(spec, architecture, data, {}) for spec in specs], device, engine)
    for one, run in zip(alone, together, strict=True):
        for key, value in run.net.state_dict().items():
            torch.testing.assert_close(value, one.net.state_dict()[key], rtol=2e-3, atol=1e-5)
