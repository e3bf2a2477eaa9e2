"""A network and data of the user's own, as phenomena are asked about them: an architecture and a task that nobody registered."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from universality.errors import BadParameter
from universality.measures import preserved
from universality.plugin.architecture import Architecture, InputSpec
from universality.plugin.kit.found import found
from universality.plugin.randomness import undisturbed
from universality.plugin.task import Splits, Task

NAME = "watched"
"""Of both, in the spec of their training."""


@dataclass(frozen=True, eq=False)
class WatchedNet(Architecture):
    """The network of a training, which `build` copies as it stands.

    Args:
        places: names of the modules that are tapped.
        last: name of the readout.
        missing: why there is none, where there is none.
    """

    net: nn.Module = field(repr=False)
    places: tuple[str, ...]
    last: str
    missing: BadParameter | None = None

    def build(self, inputs: InputSpec, outputs: int) -> nn.Module:
        return copy.deepcopy(self.net)

    def taps(self, net: nn.Module) -> dict[str, nn.Module]:
        return {place: net.get_submodule(place) for place in self.places}

    def readout(self, net: nn.Module) -> nn.Linear:
        """Raises `BadParameter` where the network has none."""
        if self.missing is not None:
            raise self.missing
        layer = net.get_submodule(self.last)
        assert isinstance(layer, nn.Linear)
        return layer

    def reject(self, inputs: InputSpec) -> str:
        return ""


WatchedNet.name = "this network"  # in messages


@dataclass(frozen=True, kw_only=True, eq=False)
class WatchedData(Task):
    """The rows that were taken.

    Args:
        splits: on the CPU.
        kind: the family of the data, for claims that are about one, such as `algorithmic`.
    """

    splits: Splits = field(repr=False)
    kind: str = ""

    @property
    def family(self) -> str:  # type: ignore[override]
        return self.kind

    def read(self, rng: np.random.Generator, root: Path) -> Splits:
        return self.splits


WatchedData.name = "this data"


def watched_net(net: nn.Module, inputs: InputSpec, outputs: int, *, where: str) -> WatchedNet:
    """The network with the taps and the readout that are found in it, or the reason why there are none.

    Cost: a pass of two rows and a copy of the weights.
    """
    try:
        seen = found(net, inputs, outputs, where=where)
    except BadParameter as error:
        return WatchedNet(net, (), "", error)
    return WatchedNet(net, seen.places, seen.last)


def check_network(net: Any, splits: Splits, device: torch.device, notes: list[str], *, where: str) -> int:
    """The number of outputs that the network has for two of the rows, in evaluation mode; it is left as it was. Where these
    look like probabilities of classes, a sentence is added to the notes.

    Raises:
        BadParameter: weights or inputs of another precision than float32, a pass that raises, other than logits
            `[rows, outputs]`, or targets that do not fit them.
    """
    inputs = splits.train.inputs
    kinds = {each.dtype for each in (*net.parameters(), inputs) if each.is_floating_point()}
    if other := kinds - {torch.float32}:
        raise BadParameter(
            "a network or inputs of other precision than float32",
            where=where,
            got=", ".join(sorted(str(kind) for kind in other)),
            expected="float32, in which eigenvalues and distances are tested",
            do="keep the weights in float32 and train under torch.autocast",
        )
    rows = splits.train.take(torch.arange(min(2, len(splits.train))))
    try:
        with undisturbed(device), preserved(net), torch.no_grad():
            net.eval()
            logits = net(rows.inputs.to(device))
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:
        raise BadParameter(
            "a network that cannot run on its data",
            where=where,
            got=f"{type(error).__name__}: {error}",
            expected=f"a forward of {splits.inputs.kind} inputs [rows, {', '.join(map(str, splits.inputs.shape))}]",
            do="give as data what the network is given",
        ) from error
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or len(logits) != len(rows):
        raise BadParameter(
            "a network whose outputs are no logits",
            where=where,
            got=str(list(logits.shape)) if isinstance(logits, torch.Tensor) else type(logits).__name__,
            expected="floats [rows, classes], in regression [rows, outputs]",
            do="give a module whose forward returns the logits alone, one row for each input",
        )
    outputs, targets = logits.shape[1], [splits.train.targets, splits.validation.targets]
    if splits.train.regression:
        fits = all(each.is_floating_point() and each.shape[1] == outputs for each in targets)
    else:
        fits = all(
            not each.is_floating_point() and int(each.min()) >= 0 and int(each.max()) < outputs
            for each in targets
        )
    if not fits:
        raise BadParameter(
            "targets that do not fit the outputs of the network",
            where=where,
            got=f"{outputs} outputs, targets {', '.join(_range(each) for each in targets)}",
            expected="classes from 0 below the number of outputs, or as many numbers a row",
        )
    if not splits.train.regression and _are_probabilities(logits):
        notes.append(
            "the outputs look like probabilities, none is negative and each row sums to 1, where cross-entropy expects logits: "
            "leave the softmax to the loss"
        )
    return outputs


def _are_probabilities(outputs: torch.Tensor) -> bool:
    """
    >>> logits = torch.tensor([[1.0, -2.0, 0.5]])
    >>> _are_probabilities(logits), _are_probabilities(logits.softmax(1)), _are_probabilities(logits.log_softmax(1))
    (False, True, False)
    """
    sums = outputs.sum(1)
    return (
        outputs.shape[1] > 1
        and bool((outputs >= 0).all())
        and torch.allclose(sums, torch.ones_like(sums), rtol=0, atol=1e-4)
    )


def _range(targets: torch.Tensor) -> str:
    if targets.is_floating_point():
        return f"of {targets.shape[1]} numbers"
    return f"from {int(targets.min())} to {int(targets.max())}"
