"""`universality check NAME`: whether a plugin keeps its contract, before anything is trained with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from universality.errors import DataUnavailable, UniversalityError, unknown_name
from universality.measures.curvature.hvp_check import check_hvp
from universality.plan.suite import DEFAULT_SEEDS
from universality.plugin import registry
from universality.plugin.architecture import Architecture, InputSpec, Kind
from universality.plugin.checks import check_groups, check_phenomenon
from universality.plugin.phenomenon import Cell, Control, Cross, Phenomenon
from universality.plugin.registry import component
from universality.plugin.spec import parse_address
from universality.plugin.task import Split, Splits, Task

OUTPUTS = 3
ROWS = 6
INPUTS: dict[Kind, tuple[InputSpec, ...]] = {
    "vector": (InputSpec("vector", (12,)), InputSpec("vector", (64,))),
    "image": (InputSpec("image", (1, 8, 8)), InputSpec("image", (3, 32, 32))),
    "tokens": (InputSpec("tokens", (6,), 11), InputSpec("tokens", (32,), 17)),
}
"""Examples to try an architecture on; of each kind the first that it does not reject."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One question and its answer: `ok`, or what is wrong; `skipped` where it could not be asked."""

    question: str
    wrong: str = ""
    skipped: str = ""

    def __str__(self) -> str:
        mark = "wrong  " if self.wrong else "skipped" if self.skipped else "ok     "
        detail = self.wrong or self.skipped
        return f"{mark}  {self.question}" + (f": {detail}" if detail else "")


def check(address: str, data_root: Path) -> dict[str, list[Finding]]:
    """The findings of every plugin called so, by kind; plugins must have been loaded.

    Raises:
        UnknownName: where no architecture, task or phenomenon has this name.
        BadParameter: where its parameters do not suit it.
    """
    kinds: dict[str, Callable[[], Iterator[Finding]]] = {
        "architecture": lambda: check_architecture(registry.resolve("architecture", address)),
        "task": lambda: check_task(registry.resolve("task", address), data_root),
        "phenomenon": lambda: check_phenomenon_plugin(registry.resolve("phenomenon", address), data_root),
    }
    name = parse_address(address)[0]
    found = [kind for kind in kinds if name in registry.names(kind)]
    if not found:
        known = [n for kind in kinds for n in registry.names(kind)]
        raise unknown_name("folder, architecture, task or phenomenon", name, known)
    return {kind: list(kinds[kind]()) for kind in found}


def _asked(question: str, answer: Callable[[], str]) -> Finding:
    """What `answer` complains of; an error of the plugin's own is a complaint."""
    try:
        return Finding(question, answer())
    except DataUnavailable as error:
        return Finding(question, skipped=_unavailable(error))
    except Exception as error:
        return Finding(question, _first_line(error))


def _unavailable(error: DataUnavailable) -> str:
    return "; ".join(filter(None, (error.what, error.got, error.do or "universality data fetch")))


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


# ----------------------------------------------------------------------------------------- architectures


def check_architecture(plugin: Architecture) -> Iterator[Finding]:
    """Address, refusals, and for every kind of input that it takes: build, forward, taps, readout, HVP."""
    yield _asked("its address leads back to it", lambda: _address("architecture", plugin))
    yield _asked("it takes some kind of input", lambda: "" if plugin.accepts else "accepts is empty")
    stray = sorted(plugin.stacks_over - registry.parameters(type(plugin)).keys())
    yield Finding("stacks_over names its parameters", f"it has no {', no '.join(stray)}" if stray else "")
    for kind, candidates in INPUTS.items():
        if kind not in plugin.accepts:
            refused = all(plugin.reject(spec) for spec in candidates)
            yield Finding(f"{kind}: refused with a reason", "" if refused else "reject gives no reason")
            continue
        spec = next((s for s in candidates if not plugin.reject(s)), None)
        if spec is None:
            why = plugin.reject(candidates[-1])
            yield Finding(f"{kind}: taken", skipped=f"no example of this check suits it: {why}")
            continue
        yield from _check_network(plugin, spec)
    yield _scaling(plugin)


def _check_network(plugin: Architecture, spec: InputSpec) -> Iterator[Finding]:
    kind = spec.kind
    built = _asked(f"{kind}: builds the same network from the same seed", lambda: _builds(plugin, spec))
    yield built
    if built.wrong:
        return
    net, inputs = _network(plugin, spec).eval(), _inputs(spec)
    yield _asked(f"{kind}: gives finite logits [n, classes]", lambda: _forward(net, inputs))
    yield _asked(f"{kind}: taps give one row per example", lambda: _taps(plugin, net, inputs))
    yield _asked(f"{kind}: its readout gives the logits", lambda: _readout(plugin, net, inputs))
    yield _asked(f"{kind}: gradients are finite and reach parameters", lambda: _gradients(net, inputs))
    yield _hvp(f"{kind}: Hessian-vector products are symmetric and match differences", net, inputs)


