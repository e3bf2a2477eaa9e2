"""The one training loop, for one network or for several of one architecture.

Everything that can happen at a step, a probe or a change of the learning rate, is an event known
before the loop starts. Between two events runs a bare inner loop.
"""

from __future__ import annotations

import copy
import math
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from universality.errors import MeasurementError
from universality.measures import (
    EigenResult,
    HessianOperator,
    preserved,
    stability_threshold,
    top_eigenvalues,
)
from universality.plugin import registry
from universality.plugin.architecture import Architecture
from universality.plugin.kit.losses import objective
from universality.plugin.probe import Probe, Training
from universality.plugin.records import RunState, Series
from universality.plugin.spec import Recipe, RunSpec, derive_seed
from universality.plugin.task import Split, Splits
from universality.train.engine.batches import Batches
from universality.train.engine.ensemble import CannotStack, Ensemble, Separate
from universality.train.engine.optimizers import RateSchedule, build_optimizer
from universality.train.engine.steps import BLOCK, Capture, FusedSteps, Lane, LoopSteps, cuda_graph, race

Engine = Literal["auto", "loop", "fused", "plain"]
"""What may be asked for (`run --engine`); see `train_group`."""

_FUSED_FROM = 4
"""Members from which a GPU takes their gradients at once."""

_PRODUCTS = 200
"""Most Hessian-vector products for the initial sharpness that a rate is derived from."""

_RATE_ERROR = 1e-2
"""Relative error of that sharpness, as left by rounding, up to which it gives a rate."""

_SHARED = ("optimizer", "batch_size", "steps", "loss", "milestones", "gamma", "warmup")
"""What the recipes of a group have in common."""


@dataclass(slots=True)
class Trained:
    """What a training leaves: series, arrays, facts, a log for people, and the network itself."""

    state: RunState
    series: dict[str, Series]
    arrays: dict[tuple[str, int], NDArray[Any]]
    facts: dict[str, Any]
    net: nn.Module
    seconds: float

    @property
    def log(self) -> str:
        """How the run was trained and why not otherwise, a line each."""
        how = self.facts["engine"]
        lines = [f"engine: {how['mode']} (asked: {how['asked']}), {how['members']} side by side"]
        if how["fallback"]:
            lines.append(f"not as tried first: {how['fallback']}")
        if how.get("not_captured"):
            lines.append(f"not captured as a CUDA graph: {how['not_captured']}")
        if "diverged_at" in self.facts:
            lines.append(f"diverged at update {self.facts['diverged_at']}")
        return "".join(f"{line}\n" for line in lines)


@dataclass(frozen=True, slots=True)
class Member:
    """One run of a group. `observe`: probe addresses and their steps."""

    spec: RunSpec
    architecture: Architecture
    splits: Splits
    observe: Mapping[str, Sequence[int]]


