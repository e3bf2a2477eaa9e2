"""The two matrices that the neural feature ansatz says are proportional, and how near to that they are.

n: rows. d: inputs of one application of a linear map (of a convolution, the numbers of a patch). m: its outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from universality.errors import MeasurementError, NotFinite
from universality.measures.ambient import measure
from universality.measures.network.preserved import preserved

LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d)


@dataclass(frozen=True, slots=True, eq=False)
class FeatureMatrices:
    """`weight` W `[m, d]` of a linear map as the network used it, and `gradients` G, both float64 on the CPU."""

    weight: Float[Tensor, "m d"]
    gradients: Float[Tensor, "d d"]


@measure
def feature_matrices(net: nn.Module, readout: nn.Module, inputs: Shaped[Tensor, "n ..."]) -> FeatureMatrices:
    """W and the average gradient outer product G of the first linear map x -> W x + b that runs in a pass of the network f:

        G = 1/n sum over rows, positions p and outputs c of (df_c/dx_p) (df_c/dx_p)^T = W^T (1/n sum delta delta^T) W

    with delta = df_c/d(W x_p). Of a convolution x_p is a patch, of a layer that is applied along a sequence its input
    at one position. In evaluation mode; the network is left as it was found.

    Args:
        readout: the last linear layer, of which G = W^T W holds for every W and says nothing.

    Cost: O(n m): one forward pass of n rows, and one backward pass for each of m outputs. Memory: that of the graph of all rows.

    Raises:
        MeasurementError: no `nn.Linear`, `nn.Conv1d` or `nn.Conv2d` runs before the readout, the first does so more than
            once or has groups, or a gradient that is not finite.

    Source: Radhakrishnan et al. 2024, arXiv:2212.13881; of convolutions, Beaglehole et al. 2023, arXiv:2309.00570.

    >>> net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False))
    >>> for weight, layer in (([[1.0, 0], [0, 2]], net[0]), ([[3.0, 1]], net[1])):
    ...     layer.weight.data = torch.tensor(weight)
    >>> feature_matrices(net, net[1], torch.randn(5, 2)).gradients  # the gradient is (3, 2) everywhere
    tensor([[9., 6.],
            [6., 4.]], dtype=torch.float64)
    """
    seen: list[tuple[nn.Module, Tensor, Tensor]] = []

    def cut(module: nn.Module, _args: Any, output: Tensor) -> Tensor | None:
        if seen and seen[0][0] is not module:
            return None
        leaf, weight = output.detach().requires_grad_(), module.weight
        assert isinstance(weight, Tensor)
        seen.append((module, weight.detach(), leaf))
        return leaf.clone()  # an activation may write into it

    layers = [module for module in net.modules() if isinstance(module, LINEAR)]
    handles = [layer.register_forward_hook(cut) for layer in layers]
    try:
        with preserved(net), torch.enable_grad():
            net.eval()
            outputs = net(inputs)
            _check(seen, readout)
            ((layer, weight, leaf),) = seen
            parts = [
                torch.autograd.grad(outputs[:, c].sum(), leaf, retain_graph=True)[0].double()
                for c in range(outputs.shape[1])
            ]
    finally:
        for handle in handles:
            handle.remove()
    axis = -1 if isinstance(layer, nn.Linear) else 1
    W, m = weight.flatten(1).double().cpu(), weight.shape[0]
    deltas = [part.movedim(axis, -1).reshape(-1, m).cpu() for part in parts]
    M = sum(
        (delta.T @ delta for delta in deltas), start=torch.zeros(m, m, dtype=torch.float64, device="cpu")
    ) / len(inputs)
    if not bool(torch.isfinite(M).all()):
        raise NotFinite("gradients that are not finite", where="feature_matrices", got=str(layer))
    return FeatureMatrices(W, W.T @ M @ W)


def _check(seen: list[tuple[nn.Module, Tensor, Tensor]], readout: nn.Module) -> None:
    if not seen or seen[0][0] is readout or len(seen) > 1 or getattr(seen[0][0], "groups", 1) != 1:
        raise MeasurementError(
            "no linear map whose gradients could be compared with its weights",
            where="feature_matrices",
            got="none that runs"
            if not seen
            else "the readout runs first"
            if seen[0][0] is readout
            else f"{seen[0][0]}, which runs {len(seen)} times",
            expected="a linear or convolutional layer (groups=1) that runs once, before the readout",
        )


@measure
def traceless_cosine(A: Float[Tensor, "d d"], B: Float[Tensor, "d d"]) -> float:
    """The cosine of A - tr(A)/d I and B - tr(B)/d I, matrices of one layer: 1 where one is a positive multiple of the
    other up to a multiple of the identity.

    Wide random weights have W^T W near a multiple of the identity, so that the plain cosine is near 1 of an untrained
    network too, for any G with as little structure.

    Cost: O(d^2).

    Raises:
        MeasurementError: matrices that are not square and of one size, or one that is a multiple of the identity.

    Source: the cosine of Radhakrishnan et al. 2024, arXiv:2212.13881, without what every untrained network has.

    >>> A = torch.tensor([[3.0, 0], [0, 1]])
    >>> round(traceless_cosine(A, 5 * A + 7 * torch.eye(2)), 6), round(traceless_cosine(A, 4 * torch.eye(2) - A), 6)
    (1.0, -1.0)
    """
    if A.ndim != 2 or A.shape[0] != A.shape[1] or A.shape != B.shape:
        raise MeasurementError(
            "two square matrices of one size are compared",
            where="traceless_cosine",
            got=f"{list(A.shape)} and {list(B.shape)}",
        )
    a, b = (_traceless(X.double()) for X in (A, B))
    return float((a * b).sum() / (a.norm() * b.norm()))


def _traceless(A: Tensor) -> Tensor:
    left: Tensor = A - A.trace() / len(A) * torch.eye(len(A), dtype=A.dtype, device=A.device)
    if not float(left.norm()) > 1e-12 * float(A.norm()):
        raise MeasurementError(
            "a multiple of the identity has no direction", where="traceless_cosine", got=f"{list(A.shape)}"
        )
    return left
