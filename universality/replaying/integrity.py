"""Whether a series is what its folders say: weights that differ from step to step, in their places, all finite."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from universality.errors import BadParameter
from universality.replaying.stored import StoredSeries, Tensors

FIXED = (".labels", ".inputs")
"""Ends of names of stored features that are rows, the same at every step."""
OFF_THE_WAY = 0.8
"""Of the distance of two neighbours over that of the step from the nearer: below it, it does not lie between them. Neither a
straight path nor independent noise about one point comes below 1."""


@dataclass(frozen=True, slots=True)
class Integrity:
    """What one pass over all tensors of a series tells.

    Args:
        faults: sentences on what looks wrong, though it can be measured.
        displacement: |w - w0| / |w0| by step, over all weights but buffers (`Tensors.buffers`), w0 those of the first step;
            empty of features.
    """

    faults: tuple[str, ...]
    displacement: Mapping[int, float]


def inspect(series: StoredSeries) -> Integrity:
    """Read every tensor of a series once.

    Cost: reading it; three tensors are in memory at a time.

    Raises:
        BadParameter: steps of other tensors, or of other shapes, than the first; NaN or infinity; labels or inputs that
            change between steps.
    """
    faults: list[str] = []
    for step, stored in series.steps.items():
        if stored.told not in (None, step):
            faults.append(
                f"{stored.folder.name} was left by the training at step {stored.told}, says its state"
            )
    weights = {step: each.weights for step, each in series.steps.items() if each.weights}
    features = {step: each.features for step, each in series.steps.items() if each.features}
    displacement: Mapping[int, float] = {}
    if weights:
        passed = _pass(series, weights)
        faults += passed.faults("weights")
        displacement = passed.displacement()
    if features:
        faults += _pass(series, features).faults("features")
    return Integrity(tuple(faults), displacement)


class _Pass:
    """Squared distances and digests by step, collected tensor by tensor."""

    def __init__(self, steps: list[int]) -> None:
        self.steps = steps
        self.digests = {step: hashlib.blake2b() for step in steps}
        self.moved, self.near, self.across = (dict.fromkeys(steps, 0.0) for _ in range(3))
        self.size = 0.0

    def tensor(self, step: int, name: str, stored: Tensor, now: Tensor, earlier: list[Tensor]) -> None:
        """`earlier`: the first, the last but one and the last before this step."""
        self.digests[step].update(name.encode() + b"\0" + _bytes(stored))
        if earlier:
            self.moved[step] += _squared(now, earlier[0])
            self.near[step] += _squared(now, earlier[2])
            self.across[step] += _squared(now, earlier[1])
        else:
            self.size += float(now.square().sum())

    def displacement(self) -> dict[int, float]:
        return {step: (self.moved[step] / self.size) ** 0.5 for step in self.steps} if self.size else {}

    def faults(self, what: str) -> list[str]:
        alike: dict[bytes, list[int]] = {}
        for step, digest in self.digests.items():
            alike.setdefault(digest.digest(), []).append(step)
        faults = [
            f"steps {', '.join(map(str, same))} hold the same {what}"
            for same in alike.values()
            if len(same) > 1
        ]
        for before, step, after in zip(self.steps, self.steps[1:], self.steps[2:], strict=False):
            least = min(self.near[step], self.near[after])
            if least > 0 and self.across[after] < OFF_THE_WAY**2 * least:
                faults.append(
                    f"step {step} does not lie between {before} and {after}, which are nearer to each other than to it: "
                    "is it in its place?"
                )
        return faults


def _pass(series: StoredSeries, tensors: Mapping[int, Tensors]) -> _Pass:
    steps = list(tensors)
    first = tensors[steps[0]]
    for step in steps:
        _check_alike(series, steps[0], first, step, tensors[step])
    seen = _Pass(steps)
    buffers = {*first.buffers}
    for name in first.files:
        earlier: list[Tensor] = []
        rows: Tensor | None = None
        for step in steps:
            stored = tensors[step].load(name)
            if name.endswith(FIXED):
                if rows is not None and not torch.equal(rows, stored):
                    raise _bad(
                        series, step, "rows that change from step to step", f"{name} is other than before"
                    )
                rows = stored
                continue
            now = stored.float() if stored.is_floating_point() else torch.zeros(0)
            if not bool(torch.isfinite(now).all()) and not first.is_mask(name):
                raise _bad(series, step, "tensors that are not finite", f"NaN or infinity in {name}")
            now = torch.zeros(0) if name in buffers else now
            seen.tensor(step, name, stored, now, earlier)
            earlier = [now] * 3 if not earlier else [earlier[0], earlier[2], now]
    return seen


def _check_alike(series: StoredSeries, start: int, first: Tensors, step: int, now: Tensors) -> None:
    if other := first.shapes.keys() ^ now.shapes.keys():
        name = min(other)
        place = start if name in first.shapes else step
        raise _bad(series, step, "steps of other tensors", f"{name} only at step {place}")
    for name, shape in first.shapes.items():
        if now.shapes[name] != shape:
            got = f"{name} {list(now.shapes[name])}, at step {start} {list(shape)}"
            raise _bad(series, step, "shapes that change from step to step", got)


def _bad(series: StoredSeries, step: int, what: str, got: str) -> BadParameter:
    where = f"{series.folder}, step {step}"
    return BadParameter(what, where=where, got=got, do="fetch the step again, or move it out of the folder")


def _bytes(tensor: Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _squared(a: Tensor, b: Tensor) -> float:
    return float((a - b).square().sum())