def build_network(spec: RunSpec, architecture: Architecture, splits: Splits) -> nn.Module:
    """The network of a run at initialisation; depends on the architecture and the seed only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("init", *map(str, spec.architecture.identity()), spec.seed))
        return architecture.build(splits.inputs, splits.outputs)


def train(
    spec: RunSpec,
    architecture: Architecture,
    splits: Splits,
    observe: Mapping[str, Sequence[int]],
    device: torch.device,
) -> Trained:
    """Train one run and record what `observe` asks: probe addresses and their steps.

    The same spec gives bit-identical weights on a CPU whatever is observed. A loss or a weight that
    is not finite ends the run with the state `diverged`; what was recorded until then is kept.
    """
    return train_group([Member(spec, architecture, splits, observe)], device)[0]


def train_group(
    members: Sequence[Member],
    device: torch.device,
    engine: Engine = "auto",
    *,
    capture: Capture | None = None,
) -> list[Trained]:
    """Train runs side by side, each as if it were alone; returns what each leaves, in their order.

    On a CPU every member's weights, series and arrays are those of `train`, to the last bit,
    whoever its neighbours are. A member that diverges stops, the others go on.

    Args:
        members: runs whose networks have the same parameters, and whose recipes differ in nothing
            but learning rate, weight decay and the optimizer's other numbers.
        engine: `loop` takes gradients one member after another, `fused` all at once, see
            `universality.train.engine.steps`; `plain` trains one network after another, each with an
            optimizer of its own. `auto` is `loop`, and on CUDA from four members on what is faster
            in a short trial. What cannot be fused runs as a loop, what cannot be stacked as `plain`;
            the fact `engine` of every run says what was done, and why.
        capture: what repeats a fused update; a CUDA graph where the device is CUDA.

    Raises:
        ValueError: for recipes that cannot be trained side by side.
    """
    recipes = [member.spec.recipe for member in members]
    if any(getattr(r, name) != getattr(recipes[0], name) for r in recipes for name in _SHARED):
        raise ValueError(f"the recipes of a group differ in one of {', '.join(_SHARED)}")
    if capture is None and device.type == "cuda":
        capture = cuda_graph
    if engine == "plain":
        return [run for one in members for run in _train([one], device, engine, capture)]
    try:
        return _train(members, device, engine, capture)
    except torch.OutOfMemoryError as error:
        if len(members) == 1:
            raise
        reason, half = str(error).partition("\n")[0], len(members) // 2
        parts = [members[:half], members[half:]]
    except CannotStack as error:
        reason = str(error)
        if len(members) == 1:
            return _noted(_train(members, device, "plain", capture, asked=engine), reason)
        parts = [[member] for member in members]
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return _noted(
        [run for part in parts for run in train_group(part, device, engine, capture=capture)], reason
    )


def _noted(runs: list[Trained], reason: str) -> list[Trained]:
    """The same runs, with the reason why they were not trained as was tried first."""
    for run in runs:
        run.facts["engine"]["fallback"] = run.facts["engine"]["fallback"] or reason
    return runs


def _train(
    members: Sequence[Member],
    device: torch.device,
    engine: Engine,
    capture: Capture | None,
    *,
    asked: Engine | None = None,
) -> list[Trained]:
    with torch.random.fork_rng(devices=[]):
        # Dropout draws from the global generator, which otherwise knows what this process ran before.
        torch.manual_seed(derive_seed("noise", members[0].spec.seed))
        started = time.perf_counter()
        recipe = members[0].spec.recipe
        placed: dict[int, Tensor] = {}
        runs = [_Run(member, _placed(member.splits, device, placed), device) for member in members]
        state, steps, why = _engine(runs, recipe, engine, capture)
        rates = RateSchedule(recipe)
        for run in runs:
            run.events |= rates.changes
        events = sorted(set().union(*(run.events for run in runs)))
        for begin, end in zip(events, [*events[1:], recipe.steps], strict=True):
            for number, run in enumerate(runs):
                if begin in run.events and run.lane.running and not run.meet(begin, state, number):
                    state.release(number)
            if not any(run.lane.running for run in runs):
                break
            if begin in rates.changes:
                state.scale_rates(rates.factor(begin))
            steps.advance(begin, end)
        for number, run in enumerate(runs):
            if run.lane.running:
                state.release(number)
        seconds = time.perf_counter() - started
        shared = (seconds - sum(run.recorder.seconds for run in runs)) / len(runs)
        mode = "plain" if isinstance(state, Separate) else steps.mode
        how = {"mode": mode, "asked": asked or engine, "members": len(runs), "fallback": "", **why}
        if isinstance(steps, FusedSteps):
            how |= {"captured": steps.captured, "not_captured": steps.not_captured}
        return [run.trained(shared, dict(how)) for run in runs]


def _placed(splits: Splits, device: torch.device, placed: dict[int, Tensor]) -> Splits:
    """The splits on the device, where tensors that members share, `placed`, stay one."""

    def once(tensor: Tensor) -> Tensor:
        if id(tensor) not in placed:
            placed[id(tensor)] = tensor.to(device)
        return placed[id(tensor)]

    def moved(split: Split) -> Split:
        return Split(once(split.inputs), once(split.targets))

    return replace(
        splits,
        train=moved(splits.train),
        validation=moved(splits.validation),
        reference=moved(splits.reference),
    )


def _engine(
    runs: Sequence[_Run], recipe: Recipe, engine: Engine, capture: Capture | None
) -> tuple[Ensemble | Separate, LoopSteps | FusedSteps, dict[str, Any]]:
    """The state of the members, how they are stepped, and what spoke for it."""
    nets, rates = [run.lane.net for run in runs], [run.rate for run in runs]
    recipes, lanes = [run.member.spec.recipe for run in runs], [run.lane for run in runs]
    if engine == "plain":
        alone = Separate(nets, recipes, rates)
        return alone, LoopSteps(alone, lanes, recipe), {}
    state = Ensemble(nets, recipes, rates)
    loop = LoopSteps(state, lanes, recipe)
    if engine == "loop" or (engine == "auto" and not _may_fuse(lanes)):
        return state, loop, {}
    try:
        fused = FusedSteps(state, lanes, recipe, capture)
    except CannotStack as error:
        return state, loop, {"fallback": str(error)}
    timed = {}
    if engine == "auto":
        one_by_one, at_once = race(loop, fused, lanes, lambda: _wait(lanes[0]))
        timed = {"loop_seconds": one_by_one, "fused_seconds": at_once}
        if one_by_one < at_once:
            return state, loop, {**timed, "fallback": "the loop is faster"}
    if capture is not None:
        state.keep_on_device()
    return state, fused, timed


def _may_fuse(lanes: Sequence[Lane]) -> bool:
    return lanes[0].data.targets.is_cuda and len(lanes) >= _FUSED_FROM


def _wait(lane: Lane) -> None:
    if lane.data.targets.is_cuda:
        torch.cuda.synchronize(lane.data.targets.device)


class _Run:
    """One member while it trains: its network, what is due at which step, what was found."""

    def __init__(self, member: Member, splits: Splits, device: torch.device) -> None:
        self.member = member
        spec, architecture, recipe = member.spec, member.architecture, member.spec.recipe
        net = build_network(spec, architecture, splits).to(device)
        net.train()
        self.facts: dict[str, Any] = {
            "parameters": sum(p.numel() for p in net.parameters()),
            "taps": list(architecture.taps(net)),
        }
        self.rate = recipe.lr or _stable_rate(spec, net, splits, self.facts)
        self.facts |= {"lr": self.rate, "train_rows": len(splits.train), "outputs": splits.outputs}
        self.recorder = _Recorder(spec, member.observe, net, architecture, splits, device)
        rows, size = len(splits.train), recipe.batch_size
        full = size == 0 or size >= rows
        self.lane = Lane(net, splits.train, None if full else Batches(rows, size, spec.seed, device))
        self.state: RunState = "done"
        self.events = {
            *(step for steps in member.observe.values() for step in steps),
            *range(0, recipe.steps, BLOCK),
            recipe.steps,
        }
        """Steps at which something is due: a record, a change of the rate, a look at the losses."""
        self._losses: list[NDArray[np.float64]] = []

    def meet(self, step: int, state: Ensemble | Separate, number: int) -> bool:
        """Look at the losses so far and record what is due; False where this member has diverged."""
        if self.lane.losses:
            block = torch.cat(self.lane.losses).to("cpu", torch.float64).numpy()
            self.lane.losses.clear()
            self._losses.append(block)
            if not np.isfinite(block).all():
                self.state = "diverged"
        due = self.state == "done" and self.recorder.due(step)
        if due and not self.recorder.record(step, state.optimizer_of(number)):
            self.state = "diverged"
        if step == self.member.spec.recipe.steps and not _finite_weights(self.lane.net):
            self.state = "diverged"  # in the last update, which no later loss betrays
        self.lane.running = self.state == "done"
        return self.lane.running

    def trained(self, shared_seconds: float, engine: dict[str, Any]) -> Trained:
        loss = np.concatenate(self._losses) if self._losses else np.empty(0)
        if self.state == "diverged":
            finite = np.isfinite(loss)
            self.facts["diverged_at"] = len(loss) if finite.all() else int(np.argmin(finite))
        series = self.recorder.series()
        series["train_loss"] = Series(np.arange(len(loss), dtype=np.int64), loss)
        seconds = shared_seconds + self.recorder.seconds
        self.facts |= {
            "probe_seconds": round(self.recorder.seconds, 3),
            "seconds": round(seconds, 3),
            "engine": engine,
        }
        return Trained(self.state, series, self.recorder.arrays, self.facts, self.lane.net, seconds)


@torch.no_grad()
def _finite_weights(net: nn.Module) -> bool:
    return all(bool(p.isfinite().all()) for p in net.parameters())


def _stable_rate(spec: RunSpec, net: nn.Module, splits: Splits, facts: dict[str, Any]) -> float:
    """lr at which the stability threshold is `lr_over_stability` times the initial sharpness.

    The threshold is inversely proportional to lr, so its value at lr = 1 gives the rate. Where
    updates see batches, at most 4096 rows scale the rate; a full-batch run needs all of them.
    """
    recipe = spec.recipe
    train, most = splits.train, 4096
    if recipe.batch_size and len(train) > most:
        order = torch.Generator().manual_seed(derive_seed("stable_rate_rows", spec.seed))
        train = train.take(torch.randperm(len(train), generator=order)[:most].to(train.targets.device))
    top = _sharpness(spec, net, train)
    if top.matvecs < _PRODUCTS and _relative_error(top) > _RATE_ERROR:
        # Rounding of float32 products ends the search early in some ResNets, 2 to 4 % off.
        try:
            top = _sharpness(spec, *_in_double(net, train))
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, TypeError):
            pass  # a device without float64, or code that mixes it with float32
    sharpness, error = float(top.values[0]), _relative_error(top)
    facts["initial_sharpness"] = sharpness
    # A search that ends before its budget has settled: what then keeps it from `converged` is the
    # rounding of the products.
    known = top.converged or (top.matvecs < _PRODUCTS and error <= _RATE_ERROR)
    if not (known and 0 < sharpness < math.inf):
        raise MeasurementError(
            "no learning rate follows from the sharpness at initialisation",
            where=f"{spec.architecture} on {spec.task}, seed {spec.seed}",
            got=f"{sharpness:.4g}, relative error estimate {error:.2g} after {top.matvecs} products",
            expected=f"a positive number, found within {_PRODUCTS} products and known to {_RATE_ERROR:g}",
            do="give the recipe `lr` in place of `lr_over_stability`",
        )
    params = [p for p in net.parameters() if p.requires_grad]
    at_unit_rate = stability_threshold(build_optimizer(recipe, params, lr=1.0))
    return at_unit_rate / (recipe.lr_over_stability * sharpness)


def _sharpness(spec: RunSpec, net: nn.Module, rows: Split) -> EigenResult:
    """The largest eigenvalue of the Hessian of the loss over these rows."""
    params, loss_of = [p for p in net.parameters() if p.requires_grad], objective(spec.recipe)
    with preserved(net):
        hessian = HessianOperator(lambda: loss_of(net(rows.inputs), rows.targets), params)
        generator = torch.Generator().manual_seed(derive_seed("stable_rate", spec.seed))
        return top_eigenvalues(
            hessian,
            hessian.dim,
            generator=generator,
            tolerance=1e-3,
            max_matvecs=_PRODUCTS,
            device=params[0].device,
        )


def _relative_error(top: EigenResult) -> float:
    return float(top.error_estimates[0] / top.values[0].abs())  # of tensors: 0 / 0 is NaN


def _in_double(net: nn.Module, rows: Split) -> tuple[nn.Module, Split]:
    inputs = rows.inputs.double() if rows.inputs.is_floating_point() else rows.inputs
    return copy.deepcopy(net).double(), Split(inputs, rows.targets)


class _Recorder:
    """Calls probes at their steps and keeps what they return."""

    def __init__(
        self,
        spec: RunSpec,
        observe: Mapping[str, Sequence[int]],
        net: nn.Module,
        architecture: Architecture,
        splits: Splits,
        device: torch.device,
    ) -> None:
        self._run_id, self._net, self._device = spec.id, net, device
        self._context = (architecture, splits, spec.recipe)
        self._at: dict[int, list[str]] = defaultdict(list)
        self._probes: dict[str, Probe] = {}
        for address, steps in sorted(observe.items()):
            self._probes[address] = registry.resolve("probe", address)
            for step in steps:
                self._at[step].append(address)
        self._points: dict[str, list[tuple[int, float]]] = defaultdict(list)
        self.arrays: dict[tuple[str, int], NDArray[Any]] = {}
        self.seconds = 0.0

    def due(self, step: int) -> bool:
        return step in self._at

    def record(self, step: int, optimizer: torch.optim.Optimizer) -> bool:
        """False where the network has left the finite numbers, so that nothing can be measured."""
        for address in self._at.get(step, ()):
            started = time.perf_counter()
            seed = derive_seed("probe", address, self._run_id, step)
            architecture, splits, recipe = self._context
            training = Training(
                net=self._net,
                architecture=architecture,
                splits=splits,
                recipe=recipe,
                optimizer=optimizer,
                device=self._device,
                step=step,
                generator=torch.Generator().manual_seed(seed),
            )
            with preserved(self._net):
                try:
                    found = self._probes[address].record(training)
                except MeasurementError:
                    if self._finite():
                        raise
                    return False
            for key, value in found.items():
                if isinstance(value, Tensor):
                    self.arrays[f"{address}.{key}", step] = value.detach().cpu().numpy()
                else:
                    self._points[f"{address}.{key}"].append((step, float(value)))
            self.seconds += time.perf_counter() - started
        return True

    @torch.no_grad()
    def _finite(self) -> bool:
        _, splits, recipe = self._context
        loss = objective(recipe)(self._net(splits.train.inputs), splits.train.targets)
        return bool(loss.isfinite())

    def series(self) -> dict[str, Series]:
        return {
            name: Series(
                np.array([s for s, _ in points], dtype=np.int64),
                np.array([v for _, v in points], dtype=np.float64),
            )
            for name, points in self._points.items()
        }
