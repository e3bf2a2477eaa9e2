"""Modified networks start from the same draws, stack, fuse and are measured like others."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.train.engine.test_ensemble import CPU, RECIPES, alone, assert_the_same_run, member
from universality.plan.stacks import alike
from universality.plugin.probe import Training
from universality.probes.collapse import CollapseProbe
from universality.train.engine.loop import train_stack
from universality.train.engine.member import build_network

NETS = (
    "mlp[width=12]+mup[base=4]",
    "cnn[width=4]+mup[base=2]+output_scale[alpha=3,centred=true]",
    "resnet[width=4,blocks=1,stages=2]+mup[base=2]",
    "lstm[width=8]+mup[base=4]",
    "transformer[dim=8,heads=2]+mup[base=4]",
    "vit[dim=8,depth=1,heads=2]+mup[base=4]+init_scale[scale=0.5]",
    "mixer[dim=8]+output_scale[alpha=3]",
    "transformer[dim=8,heads=2]+normalised[rms=0.1]",
)


@pytest.mark.parametrize("address", NETS)
def test_in_a_stack_as_alone(address: str) -> None:
    members = [member(address, RECIPES["adamw, warmup"], seed, {"accuracy": (0, 7)}) for seed in range(2)]
    for one, run in zip(members, train_stack(members, CPU), strict=True):
        assert run.facts["engine"]["mode"] == "loop"
        assert_the_same_run(run, alone(one))


@pytest.mark.parametrize("address", [net for net in NETS if "lstm" not in net])  # torch cannot fuse nn.LSTM
def test_fused_as_in_a_loop(address: str) -> None:
    members = [member(address, RECIPES["heavy ball, L2"], seed, {"accuracy": (0, 7)}) for seed in range(2)]
    for fused, run in zip(train_stack(members, CPU, "fused"), train_stack(members, CPU), strict=True):
        assert fused.facts["engine"]["mode"] == "fused", fused.facts["engine"]
        torch.testing.assert_close(fused.net.state_dict(), run.net.state_dict(), rtol=1e-3, atol=1e-4)


def test_a_sweep_over_a_modifier_is_paired_and_one_stack() -> None:
    """The same numbers v at step 0 for every alpha, and those of the plain architecture."""
    addresses = [f"cnn[width=3]+output_scale[alpha={alpha},centred=true]" for alpha in (0.3, 10, 100)]
    members = [member(net, replace(RECIPES["sgd"], lr=1e-4), 1, {"accuracy": (0, 7)}) for net in addresses]
    plain = member("cnn[width=3]", RECIPES["sgd"], 1)
    expected = list(build_network(plain.spec, plain.architecture, plain.splits).parameters())
    for one in members:
        start = build_network(one.spec, one.architecture, one.splits).parameters()
        assert all(torch.equal(p, q) for p, q in zip(start, expected, strict=True))
    assert len({alike(one.spec) for one in members}) == 1
    assert alike(members[0].spec) != alike(plain.spec)
    for one, run in zip(members, train_stack(members, CPU), strict=True):
        assert run.facts["engine"]["members"] == 3
        assert_the_same_run(run, alone(one))


def test_a_pinned_start_is_that_of_the_plain_architecture_at_its_seed() -> None:
    def start(address: str, seed: int) -> torch.Tensor:
        one = member(address, RECIPES["sgd"], seed)
        return torch.nn.utils.parameters_to_vector(
            build_network(one.spec, one.architecture, one.splits).parameters()
        )

    assert torch.equal(start("mlp[width=5]+pinned[start=2]", 0), start("mlp[width=5]", 2))
    assert torch.equal(start("mlp[width=5]+pinned[start=2]", 1), start("mlp[width=5]", 2))
    assert not torch.equal(start("mlp[width=5]", 1), start("mlp[width=5]", 2))


def test_rates_from_the_sharpness_are_those_of_the_trained_numbers() -> None:
    """f = alpha h: the squared loss at h = 0 has alpha^2 times the curvature, so that the rate falls by it."""
    recipe = replace(RECIPES["sgd"], lr=0.0, lr_over_stability=4.0, loss="mse")
    runs = [
        train_stack([member(f"mlp[width=6]+output_scale[alpha={a},centred=true]", recipe)], CPU)[0]
        for a in (1, 2)
    ]
    gauss_newton = runs[0].facts["lr"] / runs[1].facts["lr"]
    assert 2 < gauss_newton < 4.5  # 4 but for the residual's curvature, which grows by 2


def test_collapse_reads_the_weights_of_the_readout_that_compute() -> None:
    """Of w = m v with m far from 1, v would give another nearest class to the biased logits."""
    observe = {"collapse": (0, 7)}
    recipe = replace(RECIPES["adam, L2"], lr=0.05)
    one = member("mlp[width=64]+mup[base=4]", recipe, observe=observe)
    run = train_stack([one], CPU)[0]
    plain = member("mlp[width=64]", recipe).architecture
    net = plain.build(one.splits.inputs, one.splits.outputs)
    with torch.no_grad():
        for name, p in net.named_parameters():
            p.copy_(run.net.multipliers[name].all * run.net.net.get_parameter(name))  # type: ignore[index,union-attr,operator]
    training = Training(
        net=net,
        architecture=plain,
        splits=one.splits,
        recipe=recipe,
        optimizer=torch.optim.SGD(net.parameters(), 0.1),
        device=CPU,
        step=7,
        generator=torch.Generator(),
    )
    values = CollapseProbe().record(training)
    for key in ("nc3", "nc4", "nc1"):
        found = run.series[f"collapse.{key}"].values[-1]
        assert found == pytest.approx(float(values[key]), rel=1e-4), key
