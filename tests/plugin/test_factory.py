"""A function or class of one's own as an architecture: `module:factory[width=64]`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from universality.audit.plugins.check import check_plugin
from universality.errors import BadParameter, UniversalityError
from universality.plan.inquiry import Inquiry
from universality.plugin import factory, registry
from universality.plugin.architecture import InputSpec
from universality.plugin.modifier import Modified
from universality.plugin.registry import component, instantiate, resolve
from universality.plugin.sources import own_source, source_at, sources_of
from universality.plugin.spec import Recipe, RunSpec

IMAGE = InputSpec("image", (1, 4, 4))
NETS = """
from __future__ import annotations
from typing import Literal
import torch
from torch import nn
from .blocks import block

made = nn.Linear(2, 2)

def make_net(inputs, outputs, width: int = 8, depth=2, act: Literal["relu", "tanh"] = "relu", rate: float = 0, x=None):
    first = [block(inputs.size if i == 0 else width, width) for i in range(depth)]
    return nn.Sequential(nn.Flatten(), *first, nn.Linear(width, outputs))

class Net(nn.Module):
    def __init__(self, outputs: int, hidden, *more, **options):
        super().__init__()
        self.body, self.head = nn.Linear(16, hidden), nn.Linear(hidden, outputs)

    def forward(self, x):
        return self.head(self.body(x.flatten(1)).relu())

def only_images(inputs, outputs):
    if inputs.kind != "image":
        raise NotImplementedError("it convolves")
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs.size, outputs))

