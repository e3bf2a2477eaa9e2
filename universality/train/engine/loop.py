"""The one training loop, for one network or for several of one architecture.

Everything that can happen at a step, a probe or a change of the learning rate, is an event known
before the loop starts. Between two events runs a bare inner loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from universality.errors import described, first_line
from universality.plugin.architecture import Architecture
from universality.plugin.randomness import (
    Draws,
    generator_states,
    seeded,
    set_generator_states,
    undisturbed,
)
from universality.plugin.settings import default_settings
from universality.plugin.spec import RunSpec, derive_seed
from universality.plugin.task import Split, Splits
from universality.train.engine.choice import choose_engine
from universality.train.engine.ensemble import CannotStack, Ensemble
from universality.train.engine.fused_steps import Capture, cuda_graph
from universality.train.engine.loop_steps import LoopSteps
from universality.train.engine.member import Member, Trained
from universality.train.engine.pulse import beat
from universality.train.engine.rate import StableRates
from universality.train.engine.run import MemberRun
from universality.train.engine.saving import Keep, Saving
from universality.train.engine.snapshot import BadSnapshot
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
    """Train runs side by side; returns what each leaves, in their order. See `train_each`."""
    runs = dict(train_each(members, device, engine, capture=capture))
    return [runs[number] for number in range(len(members))]


def train_each(
    members: Sequence[Member],
    device: torch.device,
    engine: Engine = "auto",
    *,
    capture: Capture | None = None,
    keep: Keep | None = None,
) -> Generator[tuple[int, Trained]]:
    """Train runs side by side, each as if it were alone; the number of each and what it leaves, as soon as it ends.

    On a CPU every member's weights, series and arrays are those of `train`, to the last bit,
    whoever its neighbours are, and wherever it was taken up again. A member that diverges or has been fitted
    (`Recipe.fitted`) ends, the others go on.

    Args:
        members: runs whose networks have the same parameters, and whose recipes differ in nothing
            but learning rate, weight decay and the optimizer's other numbers. They go on from the same update.
        engine: `loop` takes gradients one member after another (`LoopSteps`), `fused` all at once
            (`FusedSteps`); `separate` trains one network after another, each with an optimizer of
            its own. `auto` is `loop`, and on CUDA from four members on what is faster in a short
            trial. What cannot be fused runs as a loop, what cannot be stacked as `separate`; the
            fact `engine` of every run says what was done, and why.
        capture: what repeats a fused update; a CUDA graph where the device is CUDA.
        keep: is given snapshots of long runs (`Saving`).

    Raises:
        ValueError: for recipes that cannot be trained side by side.
        MeasurementError: as of `train`, for any of the members.
        BadSnapshot: a member cannot go on from where it should.
        Stopped: where this process is asked to end.
    """
    recipes = [member.spec.recipe for member in members]
    if any(getattr(r, name) != getattr(recipes[0], name) for r in recipes for name in _COMMON):
        raise ValueError(f"the recipes of a stack differ in one of {', '.join(_COMMON)}")
    if capture is None and device.type == "cuda":
        capture = cuda_graph
    left = list(range(len(members)))
    parts, reason = [[number] for number in left], ""
    if engine != "separate" or len(members) == 1:
        try:
            for number, run in _train(members, device, engine, capture, keep):
                left.remove(number)
                yield number, run
            return
        except torch.OutOfMemoryError as error:
            if len(members) == 1:
                raise
            reason, half = first_line(error), len(left) // 2
            parts = [part for part in (left[:half], left[half:]) if part]
        except CannotStack as error:
            reason = str(error)
            parts = [[number] for number in left]
            if len(members) == 1:
                for number, run in _train(members, device, "separate", capture, keep, request=engine):
                    yield number, _noted(run, reason)
                return
        if device.type == "cuda":
            torch.cuda.empty_cache()
    for part in parts:
        again = train_each([members[n] for n in part], device, engine, capture=capture, keep=keep)
        for number, run in again:
            yield part[number], _noted(run, reason)


def _noted(run: Trained, reason: str) -> Trained:
    """The same run, with the reason why it was not trained as was tried first."""
    run.facts["engine"]["fallback"] = run.facts["engine"]["fallback"] or reason
    return run


def _train(
    members: Sequence[Member],
    device: torch.device,
    engine: Engine,
    capture: Capture | None,
    keep: Keep | None,
    *,
    request: Engine | None = None,
) -> Generator[tuple[int, Trained]]:
    """Train the members in this way. `request`: what was asked for, where that is another."""
    start = members[0].snapshot.step if members[0].snapshot else 0
    if any((member.snapshot.step if member.snapshot else 0) != start for member in members):
        raise ValueError("the members of a stack go on from different updates")
    # Dropout draws from the global generator, whose state depends on what this process ran before.
    with default_settings(), seeded(derive_seed("noise", members[0].spec.seed)), ExitStack() as undo:
        copies: dict[int, Tensor] = {}
        shares, saving, stable = Shares(), Saving(keep), StableRates()
        runs = [
            MemberRun(member, _on_device(member.splits, device, copies), device, stable) for member in members
        ]
        shares.begin(runs)
        for run in runs:
            # What classes and files keep is another run's as well: each finds it as the first did.
            undo.callback(run.hidden.restore_outside)
        ensemble, steps, reasons = choose_engine(runs, engine, capture)
        recipe, rates = runs[0].recipe, runs[0].schedule
        draws, drawn = Draws(device), False
        if start:
            try:
                ensemble.restore([run.optimizer_state or [] for run in runs])
            except (LookupError, ValueError, TypeError, RuntimeError, AttributeError) as error:
                raise BadSnapshot(described(error)) from error
            ensemble.scale_rates(rates.factor(start))
            for states in filter(None, (run.generators for run in runs)):
                set_generator_states(states, device)
                draws, drawn = Draws(device), True
        stacked = runs
        how = {"asked": request or engine, "members": len(runs), "fallback": "", **reasons}
        events = sorted(set().union(*(run.events for run in runs)))
        for begin, end in zip(events, [*events[1:], recipe.steps], strict=True):
            for number, run in enumerate(runs):
                if begin >= start and run.updating and begin in run.events:
                    place = stacked.index(run)
                    if _goes_on(run, begin, partial(ensemble.optimizer_of, place)):
                        beat()
                        continue
                    shares.share()
                    ensemble.release(place)
                    run.updating = False
                    _note(draws.taken(), [run])
                    with undisturbed(device):
                        yield number, run.trained({**how, **steps.facts})
                    shares.skip()
            training = [run for run in stacked if run.updating]
            if not training:
                break
            # An optimizer steps over the rows of those that have ended as well: of AdamW a third more for one of eight.
            half = 2 * len(training) <= len(stacked)
            if half and isinstance(ensemble, Ensemble) and isinstance(steps, LoopSteps):
                ensemble = ensemble.only([stacked.index(run) for run in training])
                steps, stacked = LoopSteps(ensemble, training), training
            if begin in rates.changes and begin >= start:
                ensemble.scale_rates(rates.factor(begin))
            step = max(begin, start)
            while step < end:
                step = steps.advance(step, end)
                beat()
                if saving.due():
                    shares.share()
                    drawn = _note(draws.taken(), runs) or drawn
                    with undisturbed(device):
                        saving.save(step, stacked, ensemble, generator_states(device) if drawn else None)


def _goes_on(run: MemberRun, step: int, optimizer: Callable[[], torch.optim.Optimizer]) -> bool:
    """Whether there are more updates to make, once what is due after `step` updates is recorded."""
    if not run.record_due(step, optimizer) or step == run.recipe.steps:
        return False
    if run.ends(step):
        run.leave(step, optimizer())
        return False
    return True


def _note(taken: Sequence[str], runs: Sequence[MemberRun]) -> bool:
    """Whether generators were drawn from; those beside torch's are a fact of the runs."""
    for run in runs:
        if foreign := [*run.facts.get("generators", ()), *(name for name in taken if name != "torch")]:
            run.facts["generators"] = list(dict.fromkeys(foreign))
    return bool(taken)


class Shares:
    """Divides the time that members spend together."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def begin(self, runs: Sequence[MemberRun]) -> None:
        """What has passed since this was made is theirs."""
        self._runs, self._in_probes = runs, sum(run.recorder.seconds for run in runs)

    def share(self) -> None:
        """Give those that train equal parts of the time since the last call, without that of their probes."""
        now, in_probes = time.perf_counter(), sum(run.recorder.seconds for run in self._runs)
        training = [run for run in self._runs if run.updating]
        for run in training:
            run.seconds += (now - self._last - (in_probes - self._in_probes)) / len(training)
        self._last, self._in_probes = now, in_probes

    def skip(self) -> None:
        """The time since the last call is nobody's."""
        self._last = time.perf_counter()


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
