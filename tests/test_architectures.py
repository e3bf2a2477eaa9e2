"""Every registered architecture on every kind of input it accepts, and closed forms of each family."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torchvision import models

from universality.errors import BadParameter
from universality.plugin import registry
from universality.plugin.architecture import Architecture, InputSpec
from universality.plugin.kit import ScaledOutput, activation, unscaled

registry.load_plugins()

CLASSES = 5
INPUTS = {
    "image 1x8x8": InputSpec("image", (1, 8, 8)),
    "image 3x32x32": InputSpec("image", (3, 32, 32)),
    "vector 20": InputSpec("vector", (20,)),
    "2 tokens of 23": InputSpec("tokens", (2,), 23),
    "32 tokens of 65": InputSpec("tokens", (32,), 65),
}
TOKENS = [name for name, inputs in INPUTS.items() if inputs.kind == "tokens"]

NARROW = {"resnet": "resnet[width=8,blocks=1]", "mlp": "mlp[width=32]", "cnn": "cnn[width=8]"}
VARIANTS = [
    "mlp[width=16,depth=0]",
    "mlp[width=16,depth=1,activation=quadratic,bias=false]",
    "mlp[width=16,embedding=6]",
    "mlp[width=16,output_scale=3,centred=true]",
    "cnn[width=4,depth=1,activation=gelu]",
    "resnet[width=8,blocks=1,norm=group]",
    "resnet[width=8,blocks=2,stages=2]",
    "vit[patch=4,dim=16,depth=1]",
    "transformer[dim=16,depth=2,norm=false]",
    "lstm[width=16,cell=gru]",
    "mixer[dim=16,depth=1]",
]
ADDRESSES = [NARROW.get(name, name) for name in registry.bare_addresses("architecture")] + VARIANTS


def resolve(address: str) -> Architecture:
    architecture: Architecture = registry.resolve("architecture", address)
    return architecture


def accepted(addresses: list[str], names: list[str]) -> list[tuple[str, str]]:
    return [(a, name) for a in addresses for name in names if not resolve(a).reject(INPUTS[name])]


CELLS = accepted(ADDRESSES, list(INPUTS))


def build(address: str, name: str, *, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return resolve(address).build(INPUTS[name], CLASSES)


def examples(name: str, rows: int, *, seed: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    """Random inputs, their own for every row."""
    inputs, rng = INPUTS[name], torch.Generator().manual_seed(seed)
    if inputs.kind == "tokens":
        return torch.randint(0, inputs.vocabulary, (rows, *inputs.shape), generator=rng)
    return torch.randn(rows, *inputs.shape, generator=rng, dtype=dtype)


@contextmanager
def captured(modules: dict[str, nn.Module]) -> Iterator[list[tuple[str, Tensor]]]:
    """Outputs of modules in the order in which they fire."""
    record: list[tuple[str, Tensor]] = []

    def listener(name: str):
        return lambda _module, _args, output: record.append((name, output))

    handles = [module.register_forward_hook(listener(name)) for name, module in modules.items()]
    try:
        yield record
    finally:
        for handle in handles:
            handle.remove()


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def perturb(net: nn.Module, size: float = 0.1) -> None:
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(size * torch.randn_like(parameter))


# Every architecture on every kind of input


def test_every_architecture_accepts_an_input_and_gives_a_reason_for_each_that_it_refuses() -> None:
    for address in ADDRESSES:
        architecture = resolve(address)
        assert any(not architecture.reject(inputs) for inputs in INPUTS.values()), address
        for inputs in INPUTS.values():
            reason = architecture.reject(inputs)
            assert not reason or "does not take" not in reason, "the generic reason explains nothing"


@pytest.mark.parametrize(("address", "name"), CELLS)
def test_logits_are_finite_and_one_per_class(address: str, name: str) -> None:
    logits = build(address, name)(examples(name, 6))
    assert logits.shape == (6, CLASSES)
    assert logits.isfinite().all()


@pytest.mark.parametrize(("address", "name"), CELLS)
def test_no_rows_have_no_logits(address: str, name: str) -> None:
    assert build(address, name).eval()(examples(name, 0)).shape == (0, CLASSES)


@pytest.mark.parametrize(("address", "name"), CELLS)
def test_a_gradient_reaches_every_parameter(address: str, name: str) -> None:
    net = build(address, name)
    perturb(net, 0.01)  # a centred network is 0 at its initial weights, a bias may be
    loss = functional.cross_entropy(net(examples(name, 32)), torch.arange(32) % CLASSES)
    loss.backward()
    for path, parameter in ((p, w) for p, w in net.named_parameters() if w.requires_grad):
        assert parameter.grad is not None, path
        assert parameter.grad.abs().max() > 0, path


@pytest.mark.parametrize(("address", "name"), CELLS)
def test_the_seed_alone_determines_the_network(address: str, name: str) -> None:
    first, again, other = (build(address, name, seed=s).state_dict() for s in (3, 3, 4))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize(("address", "name"), CELLS)
def test_permuting_the_batch_permutes_the_logits(address: str, name: str) -> None:
    net = build(address, name).double().eval()
    perturb(net)
    x = examples(name, 7, dtype=torch.float64)
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    torch.testing.assert_close(net(x)[order], net(x[order]), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("address", "name"), CELLS)
def test_training_and_evaluation_differ_only_where_batches_are_normalised(address: str, name: str) -> None:
    net, x = build(address, name).double(), examples(name, 6, dtype=torch.float64)
    normalises = any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    trained = net.train()(x)
    again = net.train()(x)
    assert torch.equal(trained, again), "the forward pass draws random numbers"
    assert torch.allclose(trained, net.eval()(x), rtol=1e-9, atol=1e-12) != normalises


@pytest.mark.parametrize(("address", "name"), CELLS)
def test_taps_fire_once_each_in_the_order_they_are_named(address: str, name: str) -> None:
    net = build(address, name)
    taps = resolve(address).taps(net)
    assert bool(taps) != ("depth=0" in address)
    with captured(taps) as record:
        net(examples(name, 6))
    assert [tap for tap, _ in record] == list(taps)
    for tap, output in record:
        assert isinstance(output, Tensor), tap
        assert len(output) == 6, tap


@pytest.mark.parametrize(("address", "name"), CELLS)
def test_nothing_overwrites_a_representation_after_it_was_read(address: str, name: str) -> None:
    net = build(address, name)
    copies: list[Tensor] = []
    taps = resolve(address).taps(net)
    handles = [
        module.register_forward_hook(lambda _m, _a, out: copies.append(out.clone()))
        for module in taps.values()
    ]
    with captured(taps) as record:
        net(examples(name, 6))
    for handle in handles:
        handle.remove()
    assert len(record) == len(copies)
    for (tap, output), copy in zip(record, copies, strict=True):
        assert torch.equal(output, copy), tap


@pytest.mark.parametrize(("address", "name"), CELLS)
def test_no_activation_works_in_place_and_nothing_is_dropped(address: str, name: str) -> None:
    for path, module in build(address, name).named_modules():
        assert not getattr(module, "inplace", False), path
        assert getattr(module, "p", 0.0) == 0.0, path


@pytest.mark.parametrize(("address", "name"), CELLS)
def test_linear_maps_of_a_chain_feed_each_other_through_what_it_says(address: str, name: str) -> None:
    net = build(address, name).eval()
    links = resolve(address).chain(net)
    left: dict[nn.Module, Tensor] = {}
    entered: dict[nn.Module, Tensor] = {}
    for link in links:
        link.before.register_forward_hook(lambda m, _, out: left.update({m: out}))
        link.after.register_forward_pre_hook(lambda m, given: entered.update({m: given[0]}))
    with torch.no_grad():
        net(examples(name, 3))
        for link in links:
            act = nn.Identity() if link.between == "identity" else activation(link.between)
            assert torch.equal(entered[link.after], act(left[link.before]))


@pytest.mark.parametrize(
    ("address", "between"),
    [
        ("mlp[width=8,depth=3]", ["relu"] * 3),
        ("mlp[width=8,activation=tanh,output_scale=3,centred=true]", ["tanh"] * 2),
        ("mlp[width=8,depth=0]", []),
        ("transformer[dim=16,depth=2]", ["gelu"] * 2),
        ("mixer[dim=16,depth=2]", ["gelu"] * 4),
        ("cnn[width=4]", []),
        ("resnet[width=8,blocks=1]", []),
        ("lstm[width=8]", []),
    ],
)
def test_a_chain_has_every_pair_of_neighbours(address: str, between: list[str]) -> None:
    net = build(address, "image 1x8x8")
    links = resolve(address).chain(net)
    assert [link.between for link in links] == between
    inside = {id(parameter) for parameter in net.parameters()}
    assert all(id(map_.weight) in inside for link in links for map_ in (link.before, link.after))
    if address.startswith("mlp") and links:
        assert links[-1].after is resolve(address).readout(net)
        assert all(a.after is b.before for a, b in pairwise(links))


@pytest.mark.parametrize(("address", "name"), CELLS)
def test_the_readout_maps_the_penultimate_features_to_the_logits(address: str, name: str) -> None:
    net, x = build(address, name), examples(name, 6)
    perturb(net)
    readout = resolve(address).readout(net)
    features: list[Tensor] = []
    handle = readout.register_forward_pre_hook(lambda _m, args: features.append(args[0].clone()))
    logits = net(x)
    handle.remove()
    assert len(features) == 1
    assert features[0].shape == (6, readout.in_features)
    h = features[0] @ readout.weight.T + (0 if readout.bias is None else readout.bias)
    if isinstance(net, ScaledOutput):
        h = net.scale * (h if net.initial is None else h - net.initial(x))
    torch.testing.assert_close(logits, h, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("address", "name"), [cell for cell in CELLS if "depth=0" not in cell[0]])
def test_twice_the_width_has_two_to_four_times_the_parameters(address: str, name: str) -> None:
    architecture = resolve(address)
    narrow = architecture.build(INPUTS[name], CLASSES)
    wide = architecture.scaled(2).build(INPUTS[name], CLASSES)
    ratio = parameters(wide) / parameters(narrow)
    assert 1.7 < ratio < 4, f"{ratio=}"
    assert architecture.scaled(1) == architecture
    assert type(architecture.scaled(0.01)) is type(architecture)
    architecture.scaled(0.01).build(INPUTS[name], CLASSES)


@pytest.mark.parametrize(("address", "name"), accepted([a for a in ADDRESSES if a != "deep_sets"], TOKENS))
def test_the_order_of_tokens_matters(address: str, name: str) -> None:
    net = build(address, name).double().eval()
    perturb(net)
    x = examples(name, 8)
    x = x[x[:, 0] != x[:, 1]]
    swapped = x.clone()
    swapped[:, [0, 1]] = x[:, [1, 0]]
    change = (net(x) - net(swapped)).abs().amax(1)
    # Rounding is 1e-15; an LSTM has forgotten all but 1e-6 of what it read 30 tokens ago.
    assert change.min() > 1e-9 * net(x).abs().mean()


@pytest.mark.parametrize("name", registry.bare_addresses("architecture"))
def test_stored_components_give_the_same_architecture_back(name: str) -> None:
    architecture = resolve(name).scaled(2)
    assert registry.instantiate("architecture", registry.component(architecture)) == architecture


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("mlp[width=0]", "width is too small"),
        ("cnn[depth=0]", "depth is too small"),
        ("resnet[stages=0]", "stages is too small"),
        ("vit[dim=30]", "heads do not divide dim"),
        ("transformer[heads=5]", "heads do not divide dim"),
        ("lstm[cell=elman]", "not a known choice"),
        ("mixer[token_width=0]", "token_width is too small"),
    ],
)
def test_parameters_outside_their_range_are_refused(address: str, message: str) -> None:
    with pytest.raises(BadParameter, match=message):
        resolve(address)


# Curvature

SMALL = [
    ("mlp[width=8,activation=relu]", "image 1x8x8"),
    ("mlp[width=8,activation=tanh]", "image 1x8x8"),
    ("mlp[width=8,activation=quadratic]", "vector 20"),
    ("mlp[width=8,activation=gelu,embedding=4]", "2 tokens of 23"),
    ("mlp[width=8,activation=tanh,output_scale=3,centred=true]", "vector 20"),
    ("cnn[width=4,activation=tanh]", "image 1x8x8"),
    ("cnn[width=4,activation=relu]", "2 tokens of 23"),
    ("resnet[width=4,blocks=1]", "image 1x8x8"),
    ("resnet[width=4,blocks=1,norm=group]", "image 1x8x8"),
    ("vit[dim=8,heads=2]", "image 1x8x8"),
    ("transformer[dim=8,heads=2]", "2 tokens of 23"),
    ("transformer[dim=8,heads=2,norm=false]", "image 1x8x8"),
    ("lstm[width=6]", "vector 20"),
    ("lstm[width=6,cell=gru]", "2 tokens of 23"),
    ("mixer[dim=8,token_width=4,channel_width=16]", "image 1x8x8"),
    ("random_features[width=12,activation=tanh]", "vector 20"),
    ("deep_linear[width=6]", "image 1x8x8"),
    ("deep_sets[width=8]", "32 tokens of 65"),
    ("siren[width=8]", "image 1x8x8"),
    ("kan[width=4]", "vector 20"),
    ("mixture_of_experts[width=4]", "vector 20"),
    ("linear_attention[dim=8,heads=2]", "2 tokens of 23"),
    ("llama[dim=8,heads=2]", "2 tokens of 23"),
    ("state_space[dim=4,states=3]", "32 tokens of 65"),
    ("convnext[dim=4]", "image 1x8x8"),
    ("equivariant_cnn[width=2]", "image 1x8x8"),
    ("gru[width=6]", "2 tokens of 23"),
]


class Curvature:
    """Loss, gradient and Hessian-vector products of a network in float64, its weights as one vector."""

    def __init__(self, address: str, name: str, *, training: bool) -> None:
        self.net = build(address, name).double().train(training)
        self.x = examples(name, 12, dtype=torch.float64)
        self.y = torch.arange(12) % CLASSES
        self.weights = [weight for weight in self.net.parameters() if weight.requires_grad]
        self.start = nn.utils.parameters_to_vector(self.weights).detach()

    def gradient(self, *, create_graph: bool = False) -> Tensor:
        with sdpa_kernel(SDPBackend.MATH):
            loss = functional.cross_entropy(self.net(self.x), self.y)
            gradients = torch.autograd.grad(loss, self.weights, create_graph=create_graph)
        return torch.cat([g.reshape(-1) for g in gradients])

    def gradient_at(self, weights: Tensor) -> Tensor:
        nn.utils.vector_to_parameters(weights, self.weights)
        gradient = self.gradient()
        nn.utils.vector_to_parameters(self.start, self.weights)
        return gradient

    def hvp(self, v: Tensor) -> Tensor:
        product = self.gradient(create_graph=True) @ v
        return torch.cat(
            [
                (torch.zeros_like(w) if h is None else h).reshape(-1)
                for w, h in zip(
                    self.weights,
                    torch.autograd.grad(product, self.weights, allow_unused=True),
                    strict=True,
                )
            ]
        )


def test_the_curvature_cases_cover_every_builtin_architecture() -> None:
    builtin = {
        architecture.name
        for architecture in map(resolve, registry.bare_addresses("architecture"))
        if type(architecture).__module__.startswith("universality_plugins.architectures.")
    }
    assert builtin <= {resolve(address).name for address, _ in SMALL}


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(("address", "name"), SMALL)
def test_double_backward_agrees_with_finite_differences_and_is_symmetric(
    address: str, name: str, training: bool
) -> None:
    curvature = Curvature(address, name, training=training)
    torch.manual_seed(5)
    u, v = (nn.functional.normalize(torch.randn_like(curvature.start), dim=0) for _ in range(2))
    product = curvature.hvp(v)
    # Truncation is O(step^2), cancellation 1e-16/step. A step across the kink of one of some ten
    # thousand ReLUs adds the jump of the gradient over step, so that steps must be shorter there.
    step = 1e-7 if any(isinstance(module, nn.ReLU) for module in curvature.net.modules()) else 1e-5
    ahead, behind = (curvature.gradient_at(curvature.start + s * v) for s in (step, -step))
    difference = (ahead - behind) / (2 * step)
    assert (product - difference).norm() < 1e-6 * product.norm()
    assert product.norm() > 1e-6
    torch.testing.assert_close(u @ product, v @ curvature.hvp(u), rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize(
    ("address", "name"), [cell for cell in SMALL if not cell[0].startswith(("lstm", "gru"))]
)
def test_networks_stack_under_vmap_without_a_fallback(address: str, name: str) -> None:
    members = [build(address, name, seed=s).eval() for s in (0, 1)]
    x = examples(name, 6)
    stacked = torch.func.stack_module_state(members)

    def forward(params: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        logits: Tensor = torch.func.functional_call(members[0], (params, buffers), (x,))
        return logits

    with sdpa_kernel(SDPBackend.MATH):
        together = torch.vmap(forward)(*stacked)
    alone = torch.stack([net(x) for net in members])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


# mlp


@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_an_mlp_has_as_many_parameters_as_its_layers_say(depth: int, bias: bool) -> None:
    net = build(f"mlp[width=7,depth={depth},bias={bias}]", "vector 20")
    sizes = [20, *[7] * depth, CLASSES]
    b = int(bias)
    assert parameters(net) == sum((a + b) * c for a, c in pairwise(sizes))


def test_an_mlp_of_depth_zero_is_affine() -> None:
    net = build("mlp[depth=0]", "vector 20").double()
    x, y = examples("vector 20", 2, dtype=torch.float64).chunk(2)
    torch.testing.assert_close(net(0.3 * x + 0.7 * y), 0.3 * net(x) + 0.7 * net(y), rtol=1e-12, atol=1e-12)


def test_an_mlp_of_depth_zero_has_no_scaling_axis() -> None:
    with pytest.raises(NotImplementedError, match="no scaling axis"):
        resolve("mlp[depth=0]").scaled(2)


@pytest.mark.parametrize(("act", "degree"), [("relu", 3), ("quadratic", 1 + 2 + 4)])
def test_the_logits_of_a_homogeneous_mlp_scale_as_a_power_of_the_initial_scale(act: str, degree: int) -> None:
    # Two hidden layers, no bias: relu gives s^(1+1+1), squaring s^(4+2+1).
    address = f"mlp[width=16,depth=2,bias=false,activation={act}"
    x = examples("vector 20", 6, dtype=torch.float64)
    plain = build(f"{address}]", "vector 20").double()(x)
    scaled = build(f"{address},init_scale=2]", "vector 20").double()(x)
    torch.testing.assert_close(scaled, 2**degree * plain, rtol=1e-6, atol=0)


def test_the_initial_scale_multiplies_biases_and_embeddings_too() -> None:
    plain = build("mlp[width=8,embedding=4]", "2 tokens of 23").state_dict()
    scaled = build("mlp[width=8,embedding=4,init_scale=0.5]", "2 tokens of 23").state_dict()
    assert all(torch.equal(scaled[key], 0.5 * plain[key]) for key in plain)


def test_the_output_scale_multiplies_the_logits() -> None:
    x = examples("vector 20", 6)
    plain, scaled = build("mlp", "vector 20")(x), build("mlp[output_scale=0.25]", "vector 20")(x)
    torch.testing.assert_close(scaled, 0.25 * plain, rtol=1e-6, atol=0)


def test_a_centred_mlp_is_zero_at_its_initial_weights_and_linear_in_small_changes() -> None:
    net = build("mlp[width=16,activation=tanh,output_scale=50,centred=true]", "vector 20").double()
    x = examples("vector 20", 6, dtype=torch.float64)
    assert torch.equal(net(x), torch.zeros(6, CLASSES, dtype=torch.float64))
    start = nn.utils.parameters_to_vector(net.parameters()).detach()
    torch.manual_seed(2)
    step = 1e-5 * torch.randn_like(start)
    nn.utils.vector_to_parameters(start + step, net.parameters())
    once = net(x)
    nn.utils.vector_to_parameters(start + 2 * step, net.parameters())
    torch.testing.assert_close(net(x), 2 * once, rtol=1e-2, atol=1e-6)
    assert once.abs().max() > 1e-5


def test_a_centred_mlp_trains_exactly_the_parameters_of_the_plain_one() -> None:
    plain, centred = (build(a, "vector 20") for a in ("mlp", "mlp[centred=true]"))
    assert parameters(plain) == parameters(centred)
    assert all(p.requires_grad for p in centred.parameters())
    assert resolve("mlp").taps(centred).keys() == resolve("mlp").taps(plain).keys()
    assert resolve("mlp").readout(centred) is resolve("mlp").readout(unscaled(centred))


def test_an_mlp_with_an_embedding_refuses_images() -> None:
    assert resolve("mlp[embedding=8]").reject(INPUTS["image 1x8x8"]) == "only tokens are embedded"
    assert resolve("mlp[embedding=8]").reject(INPUTS["2 tokens of 23"]) == ""


# cnn and resnet


def test_a_cnn_has_as_many_parameters_as_its_kernels_say() -> None:
    channels = [3, 4, 8, 16]
    kernels = sum((9 * a + 1) * b for a, b in pairwise(channels))
    assert parameters(build("cnn[width=4]", "image 3x32x32")) == kernels + 17 * CLASSES


def test_every_convolution_of_a_cnn_but_the_first_halves_the_side() -> None:
    net = build("cnn[width=4]", "image 3x32x32")
    with captured(resolve("cnn").taps(net)) as record:
        net(examples("image 3x32x32", 2))
    assert [tuple(output.shape[1:]) for _, output in record] == [(4, 32, 32), (8, 16, 16), (16, 8, 8)]


def test_a_cnn_does_not_feel_a_shift_of_an_image_with_dark_borders() -> None:
    """Stride 2 twice: a shift by 4 pixels moves the features, and the average forgets where they are."""
    net = build("cnn[width=4]", "image 1x8x8").double()
    image = torch.zeros(1, 1, 32, 32, dtype=torch.float64)
    image[0, 0, 12:16, 12:16] = 1
    torch.testing.assert_close(net(image), net(image.roll((4, -4), (2, 3))), rtol=1e-12, atol=1e-12)


def test_convolutions_refuse_vectors_with_a_reason() -> None:
    for name in ("cnn", "resnet"):
        assert "no spatial arrangement" in resolve(name).reject(INPUTS["vector 20"])


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_the_default_resnet_is_torchvisions_with_the_stem_for_small_images(training: bool) -> None:
    twin = models.resnet18(num_classes=CLASSES)
    twin.conv1 = nn.Conv2d(3, 64, 3, stride=1, padding=1, bias=False)
    twin.maxpool = nn.Identity()
    net = build("resnet", "image 3x32x32")
    net.load_state_dict(twin.state_dict())
    x = examples("image 3x32x32", 2, dtype=torch.float64)
    twin.double().train(training)
    net.double().train(training)
    torch.testing.assert_close(net(x), twin(x), rtol=1e-9, atol=1e-9)


def test_convolutions_of_a_resnet_start_with_variance_two_over_fan_out() -> None:
    net = build("resnet[width=64,blocks=1,stages=1]", "image 3x32x32")
    weights = [m.weight for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert len(weights) == 3
    for weight in weights:
        assert weight.var().item() == pytest.approx(2 / (64 * 9), rel=0.1)


def test_group_normalisation_has_sixteen_channels_per_group_and_keeps_1x1_maps() -> None:
    net = build("resnet[width=8,blocks=1,norm=group]", "image 1x8x8")
    norms = [m for m in net.modules() if isinstance(m, nn.GroupNorm)]
    assert {(m.num_channels, m.num_groups) for m in norms} == {(8, 1), (16, 1), (32, 2), (64, 4)}
    with captured(resolve("resnet").taps(net)) as record:
        net(examples("image 1x8x8", 4))
    name, last = record[-1]
    assert (name, last.shape[2:]) == ("stage4.block1", (1, 1))
    assert last.std(0).max() > 0.01


# vit, transformer, mixer


def test_the_vit_is_torchvisions_given_the_same_weights() -> None:
    twin = models.VisionTransformer(
        image_size=32,
        patch_size=8,
        num_layers=2,
        num_heads=4,
        hidden_dim=64,
        mlp_dim=128,
        num_classes=CLASSES,
    )
    net = build("vit", "image 3x32x32")
    twin.load_state_dict(net.state_dict())
    x = examples("image 3x32x32", 3, dtype=torch.float64)
    for training in (True, False):
        ours, theirs = net.double().train(training), twin.double().train(training)
        with torch.no_grad():  # in eval mode torchvision's takes the inference kernel here
            torch.testing.assert_close(ours(x), theirs(x), rtol=1e-9, atol=1e-12)


def test_the_readout_of_a_vit_starts_as_a_normal_and_not_at_zero() -> None:
    torch.manual_seed(0)
    architecture = resolve("vit")
    head = architecture.readout(architecture.build(INPUTS["image 1x8x8"], 100))
    assert head.weight.std().item() == pytest.approx(1 / math.sqrt(64), rel=0.05)
    assert not head.bias.any()


def test_a_vit_has_one_token_per_patch_and_one_for_the_class() -> None:
    for name, length in (("image 1x8x8", 17), ("image 3x32x32", 17)):
        net = build("vit", name)
        with captured(resolve("vit").taps(net)) as record:
            net(examples(name, 2))
        assert {tuple(output.shape) for _, output in record} == {(2, length, 64)}


def test_a_vit_refuses_oblong_images_and_patches_that_do_not_tile() -> None:
    assert resolve("vit").reject(InputSpec("image", (1, 8, 12))) == "takes square images, not 8x12"
    assert "do not tile" in resolve("vit[patch=3]").reject(INPUTS["image 1x8x8"])
    assert "`transformer` takes tokens" in resolve("vit").reject(INPUTS["2 tokens of 23"])


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")
def test_forward_derivatives_of_a_vit_exist_in_eval_mode() -> None:
    net = build("vit[dim=8,heads=2]", "image 1x8x8").double().eval()
    x, v = examples("image 1x8x8", 4, dtype=torch.float64).chunk(2)
    ahead, behind = net(x + 1e-6 * v), net(x - 1e-6 * v)
    with sdpa_kernel(SDPBackend.MATH), torch.no_grad(), forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(net(forward_ad.make_dual(x, v))).tangent
    torch.testing.assert_close(tangent, (ahead - behind) / 2e-6, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    "address", ["transformer[depth=2]", "transformer[depth=2,norm=false]", "lstm", "lstm[cell=gru]"]
)
def test_representations_of_a_sequence_do_not_depend_on_later_tokens(address: str) -> None:
    name, cut = "32 tokens of 65", 20
    net = build(address, name).double()
    x = examples(name, 4)
    changed = x.clone()
    changed[:, cut] = (x[:, cut] + 1) % 65
    outputs = []
    for tokens in (x, changed):
        with captured(resolve(address).taps(net)) as record:
            net(tokens)
        outputs.append([output for _, output in record])
    if address.startswith("transformer"):
        assert [before.shape for before in outputs[0]] == [(4, 32, 64), (4, 1, 64)]
        for each in outputs:
            each.pop()
    for before, after in zip(*outputs, strict=True):
        assert before.shape == (4, 32, 64)
        torch.testing.assert_close(before[:, :cut], after[:, :cut], rtol=0, atol=1e-12)
        assert ((before - after)[:, cut:].abs().amax(2) > 1e-9).all()


def test_causal_attention_equals_sums_over_earlier_positions() -> None:
    net = build("transformer[dim=8,heads=2,depth=2]", "32 tokens of 65").double()
    attention, last = (net.get_submodule(f"blocks.{number}.attention") for number in (0, 1))
    last.load_state_dict(attention.state_dict())
    x = torch.randn(3, 6, 8, dtype=torch.float64)
    q, k, v = attention.qkv(x).chunk(3, dim=2)
    mixed = torch.zeros_like(x)
    for head in (slice(0, 4), slice(4, 8)):
        for n in range(3):
            for i in range(6):
                scores = torch.stack([q[n, i, head] @ k[n, j, head] / 2 for j in range(i + 1)])
                weights = scores.exp() / scores.exp().sum()
                mixed[n, i, head] = sum(w * v[n, j, head] for j, w in enumerate(weights))
    torch.testing.assert_close(attention(x), attention.out(mixed), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(last(x), attention.out(mixed)[:, -1:], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("norm", ["true", "false"])
@pytest.mark.parametrize("depth", [1, 3])
def test_what_a_transformer_leaves_out_changes_neither_its_function_nor_a_gradient(
    norm: str, depth: int
) -> None:
    name = "32 tokens of 65"
    net = build(f"transformer[dim=8,heads=2,depth={depth},norm={norm}]", name).double()
    x = examples(name, 4)

    def everything() -> tuple[Tensor, tuple[Tensor, ...]]:
        logits = net(x)
        return logits, torch.autograd.grad(logits.square().sum(), list(net.parameters()))

    logits, gradients = everything()
    last = net.get_submodule(f"blocks.{depth - 1}")
    last.attention.last = False
    whole, expected = everything()
    torch.testing.assert_close(logits, whole, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(gradients, expected, rtol=1e-10, atol=1e-13)


def test_a_transformer_reads_out_the_last_position() -> None:
    net = build("transformer[norm=false]", "image 1x8x8")
    with captured(resolve("transformer").taps(net)) as record:
        logits = net(examples("image 1x8x8", 3))
    torch.testing.assert_close(logits, net.readout(record[-1][1][:, 0]))


def test_a_transformer_without_normalisation_holds_no_layer_norm() -> None:
    for address, expected in (("transformer[depth=2]", 5), ("transformer[depth=2,norm=false]", 0)):
        net = build(address, "2 tokens of 23")
        assert sum(isinstance(module, nn.LayerNorm) for module in net.modules()) == expected


def test_an_lstm_equals_its_recurrence() -> None:
    """i, f, o = sigmoid, g = tanh of W x + U h + b; c = f c + i g; h = o tanh(c) (Hochreiter & Schmidhuber 1997)."""
    net = build("lstm[width=5]", "vector 20").double()
    x = examples("vector 20", 3, dtype=torch.float64)
    w = net.get_submodule("states.cell")
    h = c = torch.zeros(3, 5, dtype=torch.float64)
    for element in net.adapter(x).unbind(1):
        gates = element @ w.weight_ih_l0.T + w.bias_ih_l0 + h @ w.weight_hh_l0.T + w.bias_hh_l0
        i, f, g, o = gates.chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
    torch.testing.assert_close(net(x), net.readout(h), rtol=1e-10, atol=1e-12)


def test_double_backward_of_an_lstm_exists_in_single_precision() -> None:
    net = build("lstm[width=6]", "32 tokens of 65")
    loss = functional.cross_entropy(net(examples("32 tokens of 65", 4)), torch.arange(4))
    weights = list(net.parameters())
    gradients = torch.autograd.grad(loss, weights, create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in gradients), weights)
    assert all(h.isfinite().all() for h in second)
    assert sum(h.abs().sum() for h in second) > 0


def test_a_mixer_block_equals_the_formula_of_its_paper() -> None:
    """Eq. 1 of Tolstikhin et al. 2021, column by column and row by row."""
    net = build("mixer[dim=6,token_width=4,channel_width=10]", "vector 20").double()
    block = net.get_submodule("blocks.0")
    x = torch.randn(3, 4, 6, dtype=torch.float64)

    def two_layers(mlp: nn.Sequential, z: Tensor) -> Tensor:
        first, _, second = mlp
        hidden = first.weight @ z + first.bias
        return second.weight @ (hidden * 0.5 * torch.erfc(-hidden / 2**0.5)) + second.bias

    def normed(z: Tensor) -> Tensor:
        return (z - z.mean(-1, keepdim=True)) / (z.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()

    for n in range(3):
        columns = [two_layers(block.tokens, normed(x[n])[:, i]) for i in range(6)]
        u = x[n] + torch.stack(columns, dim=1)
        rows = [two_layers(block.channels, normed(u)[j]) for j in range(4)]
        torch.testing.assert_close(block(x)[n], u + torch.stack(rows), rtol=1e-10, atol=1e-12)

    with captured(resolve("mixer").taps(net)) as record:
        logits = net(examples("vector 20", 3, dtype=torch.float64))
    stream = normed(record[-1][1])
    mean = sum(stream[:, j] for j in range(4)) / 4
    torch.testing.assert_close(logits, net.readout(mean), rtol=1e-10, atol=1e-12)


# the wider families


def test_a_set_network_does_not_see_the_order_of_tokens() -> None:
    net, x = build("deep_sets", "32 tokens of 65").double(), examples("32 tokens of 65", 6)
    torch.testing.assert_close(net(x), net(x[:, torch.randperm(32)]))


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_an_equivariant_cnn_does_not_see_a_turn_and_a_cnn_does(turns: int) -> None:
    x = examples("image 3x32x32", 4, dtype=torch.float64)
    turned = torch.rot90(x, turns, (2, 3))
    net, plain = (build(address, "image 3x32x32").double() for address in ("equivariant_cnn", "cnn"))
    torch.testing.assert_close(net(turned), net(x))
    assert (plain(turned) - plain(x)).abs().max() > 1e-3


def test_random_features_train_their_readout_alone() -> None:
    net = build("random_features", "vector 20")
    assert {name for name, p in net.named_parameters() if p.requires_grad} == {
        "readout.weight",
        "readout.bias",
    }


def test_splines_are_a_partition_of_one_on_their_grid_and_twice_differentiable() -> None:
    kan = importlib.import_module("universality_plugins.architectures.kan")
    x = torch.linspace(-1.999, 1.999, 501, dtype=torch.float64)
    basis = kan.spline_basis(x, 5)
    assert basis.shape == (501, 8)
    torch.testing.assert_close(basis.sum(1), torch.ones_like(x))
    second = torch.diff(basis, n=2, dim=0) / torch.diff(x)[0] ** 2
    assert torch.diff(second, dim=0).abs().max() < 0.2 * second.abs().max()  # no jump of the curvature


def test_a_state_space_is_its_recurrence() -> None:
    module = importlib.import_module("universality_plugins.architectures.state_space")
    torch.manual_seed(0)
    space = module.StateSpace(3, 4).double()
    u = torch.randn(2, 10, 3, dtype=torch.float64)
    step = space.log_step.exp()
    pole = torch.exp(step * torch.complex(-space.log_decay.exp(), space.frequency))
    weight, state, expected = torch.complex(space.real, space.imaginary), torch.zeros(2, 3, 4), []
    for t in range(10):
        state = pole * state + u[:, t].unsqueeze(2)
        expected.append(2 * (weight * state).real.sum(2) + space.skip * u[:, t])
    torch.testing.assert_close(space(u), torch.stack(expected, 1))


def test_linear_attention_is_attention_with_a_kernel_of_features() -> None:
    module = importlib.import_module("universality_plugins.architectures.linear_attention")
    torch.manual_seed(0)
    attention = module.LinearAttention(8, 2).double()
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    q, k, v = attention.qkv(x).unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4).unbind(0)
    kernel = (functional.elu(q) + 1) @ (functional.elu(k) + 1).transpose(2, 3)
    mixed = kernel / kernel.sum(3, keepdim=True) @ v
    torch.testing.assert_close(attention(x), attention.out(mixed.transpose(1, 2).flatten(2)))


def test_rotary_scores_depend_on_the_distance_of_positions_alone() -> None:
    module = importlib.import_module("universality_plugins.architectures.llama")
    q, k = torch.randn(2, 1, 6, dtype=torch.float64).expand(2, 9, 6)
    scores = module.rotated(q) @ module.rotated(k).T
    for shift in range(9):
        along = scores.diagonal(shift)
        torch.testing.assert_close(along, along[:1].expand_as(along))


def test_an_expert_that_is_not_chosen_has_no_part_in_the_mixture() -> None:
    net, x = build("mixture_of_experts[width=4]", "vector 20").double(), examples("vector 20", 1).double()
    chosen = net.mixture.gate(x).topk(2).indices.flatten().tolist()
    before = net(x)
    for expert in set(range(4)) - set(chosen):
        net.mixture.hidden.weight.data[4 * expert : 4 * expert + 4] += 1.0
    torch.testing.assert_close(net(x), before)
    net.mixture.hidden.weight.data[4 * chosen[0] : 4 * chosen[0] + 4] += 1.0
    assert (net(x) - before).abs().max() > 1e-6
