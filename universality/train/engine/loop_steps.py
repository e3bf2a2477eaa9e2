"""Updates of all members, their gradients one after another.

To the last bit what a loop over each network alone does. On a CPU this is faster than all gradients
at once for nearly every network.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from universality.measures.network.hidden_state import shared
from universality.plugin.kit.losses import objective
from universality.plugin.randomness import Draws
from universality.train.engine.ensemble import CannotStack, Ensemble, Separate
from universality.train.engine.run import MemberRun

TURN = 1.0
"""Seconds after which updates pause for whoever asks their process to end, or watches it."""


class LoopSteps:
    """One member after another. Nothing here waits for the device. `alone`: whether there never were others.

    Members that draw from torch's global generator (dropout) would draw from each other's stream;
    that, and state that their code shares, is noticed at the end of a block, and raises `CannotStack` before its
    losses are read.
    """

    def __init__(
        self, ensemble: Ensemble | Separate, members: Sequence[MemberRun], *, alone: bool = False
    ) -> None:
        self._ensemble, self._members, self._alone = ensemble, members, alone
        self._loss_of = objective(members[0].recipe)
        self._shared = shared([member.hidden for member in members])

    @property
    def facts(self) -> dict[str, Any]:
        return {"mode": "separate" if isinstance(self._ensemble, Separate) else "loop"}

    def advance(self, begin: int, end: int) -> int:
        """Make updates from `begin` on, until `end` or for as long as `TURN`; returns the number of the next."""
        running = [
            (number, member, self._ensemble.trainable[number], member.batch_of(begin, end), list[Tensor]())
            for number, member in enumerate(self._members)
            if member.updating
        ]
        if end == begin or not running:
            return end
        ensemble, loss_of, autograd = self._ensemble, self._loss_of, torch.autograd.grad
        draws = None if self._alone else Draws(self._members[0].data.targets.device)
        late = time.monotonic() + TURN
        for step in range(begin, end):
            for number, member, parameters, batch, losses in running:
                inputs, targets = batch(step)
                loss = loss_of(member.net(inputs), targets)
                ensemble.take(number, autograd(loss, parameters, allow_unused=True))
                losses.append(loss.detach())
            ensemble.step()
            if time.monotonic() >= late:
                break
        if draws is not None and (taken := draws.taken()):
            foreign = [name for name in taken if name != "torch"]
            raise CannotStack("the networks draw random numbers" + "".join(f", from {n}" for n in foreign))
        if changed := [name for kept in self._shared for name in kept.changes()]:
            raise CannotStack(f"forward changes what the networks share: {changed[0]}")
        for _, member, _, _, losses in running:
            member.losses.append(torch.stack(losses))
        return step + 1

    def gradients(self) -> Callable[[], None]:
        """A function that takes the gradients of the first update and changes nothing else but buffers."""
        batches = [member.batch_of(0, 1)(0) for member in self._members]

        def take() -> None:
            for number, (member, (inputs, targets)) in enumerate(zip(self._members, batches, strict=True)):
                loss, weights = self._loss_of(member.net(inputs), targets), self._ensemble.trainable[number]
                self._ensemble.take(number, torch.autograd.grad(loss, weights, allow_unused=True))

        return take
