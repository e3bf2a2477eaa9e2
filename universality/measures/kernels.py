"""Tangent kernels of a network, and how kernels move and align with targets.

n: rows. C: outputs of a row, flattened. k: targets. p: trainable parameters. J [n C p]: the Jacobian of
the outputs. Kernels are float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from universality.errors import MeasurementError
from universality.measures.preserved import preserved


@dataclass(frozen=True, slots=True)
class KernelEstimate:
    """A number of the n rows that were used, and the 95 % interval for others like them.

    chance: its mean with the rows of one side permuted.
    low, high: jackknife over rows (Student's t of n - 1), not clamped. It knows nothing of the bias
        from the diagonal, of order 1/n: with k independent rows of independent kernels the value
        is near `chance`, not 0.
    """

    value: float
    chance: float
    low: float
    high: float
    rows: int


def empirical_ntk(
    network: nn.Module, inputs: Shaped[Tensor, "n ..."], batch: int = 256
) -> Float[Tensor, "nC nC"]:
    """K[(i, a), (j, b)] = J_ia . J_jb, every pair of outputs; row i C + a is output a of input i.

    Each row goes through the network alone and each output through one backward pass, which works
    for any architecture. Gradients, buffers, modes and the random state stay as they are.

    Args:
        inputs: without rows that depend on each other, hence eval mode.
        batch: rows whose Jacobian is held at a time.

    Cost: n C backward passes of one row if n <= batch, (n / batch + 1) / 2 times as many beyond;
    n^2 C^2 p operations. Memory: two Jacobians of `batch` rows, 2 batch C p numbers, and n^2 C^2 float64.

    Raises:
        MeasurementError: a network with a module in training mode, without trainable parameters or with outputs
            or gradients that are not finite.

    Source: Jacot et al. 2018, arXiv:1806.07572; Novak et al. 2022, arXiv:2206.08720 (this is their
    Jacobian contraction).

    >>> network = torch.nn.Linear(2, 1, bias=False).eval()
    >>> empirical_ntk(network, torch.tensor([[1.0, 2.0], [3.0, 0.0]])).tolist()  # X X^T
    [[5.0, 3.0], [3.0, 9.0]]
    """
    return _contract(network, inputs, batch, lambda J: J.flatten(0, 1))


def trace_ntk(network: nn.Module, inputs: Shaped[Tensor, "n ..."], batch: int = 256) -> Float[Tensor, "n n"]:
    """K[i, j] = sum_a J_ia . J_ja, the trace over outputs of `empirical_ntk`, not divided by C.

    Cost, memory and errors: as `empirical_ntk`, with n^2 C p operations and n^2 float64.

    Source: as `empirical_ntk`.

    >>> network = torch.nn.Linear(2, 3, bias=False).eval()
    >>> trace_ntk(network, torch.tensor([[1.0, 2.0], [3.0, 0.0]])).tolist()  # C X X^T
    [[15.0, 9.0], [9.0, 27.0]]
    """
    return _contract(network, inputs, batch, lambda J: J.flatten(1))


def pseudo_ntk(network: nn.Module, inputs: Shaped[Tensor, "n ..."], batch: int = 256) -> Float[Tensor, "n n"]:
    """K[i, j] = (1/C) (sum_a J_ia) . (sum_a J_ja): the kernel of the sum of outputs over sqrt(C).

    One backward pass a row. At infinite width and a random last layer `empirical_ntk` tends to it
    times the identity over outputs; at finite width it also has the products of different outputs.

    Cost, memory and errors: as `empirical_ntk` with C = 1.

    Source: Mohamadi, Bae and Sutherland 2023, arXiv:2206.12543.

    >>> network = torch.nn.Linear(2, 3, bias=False).eval()
    >>> pseudo_ntk(network, torch.tensor([[1.0, 2.0], [3.0, 0.0]])).tolist()  # X X^T
    [[5.0, 3.0], [3.0, 9.0]]
    """
    return _contract(network, inputs, batch, lambda J: J.flatten(1), summed=True)


def kernel_distance(K: Float[Tensor, "N N"], L: Float[Tensor, "N N"], outputs: int = 1) -> KernelEstimate:
    """1 - <K, L> / (|K| |L|), Frobenius: 0 for proportional kernels, 1 for orthogonal ones.

    Computed as |K/|K| - L/|L||^2 / 2, which keeps the digits of small distances.

    Args:
        outputs: rows of the kernel that belong to one input (C for `empirical_ntk`): the jackknife
            and the permutations move them together.

    Cost: O(N^2).

    Raises:
        MeasurementError: kernels of different sizes or fewer than three inputs, not symmetric, not finite, or zero.

    Source: Fort et al. 2020, arXiv:2010.15110.

    >>> K = torch.eye(3)
    >>> kernel_distance(K, 2 * K).value, round(kernel_distance(K, torch.ones(3, 3)).value, 6)
    (0.0, 0.42265)
    """
    where = "kernel_distance"
    A, B = _unit(K, outputs, where), _unit(L, outputs, where)
    if A.shape != B.shape:
        raise MeasurementError(
            "kernels of different rows", where=where, got=f"{list(K.shape)} and {list(L.shape)}"
        )
    cosine = _estimate(A, B, outputs, centred=False)
    value = (A - B).square().sum().item() / 2
    half = cosine.high - cosine.value
    return KernelEstimate(value, 1 - cosine.chance, value - half, value + half, cosine.rows)


def kernel_change(K: Float[Tensor, "N N"], reference: Float[Tensor, "N N"]) -> float:
    """|K - K_0| / |K_0|, Frobenius: unlike `kernel_distance` it sees a change of scale, and can exceed 1.

    Of the rows given; falls as 1/alpha in the lazy regime.

    Raises:
        MeasurementError: as `kernel_distance`.

    Cost: O(N^2).

    Source: Chizat et al. 2019, arXiv:1812.07956.

    >>> kernel_change(3 * torch.eye(3), torch.eye(3))
    2.0
    """
    _unit(K, 1, "kernel_change", least=1)
    _unit(reference, 1, "kernel_change", least=1)
    if K.shape != reference.shape:
        raise MeasurementError(
            "kernels of different rows",
            where="kernel_change",
            got=f"{list(K.shape)} and {list(reference.shape)}",
        )
    K0 = reference.double()
    return float(torch.linalg.norm(K.double() - K0) / torch.linalg.norm(K0))


def target_alignment(
    K: Float[Tensor, "n n"], targets: Float[Tensor, "n k"], centred: bool = True
) -> KernelEstimate:
    """<K, Y Y^T> / (|K| |Y Y^T|), Frobenius, with both sides centred (H K H, H = I - 1 1^T / n) by default.

    Centring takes off what a constant shared by all rows contributes, and with it most of the value
    for networks with positive features; uncentred it is the alignment of Cristianini et al. 2001.
    Biased upwards like any ratio with a diagonal: compare with `chance`.

    Args:
        targets: one-hot classes or regression targets.

    Cost: O(n^2 k).

    Raises:
        MeasurementError: rows that do not match, fewer than four (three uncentred), not symmetric or not
            finite, a kernel or targets that are zero (constant, where centred).

    Source: Cortes, Mohri and Rostamizadeh 2012 (JMLR 13).

    >>> y = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]])
    >>> round(target_alignment(y @ y.T + 5, y).value, 6), round(target_alignment(y @ y.T + 5, y, centred=False).value, 6)
    (1.0, 0.196116)
    """
    where = "target_alignment"
    if targets.ndim != 2 or len(targets) != len(K) or not bool(torch.isfinite(targets).all()):
        raise MeasurementError(
            "targets do not match the kernel",
            where=where,
            got=f"kernel {list(K.shape)}, targets {list(targets.shape)}",
            expected="finite targets [n, k] for a kernel [n, n]",
        )
    Y = targets.double()
    Y = Y - Y.mean(0) if centred else Y
    # Of two centred rows the alignment is 1 whatever they are, so three would have a jackknife of width 0.
    A, B = (_unit(side, 1, where, centred, least=4 if centred else 3) for side in (K, Y @ Y.T))
    return _estimate(A, B, 1, centred)


def _contract(
    network: nn.Module,
    inputs: Tensor,
    batch: int,
    arrange: Callable[[Tensor], Tensor],
    summed: bool = False,
) -> Tensor:
    """Sum over parameter tensors of products of their arranged Jacobians, block by block."""
    if any(module.training for module in network.modules()):
        raise MeasurementError(
            "a tangent kernel is of a function of one row",
            where="empirical_ntk",
            got="a network, or a module of it, in training mode",
            do="call network.eval()",
        )
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not parameters or len(inputs) == 0 or batch < 1:
        raise MeasurementError(
            "a tangent kernel needs rows and trainable parameters",
            where="empirical_ntk",
            got=f"{len(inputs)} rows, {len(parameters)} trainable parameters, batch {batch}",
        )
    with preserved(network):
        return _blockwise(network, parameters, inputs, batch, arrange, summed)


def _blockwise(
    network: nn.Module,
    parameters: list[nn.Parameter],
    inputs: Tensor,
    batch: int,
    arrange: Callable[[Tensor], Tensor],
    summed: bool,
) -> Tensor:
    blocks = torch.split(inputs, batch)
    grid: list[list[Tensor]] = [[inputs] * len(blocks) for _ in blocks]
    for i, rows in enumerate(blocks):
        left = _jacobian(network, parameters, rows, summed)
        for j in range(i, len(blocks)):
            right = left if j == i else _jacobian(network, parameters, blocks[j], summed)
            total: Tensor | None = None
            for A, B in zip(left, right, strict=True):
                part = arrange(A).double() @ arrange(B).double().T
                total = part if total is None else total + part
            assert total is not None
            grid[i][j], grid[j][i] = total, total.T
    K = torch.cat([torch.cat(row, dim=1) for row in grid])
    if not bool(torch.isfinite(K).all()):
        raise MeasurementError("gradients are not finite", where="empirical_ntk", got="NaN or infinity")
    if summed:
        with torch.no_grad():
            K /= network(inputs[:1]).numel()
    return K


def _jacobian(network: nn.Module, parameters: list[nn.Parameter], rows: Tensor, summed: bool) -> list[Tensor]:
    """Of each parameter tensor, [rows C size], or [rows 1 size] of the summed outputs."""
    per_row = [list(_gradients(network, parameters, rows[i : i + 1], summed)) for i in range(len(rows))]
    return [
        torch.stack([torch.stack([g[k].reshape(-1) for g in gradients]) for gradients in per_row])
        for k in range(len(parameters))
    ]


def _gradients(
    network: nn.Module, parameters: list[nn.Parameter], row: Tensor, summed: bool
) -> Iterator[tuple[Tensor, ...]]:
    with torch.enable_grad():
        outputs = network(row).reshape(-1)
        targets = [outputs.sum()] if summed else list(outputs)
    for index, target in enumerate(targets):
        yield torch.autograd.grad(
            target, parameters, retain_graph=index + 1 < len(targets), materialize_grads=True
        )


def _unit(K: Tensor, outputs: int, where: str, centred: bool = False, least: int = 3) -> Tensor:
    """K in float64 with Frobenius norm 1, centred over rows if so wished."""
    square = K.ndim == 2 and K.shape[0] == K.shape[1] and outputs >= 1 and len(K) % outputs == 0
    if not square or len(K) // outputs < least:
        raise MeasurementError(
            "not a kernel of enough rows",
            where=where,
            got=f"{list(K.shape)} with {outputs} outputs",
            expected=f"a square matrix of at least {least} inputs",
        )
    A = K.double()
    if not bool(torch.isfinite(A).all()):
        raise MeasurementError("kernel is not finite", where=where, got="NaN or infinity")
    size = A.abs().max()
    if not bool((A - A.T).abs().max() <= 1e-4 * size):
        raise MeasurementError(
            "a kernel is symmetric", where=where, got=f"|K - K^T| up to {(A - A.T).abs().max().item():.3g}"
        )
    if centred:
        A = A - A.mean(0)
        A = A - A.mean(1, keepdim=True)
    norm: Tensor = torch.linalg.norm(A)
    if not bool(norm > 1e-13 * size * len(A)):
        raise MeasurementError(
            "a kernel without spread has no direction",
            where=where,
            got=f"norm {norm.item():.3g}",
            do="check for constant features or targets",
        )
    unit: Tensor = A / norm
    return unit


def _estimate(A: Tensor, B: Tensor, outputs: int, centred: bool) -> KernelEstimate:
    """<A, B> of two unit kernels, its mean under permutations, and its jackknife over inputs."""
    n = len(A) // outputs

    def blocks(product: Tensor) -> Tensor:
        return product.reshape(n, outputs, n, outputs).sum((1, 3))

    def without(X: Tensor, Y: Tensor) -> Tensor:
        """<X, Y> of the kernels that lack one input, centred anew."""
        P = blocks(X * Y)
        rest, own = P.sum(1), P.diagonal()
        left = P.sum() - 2 * rest + own
        if centred:
            # Rows of a centred X sum to 0; without input i they sum to -X_ij, and all of it to X_ii.
            left = left - 2 / (n - 1) * (rest - own) + X.diagonal() * Y.diagonal() / (n - 1) ** 2
        return left

    value = (A * B).sum().item()
    left = without(A, B) / (without(A, A) * without(B, B)).sqrt()
    if not bool(torch.isfinite(left).all()):
        raise MeasurementError(
            "one row carries a whole kernel", where="kernels", got="no kernel left without it", do="add rows"
        )
    from scipy import stats  # measuring runs do without it

    se = math.sqrt((n - 1) / n * (left - left.mean()).square().sum().item())
    half = float(stats.t.ppf(0.975, n - 1)) * se
    # E sum A_ij B_pi(i)pi(j), input i with all its outputs: diagonal blocks meet diagonal blocks.
    a, b = A.reshape(n, outputs, n, outputs), B.reshape(n, outputs, n, outputs)
    index = torch.arange(n, device=A.device)
    inner_a, inner_b = a[index, :, index].sum(0), b[index, :, index].sum(0)
    outer_a, outer_b = a.sum((0, 2)) - inner_a, b.sum((0, 2)) - inner_b
    chance = ((inner_a * inner_b).sum() / n + (outer_a * outer_b).sum() / (n * (n - 1))).item()
    return KernelEstimate(value, chance, value - half, value + half, n)
