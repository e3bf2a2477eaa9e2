"""`universality check NAME`: whether a plugin keeps its contract, before anything is trained with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import MISSING, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from universality.errors import DataUnavailable, UniversalityError, described, first_line, unknown_name
from universality.measures.curvature.hvp_check import check_hvp
from universality.plan.groups import groups_of
from universality.plan.suite import DEFAULT_SEEDS
from universality.plugin import registry
from universality.plugin.architecture import Architecture, InputSpec, Kind
from universality.plugin.checks import check_phenomenon
from universality.plugin.foreign import announced
from universality.plugin.kit import activation
from universality.plugin.modifier import Modified, Modifier
from universality.plugin.phenomenon import Cell, Control, Cross, Phenomenon, controls_of
from universality.plugin.registry import component
from universality.plugin.spec import parse_address, split_address
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
        UnknownName: where no architecture, modifier, task or phenomenon has this name.
        BadParameter: where its parameters do not suit it.
    """
    kinds: dict[str, Callable[[Any], Iterator[Finding]]] = {
        "architecture": check_architecture,
        "modifier": check_modifier,
        "task": partial(check_task, data_root=data_root),
        "phenomenon": partial(check_phenomenon_plugin, data_root=data_root),
    }
    name = parse_address(split_address(address)[0], where=address)[0]
    findings: dict[str, list[Finding]] = {}
    for kind, questions in kinds.items():
        if name in registry.names(kind):
            plugin = registry.resolve(kind, address)
            first = _finding("its address leads back to it", partial(_address, kind, plugin))
            findings[kind] = [first, *questions(plugin)]
    if not findings:
        names = [n for kind in kinds for n in registry.names(kind)]
        raise unknown_name("folder, architecture, modifier, task or phenomenon", name, names)
    return findings


class _NotAskedError(Exception):
    """A question that cannot be asked of a plugin, and why."""


def _finding(question: str, answer: Callable[[], str | None]) -> Finding:
    """What `answer` complains of; an error that the plugin raises is a complaint."""
    try:
        with announced("a plugin cannot be checked", where=question, do="mend what it does there"):
            return Finding(question, answer() or "")
    except DataUnavailable as error:
        text = "; ".join(filter(None, (error.what, error.got, error.do or "universality data fetch")))
        return Finding(question, skipped=text)
    except _NotAskedError as error:
        return Finding(question, skipped=str(error))
    except (Exception, SystemExit) as error:
        return Finding(question, first_line(described(error)))


# ----------------------------------------------------------------------------------------- architectures


def check_architecture(plugin: Architecture) -> Iterator[Finding]:
    """Refusals, and for every kind of input that it takes: build, forward, taps, readout, HVP."""
    yield _finding("it takes some kind of input", lambda: "" if plugin.accepts else "accepts is empty")
    yield _stacks_over(plugin)
    for kind, candidates in INPUTS.items():
        if kind not in plugin.accepts:
            refuses = all(plugin.reject(spec) for spec in candidates)
            yield Finding(f"{kind}: refused with a reason", "" if refuses else "reject gives no reason")
            continue
        if spec := next((s for s in candidates if not plugin.reject(s)), None):
            yield from _check_network(plugin, spec)
        else:
            why = plugin.reject(candidates[-1])
            yield Finding(f"{kind}: taken", skipped=f"no example of this check suits it: {why}")
    yield _finding("scaled(2) is a wider network of the same family", lambda: _scaling(plugin))


def _stacks_over(plugin: Architecture | Modifier) -> Finding:
    stray = sorted(plugin.stacks_over - registry.parameters(type(plugin)).keys())
    return Finding("stacks_over names its parameters", f"it has no {', no '.join(stray)}" if stray else "")