def nothing(inputs, outputs): ...
def frozen(inputs, outputs): return make_net(inputs, outputs).requires_grad_(False)
def narrow(inputs, outputs): return make_net(inputs, outputs - 1)
class Hidden(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.layers = [nn.Linear(inputs.size, outputs)]
def hidden(inputs, outputs): return Hidden(inputs, outputs)
def softmax(inputs, outputs): return nn.Sequential(make_net(inputs, outputs), nn.Softmax(1))
def other_size(outputs): return nn.Sequential(nn.Flatten(), nn.Linear(5, outputs))
def raises(inputs, outputs): return {}["key"]
def exits(inputs, outputs): raise SystemExit(3)
def aimless(width=3): return nn.Linear(width, 2)
def needs(outputs, layers: list): ...
def early(outputs, /): ...
def named(outputs, taps=3): ...
"""
BLOCKS = "from torch import nn\ndef block(a, b): return nn.Sequential(nn.Linear(a, b), nn.ReLU())\n"


@pytest.fixture
def folder(tmp_path: Path, clean_registry: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(factory, "_classes", {})
    mine = tmp_path / "mine"
    (mine / "deep").mkdir(parents=True)
    (mine / "nets.py").write_text(NETS)
    (mine / "blocks.py").write_text(BLOCKS)
    (mine / "deep" / "inner.py").write_text("from ..nets import make_net\n")
    registry.load_plugins([mine])
    yield mine
    factory._refusal.cache_clear()


@pytest.mark.usefixtures("folder")
def test_parameters_are_typed_from_the_signature_and_survive_their_record() -> None:
    net = resolve("architecture", "nets:make_net[width=5,depth=1,act=tanh,rate=1]")
    part = component(net)
    assert part.params == (("act", "tanh"), ("depth", 1), ("rate", 1.0), ("width", 5))
    assert str(part) == "nets:make_net[width=5,depth=1,act=tanh,rate=1.0]"
    assert instantiate("architecture", part) == net == resolve("architecture", str(part))
    # Without annotation and default it is read as it is written.
    assert component(resolve("architecture", "nets:Net[hidden=7]")).params == (("hidden", 7),)
    assert resolve("architecture", "nets:Net[hidden=seven]").hidden == "seven"
    assert component(resolve("architecture", "deep.inner:make_net")).name == "deep.inner:make_net"


@pytest.mark.usefixtures("folder")
def test_taps_readout_chain_and_width_are_found() -> None:
    net = resolve("architecture", "nets:make_net[width=6]")
    built = net.build(IMAGE, 3)
    assert built(torch.zeros(5, 1, 4, 4)).shape == (5, 3)
    assert list(net.taps(built)) == ["0", "1.0", "1.1", "2.0", "2.1"]
    assert net.readout(built) is built.net[3]
    assert [link.between for link in net.chain(built)] == ["relu", "relu"]
    assert component(net.scaled(2.0)) == component(resolve("architecture", "nets:make_net[width=12]"))
    modified = Modified(net, (resolve("modifier", "output_scale[alpha=3]"),))
    assert modified.build(IMAGE, 3)(torch.zeros(2, 1, 4, 4)).shape == (2, 3)
    plain = resolve("architecture", "nets:Net[hidden=4]")
    assert plain.family == "own"
    assert list(plain.taps(plain.build(IMAGE, 3))) == ["body"]
    with pytest.raises(NotImplementedError, match="no scaling axis"):
        plain.scaled(2.0)


@pytest.mark.usefixtures("folder")
def test_the_weights_are_those_that_the_factory_draws() -> None:
    net = resolve("architecture", "nets:make_net")
    torch.manual_seed(4)
    built, after = net.build(IMAGE, 3), torch.rand(1)
    torch.manual_seed(4)
    own = net.made(IMAGE, 3)
    assert all(torch.equal(a, b) for a, b in zip(built.parameters(), own.parameters(), strict=True))
    assert torch.equal(after, torch.rand(1)), "watching it draws nothing"


def test_its_source_is_that_of_its_file_and_what_this_imports(folder: Path) -> None:
    net = resolve("architecture", "nets:make_net")
    about = own_source(type(net))
    assert about is not None
    assert (about.file, about.builtin) == ("nets.py", False)
    part = component(net)
    sources = sources_of(("architecture", part))
    assert sources == (("architecture nets:make_net", about.sha256),)
    spec = RunSpec(part, component(resolve("task", "digits")), Recipe(steps=1, lr=0.1), 0, sources=sources)
    assert spec.id.startswith("make_net-digits-s0-")
    assert spec.id != replace(spec, sources=(("architecture nets:make_net", "0" * 64),)).id
    assert source_at(about, [folder]) == about
    (folder / "blocks.py").write_text(BLOCKS + "# edited\n")
    edited = source_at(about, [folder])
    assert edited is not None
    assert edited.sha256 != about.sha256


def test_a_module_of_pythons_path_is_a_factory_with_what_lies_beside_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "lone_nets.py").write_text(NETS.replace("from .blocks", "from lone_blocks"))
    (tmp_path / "lone_blocks.py").write_text(BLOCKS)
    package = tmp_path / "packed_nets"
    package.mkdir()
    for name, text in (("__init__", ""), ("nets", NETS), ("blocks", BLOCKS)):
        (package / f"{name}.py").write_text(text)
    for address, helper in (("lone_nets:make_net", "lone_blocks"), ("packed_nets.nets:make_net", "blocks")):
        net = resolve("architecture", address)
        about = own_source(type(net))
        assert about is not None
        root = tmp_path if helper == "lone_blocks" else package
        assert source_at(about, [root]) == about
        (root / f"{helper}.py").write_text(BLOCKS + "# edited\n")
        assert source_at(about, [root]) != about
        assert net.build(IMAGE, 2)(torch.zeros(3, 1, 4, 4)).shape == (3, 2)
    for name in [n for n in sys.modules if n.startswith(("lone_", "packed_nets"))]:
        del sys.modules[name]


@pytest.mark.usefixtures("folder")
def test_a_factory_refuses_inputs_by_a_not_implemented_error_of_its_own() -> None:
    net = resolve("architecture", "nets:only_images")
    assert net.reject(InputSpec("vector", (3,))) == "it convolves"
    assert net.reject(IMAGE) == ""
    assert resolve("architecture", "nets:raises").reject(IMAGE) == "", "an error is no refusal"


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("gone:make_net", ["does not import", "No module named 'gone'", "--plugins"]),
        ("nets:make_nett", ["unknown function or class of nets 'make_nett'", "did you mean 'make_net'"]),
        ("nets:made", ["BadParameter", "not told how many outputs"]),
        ("nets:torch", ["cannot be called", "module"]),
        ("nets:make_net[widht=3]", ["unknown parameter of architecture 'nets:make_net' 'widht'", "width"]),
        ("nets:make_net[x=3]", ["unknown parameter", "x"]),
        ("nets:make_net[width=wide]", ["not a number", "'wide'", "int"]),
        ("nets:Net", ["needs the parameter 'hidden'"]),
        ("nets:aimless", ["not told how many outputs", "width", "def make_net(inputs, outputs"]),
        ("os:system", ["not told how many outputs"]),
        ("nets:needs", ["no address can set: layers", "give it a default"]),
        ("nets:early", ["no address can set: outputs", "positional-only"]),
        ("nets:named", ["no address can set: taps", "rename it"]),
        ("nets", ["unknown architecture 'nets'"]),
        ("nets:a.b", ["malformed address", "package.module:factory"]),
    ],
)
@pytest.mark.usefixtures("folder")
def test_an_address_that_names_no_factory_is_one_clear_error(address: str, parts: list[str]) -> None:
    with pytest.raises(UniversalityError) as caught:
        resolve("architecture", address)
    text = f"{type(caught.value).__name__} {caught.value}"
    assert [part for part in parts if part not in text] == []


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("nothing", ["no network", "NoneType", "torch.nn.Module"]),
        ("frozen", ["without a parameter to train", "6 parameters, all frozen", "requires_grad_(True)"]),
        ("hidden", ["without a parameter to train", "Hidden without parameters", "a plain list hides them"]),
        ("narrow", ["no logits of this task", "float32 [2, 9]", "[2, 10]"]),
        ("softmax", ["readout is not found", "nn.Linear(features, 10)", "without a softmax"]),
        ("other_size", ["cannot run", "shapes cannot be multiplied", "image inputs [rows, 1, 8, 8]"]),
        ("raises", ["a factory that raises", "nets.py:", "KeyError: 'key'"]),
        ("exits", ["a factory that raises", "SystemExit"]),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_network_that_is_none_is_one_clear_error_of_the_plan(
    name: str, parts: list[str], tmp_path: Path
) -> None:
    inquiry = Inquiry(tmp_path)
    signature = inquiry.signature(resolve("task", "digits"))
    with pytest.raises(BadParameter) as caught:
        inquiry.built(resolve("architecture", f"nets:{name}"), signature)
    text = str(caught.value)
    assert f"nets:{name}" in text
    assert [part for part in parts if part not in text] == []


@pytest.mark.usefixtures("clean_registry")
def test_two_folders_with_one_module_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factory, "_classes", {})
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "twin_nets.py").write_text("def make_net(outputs): ...\n")
    registry.load_plugins([tmp_path / "one", tmp_path / "two"])
    with pytest.raises(BadParameter, match="several folders of plugins have a module twin_nets"):
        resolve("architecture", "twin_nets:make_net")


@pytest.mark.usefixtures("folder")
def test_check_asks_a_factory_what_it_asks_an_architecture(tmp_path: Path) -> None:
    (findings,) = check_plugin("nets:only_images", tmp_path).values()
    assert [str(each) for each in findings if each.wrong] == []
    assert "it convolves" in next(each.skipped for each in findings if each.question == "vector: taken")
    assert any("gradients at once, are what they are alone" in each.question for each in findings)
