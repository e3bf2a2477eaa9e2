"""Representations of a network, captured safely: what modules put out for the same rows in one order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from universality.errors import MeasurementError
from universality.measures.ambient import measure
from universality.measures.network.preserved import preserved

ROWS = 1024
"""Rows of a forward pass."""


@measure
@torch.no_grad()
def capture(
    net: nn.Module,
    taps: Mapping[str, nn.Module],
    readout: nn.Module | None,
    inputs: Shaped[Tensor, "n ..."],
    *,
    space: Literal["flatten", "average"] = "flatten",
) -> dict[str, Shaped[Tensor, "n _"]]:
    """Representations `[n, d]` of `inputs` at the output of each tap, in order of execution, and, with a
    readout, `penultimate`: its input.

    The network runs in evaluation mode and is left as it was found (`preserved`). What is captured is
    cloned at once: an in-place activation behind a tap would overwrite it. Of a tuple (an LSTM's) the
    first tensor counts. Inputs are a tensor, not a loader, so that two networks see the same rows in the
    same order: a loader that shuffles makes a network unlike itself.

    Args:
        space: of features with more than two axes. `flatten`: everything behind the rows, as in
            Kornblith et al. 2019 (arXiv:1905.00414). `average`: the mean over positions, of images
            `[n, channels, height, width]` and of sequences `[n, positions, channels]`.

    Cost: one forward pass of the n rows, and one copy of every tapped output.

    Raises:
        MeasurementError: a tap that never ran or ran more than once in a pass (which call is meant?),
            whose output is no tensor or does not have the rows first, inputs that are no tensor or empty.

    Source: Kornblith et al. 2019, arXiv:1905.00414 (both conventions for space).

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(inplace=True), nn.Linear(3, 1))
    >>> seen = capture(net, {"relu": net[1], "linear": net[0]}, net[2], torch.randn(5, 2))
    >>> {name: list(features.shape) for name, features in seen.items()}
    {'linear': [5, 3], 'relu': [5, 3], 'penultimate': [5, 3]}
    """
    if not isinstance(inputs, Tensor) or inputs.ndim < 1 or len(inputs) == 0:
        raise MeasurementError(
            "inputs to capture from are a tensor with rows",
            where="capture",
            got=str(list(inputs.shape)) if isinstance(inputs, Tensor) else type(inputs).__name__,
            do="stack the batches of a loader that does not shuffle",
        )
    if space not in ("flatten", "average"):
        raise MeasurementError(f"unknown space '{space}'", where="capture", expected="flatten or average")
    names = [*taps, *(["penultimate"] if readout is not None else [])]
    if len(set(names)) < len(names):
        raise MeasurementError(
            "'penultimate' names the input of the readout", where="capture", do="rename the tap"
        )
    parts: dict[str, list[Tensor]] = {}
    passing: dict[str, Tensor] = {}
    expected = 0

    def keep(name: str, value: Any) -> None:
        if isinstance(value, tuple | list) and value:
            value = value[0]
        if not isinstance(value, Tensor) or value.ndim < 2 or len(value) != expected:
            raise MeasurementError(
                f"'{name}' has no rows of features",
                where="capture",
                got=str(list(value.shape)) if isinstance(value, Tensor) else type(value).__name__,
                expected=f"a tensor [{expected}, ...], one row an input",
                do="tap a module whose first output has the inputs along its first axis",
            )
        if name in passing:
            raise MeasurementError(
                f"'{name}' ran more than once in one pass",
                where="capture",
                do="give every call a module of its own (nn.Identity around it), and tap those",
            )
        passing[name] = _flat(value, space)

    def after(name: str) -> Any:
        return lambda _module, _args, output: keep(name, output)

    def before(_module: nn.Module, args: tuple[Any, ...]) -> None:
        keep("penultimate", args[0] if args else None)

    handles = [module.register_forward_hook(after(name)) for name, module in taps.items()]
    if readout is not None:
        handles.append(readout.register_forward_pre_hook(before))
    try:
        with preserved(net):
            net.eval()
            for piece in torch.split(inputs, ROWS):
                passing.clear()
                expected = len(piece)
                net(piece)
                missing = [name for name in names if name not in passing]
                if missing:
                    raise MeasurementError(
                        f"never ran: {', '.join(map(repr, missing))}",
                        where="capture",
                        do="tap modules that the network calls, itself rather than their forward",
                    )
                for name, features in passing.items():
                    parts.setdefault(name, []).append(features)
    finally:
        for handle in handles:
            handle.remove()
    return {name: torch.cat(pieces) for name, pieces in parts.items()}


@torch.no_grad()
def linear_in_use(
    net: nn.Module, layer: nn.Linear, row: Shaped[Tensor, "1 ..."]
) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of `layer` as they are while `net` computes: a parametrisation that trains other numbers
    (`universality.plugin.kit.Reparametrised`) sets them only then.

    Cost: a forward pass of the row.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    >>> linear_in_use(net, net[1], torch.ones(1, 2))[0] is net[1].weight
    True
    """
    used: list[tuple[Tensor, Tensor | None]] = []

    def note(_module: nn.Module, _args: object) -> None:
        used.append((layer.weight, layer.bias))

    handle = layer.register_forward_pre_hook(note)
    try:
        with preserved(net):
            net.eval()(row)
    finally:
        handle.remove()
    if not used:
        raise MeasurementError("a layer never ran", where="linear_in_use", got=str(layer))
    return used[-1]


def _flat(value: Tensor, space: str) -> Tensor:
    """A copy, `[rows, d]`."""
    if space == "average" and value.ndim > 2:
        return value.mean(1) if value.ndim == 3 else value.flatten(2).mean(2)
    return value.flatten(1).clone()
