"""The parametrisation is rates per layer: compared with optimizers that have them, update by update."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from universality.errors import BadParameter
from universality.modifiers.mup import Mup
from universality.plugin import registry
from universality.plugin.architecture import Architecture, InputSpec
from universality.plugin.kit import Reparametrised, fixed_draws
from universality.plugin.modifier import Modified
from universality.plugin.registry import component
from universality.plugin.spec import Recipe

IMAGE, CLASSES, GROWTH = InputSpec("image", (1, 8, 8)), 4, 4
BASES = {
    "mlp": "mlp[width=8]",
    "cnn": "cnn[width=4]",
    "resnet": "resnet[width=4,blocks=1,stages=2]",
    "transformer": "transformer[dim=8,depth=2,heads=2]",
    "vit": "vit[dim=8,depth=1,heads=2]",
    "lstm": "lstm[width=8]",
    "mixer": "mixer[dim=8,depth=1,token_width=4,channel_width=16]",
}
BASE_WIDTH = {name: int(re.findall(r"(?:width|dim)=(\d+)", address)[0]) for name, address in BASES.items()}

READOUTS = r"(readout|fc|heads\.head|tokens\.2)\."
"""From a width that grows to one that does not."""
HIDDEN = (
    r"hidden\.1\.0\.weight|convolutions\.[12]\.0\.weight|layer\d\.0\.conv\d\.weight|downsample\.0\.weight"
    r"|qkv\.weight|attention\.out\.weight|mlp\.\d\.weight|in_proj_weight|out_proj\.weight|weight_[ih]h_l0"
    r"|channels\.\d\.weight"
)
"""Maps from a width that grows to another."""


def rates(growth: float) -> dict[str, dict[str, float]]:
    """Table 3 of Yang et al. 2022, relative to a network `growth` times narrower."""
    return {
        "hidden": {"adam": 1 / growth, "sgd": 1.0},
        "readout": {"adam": 1 / growth, "sgd": 1 / growth},
        "vector": {"adam": 1.0, "sgd": growth},
        "fixed": {"adam": 1.0, "sgd": 1.0},
    }


def layer_of(name: str) -> str:
    if re.search(READOUTS, name):
        return "readout" if name.endswith("weight") else "fixed"
    return "hidden" if re.search(HIDDEN, name) else "vector"


def wide(name: str, rule: str = "adam", growth: float = GROWTH) -> Modified:
    architecture: Architecture = registry.resolve("architecture", BASES[name])
    return Modified(architecture.scaled(growth), (Mup(base=BASE_WIDTH[name], rule=rule),))  # type: ignore[arg-type]


def built(architecture: Architecture, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return architecture.build(IMAGE, CLASSES)


def weights(net: Reparametrised) -> dict[str, Tensor]:
    """w = m v, without the factor of the queries."""
    return {n: (net.multipliers[n].all * p).detach().clone() for n, p in net.net.named_parameters()}


class Explicit(nn.Module):
    """The network of the plain architecture, whose queries are multiplied as 1/d attention needs."""

    def __init__(self, net: nn.Module, queries: float) -> None:
        super().__init__()
        self.net, self.queries = net, queries

    def forward(self, x: Tensor) -> Tensor:
        scaled = {}
        for name, w in self.net.named_parameters():
            if re.search(r"qkv|in_proj", name):
                q, rest = w.tensor_split((len(w) // 3,))
                scaled[name] = torch.cat([self.queries * q, rest])
        return functional_call(self.net, scaled, (x,))


def trained_both_ways(
    name: str, rule: str, *, growth: float = GROWTH, dtype: torch.dtype = torch.float32, steps: int = 20
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Weights after the same updates: multipliers at one rate, and the plain network at rates per layer;
    and the last gradients of the latter."""
    architecture = wide(name, rule, growth)
    net, plain = built(architecture).to(dtype), built(architecture.inner).to(dtype)
    assert isinstance(net, Reparametrised)
    start = weights(net)
    with torch.no_grad():
        for key, p in plain.named_parameters():
            p.copy_(start[key])
    explicit = Explicit(plain, growth**-0.5)
    lr = 1e-3 if rule == "adam" else 0.02
    groups = [
        {"params": [p], "lr": lr * rates(growth)[layer_of(key)][rule]} for key, p in plain.named_parameters()
    ]
    if rule == "adam":
        options = {"lr": lr, "eps": 1e-30}
        optimizers = [torch.optim.Adam(net.parameters(), **options), torch.optim.Adam(groups, **options)]
    else:
        momentum = {"lr": lr, "momentum": 0.9}
        optimizers = [torch.optim.SGD(net.parameters(), **momentum), torch.optim.SGD(groups, **momentum)]
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x = torch.randn(12, *IMAGE.shape, generator=generator, dtype=dtype)
        y = torch.randint(CLASSES, (12,), generator=generator)
        for model, optimizer in zip((net, explicit), optimizers, strict=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    parameters = dict(plain.named_parameters())
    gradients = {key: p.grad for key, p in parameters.items() if p.grad is not None}
    return weights(net), {key: p.detach() for key, p in parameters.items()}, gradients


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_one_rate_is_rates_per_layer_bit_for_bit(name: str, rule: str) -> None:
    # Multipliers of a growth by a power of 4 are powers of 2, which commute with rounding.
    found, expected, _ = trained_both_ways(name, rule)
    for key, w in found.items():
        assert torch.equal(w, expected[key]), key


def idle_rows(key: str, length: int) -> slice:
    """Entries without a gradient, of which Adam makes steps of rounding noise.

    A bias of all keys shifts every logit of a query alike, which softmax takes away. The last bias of a
    mixing over tokens shifts all channels of a token alike, which the layer norms behind it take away.
    """
    if re.search(r"(qkv|in_proj_|in_proj)\.?bias", key):
        return slice(length // 3, 2 * length // 3)
    return slice(0, length if re.search(r"tokens\.2\.bias", key) else 0)


@pytest.mark.parametrize("name", BASES)
def test_under_adam_any_growth_is_rates_per_layer_to_rounding(name: str) -> None:
    found, expected, gradients = trained_both_ways(name, "adam", growth=3, dtype=torch.float64)
    for key, w in found.items():
        idle = idle_rows(key, len(w))
        assert gradients[key][idle].abs().sum() < 1e-13
        off = (w - expected[key]).abs()
        off[idle] = 0
        assert off.max() < 1e-12, key


@pytest.mark.parametrize("name", BASES)
def test_initial_sizes_follow_the_table_whatever_rule_the_architecture_has(name: str) -> None:
    """Not all of torch's do: a bias shrinks with its fan-in, a stem of He et al. with its fan-out."""
    architecture = wide(name)
    with fixed_draws():
        net, base = architecture.build(IMAGE, CLASSES), registry.resolve("architecture", BASES[name])
        plain = dict(base.build(IMAGE, CLASSES).named_parameters())
    assert isinstance(net, Reparametrised)
    relative = {"hidden": GROWTH**-0.5, "readout": 1 / GROWTH, "vector": 1.0, "fixed": 1.0}
    for key, w in weights(net).items():
        expected = relative[layer_of(key)] * plain[key].square().mean().sqrt()
        torch.testing.assert_close(w.square().mean().sqrt(), expected, msg=key)


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_at_the_width_of_the_base_it_is_the_plain_network(name: str, rule: str) -> None:
    architecture = wide(name, rule, growth=1)
    net, plain = built(architecture), built(architecture.inner)
    assert type(net) is type(plain)
    for (key, tensor), (other, expected) in zip(
        net.state_dict().items(), plain.state_dict().items(), strict=True
    ):
        assert key == other
        assert torch.equal(tensor, expected)


def test_attention_divides_by_the_size_of_a_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """softmax(q k / d) relative to the base: 1/sqrt(d) there, and at r times the size r^-1/2 of that."""
    architecture = wide("vit")
    net, plain = built(architecture), built(architecture.inner)
    assert isinstance(net, Reparametrised)
    plain.load_state_dict({**plain.state_dict(), **weights(net)})
    of_torch = nn.functional.scaled_dot_product_attention

    def divided_by_d(q: Tensor, *rest: Tensor, **options: object) -> Tensor:
        base = BASE_WIDTH["vit"] // 2
        return of_torch(q, *rest, **{**options, "scale": base**0.5 / q.shape[-1]})

    x = torch.randn(5, *IMAGE.shape)
    expected = net(x)
    assert not torch.allclose(plain(x), expected, atol=1e-4)
    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", divided_by_d)
    torch.testing.assert_close(plain(x), expected)


def test_feature_updates_keep_their_size_where_those_of_the_plain_network_grow() -> None:
    """Change of the output after four steps of Adam, at 16 times the width over that of the base."""

    def growth(modified: bool) -> float:
        changes = []
        for factor in (1.0, 16.0):
            architecture = wide("mlp", growth=factor)
            total = 0.0
            for seed in range(4):
                net = built(architecture if modified else architecture.inner, seed)
                x, y = torch.randn(64, *IMAGE.shape), torch.randint(CLASSES, (64,))
                before = net(x).detach()
                optimizer = torch.optim.Adam(net.parameters(), lr=0.01, eps=1e-12)
                for _ in range(4):
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(net(x), y).backward()
                    optimizer.step()
                total += float((net(x) - before).detach().square().mean().sqrt())
            changes.append(total)
        return changes[1] / changes[0]

    assert growth(modified=False) > 4
    assert 0.5 < growth(modified=True) < 2


@pytest.mark.parametrize(
    "order", ["mup[base=8]+output_scale[centred=true]", "output_scale[centred=true]+mup[base=8]"]
)
def test_a_centred_output_starts_at_zero_in_either_order(order: str) -> None:
    net = built(registry.resolve("architecture", f"mlp[width=24]+{order}"))
    x = torch.randn(3, *IMAGE.shape)
    assert torch.equal(net(x), torch.zeros(3, CLASSES))
    assert sum(p.numel() for p in net.parameters()) == 64 * 24 + 24 + 24 * 24 + 24 + 24 * CLASSES + CLASSES


def test_without_memory_it_has_the_same_parameters() -> None:
    with torch.device("meta"):
        net = wide("transformer").build(IMAGE, CLASSES)
    assert all(p.is_meta for p in net.parameters())
    shapes = {key: p.shape for key, p in built(wide("transformer")).named_parameters()}
    assert {key: p.shape for key, p in net.named_parameters()} == shapes


@pytest.mark.parametrize(
    ("address", "name", "reason"),
    [
        ("mlp[depth=0]+mup[base=8]", "mlp", "mlp[depth=0] has no scaling axis"),
        ("transformer[dim=16,heads=4]+mup[base=6]", "transformer", "its dim cannot be 6; the nearest is 8"),
    ],
)
def test_what_cannot_be_narrowed_to_the_base_is_refused(address: str, name: str, reason: str) -> None:
    with pytest.raises(BadParameter) as caught:
        built(registry.resolve("architecture", address))
    shown = component(registry.resolve("architecture", address))
    assert str(caught.value) == f"mup cannot modify {name}\n  where: {shown}\n  got:   {reason}"


def test_a_rule_for_another_optimizer_is_refused() -> None:
    adam, sgd = Recipe(steps=1, lr=0.1, optimizer="adamw"), Recipe(steps=1, lr=0.1, momentum=0.9)
    wide("mlp", "adam").check_recipe(adam)
    wide("mlp", "sgd").check_recipe(sgd)
    with pytest.raises(BadParameter) as caught:
        wide("mlp", "adam").check_recipe(sgd)
    assert str(caught.value) == (
        "mup does not suit the recipe\n"
        "  where: mlp[width=32]+mup[base=8]\n"
        "  got:   optimizer=sgd needs rule=sgd"
    )