def _network(plugin: Architecture, spec: InputSpec, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return plugin.build(spec, OUTPUTS)


def _inputs(spec: InputSpec) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (ROWS, *spec.shape)
    if spec.kind == "tokens":
        return torch.randint(spec.vocabulary, shape, generator=generator)
    return torch.randn(shape, generator=generator)


def _builds(plugin: Architecture, spec: InputSpec) -> str:
    first, again = (list(_network(plugin, spec).state_dict().values()) for _ in range(2))
    if not first:
        return "it has no parameters"
    same = all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    return "" if same else "its weights differ: randomness must come from torch's global generator only"


def _forward(net: nn.Module, inputs: Tensor) -> str:
    with torch.no_grad():
        logits = net(inputs)
    if not isinstance(logits, Tensor) or logits.shape != (len(inputs), OUTPUTS):
        return f"got {list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__}"
    return "" if logits.isfinite().all() else "not all are finite"


def _taps(plugin: Architecture, net: nn.Module, inputs: Tensor) -> str:
    taps = plugin.taps(net)
    if not taps:
        return "there are none"
    inside = {id(module) for module in net.modules()}
    if stray := [name for name, module in taps.items() if id(module) not in inside]:
        return f"{stray[0]} is not a part of the network"
    seen: list[str] = []
    wrong: list[str] = []

    def listen(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(module: nn.Module, given: object, out: object) -> None:
            first = out[0] if isinstance(out, tuple) else out
            if name not in seen:
                seen.append(name)
            if not isinstance(first, Tensor) or first.ndim < 2 or len(first) != len(inputs):
                wrong.append(
                    f"{name} gives {list(first.shape) if isinstance(first, Tensor) else type(first)}"
                )

        return hook

    handles = [module.register_forward_hook(listen(name)) for name, module in taps.items()]
    try:
        with torch.no_grad():
            net(inputs)
    finally:
        for handle in handles:
            handle.remove()
    if wrong:
        return wrong[0]
    if seen != list(taps):
        return f"asked in the order {', '.join(taps)}, passed in the order {', '.join(seen) or '(never)'}"
    return ""


def _readout(plugin: Architecture, net: nn.Module, inputs: Tensor) -> str:
    layer = plugin.readout(net)
    if not isinstance(layer, nn.Linear) or layer.out_features != OUTPUTS:
        return f"got {layer}"
    outputs: list[Tensor] = []
    handle = layer.register_forward_hook(lambda module, given, out: outputs.append(out))
    try:
        with torch.no_grad():
            logits = net(inputs)
    finally:
        handle.remove()
    if not outputs or outputs[-1].shape != logits.shape or not torch.equal(outputs[-1], logits):
        return "what leaves it is not what the network returns"
    return ""


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
    return _asked(question, lambda: check_hvp(net, lambda n: _loss(n, rows)).reason)


def _scaling(plugin: Architecture) -> Finding:
    question = "scaled(2) is a wider network of the same family"
    try:
        wider = plugin.scaled(2.0)
    except NotImplementedError:
        return Finding(question, skipped="it has no scaling axis")
    except Exception as error:
        return Finding(question, _first_line(error))
    spec = next((s for kind in plugin.accepts for s in INPUTS[kind] if not plugin.reject(s)), None)
    if spec is None:
        return Finding(question, skipped="no example of this check suits it")
    sizes = [sum(p.numel() for p in _network(a, spec).parameters()) for a in (plugin, wider)]
    same = type(wider) is type(plugin)
    return Finding(question, "" if same and sizes[1] > sizes[0] else f"{sizes[0]} and {sizes[1]} parameters")


# ------------------------------------------------------------------------------------------------- tasks


def check_task(plugin: Task, data_root: Path) -> Iterator[Finding]:
    """Address; then its data, loaded three times: shapes, ranges, and that seeds do what they must."""
    yield _asked("its address leads back to it", lambda: _address("task", plugin))
    try:
        first, again, other = (plugin.load(np.random.default_rng(seed), data_root) for seed in (0, 0, 1))
    except DataUnavailable as error:
        yield Finding("its data is here", skipped=_unavailable(error))
        return
    except Exception as error:
        yield Finding("its data can be read", _first_line(error))
        return
    for name in ("train", "validation", "reference"):
        yield _asked(f"{name}: rows, types and ranges", partial(_split, getattr(first, name), first))
    yield Finding(
        "one seed gives the same data", "" if _equal(first, again) else "two loads of one seed differ"
    )
    same = _equal_splits(first.reference, other.reference)
    yield Finding("reference does not depend on the seed", "" if same else "it does")
    classes = set(first.train.targets.tolist())
    lost = sorted(set(range(first.outputs)) - classes)
    yield Finding("every class has training rows", f"class {lost[0]} has none" if lost else "")


def _split(part: Split, splits: Splits) -> str:
    spec, x, y = splits.inputs, part.inputs, part.targets
    expected = torch.int64 if spec.kind == "tokens" else torch.float32
    if tuple(x.shape[1:]) != spec.shape or len(x) != len(y) or len(y) == 0 or y.ndim != 1:
        return f"inputs {list(x.shape)}, targets {list(y.shape)}, expected rows of {list(spec.shape)}"
    if x.dtype != expected or y.dtype != torch.int64:
        return f"inputs are {x.dtype} and targets {y.dtype}, expected {expected} and int64"
    if spec.kind == "tokens" and (int(x.min()) < 0 or int(x.max()) >= spec.vocabulary):
        return f"tokens from {int(x.min())} to {int(x.max())}, the vocabulary has {spec.vocabulary}"
    if spec.kind != "tokens" and not x.isfinite().all():
        return "not all inputs are finite"
    if int(y.min()) < 0 or int(y.max()) >= splits.outputs:
        return f"classes from {int(y.min())} to {int(y.max())}, expected 0 to {splits.outputs - 1}"
    return ""


def _equal(a: Splits, b: Splits) -> bool:
    return all(_equal_splits(getattr(a, n), getattr(b, n)) for n in ("train", "validation", "reference"))


def _equal_splits(a: Split, b: Split) -> bool:
    return torch.equal(a.inputs, b.inputs) and torch.equal(a.targets, b.targets)


# --------------------------------------------------------------------------------------------- phenomena


def check_phenomenon_plugin(plugin: Phenomenon, data_root: Path) -> Iterator[Finding]:
    """Address, claims, sense, strand and controls; then that every control can be planned."""
    yield _asked("its address leads back to it", lambda: _address("phenomenon", plugin))
    consistent = _asked("claims, sense, strand and controls", lambda: _consistent(plugin))
    yield consistent
    yield Finding("it names its source", "" if plugin.source else "source is empty")
    yield Finding("it has a title", "" if plugin.title else "title is empty")
    if consistent.wrong:
        return
    controls = list(plugin.controls())
    for sign in ("positive", "negative"):
        has = any(control.sign == sign for control in controls)
        yield Finding(f"it has a {sign} control", "" if has else "without one no claim is ever validated")
    judged = {claim for control in controls for claim in control.expects}
    if idle := sorted(set(plugin.claims) - judged):
        yield Finding("every claim is judged by a control", f"{idle[0]} is judged by none")
    for control in controls:
        yield _asked(
            f"{control.sign} control '{control.name}' can be planned", partial(_planned, control, data_root)
        )


def _consistent(plugin: Phenomenon) -> str:
    check_phenomenon(plugin)
    return ""


def _planned(control: Control, data_root: Path) -> str:
    architecture = registry.resolve("architecture", control.architecture)
    task = registry.resolve("task", control.task)
    cell, asked = Cell(architecture, task, task.signature(data_root)), control.phenomenon
    if why := architecture.reject(cell.signature.inputs) or asked.applies(cell):
        return f"it does not apply to its own control: {why}"
    partners = [registry.resolve("architecture", p) for p in control.partners]
    groups = check_groups(asked, list(asked.groups(cell, Cross(range(DEFAULT_SEEDS), partners))))
    requests = [request for group in groups for request in group.runs.values()]
    for observe, steps in ((o, r.recipe.steps) for r in requests for o in r.observe):
        registry.resolve("probe", observe.probe)
        if not observe.at.steps(steps):
            return f"{observe.probe} is observed at no step"
    for claim in control.expects:
        if not any(asked.speaks_to(group.key, claim) for group in groups):
            return f"no group speaks to {claim}"
    return ""


def _address(kind: str, plugin: Architecture | Task | Phenomenon) -> str:
    address = str(component(plugin))
    try:
        again = registry.resolve(kind, address)
    except UniversalityError as error:
        return f"{address}: {error.what}"
    return "" if again == plugin else f"{address} is another plugin: its fields are no parameters"
