"""Two ways to make one update of every member, over the same state.

`LoopSteps` takes the members' gradients one after another and is, to the last bit, what a plain
loop over each network does. `FusedSteps` takes them at once, a batched operation where the loop has
one per member, and can replay the whole update as a CUDA graph. On a CPU the loop is faster for
nearly every network; on a GPU small networks cost one launch per operation either way.

Nothing here waits for the device: losses stay there until somebody looks at them.
"""

from __future__ import annotations

import contextlib
import copy
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from universality.measures import preserved
from universality.plugin.kit.losses import objective
from universality.plugin.spec import Recipe
from universality.plugin.task import Split
from universality.train.engine.batches import Batches
from universality.train.engine.ensemble import CannotStack, Ensemble, Separate

BLOCK = 200
"""Most updates between two looks at the losses."""

_AGREE = 1e-4
"""Relative distance up to which fused gradients are those of the loop."""

_WARM = 3
"""Updates before one is captured, in which optimizer and libraries allocate what they keep."""

_LAPS = 3
"""Times that either way is timed."""

Capture = Callable[[Callable[[], None]], Callable[[], None]]
"""From a function to one that repeats its work on the same memory."""


@dataclass(slots=True)
class Lane:
    """What the updates need of one member, and where they leave its losses."""

    net: nn.Module
    data: Split
    batches: Batches | None
    """None trains on all rows at every step."""
    losses: list[Tensor] = field(default_factory=list)
    """Blocks of losses that nobody has looked at, on the device."""
    running: bool = True

    def batch_of(self, begin: int, end: int) -> Callable[[int], tuple[Tensor, Tensor]]:
        """From an update among `begin` to `end` to its batch; what it takes lies on the device already."""
        inputs, targets = self.data.inputs, self.data.targets
        if self.batches is None:
            return lambda _: (inputs, targets)
        rows = self.batches.table(begin, end).unbind()

        def batch(step: int) -> tuple[Tensor, Tensor]:
            chosen = rows[step - begin]
            return inputs.index_select(0, chosen), targets.index_select(0, chosen)

        return batch


class LoopSteps:
    """One member after another.

    Members that draw from torch's global generator (dropout) would draw from each other's stream;
    that is noticed at the end of a block, and raises `CannotStack` before anybody has seen it.
    """

    mode = "loop"

    def __init__(self, state: Ensemble | Separate, lanes: Sequence[Lane], recipe: Recipe) -> None:
        self._state, self._lanes = state, lanes
        self._loss_of = objective(recipe)

    def advance(self, begin: int, end: int) -> None:
        """Make the updates `begin` to `end`."""
        if end == begin:
            return
        running = [
            (number, lane, self._state.trained[number], lane.batch_of(begin, end), list[Tensor]())
            for number, lane in enumerate(self._lanes)
            if lane.running
        ]
        state, loss_of, autograd = self._state, self._loss_of, torch.autograd.grad
        drawn = _random_state(self._lanes) if len(self._lanes) > 1 else None
        for step in range(begin, end):
            for number, lane, trained, batch, losses in running:
                inputs, targets = batch(step)
                loss = loss_of(lane.net(inputs), targets)
                state.take(number, autograd(loss, trained, allow_unused=True))
                losses.append(loss.detach())
            state.step()
        if drawn is not None and not torch.equal(drawn, _random_state(self._lanes)):
            raise CannotStack("the networks draw random numbers")
        for _, lane, _, _, losses in running:
            lane.losses.append(torch.stack(losses))

    def gradients(self) -> Callable[[], None]:
        """What takes the gradients of a first update, and changes nothing else but buffers: to be timed."""
        batches = [lane.batch_of(0, 1)(0) for lane in self._lanes]

        def take() -> None:
            for number, (lane, (inputs, targets)) in enumerate(zip(self._lanes, batches, strict=True)):
                loss, trained = self._loss_of(lane.net(inputs), targets), self._state.trained[number]
                self._state.take(number, torch.autograd.grad(loss, trained, allow_unused=True))

        return take


