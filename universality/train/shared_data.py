"""Data of runs that one worker of a command has loaded and all of them map into their memory.

    <folder>/<task and seed>.json     the form of the splits: shapes, types, names of the files
    <folder>/<sha256>                 the numbers of one tensor; those that are equal, as the inputs
                                      of all seeds of a fixed training set, are one file

Pages of a file exist once on a machine however many processes map it, and are read when they are
first used. The folder belongs to one command and is deleted with it, so that nothing outlives a
change of a task's code. Files appear by one rename; data that cannot be kept here is loaded by each
worker for itself.
"""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from universality.plugin.architecture import InputSpec
from universality.plugin.task import Split, Splits
from universality.store.files import decode_json, encode_json, replace_file

_SPACE_RESERVE = 4
"""The disk must have room for this many times the data: results come first."""

_PARTS = ("train", "validation", "reference")
_mapped: WeakValueDictionary[Path, Tensor] = WeakValueDictionary()
"""Tensors in use, so that equal ones are one: what is trained side by side can then share them."""


def load_shared(folder: Path, name: str, load: Callable[[], Splits]) -> Splits:
    """What `load` returns, to the last bit: mapped where it lies in `folder`, else loaded and left there.

    Raises what `load` raises.

    Args:
        name: of the data, a file name.
    """
    index = folder / f"{name}.json"
    try:
        return _read(index)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError):
        splits = load()
    try:
        if _can_keep(splits, folder):
            _write_index(index, splits)
            return _read(index)
    except (OSError, RuntimeError):
        pass  # a full disk, or a folder that was cleared: the run needs neither
    return splits


def _can_keep(splits: Splits, folder: Path) -> bool:
    """Whether a file can hold all that matters, and there is room for it."""
    tensors = [t for part in _PARTS for t in (getattr(splits, part).inputs, getattr(splits, part).targets)]
    # Strides are part of what a network sees: products of a transposed matrix may round otherwise.
    plain = all(type(t) is Tensor and t.is_contiguous() and t.device.type == "cpu" for t in tensors)
    return plain and _SPACE_RESERVE * sum(t.nbytes for t in tensors) < shutil.disk_usage(folder).free


def _write_index(index: Path, splits: Splits) -> None:
    parts = {}
    for part in _PARTS:
        split: Split = getattr(splits, part)
        parts[part] = [_write_tensor(index.parent, tensor) for tensor in (split.inputs, split.targets)]
    form = {**parts, "inputs": list(astuple(splits.inputs)), "outputs": splits.outputs}
    replace_file(index, encode_json(form))


def _write_tensor(folder: Path, tensor: Tensor) -> dict[str, Any]:
    numbers = tensor.detach().reshape(-1).view(torch.uint8).numpy().data
    name = hashlib.sha256(numbers).hexdigest()
    if not (folder / name).exists():
        replace_file(folder / name, numbers)
    kind = str(tensor.dtype).removeprefix("torch.")
    return {"file": name, "type": kind, "shape": list(tensor.shape)}


def _read(index: Path) -> Splits:
    form = decode_json(index.read_bytes())
    parts = {part: Split(*(_map(index.parent, about) for about in form[part])) for part in _PARTS}
    kind, shape, vocabulary = form["inputs"]
    return Splits(**parts, inputs=InputSpec(kind, tuple(shape), vocabulary), outputs=form["outputs"])


def _map(folder: Path, about: dict[str, Any]) -> Tensor:
    """A tensor over the file. Writing to it would change this process's copy and nothing else."""
    kind, shape = getattr(torch, about["type"]), about["shape"]
    key = folder / f"{about['file']}-{about['type']}-{shape}"
    tensor = _mapped.get(key)
    if tensor is None:
        numbers = math.prod(shape)
        if numbers == 0:
            return torch.empty(shape, dtype=kind)
        # Refuses a file with fewer numbers.
        whole = torch.from_file(str(folder / about["file"]), shared=False, size=numbers, dtype=kind)
        tensor = _mapped[key] = whole.view(shape)
    return tensor
