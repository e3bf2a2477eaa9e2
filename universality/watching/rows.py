"""The rows on which a training is observed: taken once, so that two records differ in nothing but weights."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from universality.errors import BadParameter
from universality.plugin.architecture import InputSpec
from universality.plugin.randomness import undisturbed
from universality.plugin.task import Split
from universality.watching.loader_state import untouched
from universality.watching.redrawn import redrawn

EXPECTED = "(inputs, targets), two tensors with as many rows, or a DataLoader of such batches"
KINDS = {
    2: "vector [rows, d]",
    3: "sequence [rows, length, channels]",
    4: "image [rows, channels, height, width]",
}


class Taken(NamedTuple):
    """Rows on the CPU, and a sentence on which they are.

    Args:
        batch: rows of a batch of the loader, 0 where one holds them all.
        redrawn: a sentence, part of the note, where another pass through the loader gives other rows.
    """

    split: Split
    note: str
    batch: int = 0
    redrawn: str = ""


def take_rows(data: Any, most: int, device: torch.device, *, where: str) -> Taken:
    """At most so many rows of two tensors, or of one pass through a loader, copied.

    Of tensors with more rows a random sample is taken, always the same; of a loader the first rows of a pass, which is
    broken off there, and a second pass is begun to see whether it gives the same ones (`redrawn`), unless what it would
    take is lost to the training. The loader is left as it was, its samplers and its data set too (`LoaderState`):
    random generators, counters, an epoch in course; its workers are others than those of the training.

    Cost: a copy of the rows, and `redrawn`.

    Raises:
        BadParameter: anything else, an iterator, which this would use up, or targets that are neither classes
            (whole numbers, `[rows]`) nor numbers (`[rows, outputs]`).
    """
    batch, others = 0, ""
    if isinstance(data, tuple | list) and len(data) == 2 and all(isinstance(each, Tensor) for each in data):
        inputs, targets = data
        _check_pair(data, where)
        rows, told = len(targets), f"all {len(targets)} rows"
        chosen = torch.arange(rows, device="cpu")
        if rows > most:
            chosen, told = _sample(targets, most), f"{most} random rows of {rows}, always the same"
            told = told if targets.is_floating_point() else told.replace(",", ", each class in its share,")
        split = Split(*(part.detach().cpu()[chosen].clone() for part in (inputs, targets)))
    else:
        split, told, batch, others = _of_loader(data, most, device, where)
    return Taken(_checked(split, where), told, batch, others)


def _sample(targets: Tensor, most: int) -> Tensor:
    """Row numbers, sorted: random ones, of classes in proportion to their sizes."""
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(0), device="cpu")
    if targets.is_floating_point() or targets.ndim > 1:
        return order[:most].sort().values
    labels = targets.cpu().long()[order]
    by_class = labels.argsort(stable=True)
    sizes = (labels - labels.min()).bincount()
    # Row k of n of a class comes at (k + 1/2) / n: cut anywhere, what comes before has the shares of the whole.
    place = torch.cat([(torch.arange(int(n), device="cpu") + 0.5) / int(n) for n in sizes])
    return order[by_class[place.argsort(stable=True)[:most]]].sort().values


def _of_loader(data: Any, most: int, device: torch.device, where: str) -> Taken:
    if isinstance(data, Tensor | dict | str) or not hasattr(data, "__iter__") or hasattr(data, "__next__"):
        raise BadParameter(
            "data that cannot be observed on",
            where=where,
            got="an iterator, which would be used up" if hasattr(data, "__next__") else type(data).__name__,
            expected=EXPECTED,
            do="pass the loader itself, or tensors; torch.from_numpy(array) makes one of an array",
        )
    parts: list[tuple[Tensor, Tensor]] = []
    notes: list[str] = []
    count, whole, others = 0, True, ""
    with undisturbed(device), untouched(data, notes) as state:
        for batch in data:
            pair = batch[:2] if isinstance(batch, tuple | list) else (batch,)
            _check_pair(pair, f"{where}, a batch of the loader")
            parts.append((pair[0].detach().cpu(), pair[1].detach().cpu()))
            count += len(pair[1])
            if count >= most:
                whole = False
                break
        if not count:
            raise BadParameter("a loader without rows", where=where, got="no batch", expected=EXPECTED)
        # A copy, before a second pass writes into the memory of this one.
        inputs, targets = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        if state is not None and not state.lost:
            others = redrawn(data, state.loaders, (inputs, targets), whole=whole)
    inputs, targets = inputs[:most].clone(), targets[:most].clone()
    told = f"{'all' if whole else 'the first'} {len(targets)} rows of one pass through the loader, taken once"
    batch = 0 if whole and len(parts) == 1 else len(parts[0][1])
    return Taken(Split(inputs, targets), "; ".join(filter(None, [told, others, *notes])), batch, others)


def _check_pair(pair: Any, where: str) -> None:
    tensors = [part for part in pair if isinstance(part, Tensor) and part.ndim and len(part)]
    if len(tensors) < 2 or len(tensors[0]) != len(tensors[1]):
        shown = ", ".join(
            f"{str(part.dtype).removeprefix('torch.')} {list(part.shape)}"
            if isinstance(part, Tensor)
            else type(part).__name__
            for part in pair
        )
        raise BadParameter(
            "data that is no inputs with their targets", where=where, got=shown, expected=EXPECTED
        )


def _checked(split: Split, where: str) -> Split:
    inputs, targets = split.inputs, split.targets
    if not split.regression and targets.ndim == 1 and targets.dtype != torch.bool:
        return Split(inputs, targets.long())
    if split.regression and targets.ndim == 2:
        return split
    raise BadParameter(
        "targets that are neither classes nor numbers",
        where=where,
        got=f"{str(targets.dtype).removeprefix('torch.')} {list(targets.shape)}",
        expected="classes, whole numbers [rows], or numbers to regress on, floats [rows, outputs]",
        do="targets.argmax(-1) of one-hot rows, targets[:, None] of one number a row",
    )


def input_spec(inputs: Tensor, *, where: str) -> InputSpec:
    """What one row looks like: tokens where numbers are whole, else by the number of axes.

    Raises:
        BadParameter: another number of axes.
    """
    shape = tuple(inputs.shape[1:])
    if not inputs.is_floating_point() and len(shape) == 1:
        return InputSpec("tokens", shape, int(inputs.max()) + 1)
    if inputs.is_floating_point() and len(shape) in (1, 2, 3):
        return InputSpec(("vector", "sequence", "image")[len(shape) - 1], shape)
    raise BadParameter(
        "inputs of a form that no phenomenon is asked of",
        where=where,
        got=f"{str(inputs.dtype).removeprefix('torch.')} {list(inputs.shape)}",
        expected=f"floats, {', '.join(KINDS.values())}, or tokens, whole numbers [rows, length]",
        do="cut or flatten rows to one of these, and let forward undo it",
    )