class FusedSteps:
    """All members in one vmapped forward pass and one backward pass.

    `functional_call` runs one network's code on the stacked parameters, and the sum of the losses
    has every member's gradient in its own slice. Rows of the batches come from a table on the
    device, filled once per block, so that an update is the same sequence of operations on the same
    memory and can be captured: the first `_WARM` updates run as they are, the next is captured, and
    from then on each is one replay. torch.optim's fused optimizers are captured with it, RMSprop,
    which has no such form, steps outside.

    Not yet run on a GPU: what a CPU can test is this path with `capture` replaced by a plain call.

    Raises:
        CannotStack: where a trial update on cloned state fails, warns of a slow path or disagrees
            with the loop.
    """

    mode = "fused"

    def __init__(
        self, state: Ensemble, lanes: Sequence[Lane], recipe: Recipe, capture: Capture | None = None
    ) -> None:
        self._state, self._lanes, self._capture = state, lanes, capture
        self._loss_of = objective(recipe)
        self._steps_inside = recipe.optimizer != "rmsprop"
        self._code = copy.deepcopy(lanes[0].net).to("meta")
        self._device = device = state.weights.device
        self._inputs, self._targets, self._shared = _stacked([lane.data for lane in lanes])
        first = lanes[0].batches
        size = 0 if first is None else first.size
        self._offsets = torch.zeros(len(lanes), 1, dtype=torch.int64, device=device)
        if not self._shared:
            self._offsets += len(lanes[0].data) * torch.arange(len(lanes), device=device).unsqueeze(1)
        self._table = torch.zeros(BLOCK if size else 0, len(lanes), size, dtype=torch.int64, device=device)
        self._at = torch.zeros(1, dtype=torch.int64, device=device)
        self._log = state.weights.new_zeros(BLOCK, len(lanes))
        self._done = 0
        self._replay: Callable[[], None] | None = None
        self.not_captured = ""
        state.stack_buffers()
        self._leaves = {
            name: rows.detach().requires_grad_() for name, rows in state.parameters.items()
        }  # the same memory
        self._fill(0, 1)
        self._try()

    @property
    def captured(self) -> bool:
        return self._replay is not None

    def gradients(self) -> Callable[[], None]:
        """As of `LoopSteps`, on cloned weights and buffers, and captured where updates will be."""
        parameters, buffers = self._clones()

        def take() -> None:
            self._state.take_stacked(self._gradients(parameters, buffers)[1])

        if self._capture is None:
            return take
        for _ in range(_WARM):
            self._aside(take)
        try:
            return self._capture(take)
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            return take

    def advance(self, begin: int, end: int) -> None:
        """Make the updates `begin` to `end`, at most `BLOCK`."""
        self._fill(begin, end)
        for _ in range(begin, end):
            self._once()
        if end > begin:
            block = self._log[: end - begin].clone()
            for number, lane in enumerate(self._lanes):
                lane.losses.append(block[:, number])

    def _once(self) -> None:
        if self._replay is not None:
            self._replay()
        elif self._capture is None or self._done < _WARM:
            self._aside(self._update)
        else:
            try:
                self._replay = self._capture(self._update)
                self._replay()
            except RuntimeError as error:
                if isinstance(error, torch.OutOfMemoryError):
                    raise
                # Capturing records and runs nothing, so that this update is still to be made.
                self._replay, self._capture, self.not_captured = None, None, _first_line(error)
                self._update()
        self._done += 1
        if not self._steps_inside:
            self._state.step()

    def _aside(self, update: Callable[[], None]) -> None:
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
        losses, gradients = self._gradients(self._leaves, self._state.buffers)
        self._state.take_stacked(gradients)
        self._log.index_copy_(0, self._at, losses.detach().unsqueeze(0))
        self._at += 1
        if self._steps_inside:
            self._state.step()

    def _gradients(
        self, parameters: dict[str, Tensor], buffers: dict[str, Tensor]
    ) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        inputs, targets, shared = self._batch()

        def loss(weights: dict[str, Tensor], state: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            return self._loss_of(functional_call(self._code, (weights, state), (x,)), y)

        data = None if shared else 0
        # The other forms of attention have no batched one.
        with sdpa_kernel(SDPBackend.MATH):
            losses: Tensor = vmap(loss, in_dims=(0, 0, data, data))(parameters, buffers, inputs, targets)
            found = torch.autograd.grad(losses.sum(), list(parameters.values()), allow_unused=True)
        return losses, found

    def _batch(self) -> tuple[Tensor, Tensor, bool]:
        """Inputs and targets of the update, `[members, rows, ...]` unless all members see the same."""
        if not len(self._table):
            inputs, targets = self._inputs, self._targets
            if self._shared:
                return inputs, targets, True
        else:
            rows = self._table.index_select(0, self._at).flatten()
            inputs, targets = self._inputs.index_select(0, rows), self._targets.index_select(0, rows)
        members = len(self._lanes)
        return inputs.view(members, -1, *inputs.shape[1:]), targets.view(members, -1), False

    def _fill(self, begin: int, end: int) -> None:
        """Write the rows of these updates into the table."""
        self._at.zero_()
        if len(self._table) and end > begin:
            rows = [lane.batches.table(begin, end) for lane in self._lanes if lane.batches is not None]
            torch.stack(rows, 1, out=self._table[: end - begin]).add_(self._offsets)

    def _clones(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return (
            {name: leaf.detach().clone().requires_grad_() for name, leaf in self._leaves.items()},
            {name: buffer.clone() for name, buffer in self._state.buffers.items()},
        )

    def _try(self) -> None:
        """One fused gradient on cloned state against the loop's."""
        parameters, buffers = self._clones()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                losses, stacked = self._gradients(parameters, buffers)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:
                # What a network's code may raise under vmap is open; the loop can do without it.
                raise CannotStack(f"{type(error).__name__}: {_first_line(error)}") from error
        slow = [str(each.message) for each in said if "performance drop" in str(each.message)]
        if slow:
            raise CannotStack(slow[0].partition(" Please")[0])
        for number, lane in enumerate(self._lanes):
            with preserved(lane.net):
                inputs, targets = lane.batch_of(0, 1)(0)
                loss = self._loss_of(lane.net(inputs), targets)
                alone = torch.autograd.grad(loss, self._state.trained[number], allow_unused=True)
            pairs = [(loss.detach(), losses[number].detach())]
            for name, fused, own in zip(parameters, stacked, alone, strict=True):
                if fused is None or own is None:
                    raise CannotStack(f"a parameter without a gradient: {name}")
                pairs.append((own, fused[number]))
            off = torch.stack([(a - b).norm() for a, b in pairs[1:]]).norm()
            size = torch.stack([a.norm() for a, _ in pairs[1:]]).norm()
            apart = (pairs[0][0] - pairs[0][1]).abs()
            if not (off <= _AGREE * size and apart <= _AGREE * pairs[0][0].abs()):
                raise CannotStack("fused gradients differ from the loop's")


def race(
    loop: LoopSteps, fused: FusedSteps, lanes: Sequence[Lane], wait: Callable[[], None]
) -> tuple[float, float]:
    """Seconds of the gradients of one update in either way, the least of `_LAPS`.

    Which of them is faster follows from no rule: a grouped convolution can take longer than its
    members one after another. Nothing that a run leaves is changed. `wait` returns when the device
    has done what it was given.
    """
    least = []
    with contextlib.ExitStack() as clean:
        for lane in lanes:
            clean.enter_context(preserved(lane.net))
        for way in (loop, fused):
            take, taken = way.gradients(), []
            take()
            for _ in range(_LAPS):
                wait()
                started = time.perf_counter()
                take()
                wait()
                taken.append(time.perf_counter() - started)
            least.append(min(taken))
    return least[0], least[1]


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


def _random_state(lanes: Sequence[Lane]) -> Tensor:
    device = lanes[0].data.targets.device
    if device.type == "cuda":
        return torch.cat([torch.get_rng_state(), torch.cuda.get_rng_state(device)])
    return torch.get_rng_state()


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
