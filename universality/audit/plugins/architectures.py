"""Questions to an architecture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from universality.audit.plugins.questions import Finding, NotAskedError, finding
from universality.audit.plugins.trainings import check_training
from universality.measures.curvature.hvp_check import check_hvp
from universality.plan.rebuilt import weights_apart
from universality.plugin import registry
from universality.plugin.architecture import Architecture, InputSpec, Kind
from universality.plugin.kit import activation
from universality.plugin.modifier import Modified, Modifier
from universality.plugin.randomness import seeded

OUTPUTS = 3
_ROWS = 6
INPUTS: dict[Kind, tuple[InputSpec, ...]] = {
    "vector": (InputSpec("vector", (12,)), InputSpec("vector", (64,))),
    "image": (InputSpec("image", (1, 8, 8)), InputSpec("image", (3, 32, 32))),
    "tokens": (InputSpec("tokens", (6,), 11), InputSpec("tokens", (32,), 17)),
    "sequence": (InputSpec("sequence", (6, 2)), InputSpec("sequence", (32, 4))),
}
"""Examples to try an architecture on; of each kind the first that it does not reject."""


def check_architecture(plugin: Architecture) -> Iterator[Finding]:
    """Refusals, and for every kind of input that it takes: build, forward, taps, readout, HVP, short trainings."""
    yield finding("it takes some kind of input", lambda: "" if plugin.accepts else "accepts is empty")
    yield stacks_over(plugin)
    for kind, candidates in INPUTS.items():
        if kind not in plugin.accepts:
            refuses = all(plugin.reject(spec) for spec in candidates)
            yield Finding(f"{kind}: refused with a reason", "" if refuses else "reject gives no reason")
            continue
        if spec := next((s for s in candidates if not plugin.reject(s)), None):
            answers = list(check_network(plugin, spec))
            yield from answers
            # A second derivative is not needed to train.
            if not any(answer.wrong for answer in answers[:-1]):
                yield from check_training(plugin, spec, OUTPUTS)
        else:
            why = plugin.reject(candidates[-1])
            yield Finding(f"{kind}: taken", skipped=f"no example of this check suits it: {why}")
    yield finding("scaled(2) is a wider network of the same family", lambda: _scaling(plugin))


def stacks_over(plugin: Architecture | Modifier) -> Finding:
    stray = sorted(plugin.stacks_over - registry.parameters(type(plugin)).keys())
    return Finding("stacks_over names its parameters", f"it has no {', no '.join(stray)}" if stray else "")


def check_network(plugin: Architecture, spec: InputSpec) -> Iterator[Finding]:
    kind = spec.kind
    building = finding(f"{kind}: builds the same network from the same seed", lambda: _builds(plugin, spec))
    yield building
    if building.wrong:
        return
    net, inputs = _network(plugin, spec).eval(), _inputs(spec)
    yield finding(f"{kind}: gives finite logits [n, classes]", lambda: _forward(net, inputs))
    yield finding(f"{kind}: taps give one row per example", lambda: _taps(plugin, net, inputs))
    yield finding(f"{kind}: its readout gives the logits", lambda: _readout(plugin, net, inputs))
    chain = finding(f"{kind}: maps of its chain feed each other", lambda: _chain(plugin, net, inputs))
    if not chain.skipped:
        yield chain
    yield finding(f"{kind}: gradients are finite and reach parameters", lambda: _gradients(net, inputs))
    yield _hvp(f"{kind}: Hessian-vector products are symmetric and match differences", net, inputs)


def _network(plugin: Architecture, spec: InputSpec) -> nn.Module:
    with seeded(0):
        return plugin.build(spec, OUTPUTS)


def _inputs(spec: InputSpec) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (_ROWS, *spec.shape)
    if spec.kind == "tokens":
        return torch.randint(spec.vocabulary, shape, generator=generator)
    return torch.randn(shape, generator=generator)


def _builds(plugin: Architecture, spec: InputSpec) -> str:
    net, again = (_network(plugin, spec) for _ in range(2))
    if not net.state_dict():
        return "it has no parameters"
    apart = weights_apart(net, again)
    sources = "torch's global generator, random or numpy.random, which runs seed"
    return f"its weights differ, {apart} first: randomness must come from {sources}" if apart else ""


def _forward(net: nn.Module, inputs: Tensor) -> str:
    logits, _ = _watched(net, inputs, {})
    if not isinstance(logits, Tensor) or logits.shape != (len(inputs), OUTPUTS):
        return f"got {_shape(logits)}"
    return "" if logits.isfinite().all() else "not all are finite"


def _taps(plugin: Architecture, net: nn.Module, inputs: Tensor) -> str:
    taps = plugin.taps(net)
    if not taps:
        return "there are none"
    inside = {id(module) for module in net.modules()}
    if stray := [name for name, module in taps.items() if id(module) not in inside]:
        return f"{stray[0]} is not a part of the network"
    _, outputs = _watched(net, inputs, taps)
    for name, out in outputs:
        first = out[0] if isinstance(out, tuple) else out
        if not isinstance(first, Tensor) or first.ndim < 2 or len(first) != len(inputs):
            return f"{name} gives {_shape(first)}"
    passes = list(dict.fromkeys(name for name, _ in outputs))
    if passes != list(taps):
        return f"asked in the order {', '.join(taps)}, passed in the order {', '.join(passes) or '(never)'}"
    return ""


def _readout(plugin: Architecture, net: nn.Module, inputs: Tensor) -> str:
    layer = plugin.readout(net)
    if not isinstance(layer, nn.Linear) or layer.out_features != OUTPUTS:
        return f"got {layer}"
    logits, outputs = _watched(net, inputs, {"readout": layer})
    if isinstance(plugin, Modified):  # a modifier may scale or shift what leaves it
        return "" if outputs and outputs[-1][1].shape == logits.shape else "it is not what is read out"
    if not outputs or not torch.equal(outputs[-1][1], logits):
        return "what leaves it is not what the network returns"
    return ""


def _chain(plugin: Architecture, net: nn.Module, inputs: Tensor) -> str:
    links = plugin.chain(net)
    if not links:
        raise NotAskedError("it names none")
    left: dict[nn.Module, Tensor] = {}
    entered: dict[nn.Module, Tensor] = {}
    with ExitStack() as hooks, torch.no_grad():
        for link in links:
            hooks.enter_context(link.before.register_forward_hook(lambda m, _, out: left.update({m: out})))
            hooks.enter_context(
                link.after.register_forward_pre_hook(lambda m, given: entered.update({m: given[0]}))
            )
        net(inputs)
        for number, link in enumerate(links, start=1):
            if link.before not in left or link.after not in entered:
                return f"of link {number} one map never ran"
            act = nn.Identity() if link.between == "identity" else activation(link.between)
            expected, got = act(left[link.before]), entered[link.after]
            if expected.shape != got.shape or not torch.allclose(expected, got, atol=1e-6):
                return f"between the maps of link {number} lies more than {link.between}"
    return ""


def _watched(
    net: nn.Module, inputs: Tensor, modules: Mapping[str, nn.Module]
) -> tuple[Tensor, list[tuple[str, Any]]]:
    """What the network returns, and what left each of `modules`, in that order in time."""
    outputs: list[tuple[str, Any]] = []
    with ExitStack() as hooks, torch.no_grad():
        for name, module in modules.items():

            def hook(module: nn.Module, given: object, out: object, name: str = name) -> None:
                outputs.append((name, out))

            hooks.enter_context(module.register_forward_hook(hook))
        return net(inputs), outputs


def _shape(value: object) -> str:
    return str(list(value.shape)) if isinstance(value, Tensor) else type(value).__name__


def _loss(net: nn.Module, inputs: Tensor) -> Tensor:
    targets = torch.arange(len(inputs)) % OUTPUTS
    return torch.nn.functional.cross_entropy(net(inputs), targets)


def _gradients(net: nn.Module, inputs: Tensor) -> str:
    trained = {name: p for name, p in net.named_parameters() if p.requires_grad}
    gradients = torch.autograd.grad(_loss(net, inputs), list(trained.values()), allow_unused=True)
    unused = [name for name, g in zip(trained, gradients, strict=True) if g is None]
    if len(unused) == len(trained):
        return "no parameter has one"
    if not all(g.isfinite().all() for g in gradients if g is not None):
        return "not all are finite"
    return f"{unused[0]} has none: freeze it, or use it" if unused else ""


def _hvp(question: str, net: nn.Module, inputs: Tensor) -> Finding:
    rows = inputs.double() if inputs.is_floating_point() else inputs
    kinks: list[float] = []

    def answer() -> str:
        checked = check_hvp(net, lambda n: _loss(n, rows))
        kinks.append(checked.kink)
        return checked.reason

    asked = finding(question, answer)
    if not any(kinks):
        return asked
    note = f"compared a tiny step off the initial weights, where the gradient jumps by {kinks[0]:.0%} of itself: a kink"
    return replace(asked, note=note)


def _scaling(plugin: Architecture) -> str:
    try:
        wider = plugin.scaled(2.0)
    except NotImplementedError:
        raise NotAskedError("it has no scaling axis") from None
    spec = next((s for kind in plugin.accepts for s in INPUTS[kind] if not plugin.reject(s)), None)
    if spec is None:
        raise NotAskedError("no example of this check suits it")
    own, scaled = (sum(p.numel() for p in _network(a, spec).parameters()) for a in (plugin, wider))
    return "" if type(wider) is type(plugin) and scaled > own else f"{own} and {scaled} parameters"
