"""Calls the probes beside a training that somebody else's loop makes, and judges what they recorded."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from universality.errors import MeasurementError, described, first_line, unknown_name
from universality.judge.outcomes import outcome_of
from universality.plugin.kit.updates import main_group
from universality.plugin.randomness import undisturbed
from universality.plugin.settings import default_settings
from universality.plugin.spec import Component, RunSpec
from universality.plugin.task import Splits
from universality.plugin.trajectory import RunState, Series
from universality.train.engine.member import Member
from universality.train.engine.recorder import Recorder
from universality.watching.hessian_alone import (
    OF_THE_OPTIMIZER,
    is_sharpness,
    plain_descent,
    without_threshold,
)
from universality.watching.live_recipe import recipe_of
from universality.watching.live_run import LiveRun
from universality.watching.report import ClaimSoFar, Report
from universality.watching.selection import Selection, WatchedClaim
from universality.watching.subject import NAME, WatchedNet

BLOCK = 200
"""Most losses that are kept on the device: a look at one waits for it."""
LOSS = "train_loss"


@dataclass(frozen=True, slots=True)
class Subject:
    """What is watched. `data` lies on the CPU, `splits` on the device; `held_out`: whether validation rows were given."""

    architecture: WatchedNet
    optimizer: torch.optim.Optimizer
    data: Splits
    splits: Splits
    device: torch.device
    held_out: bool = True

    @property
    def net(self) -> nn.Module:
        return self.architecture.net


class Watch:
    """A training under observation; `universality.watch` makes one, before the first update.

    Nothing here ends or changes the training: what a probe raises is kept for the report, and warned of once.

    Attributes:
        updates: made so far.
        failures: what probes raised first, by address.
    """

    def __init__(
        self,
        subject: Subject,
        spec: RunSpec,
        selection: Selection,
        observe: Mapping[str, tuple[int, ...]],
        notes: Sequence[str],
    ) -> None:
        self.updates = 0
        self.failures: dict[str, str] = {}
        self._subject, self._spec, self._selection, self._notes = subject, spec, selection, tuple(notes)
        self._steps = spec.recipe.steps
        self._optimizer, self._group = subject.optimizer, main_group(subject.optimizer)
        self._without_threshold = without_threshold(subject.optimizer)  # once: a series is of one thing
        member = Member(spec, subject.architecture, subject.splits, observe)
        self._recorder = Recorder(member, subject.net, subject.splits, subject.device)
        self._observe = dict(observe)
        self._events = sorted({*self._recorder.due, *range(0, self._steps, BLOCK), self._steps}, reverse=True)
        self._losses: dict[int, float] = {}
        self._waiting: dict[int, Tensor] = {}
        self._looked = 0
        self._rates: Any = 0.0
        self._diverged_at: int | None = None
        self._event()

    def step(self, loss: Tensor | float | None = None) -> None:
        """Tell of an update: call it once after each `optimizer.step()`, before a scheduler changes the rate.

        Args:
            loss: of the update, taken at the weights before it; the series `train_loss`.

        Cost: some microseconds where nothing is due, without a wait for the device. Raises nothing.
        """
        self.updates = now = self.updates + 1
        if now > self._steps:
            return
        try:
            self._note(loss)
            if now == self._events[-1]:
                self._event()
        except Exception as error:  # the training is the user's, and goes on
            self._failed("watch", error)

    def series(self, name: str) -> Series:
        """Steps and values of one series so far, such as `sharpness.ratio` or `train_loss`.

        Raises:
            UnknownName: nothing was recorded under this name so far.
        """
        recorded = self._recorded()
        if name not in recorded:
            raise unknown_name("series", name, recorded, where=f"after {self.updates} updates")
        return recorded[name]

    def array(self, name: str, step: int) -> NDArray[Any]:
        """What a probe recorded after `step` updates that is no single number. Raises `KeyError`."""
        return self._recorder.arrays[name, step]

    def report(self) -> Report:
        """What the training says of each claim, of what has been recorded so far; at any time, and it may go on."""
        recorded = self._recorded()
        claims = tuple(self._told(each, recorded) for each in self._selection.claims)
        return Report(
            updates=self.updates,
            steps=self._steps,
            claims=claims,
            left_out=self._selection.left_out,
            failures=dict(self.failures),
            notes=self._all_notes(),
        )

    def _note(self, loss: Tensor | float | None) -> None:
        """Keep rate and loss of an update, without a wait for the device."""
        # Not in place: a rate may be a tensor that the optimizer holds.
        self._rates = self._rates + self._optimizer.param_groups[self._group]["lr"]
        if loss is None:
            return
        try:
            if not isinstance(loss, Tensor) or loss.is_cpu:
                self._losses[self.updates - 1] = loss.item() if isinstance(loss, Tensor) else float(loss)
            elif loss.numel() == 1:
                # A copy: a captured graph writes every loss to the same place.
                self._waiting[self.updates - 1] = loss.detach().clone().reshape(())
            else:
                raise ValueError(f"a tensor {list(loss.shape)}")
        except (TypeError, ValueError, RuntimeError) as error:
            self._failed("step", MeasurementError("a loss that is no number", got=first_line(error)))

    def _event(self) -> None:
        """Look at the losses, and record what is due."""
        self._events.pop()
        self._gather()
        due = self._recorder.due.get(self.updates, ()) if self._diverged_at is None else ()
        for address in due:
            try:
                self._record(address)
            except Exception as error:
                self._failed(address, error)

    def _record(self, address: str) -> None:
        optimizer, recipe = self._optimizer, self._spec.recipe
        first = self._losses.get(0, math.inf)
        with default_settings():
            self._recorder.recipe = recipe_of(
                optimizer, steps=recipe.steps, loss=recipe.loss, batch_size=recipe.batch_size
            )
            if self._without_threshold and is_sharpness(address):
                optimizer = plain_descent(self._subject.net)
            if not self._recorder.record_one(address, self.updates, optimizer, first):
                self._diverged_at = self.updates

    def _gather(self) -> None:
        """Take the losses from the device, and wait for it; see whether those since the last look are finite."""
        if self._waiting:
            values = torch.stack(list(self._waiting.values())).tolist()
            self._losses.update(zip(self._waiting, values, strict=True))
            self._waiting = {}
        new, self._looked = range(self._looked, self.updates), self.updates
        if self._diverged_at is None:
            odd = (step for step in new if not math.isfinite(self._losses.get(step, 0.0)))
            self._diverged_at = next(odd, None)

    def _failed(self, place: str, error: Exception) -> None:
        text = f"after {self.updates} updates: {described(error)}"
        if not self.failures:
            told = f"{place} failed {first_line(text)}; the training goes on, report() says more"
            with suppress(RuntimeWarning):  # where warnings are errors
                warnings.warn(f"universality.watch: {told}", RuntimeWarning, stacklevel=4)
        self.failures.setdefault(place, text)

    def _recorded(self) -> dict[str, Series]:
        self._gather()
        series = self._recorder.series()
        for name, each in series.items():
            if self._is_no_number(*name.rpartition(".")[::2]):
                series[name] = Series(each.steps, np.full(len(each), np.nan))
        losses = np.array(sorted(self._losses.items()), np.float64).reshape(-1, 2)
        series[LOSS] = Series(losses[:, 0].astype(np.int64), losses[:, 1])
        return series

    def _is_no_number(self, address: str, key: str) -> bool:
        """Whether a series is of what this training does not have."""
        if key.startswith("validation"):
            return not self._subject.held_out
        return bool(self._without_threshold) and is_sharpness(address) and key in OF_THE_OPTIMIZER

    def _told(self, watched: WatchedClaim, recorded: Mapping[str, Series]) -> ClaimSoFar:
        claim = watched.claim

        def row(outcome: Any = None, why: str = "") -> ClaimSoFar:
            return ClaimSoFar(watched.address, claim.title, claim.bound, outcome, why)

        if self._diverged_at is not None and not claim.diverged:
            return row(why=f"diverged at update {self._diverged_at}")
        if failed := [probe for probe in watched.observe if probe in self.failures]:
            return row(why=f"the probe {failed[0]} failed {first_line(self.failures[failed[0]])}")
        if self._without_threshold and any(map(is_sharpness, watched.observe)):
            return row(why=f"no stability threshold is known of {self._without_threshold}")
        for probe, steps in watched.observe.items():
            if steps and steps[0] > self.updates:
                return row(why=f"{probe} records first after {steps[0]} updates")
        run = self._live_run(watched, recorded)
        try:
            with undisturbed(self._subject.device), default_settings():
                outcome = outcome_of(watched.phenomenon, claim, run)
        except Exception as error:
            return row(why=f"cannot be measured so far: {first_line(described(error))}")
        return row(outcome)

    def _live_run(self, watched: WatchedClaim, recorded: Mapping[str, Series]) -> LiveRun:
        subject, recipe = self._subject, self._spec.recipe
        done = min(self.updates, self._steps)
        total = float(self._rates)
        # As if it had been trained at the mean of its rates, which leaves their sum as it was.
        rate = total / done if total > 0 else None
        so_far = recipe_of(
            subject.optimizer, steps=done, loss=recipe.loss, batch_size=recipe.batch_size, rate=rate
        )
        facts = {
            "parameters": sum(p.numel() for p in subject.net.parameters()),
            "taps": list(subject.architecture.places),
            "train_rows": len(subject.data.train),
            "outputs": subject.data.outputs,
            "lr": so_far.lr,
            "learning_rate_sum": total,
        }
        state: RunState = "done" if self._diverged_at is None else "diverged"
        return LiveRun(
            spec=replace(self._spec, recipe=so_far),
            state=state,
            facts=facts,
            observe=watched.observe,
            recorded=recorded,
            arrays=self._recorder.arrays,
            copied=lambda: copy.deepcopy(subject.net),
            data=subject.data,
        )

    def _all_notes(self) -> tuple[str, ...]:
        notes = list(self._notes)
        for watched in self._selection.claims:
            if watched.otherwise:
                note = f"{watched.phenomenon.name} is trained otherwise by the benchmark: {watched.otherwise}"
                notes += [note] if note not in notes else []
        if self._diverged_at is not None:
            notes.append(f"diverged at update {self._diverged_at}: nothing was recorded afterwards")
        if self.updates > self._steps:
            notes.append(f"{self.updates - self._steps} updates beyond the {self._steps} were not looked at")
        return tuple(notes)


def component() -> Component:
    """What network and data are called in the spec of a watched training."""
    return Component(NAME)
