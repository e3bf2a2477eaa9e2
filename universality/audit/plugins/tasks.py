"""Questions to a task."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from universality.audit.plugins.questions import Finding, finding
from universality.plugin.task import Split, Splits, Task


def check_task(plugin: Task, data_root: Path) -> Iterator[Finding]:
    """Its data, loaded three times: shapes, ranges, and that seeds do what they must."""
    loads: list[Splits] = []

    def load() -> None:
        loads.extend(plugin.load(np.random.default_rng(seed), data_root) for seed in (0, 0, 1))

    loading = finding("its data can be read", load)
    if loading.wrong or loading.skipped:
        yield loading
        return
    first, again, other = loads
    for name in ("train", "validation", "reference"):
        yield finding(f"{name}: rows, types and ranges", partial(_split, getattr(first, name), first))
    same = all(_equal(getattr(first, n), getattr(again, n)) for n in ("train", "validation", "reference"))
    yield Finding("one seed gives the same data", "" if same else "two loads of one seed differ")
    same = _equal(first.reference, other.reference)
    yield Finding("reference does not depend on the seed", "" if same else "it does")
    if first.train.regression:
        return
    classes = set(first.train.targets.tolist())
    lost = sorted(set(range(first.outputs)) - classes)
    question = "every class has training rows"
    if first.inputs.kind == "tokens" and first.outputs == first.inputs.vocabulary:
        # A rare word may follow none of the windows that were drawn.
        yield Finding(question, note=f"{len(lost)} of {first.outputs} tokens have none" if lost else "")
    else:
        yield Finding(question, f"class {lost[0]} has none" if lost else "")


def _split(part: Split, splits: Splits) -> str:
    spec, x, y = splits.inputs, part.inputs, part.targets
    expected = torch.int64 if spec.kind == "tokens" else torch.float32
    target = (splits.outputs,) if part.regression else ()
    if x.shape[1:] != spec.shape or len(x) != len(y) or len(y) == 0 or y.shape[1:] != target:
        return f"inputs {list(x.shape)}, targets {list(y.shape)}, expected rows of {list(spec.shape)}"
    if x.dtype != expected or y.dtype not in (torch.int64, torch.float32):
        return f"inputs are {x.dtype} and targets {y.dtype}, expected {expected} and int64 or float32"
    if spec.kind == "tokens" and (int(x.min()) < 0 or int(x.max()) >= spec.vocabulary):
        return f"tokens from {int(x.min())} to {int(x.max())}, the vocabulary has {spec.vocabulary}"
    if spec.kind != "tokens" and not x.isfinite().all():
        return "not all inputs are finite"
    if part.regression:
        return "" if y.isfinite().all() else "not all targets are finite"
    if int(y.min()) < 0 or int(y.max()) >= splits.outputs:
        return f"classes from {int(y.min())} to {int(y.max())}, expected 0 to {splits.outputs - 1}"
    return ""


def _equal(a: Split, b: Split) -> bool:
    return torch.equal(a.inputs, b.inputs) and torch.equal(a.targets, b.targets)
