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

from universality.errors import MeasurementError, described
from universality.measures import preserved
from universality.measures.network.hidden_state import HiddenState
from universality.plan.rebuilt import check_rebuilt
from universality.plan.trial import try_network
from universality.plugin import registry
from universality.plugin.kit.decay import decay_for
from universality.plugin.kit.losses import accuracy, objective
from universality.plugin.rates import RateSchedule
from universality.plugin.task import Split, Splits
from universality.plugin.trajectory import Series
from universality.store.environment import peak_memory_bytes
from universality.train.engine.batches import Batches
from universality.train.engine.member import Member, Trained, build_network
from universality.train.engine.optimizers import trainable
from universality.train.engine.packing import CannotPack, Packer, Unpacker
from universality.train.engine.pulse import beat
from universality.train.engine.range_test import range_test
from universality.train.engine.rate import StableRates
from universality.train.engine.recorder import Recorder
from universality.train.engine.snapshot import BadSnapshot, Snapshot

BLOCK = 200
"""Most updates between two looks at the losses."""


class MemberRun:
    """A member while it trains. `splits` lie on `device`, where the network is built.

    Attributes:
        hidden: what the network keeps without telling torch, as it was built.
        batches: None trains on all rows at every step.
        losses: blocks of losses, on the device, that have not been looked at: looking waits for the device.
        running: False once it has diverged.
        updating: False once it has ended in any way.
        seconds: its share of the time that the members spent together.
        optimizer_state, generators: of the snapshot that it goes on from, where that has any.
        schedule: of the learning rate, in units of `rate`.
        events: steps at which something is due: a record, a change of the rate, a look at the losses.
    """

    def __init__(self, member: Member, splits: Splits, device: torch.device, rates: StableRates) -> None:
        self.member, spec, rows = member, member.spec, len(splits.train)
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
        if member.snapshot is None:
            self._derive(splits.train, rates)
        self.facts |= {"lr": self.rate, "train_rows": rows, "outputs": splits.outputs}
        self.recorder = Recorder(member, self.net, splits, device)
        self.batches: Batches | None = None
        if recipe.sees_batches(rows):
            self.batches = Batches(rows, recipe.batch_size, spec.seed_of("batches"), device, spec.fork)
        self.losses: list[Tensor] = []
        self.running = self.updating = True
        self.seconds = 0.0
        self.events = {
            *(step for steps in member.observe.values() for step in steps),
            *self.schedule.changes,
            *range(0, recipe.steps, BLOCK),
            *recipe.looks,
            recipe.steps,
        }
        self._losses: list[NDArray[np.float64]] = []
        self._looked = 0
        self.optimizer_state: list[dict[str, Any]] | None = None
        self.generators: dict[str, Any] | None = None
        if member.snapshot is not None:
            try:
                self._restore(member.snapshot, device)
            except (LookupError, ValueError, TypeError, RuntimeError, AttributeError) as error:
                raise BadSnapshot(described(error)) from error
        self.recipe = recipe.at(self.rate, self.facts.get("weight_decay", recipe.weight_decay))
        self.recorder.recipe = self.recipe

    def _derive(self, train: Split, rates: StableRates) -> None:
        """Rate and decay, where the recipe says what they follow from."""
        spec, recipe = self.member.spec, self.recipe
        if recipe.lr_over_stability:
            self.rate, start = rates.of(spec, self.net, train)
            self.facts["initial_sharpness"] = start.sharpness
            if start.kink:
                self.facts["initial_kink"] = start.kink
        if recipe.lr_below_best is not UNSET:
            test = range_test(spec, self.net, train)
            self.rate = test.best / recipe.lr_below_best
            losses = [loss if loss < math.inf else None for loss in test.losses]
            self.facts["range_test"] = {"rates": list(test.rates), "losses": losses}
        if recipe.memory is not UNSET:
            self.facts["weight_decay"] = decay_for(recipe, self.rate)

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
            self.running = self.recorder.record(step, optimizer(), first)
        if self.running and step == self.recipe.steps:
            # Of the last update: no later loss would show it.
            self.running = all(bool(p.isfinite().all()) for p in self.net.parameters())
        return self.running

    def ends(self, step: int) -> bool:
        """Whether it has been fitted, and trained as long again, after `step` updates."""
        looks, train, share = self.recipe.looks, self.data, self.recipe.fitted
        if step not in looks or share is UNSET or train.regression:
            return False
        if "fitted_at" not in self.facts:
            with preserved(self.net), torch.no_grad():
                self.net.eval()
                right = float(accuracy(self.net(train.inputs), train.targets))
            if right < share:
                return False
            self.facts["fitted_at"] = step
        return step >= 2 * int(self.facts["fitted_at"])

    def leave(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Train no more after `step` updates, and record what was due later of the network as it is."""
        self.facts["ended_at"] = step
        for later in sorted({*(due for due in self.recorder.due if due > step), self.recipe.steps}):
            if not self.record_due(later, lambda: optimizer):
                break
            beat()

    def _gather(self) -> None:
        """Take the losses from the device, and wait for it."""
        if self.losses:
            self._losses.append(torch.cat(self.losses).to("cpu", torch.float64).numpy())
            self.losses.clear()

    def _finite_losses(self) -> bool:
        """Whether the losses since the last look are finite."""
        self._gather()
        block, self._looked = self._losses[self._looked :], len(self._losses)
        return all(bool(np.isfinite(losses).all()) for losses in block)

    def trained(self, engine: dict[str, Any]) -> Trained:
        """What the run leaves. `engine`: the fact that says how it was trained."""
        loss = np.concatenate(self._losses) if self._losses else np.empty(0)
        if not self.running:
            finite = np.isfinite(loss)
            self.facts["diverged_at"] = len(loss) if finite.all() else int(np.argmin(finite))
        series = self.recorder.series()
        series["train_loss"] = Series(np.arange(len(loss), dtype=np.int64), loss)
        seconds = self.seconds + self.recorder.seconds
        self.facts |= {
            "learning_rate_sum": self.rate * self.schedule.sum_until(len(loss)),
            "probe_seconds": round(self.recorder.seconds, 3),
            "peak_memory_bytes": peak_memory_bytes(),
            "seconds": round(seconds, 3),
            "engine": engine,
        }
        state: Literal["done", "diverged"] = "done" if self.running else "diverged"
        return Trained(state, series, self.recorder.arrays, self.facts, self.net, seconds)

    def snapshot(self, step: int, optimizer: torch.optim.Optimizer, generators: Any) -> Snapshot:
        """The run after `step` updates, before anything that is due then.

        Args:
            generators: states of the global ones, None where it has drawn from none.

        Raises:
            CannotPack: the network or a probe keeps what has no packed form.
        """
        if changed := self.hidden.changes():
            raise CannotPack(f"forward changes what torch does not list: {changed[0]}")
        if not all(module.training for module in self.net.modules()):
            raise CannotPack("forward leaves the training mode")
        self._gather()
        weights, buffers = dict(self.net.named_parameters()), dict(self.net.named_buffers())
        packer = Packer([*weights.values(), *buffers.values()])
        state = {
            "weights": {name: tensor.detach() for name, tensor in weights.items()},
            "buffers": buffers,
            "optimizer": [dict(optimizer.state.get(p, {})) for p in trainable(self.net)],
            "generators": generators,
            "looked": [block for block in self._losses[: self._looked] if len(block)],
            "later": [block for block in self._losses[self._looked :] if len(block)],
            "rate": self.rate,
            "facts": self.facts,
            "seconds": self.seconds,
        }
        packed = {name: packer.pack(value, shared=True) for name, value in state.items()}
        packed |= {"recorder": packer.pack(self.recorder.state())}
        return Snapshot(step, generators is not None, {"dict": packed}, packer.tensors)

    def _restore(self, snapshot: Snapshot, device: torch.device) -> None:
        state = Unpacker(snapshot.tensors, device).unpack(snapshot.run)
        own = ("weights", dict(self.net.named_parameters())), ("buffers", dict(self.net.named_buffers()))
        with torch.no_grad():
            for kind, tensors in own:
                if {n: (t.shape, t.dtype) for n, t in state[kind].items()} != {
                    n: (t.shape, t.dtype) for n, t in tensors.items()
                }:
                    raise ValueError(f"a snapshot of a network with other {kind}")
                for name, tensor in tensors.items():
                    tensor.copy_(state[kind][name])
        self.optimizer_state = state["optimizer"]
        self.generators = state["generators"]
        self._losses = [*state["looked"], *state["later"]]
        self._looked = len(state["looked"])
        if sum(map(len, self._losses)) != snapshot.step or not 0 < snapshot.step <= self.recipe.steps:
            raise ValueError("a snapshot of another number of updates than it has losses")
        self.rate, self.seconds = float(state["rate"]), float(state["seconds"])
        self.facts |= state["facts"]
        self.facts["resumed_at"] = [*self.facts.get("resumed_at", ()), snapshot.step]
        self.recorder.restore(state["recorder"])
