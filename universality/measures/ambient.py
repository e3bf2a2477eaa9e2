"""Settings of the caller that change no number, and one check of what is given, for every public measure.

Within a measure, and in the losses, networks and products that it calls,

    torch.autocast            is off: sums in bfloat16 are off by their rounding and look exact
    torch.inference_mode      is off: there are derivatives
    float32 products          are float32: no TF32, no bfloat16 behind them, on any backend
    np.errstate               is NumPy's default

A loss that enters autocast by itself is measured as it is. The default dtype and device, `no_grad` and
deterministic algorithms stay the caller's, since networks may be built on them; measures name theirs.
"""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from numbers import Number
from typing import Any, ParamSpec, TypeVar

import numpy as np

from universality.errors import MeasurementError

DEVICES = ("cpu", "cuda", "mps", "xpu")
"""With an autocast of their own."""

P = ParamSpec("P")
R = TypeVar("R")


def measure(function: Callable[P, R]) -> Callable[P, R]:
    """The function under settings of its own (see above), refusing arrays where its signature names tensors, and
    tensors where it names arrays.

    Raises:
        MeasurementError: an argument that is annotated as a tensor, or a sequence of them, and is something else, or
            is sparse; one that is annotated as an array and is none.

    >>> @measure
    ... def total(X: Tensor) -> float:
    ...     return X.sum().item()
    >>> total(np.ones(3))
    Traceback (most recent call last):
    ...
    universality.errors.MeasurementError: a torch tensor is expected, and arrays are not converted
      where:    total, X
      got:      a numpy array, float64 [3]
      expected: a tensor
      do:       pass torch.from_numpy(array)
    """
    signature = inspect.signature(function)
    names, said, arrays = list(signature.parameters), {}, []
    for name, parameter in signature.parameters.items():
        text = str(parameter.annotation)
        if "Tensor" in text and "Callable" not in text:
            said[name] = {"many": "Sequence" in text, "optional": "None" in text}
        elif "ndarray" in text and "Callable" not in text:
            arrays.append(name)
    where = function.__qualname__.replace(".__init__", "").replace(".__call__", "")

    @functools.wraps(function)
    def shielded(*args: P.args, **kwargs: P.kwargs) -> R:
        given = dict(zip(names, args, strict=False)) | kwargs
        for name, rule in said.items():
            if name in given:
                _check(given[name], f"{where}, {name}", **rule)
        for name in arrays:
            if name in given and not isinstance(given[name], np.ndarray):
                raise _no_array(given[name], f"{where}, {name}")
        with own_settings():
            return function(*args, **kwargs)

    return shielded


@contextmanager
def own_settings() -> Iterator[None]:
    """The settings under which measures compute; the caller's come back.

    >>> import torch
    >>> with torch.autocast("cpu"), own_settings():
    ...     torch.is_autocast_enabled("cpu")
    False
    """
    with ExitStack() as stack:
        stack.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        if "torch" in sys.modules:  # measures of numbers alone do without it
            stack.enter_context(_own_settings_of_torch())
        yield


@contextmanager
def _own_settings_of_torch() -> Iterator[None]:
    import torch

    lowered = [device for device in DEVICES if torch.is_autocast_enabled(device)]
    rounded = [] if _outer.entered else [(each, each.fp32_precision) for each in _float32()]
    rounded = [(each, before) for each, before in rounded if before != "ieee"]
    entered, _outer.entered = _outer.entered, True
    for device in lowered:
        torch.set_autocast_enabled(device, False)
    for each, _ in rounded:
        each.fp32_precision = "ieee"
    try:
        with torch.inference_mode(False) if torch.is_inference_mode_enabled() else nullcontext():
            yield
    finally:
        _outer.entered = entered
        for device in lowered:
            torch.set_autocast_enabled(device, True)
        for each, before in rounded:
            each.fp32_precision = before


class _Outer(threading.local):
    entered = False
    """Whether a measure runs already: reading six flags takes as long as a product of a small Hessian."""


_outer = _Outer()


def _float32() -> tuple[Any, ...]:
    """What may compute float32 products in less. The flags of old, as `allow_tf32`, are views of these."""
    import torch

    cudnn: Any = torch.backends.cudnn
    mkldnn: Any = torch.backends.mkldnn
    return torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn, mkldnn.matmul, mkldnn.conv, mkldnn.rnn


def _check(value: object, where: str, *, many: bool, optional: bool) -> None:
    from torch import Tensor, strided

    if isinstance(value, Tensor) and value.layout is not strided:
        raise MeasurementError(
            "a dense tensor is expected",
            where=where,
            got=f"layout {value.layout}, shape {list(value.shape)}",
            do="pass X.to_dense()",
        )
    if isinstance(value, Tensor) or (value is None and optional):
        return
    if many and isinstance(value, list | tuple):
        for i, each in enumerate(value):
            _check(each, f"{where}[{i}]", many=False, optional=False)
        return
    # Of other objects, such as a loader, a measure says itself what to do.
    if not (value is None or isinstance(value, list | tuple | str | Number) or hasattr(value, "__array__")):
        return
    got, do = f"{type(value).__name__}", "torch.as_tensor(values)"
    if isinstance(value, np.ndarray):
        got, do = f"a numpy array, {value.dtype} {list(value.shape)}", "torch.from_numpy(array)"
    raise MeasurementError(
        "a torch tensor is expected, and arrays are not converted",
        where=where,
        got=got,
        expected="a sequence of tensors" if many else "a tensor",
        do=f"pass {do}",
    )


def _no_array(value: object, where: str) -> MeasurementError:
    got, do = type(value).__name__, "np.array(values)"
    if hasattr(value, "layout") and hasattr(value, "numpy"):
        got, do = f"a torch tensor, {getattr(value, 'dtype', '')}", "tensor.numpy()"
    return MeasurementError(
        "a numpy array is expected, and tensors are not converted",
        where=where,
        got=got,
        expected="an array",
        do=f"pass {do}",
    )