def _check_network(plugin: Architecture, spec: InputSpec) -> Iterator[Finding]:
    kind = spec.kind
    building = _finding(f"{kind}: builds the same network from the same seed", lambda: _builds(plugin, spec))
    yield building
    if building.wrong:
        return
    net, inputs = _network(plugin, spec).eval(), _inputs(spec)
    yield _finding(f"{kind}: gives finite logits [n, classes]", lambda: _forward(net, inputs))
    yield _finding(f"{kind}: taps give one row per example", lambda: _taps(plugin, net, inputs))
    yield _finding(f"{kind}: its readout gives the logits", lambda: _readout(plugin, net, inputs))
    chain = _finding(f"{kind}: maps of its chain feed each other", lambda: _chain(plugin, net, inputs))
    if not chain.skipped:
        yield chain
    yield _finding(f"{kind}: gradients are finite and reach parameters", lambda: _gradients(net, inputs))
    yield _finding(
        f"{kind}: Hessian-vector products are symmetric and match differences", lambda: _hvp(net, inputs)
    )


def _network(plugin: Architecture, spec: InputSpec) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
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
        raise _NotAskedError("it names none")
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


def _hvp(net: nn.Module, inputs: Tensor) -> str:
    rows = inputs.double() if inputs.is_floating_point() else inputs
    return check_hvp(net, lambda n: _loss(n, rows)).reason


def _scaling(plugin: Architecture) -> str:
    try:
        wider = plugin.scaled(2.0)
    except NotImplementedError:
        raise _NotAskedError("it has no scaling axis") from None
    spec = next((s for kind in plugin.accepts for s in INPUTS[kind] if not plugin.reject(s)), None)
    if spec is None:
        raise _NotAskedError("no example of this check suits it")
    own, scaled = (sum(p.numel() for p in _network(a, spec).parameters()) for a in (plugin, wider))
    return "" if type(wider) is type(plugin) and scaled > own else f"{own} and {scaled} parameters"


# --------------------------------------------------------------------------------------------- modifiers


def check_modifier(plugin: Modifier) -> Iterator[Finding]:
    """Every architecture, a quarter as wide, still builds, runs, is tapped and has a Hessian when modified."""
    yield _stacks_over(plugin)
    for name in registry.names("architecture"):
        entries = registry.parameters(registry.plugin_class("architecture", name)).values()
        question = f"{name}: keeps its contract when modified"
        if any(registry.default(entry) is MISSING for entry in entries):
            yield Finding(question, skipped="it has parameters without a default")
        else:
            architecture = registry.resolve("architecture", name)
            with suppress(NotImplementedError):
                architecture = architecture.scaled(0.25)
            yield _finding(question, partial(_modified, plugin, architecture))


def _modified(plugin: Modifier, architecture: Architecture) -> str:
    spec = next((s for kind in INPUTS for s in INPUTS[kind] if not architecture.reject(s)), None)
    if spec is None:
        raise _NotAskedError("no example of this check suits it")
    if reason := plugin.refuses(architecture, spec, OUTPUTS):
        raise _NotAskedError(f"refused: {reason}")
    findings = _check_network(Modified(architecture, (plugin,)), spec)
    return next((f"{finding.question}: {finding.wrong}" for finding in findings if finding.wrong), "")


# ------------------------------------------------------------------------------------------------- tasks


def check_task(plugin: Task, data_root: Path) -> Iterator[Finding]:
    """Its data, loaded three times: shapes, ranges, and that seeds do what they must."""
    loads: list[Splits] = []

    def load() -> None:
        loads.extend(plugin.load(np.random.default_rng(seed), data_root) for seed in (0, 0, 1))

    loading = _finding("its data can be read", load)
    if loading.wrong or loading.skipped:
        yield loading
        return
    first, again, other = loads
    for name in ("train", "validation", "reference"):
        yield _finding(f"{name}: rows, types and ranges", partial(_split, getattr(first, name), first))
    same = all(_equal(getattr(first, n), getattr(again, n)) for n in ("train", "validation", "reference"))
    yield Finding("one seed gives the same data", "" if same else "two loads of one seed differ")
    same = _equal(first.reference, other.reference)
    yield Finding("reference does not depend on the seed", "" if same else "it does")
    if first.train.regression:
        return
    classes = set(first.train.targets.tolist())
    lost = sorted(set(range(first.outputs)) - classes)
    yield Finding("every class has training rows", f"class {lost[0]} has none" if lost else "")


