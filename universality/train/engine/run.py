"""One member while it trains: what is due at which step, and what has been recorded."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from msgspec import UNSET
from numpy.typing import NDArray
from torch import Tensor

from universality.errors import MeasurementError
from universality.measures import preserved
from universality.measures.network.hidden_state import HiddenState
from universality.plan.rebuilt import check_rebuilt
from universality.plan.trial import try_network
from universality.plugin import registry
from universality.plugin.kit.losses import accuracy, objective
from universality.plugin.rates import RateSchedule
from universality.plugin.task import Splits
from universality.plugin.trajectory import Series
from universality.train.engine.batches import Batches
from universality.train.engine.member import Member, Trained, build_network
from universality.train.engine.rate import stable_rate
from universality.train.engine.recorder import Recorder

BLOCK = 200
"""Most updates between two looks at the losses."""


class MemberRun:
    """A member while it trains. `splits` lie on `device`, where the network is built.

    Attributes:
        hidden: what the network keeps without telling torch, as it was built.
        batches: None trains on all rows at every step.
        losses: blocks of losses, on the device, that have not been looked at: looking waits for the device.
        running: False once it has diverged.
        left: the optimizer as it was when training ended before its last step (`Recipe.fitted`); None before that.
        schedule: of the learning rate, in units of `rate`.
        events: steps at which something is due: a record, a change of the rate, a look at the losses.
    """

    def __init__(self, member: Member, splits: Splits, device: torch.device) -> None:
        spec, rows = member.spec, len(splits.train)
        self.recipe = recipe = spec.recipe
        self.schedule = RateSchedule(recipe)
        again, self.net = (
            build_network(spec, member.architecture, splits).to(device).train() for _ in range(2)
        )
        self.hidden = HiddenState(self.net)
        self.data = splits.train
        self.facts: dict[str, Any] = {
            "parameters": sum(p.numel() for p in self.net.parameters()),
            "taps": list(member.architecture.taps(self.net)),
        }
        self.rate = recipe.lr
        where = f"{spec.architecture} on {spec.task}, seed {spec.seed}"
        if recipe.steps:
            if self.hidden.lost:
                raise MeasurementError(
                    "a network that keeps an iterator which cannot be copied",
                    where=f"{where}: {self.hidden.lost[0]}",
                    expected="state that can be put back after a probe",
                    do="keep a number or a list, and a position in it",
                )
            curvature = bool(recipe.lr_over_stability) or any(
                registry.resolve("probe", address).curvature for address in member.observe
            )
            inputs, targets = splits.train.inputs, splits.train.targets
            try_network(self.net, objective(recipe), inputs, targets, where=where, curvature=curvature)
        check_rebuilt(self.net, again, splits.train.inputs, where=where)
        if recipe.lr_over_stability:
            found = stable_rate(spec, self.net, splits.train)
            self.rate, self.facts["initial_sharpness"] = found.rate, found.sharpness
            if found.kink:
                self.facts["initial_kink"] = found.kink
        self.facts |= {"lr": self.rate, "train_rows": rows, "outputs": splits.outputs}
        self.recorder = Recorder(member, self.net, splits, device)
        self.batches: Batches | None = None
        if recipe.sees_batches(rows):
            self.batches = Batches(rows, recipe.batch_size, spec.seed_of("batches"), device, spec.fork)
        self.losses: list[Tensor] = []
        self.running = True
        self.left: torch.optim.Optimizer | None = None
        self._fitted_at: int | None = None
        self.events = {
            *(step for steps in member.observe.values() for step in steps),
            *self.schedule.changes,
            *range(0, recipe.steps, BLOCK),
            *recipe.looks,
            recipe.steps,
        }
        self._losses: list[NDArray[np.float64]] = []

    def batch_of(self, begin: int, end: int) -> Callable[[int], tuple[Tensor, Tensor]]:
        """A function from an update among `begin` to `end` to its batch. Row numbers reach the device here,
        in one copy, so that no update waits for them."""
        inputs, targets = self.data.inputs, self.data.targets
        if self.batches is None:
            return lambda _: (inputs, targets)
        rows = self.batches.table(begin, end).unbind()

        def batch(step: int) -> tuple[Tensor, Tensor]:
            batch_rows = rows[step - begin]
            return inputs.index_select(0, batch_rows), targets.index_select(0, batch_rows)

        return batch

    def record_due(self, step: int, optimizer: Callable[[], torch.optim.Optimizer]) -> bool:
        """Look at the losses so far and record what is due; False where this member has diverged."""
        self.running = self._finite_losses()
        if self.running and step in self.recorder.due:
            first = float(self._losses[0][0]) if self._losses else math.inf
            self.running = self.recorder.record(step, self.left or optimizer(), first)
        if self.running and step == self.recipe.steps:
            # Of the last update: no later loss would show it.
            self.running = all(bool(p.isfinite().all()) for p in self.net.parameters())
        return self.running

    @property
    def updating(self) -> bool:
        return self.running and self.left is None

    def ends(self, step: int) -> bool:
        """Whether it has been fitted, and trained as long again, after `step` updates."""
        looks, train, share = self.recipe.looks, self.data, self.recipe.fitted
        if step not in looks or share is UNSET or train.regression:
            return False
        if self._fitted_at is None:
            with preserved(self.net), torch.no_grad():
                self.net.eval()
                right = float(accuracy(self.net(train.inputs), train.targets))
            if right < share:
                return False
            self._fitted_at = self.facts["fitted_at"] = step
        return step >= 2 * self._fitted_at

    def leave(self, optimizer: torch.optim.Optimizer) -> None:
        """Train no more. `optimizer` is its own from here on, with state that no other changes."""
        for state in optimizer.state.values():
            state.update({k: v.clone() if isinstance(v, Tensor) else v for k, v in state.items()})
        self.left = optimizer

    def _finite_losses(self) -> bool:
        """Whether the losses since the last look are finite. Waits for the device."""
        if not self.losses:
            return True
        block = torch.cat(self.losses).to("cpu", torch.float64).numpy()
        self.losses.clear()
        self._losses.append(block)
        return bool(np.isfinite(block).all())

    def trained(self, shared_seconds: float, engine: dict[str, Any]) -> Trained:
        """What the run leaves.

        Args:
            shared_seconds: its share of the time that the members spent together.
            engine: the fact that says how it was trained.
        """
        loss = np.concatenate(self._losses) if self._losses else np.empty(0)
        if not self.running:
            finite = np.isfinite(loss)
            self.facts["diverged_at"] = len(loss) if finite.all() else int(np.argmin(finite))
        series = self.recorder.series()
        series["train_loss"] = Series(np.arange(len(loss), dtype=np.int64), loss)
        seconds = shared_seconds + self.recorder.seconds
        if self.left is not None:
            self.facts["ended_at"] = len(loss)
        self.facts |= {
            "learning_rate_sum": self.rate * self.schedule.sum_until(len(loss)),
            "probe_seconds": round(self.recorder.seconds, 3),
            "seconds": round(seconds, 3),
            "engine": engine,
        }
        state: Literal["done", "diverged"] = "done" if self.running else "diverged"
        return Trained(state, series, self.recorder.arrays, self.facts, self.net, seconds)
