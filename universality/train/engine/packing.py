"""Values as JSON beside named tensors, and back to the last bit; nothing here can execute code on reading."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

_LINE = 64
"""Bytes: where a tensor lies relative to such a line can change the order in which a product of it is summed."""


class CannotPack(Exception):
    """Why a value has no packed form."""


class Packer:
    """Collects tensors while values are packed.

    A value is None, a truth value, a number, a text, a dense tensor or an array, or a list, tuple or dict with texts as
    keys of such. A tensor comes back with its strides and its place relative to a line of memory.

    Args:
        foreign: tensors whose memory no value may share.

    >>> packer = Packer()
    >>> packed = packer.pack({"mean": float("nan"), "start": [torch.arange(3.0), None]})
    >>> packed
    {'dict': {'mean': {'float': 'nan'}, 'start': {'list': [{'tensor': ['0', [3], [1], 0, False]}, None]}}}
    >>> Unpacker(packer.tensors, torch.device("cpu")).unpack(packed)
    {'mean': nan, 'start': [tensor([0., 1., 2.]), None]}
    """

    def __init__(self, foreign: Iterable[Tensor] = ()) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._taken = {_memory(tensor) for tensor in foreign}
        self._seen: dict[int, object] = {}

    def pack(self, value: Any, *, shared: bool = False) -> Any:
        """Args:
            shared: whether parts of the value may be one object or share memory; they come back apart.

        Raises:
            CannotPack: for anything else, and for what comes twice or shares memory without leave.
        """
        kind = type(value)
        if value is None or kind in (bool, int, str):
            return value
        if kind is float:
            return {"float": value.hex()}
        if not shared and kind is not tuple:
            self._take(value)
        if kind is list or kind is tuple:
            return {kind.__name__: [self.pack(item, shared=shared) for item in value]}
        if kind is dict and all(type(key) is str for key in value):
            return {"dict": {key: self.pack(item, shared=shared) for key, item in value.items()}}
        if kind is np.ndarray and value.dtype.kind in "biuf":
            return {"array": self._keep(torch.from_numpy(np.array(value, order="C")))}
        if kind is Tensor and _plain(value):
            return {"tensor": self._tensor(value)}
        raise CannotPack(f"it keeps a {kind.__module__}.{kind.__qualname__}")

    def _take(self, value: object) -> None:
        memory = {_memory(value)} if type(value) is Tensor and _plain(value) and value.numel() else set()
        if id(value) in self._seen or memory & self._taken:
            raise CannotPack("it keeps one thing in two places")
        self._seen[id(value)] = value
        self._taken |= memory

    def _tensor(self, value: Tensor) -> list[Any]:
        """What lies in memory from the last line before its first number to its last number."""
        line = max(1, _LINE // value.element_size())
        before = value.storage_offset() % line if value.numel() else 0
        last = sum((size - 1) * stride for size, stride in zip(value.shape, value.stride(), strict=True))
        length = before + last + 1 if value.numel() else 0
        memory = torch.as_strided(value, (length,), (1,), value.storage_offset() - before)
        name = self._keep(memory.to("cpu", copy=True))
        return [name, list(value.shape), list(value.stride()), before, value.device.type != "cpu"]

    def _keep(self, tensor: Tensor) -> str:
        name = str(len(self.tensors))
        self.tensors[name] = tensor
        return name


class Unpacker:
    """Makes the values again. Args: `device`: of tensors that were on no CPU."""

    def __init__(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        self._tensors, self._device = tensors, device

    def unpack(self, packed: Any) -> Any:
        """Raises ValueError, TypeError, KeyError or RuntimeError for what no `Packer` has made."""
        if not isinstance(packed, dict):
            return packed
        ((kind, content),) = packed.items()
        if kind == "float":
            return float.fromhex(content)
        if kind == "list":
            return [self.unpack(item) for item in content]
        if kind == "tuple":
            return tuple(self.unpack(item) for item in content)
        if kind == "dict":
            return {key: self.unpack(item) for key, item in content.items()}
        if kind == "array":
            return self._tensors[content].clone().numpy()
        if kind == "tensor":
            name, shape, strides, before, on_device = content
            memory = self._tensors[name].clone()
            memory = memory.to(self._device) if on_device else memory
            tensor = memory.as_strided(shape, strides, before)
            if tensor.numel() > memory.numel():
                raise ValueError("a tensor with more numbers than memory")
            return tensor
        raise ValueError(f"{kind!r} is no kind of value")


def _plain(tensor: Tensor) -> bool:
    """Real numbers of its own, each in one place."""
    if tensor.layout is not torch.strided or tensor.requires_grad or tensor.is_complex():
        return False
    return all(stride > 0 or size < 2 for size, stride in zip(tensor.shape, tensor.stride(), strict=True))


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