def _split(part: Split, splits: Splits) -> str:
    spec, x, y = splits.inputs, part.inputs, part.targets
    expected = torch.int64 if spec.kind == "tokens" else torch.float32
    target = (splits.outputs,) if part.regression else ()
    if x.shape[1:] != spec.shape or len(x) != len(y) or len(y) == 0 or y.shape[1:] != target:
        return f"inputs {list(x.shape)}, targets {list(y.shape)}, expected rows of {list(spec.shape)}"
    if x.dtype != expected or y.dtype not in (torch.int64, torch.float32):
        return f"inputs are {x.dtype} and targets {y.dtype}, expected {expected} and int64 or float32"
    if spec.kind == "tokens" and (int(x.min()) < 0 or int(x.max()) >= spec.vocabulary):
        return f"tokens from {int(x.min())} to {int(x.max())}, the vocabulary has {spec.vocabulary}"
    if spec.kind != "tokens" and not x.isfinite().all():
        return "not all inputs are finite"
    if part.regression:
        return "" if y.isfinite().all() else "not all targets are finite"
    if int(y.min()) < 0 or int(y.max()) >= splits.outputs:
        return f"classes from {int(y.min())} to {int(y.max())}, expected 0 to {splits.outputs - 1}"
    return ""


def _equal(a: Split, b: Split) -> bool:
    return torch.equal(a.inputs, b.inputs) and torch.equal(a.targets, b.targets)


# --------------------------------------------------------------------------------------------- phenomena


def check_phenomenon_plugin(plugin: Phenomenon, data_root: Path) -> Iterator[Finding]:
    """Claims, sense, strand and controls; then that every control can be planned."""

    def consistent() -> None:
        check_phenomenon(type(plugin))

    consistency = _finding("claims, sense, strand and controls", consistent)
    yield consistency
    yield Finding("it names its source", "" if plugin.source else "source is empty")
    yield Finding("it has a title", "" if plugin.title else "title is empty")
    if consistency.wrong:
        return
    controls = controls_of(plugin)
    for sign in ("positive", "negative"):
        has = any(control.sign == sign for control in controls)
        yield Finding(f"it has a {sign} control", "" if has else "without one no claim is ever validated")
    for control in controls:
        yield _finding(
            f"{control.sign} control '{control.name}' can be planned", partial(_planned, control, data_root)
        )


def _planned(control: Control, data_root: Path) -> str:
    architecture = registry.resolve("architecture", control.architecture)
    task = registry.resolve("task", control.task)
    cell, phenomenon = Cell(architecture, task, task.signature(data_root)), control.phenomenon
    if why := architecture.reject(cell.signature.inputs) or phenomenon.applies(cell):
        return f"it does not apply to its own control: {why}"
    partners = [registry.resolve("architecture", p) for p in control.partners]
    cross = Cross(range(control.seeds or DEFAULT_SEEDS), partners)
    groups = groups_of(phenomenon, cell, cross)
    requests = [request for group in groups for request in group.runs.values()]
    for observe, steps in ((o, r.recipe.steps) for r in requests for o in r.observe):
        registry.resolve("probe", observe.probe)
        if not observe.at.steps(steps):
            return f"{observe.probe} is observed at no step"
    for claim in control.expects:
        if not any(group.bears_on(phenomenon.claims[claim]) for group in groups):
            return f"no runs for {claim}"
    return ""


def _address(kind: str, plugin: Architecture | Modifier | Task | Phenomenon) -> str:
    address = str(component(plugin))
    try:
        again = registry.resolve(kind, address)
    except UniversalityError as error:
        return f"{address}: {error.what}"
    return "" if again == plugin else f"{address} is another plugin: its fields are no parameters"
