"""The one training loop, for one network or for several of one architecture.

Everything that can happen at a step, a probe or a change of the learning rate, is an event known
before the loop starts. Between two events runs a bare inner loop.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from universality.errors import first_line
from universality.plugin.architecture import Architecture
from universality.plugin.randomness import Draws, seeded
from universality.plugin.settings import default_settings
from universality.plugin.spec import RunSpec, derive_seed
from universality.plugin.task import Split, Splits
from universality.train.engine.choice import choose_engine
from universality.train.engine.ensemble import CannotStack
from universality.train.engine.fused_steps import Capture, cuda_graph
from universality.train.engine.member import Member, Trained
from universality.train.engine.pulse import beat
from universality.train.engine.run import MemberRun
from universality.train.messages import Engine

_COMMON = ("optimizer", "batch_size", "steps", "loss", "milestones", "gamma", "warmup")
"""What the recipes of a stack have in common."""


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

    Raises:
        MeasurementError: no learning rate follows from `lr_over_stability`, or a probe raised it.
    """
    return train_stack([Member(spec, architecture, splits, observe)], device)[0]


def train_stack(
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
        engine: `loop` takes gradients one member after another (`LoopSteps`), `fused` all at once
            (`FusedSteps`); `separate` trains one network after another, each with an optimizer of
            its own. `auto` is `loop`, and on CUDA from four members on what is faster in a short
            trial. What cannot be fused runs as a loop, what cannot be stacked as `separate`; the
            fact `engine` of every run says what was done, and why.
        capture: what repeats a fused update; a CUDA graph where the device is CUDA.

    Raises:
        ValueError: for recipes that cannot be trained side by side.
        MeasurementError: as of `train`, for any of the members.
    """
    recipes = [member.spec.recipe for member in members]
    if any(getattr(r, name) != getattr(recipes[0], name) for r in recipes for name in _COMMON):
        raise ValueError(f"the recipes of a stack differ in one of {', '.join(_COMMON)}")
    if capture is None and device.type == "cuda":
        capture = cuda_graph
    if engine == "separate":
        return [run for one in members for run in _train([one], device, engine, capture)]
    try:
        return _train(members, device, engine, capture)
    except torch.OutOfMemoryError as error:
        if len(members) == 1:
            raise
        reason, half = first_line(error), len(members) // 2
        parts = [members[:half], members[half:]]
    except CannotStack as error:
        reason = str(error)
        if len(members) == 1:
            return _noted(_train(members, device, "separate", capture, request=engine), reason)
        parts = [[member] for member in members]
    if device.type == "cuda":
        torch.cuda.empty_cache()
    runs = [run for part in parts for run in train_stack(part, device, engine, capture=capture)]
    return _noted(runs, reason)


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
    request: Engine | None = None,
) -> list[Trained]:
    """Train the members in this way. `request`: what was asked for, where that is another."""
    # Dropout draws from the global generator, whose state depends on what this process ran before.
    with default_settings(), seeded(derive_seed("noise", members[0].spec.seed)), ExitStack() as undo:
        start = time.perf_counter()
        copies: dict[int, Tensor] = {}
        runs = [MemberRun(member, _on_device(member.splits, device, copies), device) for member in members]
        for run in runs:
            # What classes and files keep is another run's as well: each finds it as the first did.
            undo.callback(run.hidden.restore_outside)
        ensemble, steps, reasons = choose_engine(runs, engine, capture)
        recipe = runs[0].recipe
        rates = runs[0].schedule
        draws = Draws(device)
        events = sorted(set().union(*(run.events for run in runs)))
        for begin, end in zip(events, [*events[1:], recipe.steps], strict=True):
            for number, run in enumerate(runs):
                due = run.running and begin in run.events
                if due and not run.record_due(begin, partial(ensemble.optimizer_of, number)):
                    ensemble.release(number)
                elif due and run.updating and run.ends(begin):
                    run.leave(ensemble.optimizer_of(number))
                    ensemble.release(number)
                beat()
            if not any(run.running for run in runs):
                break
            if begin in rates.changes:
                ensemble.scale_rates(rates.factor(begin))
            steps.advance(begin, end)
            beat()
        for number, run in enumerate(runs):
            if run.updating:
                ensemble.release(number)
        if foreign := [name for name in draws.taken() if name != "torch"]:
            for run in runs:
                run.facts["generators"] = foreign
        seconds = time.perf_counter() - start
        shared = (seconds - sum(run.recorder.seconds for run in runs)) / len(runs)
        how = {"asked": request or engine, "members": len(runs), "fallback": "", **reasons, **steps.facts}
        return [run.trained(shared, dict(how)) for run in runs]


def _on_device(splits: Splits, device: torch.device, copies: dict[int, Tensor]) -> Splits:
    """The splits on the device; a tensor that members share is copied once, and kept in `copies`."""

    def once(tensor: Tensor) -> Tensor:
        if id(tensor) not in copies:
            # What was loaded in inference mode knows no gradients, wherever it is used.
            usable = tensor.clone() if tensor.is_inference() else tensor
            copies[id(tensor)] = usable.to(device)
        return copies[id(tensor)]

    def moved(split: Split) -> Split:
        return Split(once(split.inputs), once(split.targets))

    train, validation, reference = map(moved, (splits.train, splits.validation, splits.reference))
    return replace(splits, train=train, validation=validation, reference=reference)
