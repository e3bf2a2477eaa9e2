"""Updates of all members at once: a batched operation where a loop has one per member.

On a GPU a small network costs one launch per operation either way; here a launch serves all members,
and the whole update can be replayed as one CUDA graph.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from universality.errors import described, first_line
from universality.measures import preserved
from universality.measures.network.hidden_state import HiddenState
from universality.plugin.kit.losses import objective
from universality.plugin.randomness import Draws
from universality.plugin.task import Split
from universality.train.engine.ensemble import CannotStack, Ensemble
from universality.train.engine.run import BLOCK, MemberRun

GRADIENT_TOLERANCE = 1e-4
"""Relative distance up to which fused gradients are those of the loop."""

WARMUP_UPDATES = 3
"""Updates before one is captured, in which optimizer and libraries allocate what they keep."""

Capture = Callable[[Callable[[], None]], Callable[[], None]]
"""From a function to one that repeats its work on the same memory."""


class FusedSteps:
    """All members in one vmapped forward pass and one backward pass. Nothing here waits for the device.

    `functional_call` runs one network's code on the stacked parameters, and the sum of the losses
    has every member's gradient in its own slice. Rows of the batches come from a table on the
    device, filled once per block, so that an update is the same sequence of operations on the same
    memory and can be captured: the first `WARMUP_UPDATES` updates run as they are, the next is
    captured, and from then on each is one replay. torch's fused optimizers are captured with it;
    RMSprop, which has no such form, steps outside.

    Not yet run on a GPU: what a CPU can test is this path with `capture` replaced by a plain call.

    Raises:
        CannotStack: where a trial update on cloned state fails, warns of a slow path or disagrees
            with the loop.
    """

    def __init__(
        self, ensemble: Ensemble, members: Sequence[MemberRun], capture: Capture | None = None
    ) -> None:
        self._ensemble, self._members, self._capture = ensemble, members, capture
        self._loss_of = objective(members[0].recipe)
        self._steps_inside = members[0].recipe.optimizer != "rmsprop"
        try:
            self._code = copy.deepcopy(members[0].net).to("meta")
        except Exception as error:  # what a network holds beside tensors may be anything
            raise CannotStack(first_line(described(error))) from error
        # One copy of the code serves all members, so that it must not keep anything from one call to the next.
        self._hidden = HiddenState(self._code)
        self._device = device = ensemble.weights.device
        self._inputs, self._targets, self._shared = _stacked([member.data for member in members])
        first = members[0].batches
        size = 0 if first is None else first.size
        self._offsets = torch.zeros(len(members), 1, dtype=torch.int64, device=device)
        if not self._shared:
            self._offsets += len(members[0].data) * torch.arange(len(members), device=device).unsqueeze(1)
        self._table = torch.zeros(BLOCK if size else 0, len(members), size, dtype=torch.int64, device=device)
        self._row = torch.zeros(1, dtype=torch.int64, device=device)
        self._log = ensemble.weights.new_zeros(BLOCK, len(members))
        self._done = 0
        self._replay: Callable[[], None] | None = None
        self._not_captured = ""
        ensemble.stack_buffers()
        # The same memory.
        self._leaves = {name: rows.detach().requires_grad_() for name, rows in ensemble.parameters.items()}
        self._fill(0, 1)
        self._check_gradients()

    @property
    def facts(self) -> dict[str, Any]:
        captured = self._replay is not None
        return {"mode": "fused", "captured": captured, "not_captured": self._not_captured}

    def gradients(self) -> Callable[[], None]:
        """Like that of `LoopSteps`, on copies of weights and buffers, captured where updates will be."""
        parameters, buffers = self._clones()

        def take() -> None:
            self._ensemble.take_stacked(self._gradients(parameters, buffers)[1])

        if self._capture is None:
            return take
        for _ in range(WARMUP_UPDATES):
            self._on_side_stream(take)
        try:
            return self._capture(take)
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            return take

    def advance(self, begin: int, end: int) -> int:
        """Make the updates `begin` to `end`, at most `BLOCK`; returns `end`."""
        self._fill(begin, end)
        draws = Draws(self._device)
        for _ in range(begin, end):
            self._update_once()
        self._check_stateless(draws)
        if end > begin:
            block = self._log[: end - begin].clone()
            for number, member in enumerate(self._members):
                if member.updating:
                    member.losses.append(block[:, number])
        return end

    def _update_once(self) -> None:
        if self._replay is not None:
            self._replay()
        elif self._capture is None or self._done < WARMUP_UPDATES:
            self._on_side_stream(self._update)
        else:
            try:
                self._replay = self._capture(self._update)
                self._replay()
            except RuntimeError as error:
                if isinstance(error, torch.OutOfMemoryError):
                    raise
                # Capturing records and runs nothing, so that this update is still to be made.
                self._replay, self._capture, self._not_captured = None, None, first_line(error)
                self._update()
        self._done += 1
        if not self._steps_inside:
            self._ensemble.step()

    def _on_side_stream(self, update: Callable[[], None]) -> None:
        """Run what will be captured on a stream of its own, as CUDA graphs want it."""
        if self._capture is None or self._device.type != "cuda":
            update()
            return
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            update()
        torch.cuda.current_stream().wait_stream(side)

    def _update(self) -> None:
        losses, gradients = self._gradients(self._leaves, self._ensemble.buffers)
        self._ensemble.take_stacked(gradients)
        self._log.index_copy_(0, self._row, losses.detach().unsqueeze(0))
        self._row += 1
        if self._steps_inside:
            self._ensemble.step()

    def _gradients(
        self, parameters: dict[str, Tensor], buffers: dict[str, Tensor]
    ) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        inputs, targets, shared = self._batch()

        def loss(weights: dict[str, Tensor], state: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            tensors = {**weights, **state}
            value = self._loss_of(functional_call(self._code, tensors, (x,)), y)
            # `functional_call` leaves the tensors that now stand under these names.
            with torch.no_grad():
                for name, buffer in state.items():
                    if tensors[name] is not buffer:
                        buffer.copy_(tensors[name])
            return value

        data = None if shared else 0
        # vmap supports only the plain form of attention.
        with sdpa_kernel(SDPBackend.MATH):
            losses: Tensor = vmap(loss, in_dims=(0, 0, data, data))(parameters, buffers, inputs, targets)
            gradients = torch.autograd.grad(losses.sum(), list(parameters.values()), allow_unused=True)
        return losses, gradients

    def _batch(self) -> tuple[Tensor, Tensor, bool]:
        """Inputs and targets of the update, `[members, rows, ...]` unless all members see the same."""
        if not len(self._table):
            inputs, targets = self._inputs, self._targets
            if self._shared:
                return inputs, targets, True
        else:
            rows = self._table.index_select(0, self._row).flatten()
            inputs, targets = self._inputs.index_select(0, rows), self._targets.index_select(0, rows)
        members = len(self._members)
        inputs, targets = (t.view(members, -1, *t.shape[1:]) for t in (inputs, targets))
        return inputs, targets, False

    def _fill(self, begin: int, end: int) -> None:
        """Write the rows of these updates into the table."""
        self._row.zero_()
        if len(self._table) and end > begin:
            rows = [
                member.batches.table(begin, end) for member in self._members if member.batches is not None
            ]
            torch.stack(rows, 1, out=self._table[: end - begin]).add_(self._offsets)

    def _clones(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return (
            {name: leaf.detach().clone().requires_grad_() for name, leaf in self._leaves.items()},
            {name: buffer.clone() for name, buffer in self._ensemble.buffers.items()},
        )

    def _check_gradients(self) -> None:
        """One fused gradient on cloned state against the loop's."""
        parameters, buffers = self._clones()
        with preserved(self._code), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            draws = Draws(self._device)
            try:
                losses, stacked = self._gradients(parameters, buffers)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:
                # What a network's code may raise under vmap is open; the loop can do without it.
                raise CannotStack(first_line(described(error))) from error
            self._check_stateless(draws)
        texts = [str(warning.message) for warning in caught]
        if slow := [text for text in texts if "performance drop" in text]:
            raise CannotStack(slow[0].partition(" Please")[0])
        for number, member in enumerate(self._members):
            with preserved(member.net):
                inputs, targets = member.batch_of(0, 1)(0)
                loss = self._loss_of(member.net(inputs), targets)
                alone = torch.autograd.grad(loss, self._ensemble.trainable[number], allow_unused=True)
                self._check_buffers(number, member.net, buffers)
            pairs = []
            for name, fused, own in zip(parameters, stacked, alone, strict=True):
                if fused is None or own is None:
                    raise CannotStack(f"a parameter without a gradient: {name}")
                pairs.append((own, fused[number]))
            distance = torch.stack([(own - fused).norm() for own, fused in pairs]).norm()
            size = torch.stack([own.norm() for own, _ in pairs]).norm()
            loss_distance = (loss.detach() - losses[number].detach()).abs()
            near = distance <= GRADIENT_TOLERANCE * size
            if not (near and loss_distance <= GRADIENT_TOLERANCE * loss.detach().abs()):
                raise CannotStack("fused gradients differ from the loop's")

    def _check_buffers(self, number: int, net: nn.Module, buffers: dict[str, Tensor]) -> None:
        """What the trial has made of the buffers of one member against the loop's."""
        own = dict(net.named_buffers())
        if own.keys() != buffers.keys():
            raise CannotStack("forward adds a buffer")
        for name, buffer in own.items():
            fused = buffers[name][number]
            near = buffer.shape == fused.shape and torch.allclose(
                fused.double(), buffer.double(), rtol=GRADIENT_TOLERANCE, atol=1e-6, equal_nan=True
            )
            if not near:
                raise CannotStack(f"a fused buffer differs from the loop's: {name}")

    def _check_stateless(self, draws: Draws) -> None:
        if foreign := [name for name in draws.taken() if name != "torch"]:
            raise CannotStack(f"the networks draw random numbers, from {', from '.join(foreign)}")
        if changed := self._hidden.changes():
            raise CannotStack(f"forward changes what torch does not list: {changed[0]}")


def cuda_graph(update: Callable[[], None]) -> Callable[[], None]:
    """`update` as a CUDA graph; the function returned replays it."""
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        update()
    return graph.replay


def _stacked(sets: Sequence[Split]) -> tuple[Tensor, Tensor, bool]:
    """Inputs and targets, all rows of all members one after another; or those of the first, and
    True, where all members have these very tensors: labels may differ where inputs do not."""
    inputs, targets = [data.inputs for data in sets], [data.targets for data in sets]
    if all(data.inputs is inputs[0] and data.targets is targets[0] for data in sets):
        return inputs[0], targets[0], True
    if any(data.inputs.shape != inputs[0].shape for data in sets):
        raise CannotStack("training sets of different shapes")
    return torch.cat(inputs), torch.cat(targets), False
