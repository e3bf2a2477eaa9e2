"""The contract of a probe: what is recorded of a training while it runs, without changing it."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from universality.plugin.architecture import Architecture
from universality.plugin.spec import Recipe
from universality.plugin.task import Signature, Splits

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


@dataclass(slots=True)
class Training:
    """What a probe sees: the training as it stands after `step` updates.

    A probe reads it; what it wants to train it trains on a `fork`. `generator` is the probe's own; drawing from it changes nothing else. Mode, buffers, gradients
    and torch's random state are restored after every probe.
    """

    net: nn.Module
    architecture: Architecture
    splits: Splits
    recipe: Recipe
    optimizer: torch.optim.Optimizer
    device: torch.device
    step: int
    generator: torch.Generator

    def fork(self) -> Training:
        """A copy to experiment on: its network, optimizer and generator share no memory with the run's.

        Training it, by its own optimizer or by `universality.plugin.kit.updates`, leaves the run as it is, to the
        last bit. Two forks of one record start alike: same weights, same optimizer state, same generator, so that
        branches differ in what is done to them and not in their batches.

        Cost: one copy of the weights, the buffers and the optimizer's state.
        """
        import torch

        # Buffers may be views into storage that all members of a stack share, which a plain deep copy would copy whole.
        own_buffers: dict[int, Any] = {id(buffer): buffer.detach().clone() for buffer in self.net.buffers()}
        net = copy.deepcopy(self.net, own_buffers)
        copies: dict[Tensor, Tensor] = dict(zip(self.net.parameters(), net.parameters(), strict=True))
        generator = torch.Generator(self.generator.device)
        generator.set_state(self.generator.get_state())
        return replace(self, net=net, optimizer=_optimizer_on(self.optimizer, copies), generator=generator)


def _optimizer_on(optimizer: torch.optim.Optimizer, copies: Mapping[Tensor, Tensor]) -> torch.optim.Optimizer:
    """The same optimizer, with its state, for copies of its parameters; of those that are not the network's, such as a
    temperature of the loss, for a clone, which the fork leaves as it is."""
    copies = {**copies}
    for parameter in (p for group in optimizer.param_groups for p in group["params"]):
        if parameter not in copies:
            copies[parameter] = parameter.detach().clone().requires_grad_(parameter.requires_grad)
    twin = copy.copy(optimizer)
    twin.param_groups = [
        {key: _copied(value) for key, value in group.items() if key != "params"}
        | {"params": [copies[parameter] for parameter in group["params"]]}
        for group in optimizer.param_groups
    ]
    # Parameters of a stack share the count of their updates; each copy counts its own, as if it were alone.
    states = ((copies[parameter], state) for parameter, state in optimizer.state.items())
    twin.state = defaultdict(dict, {p: {k: _copied(v) for k, v in state.items()} for p, state in states})
    return twin


def _copied(value: Any) -> Any:
    return value.detach().clone() if hasattr(value, "detach") else copy.deepcopy(value)


@dataclass(kw_only=True)
class Probe(ABC):
    """A recorder. Fields are its parameters; a fresh instance serves one run, so it may keep state
    (a warm start) in attributes that are not parameters (`field(init=False)`). Of a long run that is interrupted the
    next worker finds it as it was where it is made of numbers, texts, dense tensors, arrays, lists, tuples and dicts; one
    that keeps anything else is not saved in the middle."""

    name: ClassVar[str] = ""
    source: ClassVar[str] = ""
    curvature: ClassVar[bool] = False
    """It takes second derivatives: a network without them is refused before training."""

    @abstractmethod
    def record(self, training: Training) -> Mapping[str, float | Tensor]:
        """Floats become series, tensors arrays, both named `<probe address>.<key>`."""

    def cost(self, recipe: Recipe, signature: Signature) -> float:
        """What one record costs, in gradients of the full training loss; for predictions alone.

        Args:
            signature: of the data; `signature.train_rows` are the rows of such a gradient.
        """
        return 0.5

    def memory(self, recipe: Recipe, signature: Signature, row_bytes: float) -> float:
        """Bytes that one record needs at a time; 0 where it needs no more than an update. For predictions alone.

        Args:
            row_bytes: what a forward pass keeps of each row for its gradient.
        """
        return 0.0

    def stored(self, signature: Signature, row_bytes: float, parameters: int) -> float:
        """Bytes that one record leaves on the disk; the default is of a few floats. For predictions alone.

        Args:
            parameters: of the network.
        """
        return 100.0
