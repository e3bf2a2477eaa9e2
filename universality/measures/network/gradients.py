"""Gradients that are complete: what torch leaves out of a graph without a word is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from universality.errors import MeasurementError

R = TypeVar("R")

NEVER = {
    "CheckpointFunctionBackward": (
        "a reentrant checkpoint hides its parameters: they would count as constants",
        "call torch.utils.checkpoint.checkpoint(..., use_reentrant=False)",
    ),
}
"""Operations behind which `torch.autograd.grad` does not reach, what they do and the way out."""

ONCE = {
    "EmbeddingBagBackward": (
        "EmbeddingBag has no second derivative",
        "look rows up with nn.Embedding, and sum or average them in plain tensor operations",
    ),
    "CompiledFunctionBackward": (
        "a compiled module (torch.compile) has no second derivative",
        "measure the module that was compiled: it shares the parameters",
    ),
    "ScaledDotProduct": (
        "fused attention (scaled_dot_product_attention) has no second derivative",
        "take the network's own sdpa_kernel off: it is evaluated under SDPBackend.MATH here",
    ),
    "WeightNorm": (
        "torch's double backward through weight_norm is wrong",
        "normalise the weight in plain tensor operations",
    ),
}
"""Operations without a second derivative that is right."""

STOPS = ("torch::autograd::Error", "torch::autograd::NotImplemented")
"""Where the graph of a gradient ends that is not to be differentiated: below, torch sees constants."""


def evaluated(closure: Callable[[], R], where: str) -> R:
    """What the closure returns.

    Raises:
        MeasurementError: it meets a tensor that was made in inference mode, of which torch keeps no derivative.

    >>> evaluated(lambda: torch.ones(1), "").item()
    1.0
    """
    try:
        return closure()
    except RuntimeError as error:
        if "nference tensor" not in str(error):
            raise
        raise MeasurementError(
            "a tensor that was made in inference mode has no derivative",
            where=where,
            got=str(error).partition(".")[0],
            do="make inputs and parameters outside of torch.inference_mode, or clone them there",
        ) from error


def gradients_of(
    value: Tensor, parameters: Sequence[Tensor], where: str, *, twice: bool = False, keep: bool = False
) -> list[Tensor | None]:
    """The derivative of a number by each parameter, None where the number does not depend on it.

    Args:
        twice: with a graph, to be differentiated again.
        keep: the graph of `value`, for another of the same.

    Cost: one gradient; a walk over the graph.

    Raises:
        MeasurementError: a reentrant checkpoint, or a gradient that is sparse; with `twice` also operations
            whose second derivative does not exist or is wrong.

    Source: torch's autograd, whose `grad` takes a parameter that it does not reach for a constant.

    >>> x, y = torch.ones(2, requires_grad=True), torch.ones(1, requires_grad=True)
    >>> gradients_of((x * x).sum(), [x, y], "")
    [tensor([2., 2.]), None]
    """
    behind = nodes(value)
    for node in behind:
        for prefix, (what, do) in (NEVER | ONCE if twice else NEVER).items():
            if node.name().startswith(prefix):
                reached = {id(getattr(each, "variable", None)) for each in behind}
                missed = _places([p.grad_fn in behind or id(p) in reached for p in parameters], parameters)
                got = f"a loss that goes through {node.name()}" + (
                    f" and does not reach {missed}" if missed else ""
                )
                raise MeasurementError(what, where=where, got=got, do=do)
    gradients = torch.autograd.grad(
        value, list(parameters), create_graph=twice, retain_graph=twice or keep, allow_unused=True
    )
    sparse = [
        tuple(p.shape) for p, g in zip(parameters, gradients, strict=True) if g is not None and g.is_sparse
    ]
    if sparse:
        raise MeasurementError(
            "a sparse gradient, as of nn.Embedding(sparse=True), is not measured",
            where=where,
            got=f"of parameters of shape {', '.join(map(str, sparse))}",
            do="build the embedding with sparse=False; the numbers are the same",
        )
    if twice and (stopped := operations(*(g for g in gradients if g is not None)) & set(STOPS)):
        # Names of torch's own operations end in a digit.
        own = sorted(name for name in operations(value) if not (name[-1].isdigit() or "::" in name))
        raise MeasurementError(
            "an operation that is differentiable once has no second derivative",
            where=where,
            got=", ".join(own) or ", ".join(sorted(stopped)),
            do="write its backward in operations that torch can differentiate, without once_differentiable",
        )
    return list(gradients)


def flat_gradient(loss: Callable[[], Tensor], parameters: Sequence[Tensor], where: str) -> Tensor:
    """The gradient of `loss()` as one vector, zero where it does not depend on a parameter; no graph is left.

    Cost: one gradient. Raises `MeasurementError` as `gradients_of` does.

    >>> x, y = torch.ones(2, requires_grad=True), torch.ones(1, requires_grad=True)
    >>> flat_gradient(lambda: (x * x).sum(), [x, y], "")
    tensor([2., 2., 0.])
    """
    with torch.enable_grad(), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        gradients = gradients_of(loss(), parameters, where)
    pairs = zip(parameters, gradients, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).reshape(-1) for p, g in pairs])


def check_reached(reached: Sequence[bool], parameters: Sequence[Tensor], where: str) -> None:
    """Raise unless every parameter is reached.

    >>> check_reached([True], [torch.ones(1)], "")
    """
    if missed := _places(reached, parameters):
        raise MeasurementError(
            "parameters that the loss does not reach: they would count as constants",
            where=where,
            got=missed,
            expected="a loss that depends on every parameter given",
            do="look for a reentrant checkpoint, detach or no_grad on the way; "
            "what the loss does not use by intention leave out of the parameters",
        )


def operations(*values: Tensor) -> set[str]:
    """Names of the differentiated operations behind the values.

    >>> "ExpBackward0" in operations(torch.ones(1, requires_grad=True).exp())
    True
    """
    return {node.name() for node in nodes(*values)}


def nodes(*values: Tensor) -> set[Any]:
    """The differentiated operations behind the values, leaves included.

    >>> len(nodes(torch.ones(1, requires_grad=True).exp()))
    2
    """
    seen: set[Any] = set()
    stack: list[Any] = [value.grad_fn for value in values]
    while stack:
        node = stack.pop()
        if node is not None and node not in seen:
            seen.add(node)
            stack.extend(parent for parent, _ in node.next_functions)
    return seen


def _places(reached: Sequence[bool], parameters: Sequence[Tensor], most: int = 8) -> str:
    """The parameters that are not reached, by their place and shape."""
    missed = [f"{i} {list(p.shape)}" for i, p in enumerate(parameters) if not reached[i]]
    more = f" and {len(missed) - most} more" if len(missed) > most else ""
    return f"parameters {', '.join(missed[:most])}{more}" if missed else ""
