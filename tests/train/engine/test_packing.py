"""Values come back as they were, to the last bit and in the same place of a line of memory."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch

from universality.train.engine.packing import CannotPack, Packer, Unpacker

CPU = torch.device("cpu")


def there_and_back(value: Any) -> Any:
    packer = Packer()
    packed = json.loads(json.dumps(packer.pack(value), allow_nan=False))
    return Unpacker(packer.tensors, CPU).unpack(packed)


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 0, -(2**70), 0.1, -0.0, math.inf, 5e-324, "tensor", ""),
        *([], (), {}, {"float": 1.5}, (1, [2.5, {"a": None}], "b"), {"list": [{"tensor": ("x",)}]}),
    ],
)
def test_plain_values(value: Any) -> None:
    back = there_and_back(value)
    assert (repr(back), type(back)) == (repr(value), type(value))
    assert math.isnan(there_and_back(math.nan))


@pytest.mark.parametrize("kind", ["u1", "i2", "u4", "i8", "f2", "f4", "f8", "?"])
def test_arrays(kind: str) -> None:
    value = np.arange(12).reshape(3, 4).astype(kind)
    for array in (value, value.T, value[1:, ::2], value[:0], value[0, 0:1].reshape(())):
        back = there_and_back(array)
        assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())


WHOLE = torch.arange(240.0).view(10, 24)


@pytest.mark.parametrize(
    "value",
    [WHOLE, WHOLE.t(), WHOLE[:, 3:7], WHOLE[2:, 5], WHOLE[3, 4], WHOLE[:0], WHOLE[5:6], torch.tensor(2.5)]
    + [WHOLE.to(dtype) for dtype in (torch.bfloat16, torch.float64, torch.int32, torch.bool)],
)
def test_tensors_keep_their_strides_and_their_place_in_a_line(value: torch.Tensor) -> None:
    back = there_and_back(value)
    assert torch.equal(back, value)
    assert (back.dtype, back.stride()) == (value.dtype, value.stride())
    if value.numel():
        assert back.data_ptr() % 64 == value.data_ptr() % 64
    assert back.untyped_storage().nbytes() <= value.untyped_storage().nbytes()


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {1: 2},
        {2.5},
        1j,
        np.float64(1.0),
        np.array(["a"]),
        np.array([None]),
        torch.ones(1, requires_grad=True),
        torch.ones(2, dtype=torch.complex64),
        torch.ones(1).expand(5),
        torch.ones(2, 2).to_sparse(),
        torch.nn.Parameter(torch.ones(1)),
        torch.Generator(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_everything_else_is_refused(value: Any) -> None:
    with pytest.raises(CannotPack, match="it keeps a"):
        Packer().pack([value])


def test_what_two_places_share_is_refused_unless_it_may_come_apart() -> None:
    tensor, part = torch.ones(4), [1]
    for value in ([tensor, tensor], [tensor, tensor[1:]], [part, part], {"a": part, "b": (part,)}):
        with pytest.raises(CannotPack, match="two places"):
            Packer().pack(value)
    with pytest.raises(CannotPack, match="two places"):
        Packer([tensor]).pack([tensor[2:]])
    assert len(Packer().pack([tensor, tensor], shared=True)["list"]) == 2
    assert there_and_back([(), (), torch.ones(0), torch.ones(0)])[:2] == [(), ()]


@pytest.mark.parametrize(
    "packed",
    [
        {"tensor": ["0", [5], [1], 0, False]},
        {"tensor": ["0", [2], [1], 3, False]},
        {"tensor": ["0", [10**12], [0], 0, False]},
        {"tensor": ["0", [2], [-1], 3, False]},
        {"tensor": ["9", [1], [1], 0, False]},
        {"tensor": ["0"]},
        {"float": "1x"},
        {"pickle": "gA=="},
        {"list": 5},
        {"list": [], "tuple": []},
        {},
    ],
)
def test_what_no_packer_has_made_is_no_value(packed: Any) -> None:
    with pytest.raises((ValueError, TypeError, KeyError, RuntimeError)):
        Unpacker({"0": torch.ones(4)}, CPU).unpack(packed)
