"""Stored features of a step, as the probes that take features of a network record them.

`<split>.<name>` in `features.safetensors`, with the rows of a split the same at every step:

    train.penultimate [n, d]  train.labels [n]    inputs of the readout on training rows, and their classes
    validation.penultimate    validation.labels   the same of held-out rows
    readout.weight [C, d]     readout.bias [C]    the last linear layer
    reference.<tap> [m, d]    reference.labels    representations of rows that all series share; `penultimate` and
                                                  `inputs` (flattened) have these names
    reference.logits [m, C]                       what the network answers there
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from universality.errors import BadParameter, MeasurementError
from universality.plugin.architecture import InputSpec
from universality.plugin.probe import Probe
from universality.plugin.task import Split, Splits
from universality.probes.collapse import collapse_of, sample_of
from universality.probes.taps import kept
from universality.replaying.stored import StoredSeries, Tensors

RESERVED = ("labels", "inputs", "logits", "penultimate")


@dataclass(frozen=True, slots=True)
class StoredFeatures:
    """The features of one step."""

    tensors: Tensors

    def __contains__(self, name: str) -> bool:
        return name in self.tensors.files

    def get(self, name: str) -> Tensor:
        """Floats as float32. Raises `MeasurementError` for one that is not stored."""
        if name not in self:
            raise MeasurementError(
                f"no {name} is stored",
                do="docs/your_own_training.md names what features.safetensors may hold",
            )
        tensor = self.tensors.load(name)
        return tensor.float() if tensor.is_floating_point() else tensor.long()

    def rows(self, split: str) -> Split:
        return Split(self.get(f"{split}.penultimate"), self.get(f"{split}.labels"))


def record(
    probe: Probe, features: StoredFeatures, generator: torch.Generator
) -> Mapping[str, float | Tensor]:
    """What a probe records of a network, of its features. Raises `MeasurementError` where they are not enough."""
    kinds = {"taps": _taps, "outputs": _outputs, "collapse": _collapse, "accuracy": _accuracy}
    if probe.name not in kinds:
        raise MeasurementError(
            f"the probe {probe.name} needs more than features",
            expected=f"one of {', '.join(kinds)}; or weights, with the network and its data",
        )
    return kinds[probe.name](probe, features, generator)


def _taps(probe: Probe, features: StoredFeatures, generator: torch.Generator) -> Mapping[str, float | Tensor]:
    rows: int = probe.rows  # type: ignore[attr-defined]
    rotate: bool = probe.rotate  # type: ignore[attr-defined]
    found: dict[str, float | Tensor] = {"labels": features.get("reference.labels")[:rows]}
    names = [name for name in features.tensors.files if name.startswith("reference.")]
    for name in names:
        tap = name.partition(".")[2]
        if tap not in ("labels", "logits"):
            found[tap] = kept(features.get(name)[:rows].flatten(1).double(), rotate=rotate).to(torch.float32)
    return found


def _outputs(
    probe: Probe, features: StoredFeatures, generator: torch.Generator
) -> Mapping[str, float | Tensor]:
    rows: int = probe.rows  # type: ignore[attr-defined]
    return {"logits": features.get("reference.logits")[:rows]}


def _collapse(
    probe: Probe, features: StoredFeatures, generator: torch.Generator
) -> Mapping[str, float | Tensor]:
    rows: int = probe.rows  # type: ignore[attr-defined]
    train, weight = features.rows("train"), features.get("readout.weight")
    sizes = train.targets.bincount(minlength=len(weight))
    return collapse_of(train.take(sample_of(len(train), rows)), (weight, _bias(features)), sizes, generator)


def _accuracy(
    probe: Probe, features: StoredFeatures, generator: torch.Generator
) -> Mapping[str, float | Tensor]:
    found: dict[str, float | Tensor] = {}
    for split in ("train", "validation"):
        found[split] = found[f"{split}_loss"] = math.nan
        if f"{split}.penultimate" in features:
            rows = features.rows(split)
            logits = torch.nn.functional.linear(rows.inputs, features.get("readout.weight"), _bias(features))
            found[split] = float((logits.argmax(1) == rows.targets).double().mean())
            found[f"{split}_loss"] = float(torch.nn.functional.cross_entropy(logits, rows.targets))
    if "train.penultimate" not in features:
        raise MeasurementError("no train.penultimate is stored")
    return found


def _bias(features: StoredFeatures) -> Tensor | None:
    return features.get("readout.bias") if "readout.bias" in features else None


def taps_of(series: StoredSeries) -> tuple[str, ...]:
    """Names of the stored layers, from input to output where the manifest says which is which."""
    stored = next(iter(series.steps.values())).features
    names = {name.partition(".")[2] for name in stored.files if name.startswith("reference.")} - {*RESERVED}
    told = series.manifest.taps
    if told is None:
        return tuple(
            sorted(names, key=lambda name: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", name)])
        )
    if {*told} != names or len({*told}) < len(told):
        raise BadParameter(
            "taps of a manifest that are not those of the features",
            where=str(series.folder),
            got=", ".join(told),
            expected=", ".join(sorted(names)) or "none",
        )
    return told


def splits_of(series: StoredSeries) -> Splits:
    """The rows of a series as a task has them, with features in the place of inputs.

    Raises:
        BadParameter: features without labels, of other lengths, or labels that the readout has no outputs for.
    """
    features = StoredFeatures(next(iter(series.steps.values())).features)
    where = f"{series.folder}, features"
    splits: dict[str, Split] = {}
    for split in ("train", "validation", "reference"):
        names = [name for name in features.tensors.files if name.startswith(f"{split}.")]
        lengths = {features.tensors.shapes[name][:1] for name in names}
        if names and f"{split}.labels" not in features:
            raise BadParameter(
                "features without labels",
                where=where,
                got=", ".join(sorted(names)),
                expected=f"{split}.labels",
            )
        if len(lengths) > 1 or (0,) in lengths:
            got = ", ".join(f"{name} {list(features.tensors.shapes[name])}" for name in sorted(names))
            raise BadParameter(
                "features of other rows than their labels",
                where=where,
                got=got,
                expected="a row of each for every example, at least one",
            )
        if names:
            labels = features.get(f"{split}.labels")
            inputs = f"{split}.penultimate"
            splits[split] = Split(
                features.get(inputs) if inputs in features else labels[:, None].float(), labels
            )
    if not splits:
        raise BadParameter(
            "features of no rows",
            where=where,
            got=", ".join(features.tensors.files),
            expected="train.labels, validation.labels or reference.labels, and features beside them",
        )
    train = splits.get("train") or splits.get("reference") or splits["validation"]
    most = max(int(each.targets.max()) for each in splits.values()) + 1
    shape = (
        features.tensors.shapes.get("readout.weight")
        or features.tensors.shapes.get("reference.logits", ())[::-1]
    )
    outputs = shape[0] if shape else most
    least = min(int(each.targets.min()) for each in splits.values())
    if least < 0 or most > outputs or train.targets.ndim != 1:
        raise BadParameter(
            "labels that do not fit the outputs",
            where=where,
            got=f"{least} to {most - 1}",
            expected=f"0 to {outputs - 1}",
        )
    held = splits.get("validation", train)
    return Splits(
        train,
        held,
        splits.get("reference", held),
        InputSpec("vector", tuple(train.inputs.shape[1:])),
        outputs,
    )
