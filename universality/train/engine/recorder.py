"""Calls the probes of a run at their steps and keeps what they return."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from universality.errors import NotFinite
from universality.measures import preserved
from universality.plugin import registry
from universality.plugin.kit.losses import objective
from universality.plugin.probe import Probe, Training
from universality.plugin.spec import derive_seed
from universality.plugin.task import Splits
from universality.plugin.trajectory import Series
from universality.train.engine.member import Member


class Recorder:
    """What a run observes. `splits` and `net` lie on `device`.

    Attributes:
        due: addresses of probes by step.
        recipe: that probes are told, with rate and decay where these were derived.
        seconds: time spent in probes.
    """

    def __init__(self, member: Member, net: nn.Module, splits: Splits, device: torch.device) -> None:
        self._spec, self._architecture = member.spec, member.architecture
        self.recipe = member.spec.recipe
        self._net, self._splits, self._device = net, splits, device
        self.due: dict[int, list[str]] = defaultdict(list)
        self._probes: dict[str, Probe] = {}
        for address, steps in sorted(member.observe.items()):
            self._probes[address] = registry.resolve("probe", address)
            for step in steps:
                self.due[step].append(address)
        self._points: dict[str, list[tuple[int, float]]] = defaultdict(list)
        self.arrays: dict[tuple[str, int], NDArray[Any]] = {}
        self.seconds = 0.0

    def record(self, step: int, optimizer: torch.optim.Optimizer, first: float = math.inf) -> bool:
        """False where the run has diverged: a probe meets values that are not finite, and the loss is above `first`,
        that of the first update. Gradients and products of second derivatives overflow long before the loss does: of a
        tanh network whose weights have grown to 1e16 the loss is 1e34 and the squared gradient 1e35, both finite.

        Raises:
            NotFinite: of a run that has not diverged.
        """
        return all(self.record_one(address, step, optimizer, first) for address in self.due[step])

    def record_one(
        self, address: str, step: int, optimizer: torch.optim.Optimizer, first: float = math.inf
    ) -> bool:
        """The same of one probe. What it raises passes on, and leaves the network as it was."""
        start = time.perf_counter()
        seed = derive_seed("probe", address, self._spec.id, step)
        training = Training(
            net=self._net,
            architecture=self._architecture,
            splits=self._splits,
            recipe=self.recipe,
            optimizer=optimizer,
            device=self._device,
            step=step,
            generator=torch.Generator().manual_seed(seed),
        )
        with preserved(self._net):
            try:
                values = self._probes[address].record(training)
            except NotFinite:
                if not self._worse_than(first):
                    raise
                return False
        for key, value in values.items():
            if isinstance(value, Tensor):
                self.arrays[f"{address}.{key}", step] = value.detach().cpu().numpy()
            else:
                self._points[f"{address}.{key}"].append((step, float(value)))
        self.seconds += time.perf_counter() - start
        return True

    def _worse_than(self, first: float) -> bool:
        """Whether the loss on all training rows is above `first`, or no number."""
        train = self._splits.train
        with torch.no_grad():
            loss = objective(self._spec.recipe)(self._net(train.inputs), train.targets).item()
        return not loss <= first

    def state(self) -> dict[str, Any]:
        """What has been recorded, and what the probes keep for their next record."""
        return {
            "series": {name: (each.steps, each.values) for name, each in self.series().items()},
            "arrays": [(name, step, array) for (name, step), array in self.arrays.items()],
            "probes": {address: _attributes(probe) for address, probe in self._probes.items()},
            "seconds": self.seconds,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        for name, (steps, values) in state["series"].items():
            self._points[name] = list(zip(steps.tolist(), values.tolist(), strict=True))
        self.arrays = {(name, step): array for name, step, array in state["arrays"]}
        for address, attributes in state["probes"].items():
            for name, value in attributes.items():
                object.__setattr__(self._probes[address], name, value)
        self.seconds = state["seconds"]

    def series(self) -> dict[str, Series]:
        return {
            name: Series(
                np.array([s for s, _ in points], dtype=np.int64),
                np.array([v for _, v in points], dtype=np.float64),
            )
            for name, points in self._points.items()
        }


def _attributes(probe: Probe) -> dict[str, Any]:
    slots = (name for cls in type(probe).__mro__ for name in vars(cls).get("__slots__", ()))
    return {name: getattr(probe, name) for name in [*vars(probe), *slots] if hasattr(probe, name)}
