"""Neural collapse of the training set's penultimate features."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from universality.measures import neural_collapse, permuted_collapse
from universality.measures.network.capture import capture, linear_in_use
from universality.plugin import MeasurementError, Probe, Split, Training, register

KEYS = ("nc1", "nc2_norms", "nc2_angles", "nc3", "nc4")


@register("collapse", source="Papyan, Han, Donoho 2020, arXiv:2008.08186")
@dataclass(kw_only=True)
class CollapseProbe(Probe):
    """NC1, NC2 (norms, angles), NC3 and NC4 on `rows` random training rows, always the same, in
    evaluation mode.

    `imbalance` is the size of the largest class of the training set over that of the smallest.
    `nc1_permuted` is NC1 of the same features with permuted labels: its chance level depends on
    width and rows, so it is the honest zero. NaN where class means coincide. Raises `MeasurementError`
    in regression. Cost: one forward pass.
    """

    rows: int = 4000

    def record(self, training: Training) -> Mapping[str, float | Tensor]:
        net, train = training.net, training.splits.train
        if train.regression:
            raise MeasurementError(
                "neural collapse is of classes",
                where="probe collapse",
                got="a regression task",
                expected="integer targets",
                do="leave tasks without classes out in `applies`",
            )
        readout = training.architecture.readout(net)
        sample = train.take(sample_of(len(train), self.rows).to(training.device))
        features = capture(net, {}, readout, sample.inputs)["penultimate"]
        sizes = train.targets.bincount(minlength=training.splits.outputs)
        layer = linear_in_use(net, readout, sample.inputs[:1])
        return collapse_of(Split(features, sample.targets), layer, sizes, training.generator)


def sample_of(n: int, rows: int) -> Tensor:
    """Which of n rows: at random, since the first rows of a sorted set are of one class, and a stride meets sets that
    list their classes in turn."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(0))[:rows].sort().values


def collapse_of(
    features: Split, readout: tuple[Tensor, Tensor | None], sizes: Tensor, generator: torch.Generator
) -> Mapping[str, float | Tensor]:
    """What the probe records of features `[n, d]` with their classes.

    Args:
        readout: weight `[C, d]` and bias `[C]`, None where it has none.
        sizes: rows of each class of the training set, `[C]`.
    """
    data = {
        "dimension": float(features.inputs.shape[1]),
        "imbalance": float(sizes.double().max() / sizes.double().min()),
    }
    layer = (features.inputs, features.targets, *readout)
    try:
        collapse = neural_collapse(*layer)
        chance = permuted_collapse(*layer, generator)
    except MeasurementError:
        # A dead layer or fewer features than classes: undefined, which a gate must see.
        return dict.fromkeys((*KEYS, "nc1_permuted"), math.nan) | data
    return {key: getattr(collapse, key) for key in KEYS} | {"nc1_permuted": chance.nc1} | data
