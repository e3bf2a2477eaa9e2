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

    chance: its mean with the rows of one side permuted (of `kernel_change`, the root mean square).
    low, high: delete-one jackknife over rows (Student's t of n - 1) for the value of infinitely many.

    The diagonal biases values by order 1/n: with few independent rows of independent kernels an
    alignment is near `chance`, not 0.
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

    Exact for these rows and weights: what has an error are numbers made of it (`KernelEstimate`).

    Args:
        inputs: without rows that depend on each other, hence eval mode.
        batch: rows whose Jacobian is held at a time.

    Cost: n C backward passes of one row if n <= batch, (n / batch + 1) / 2 times as many beyond;
    n^2 C^2 p operations, and for each pass p numbers to copy, each as dear as about 200 operations. Memory:
    two Jacobians of `batch` rows, 2 batch C p numbers, and n^2 C^2 float64.

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

    Cost: n backward passes of one row and n^2 p operations. Memory and errors: as `empirical_ntk` of one output.

    Source: Mohamadi, Bae and Sutherland 2023, arXiv:2206.12543.

    >>> network = torch.nn.Linear(2, 3, bias=False).eval()
    >>> pseudo_ntk(network, torch.tensor([[1.0, 2.0], [3.0, 0.0]])).tolist()  # X X^T
    [[5.0, 3.0], [3.0, 9.0]]
    """
    return _contract(network, inputs, batch, lambda J: J.flatten(1), summed=True)


def kernel_distance(K: Float[Tensor, "N N"], L: Float[Tensor, "N N"], outputs: int = 1) -> KernelEstimate:
    """1 - <K, L> / (|K| |L|), Frobenius: 0 for proportional kernels, 1 for orthogonal ones.

    Computed as |K/|K| - L/|L||^2 / 2, which keeps the digits of small distances.

    The interval is that of ln value, without its bias: with theta_i the logarithm where input i is left out,

        exp(n ln value - (n-1) mean theta +- t se),    se^2 = (n-1)/n sum (theta_i - mean theta)^2.

    Simulated coverage at a nominal 95 %, kernels of a random layer of ReLUs before and after its weights changed
    by a tenth and by all: 91 to 97 % for 10 to 200 inputs, Gaussian, clustered and of heavy-tailed norms
    alike (67 to 94 % without the logarithm).

    Args:
        outputs: rows of the kernel that belong to one input (C for `empirical_ntk`): the jackknife
            and the permutations move them together.

    Cost: O(N^2).

    Raises:
        MeasurementError: kernels of different sizes or fewer than three inputs, not symmetric, not finite, zero,
            or the same but for one input.

    Source: Fort et al. 2020, arXiv:2010.15110.

    >>> K = torch.eye(3)
    >>> kernel_distance(K, 2 * K).value, round(kernel_distance(K, torch.ones(3, 3)).value, 6)
    (0.0, 0.42265)
    """
    where = "kernel_distance"
    A, B = _unit(K, outputs, where), _unit(L, outputs, where)
    _same_rows(K, L, where)
    moved = A - B
    a, b = (_without_each(X.square(), outputs).clamp_min(0).sqrt() for X in (A, B))
    # |a| |b| - <a, b> = (|a - b|^2 - (|a| - |b|)^2) / 2: nothing here is a difference of near equal sums.
    apart = _without_each(moved.square(), outputs)
    norms = _without_each(moved * (A + B), outputs) / (a + b)
    value = moved.square().sum().item() / 2
    low, high = _log_interval(value, (apart - norms.square()) / (2 * a * b), 1e-30, where)
    return KernelEstimate(value, 1 - _permuted(A, B, outputs), low, high, len(a))


def kernel_change(
    K: Float[Tensor, "N N"], reference: Float[Tensor, "N N"], outputs: int = 1
) -> KernelEstimate:
    """|K - K_0| / |K_0|, Frobenius: unlike `kernel_distance` it sees a change of scale, and can exceed 1.

    Falls as 1/alpha in the lazy regime. The interval is as of `kernel_distance`, and has no width where
    the scale alone changed. Simulated coverage at 95 %, as there: 91 to 97 % for 20 to 200 inputs, 89 to 94 % for
    10; of heavy-tailed norms 91 to 93 % from 50 on, 87 to 89 % for 20, 82 to 87 % for 10.

    Args:
        outputs: as for `kernel_distance`.

    Cost: O(N^2).

    Raises:
        MeasurementError: as `kernel_distance`.

    Source: Chizat et al. 2019, arXiv:1812.07956.

    >>> kernel_change(3 * torch.eye(3), torch.eye(3)).value
    2.0
    """
    where = "kernel_change"
    B, _ = _unit(reference, outputs, where), _unit(K, outputs, where)
    _same_rows(K, reference, where)
    moved, size = K.double() - reference.double(), torch.linalg.norm(reference.double())
    A, value = K.double() / size, (torch.linalg.norm(moved) / size).item()
    changed, kept = (_without_each(X.square(), outputs) for X in (moved / size, B))
    low, high = _log_interval(value, (changed / kept.clamp_min(0)).clamp_min(0).sqrt(), 1e-15, where)
    # Over permutations p, E |pK - K_0|^2 = |K|^2 + |K_0|^2 - 2 E <pK, K_0>.
    chance = math.sqrt(max(0.0, A.square().sum().item() + 1 - 2 * _permuted(A, B, outputs)))
    return KernelEstimate(value, chance, low, high, len(kept))


def target_alignment(
    K: Float[Tensor, "n n"], targets: Float[Tensor, "n k"], centred: bool = True
) -> KernelEstimate:
    """<K, Y Y^T> / (|K| |Y Y^T|), Frobenius, with both sides centred (H K H, H = I - 1 1^T / n) by default.

    Centring takes off what a constant shared by all rows contributes, and with it most of the value
    for networks with positive features; uncentred it is the alignment of Cristianini et al. 2001.
    Biased upwards like any ratio with a diagonal: compare with `chance`. The interval is value +- t se, not
    clamped: simulated coverage at 95 %, for 10 to 200 rows, 90 to 97 %.

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
    return _alignment(A, B, centred, where)


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
    # Transposed by a copy in blocks: differences across the stride of a large K miss every cache.
    asymmetry = (A - A.T.contiguous()).abs().max()
    if not bool(asymmetry <= 1e-4 * size):
        raise MeasurementError(
            "a kernel is symmetric", where=where, got=f"|K - K^T| up to {asymmetry.item():.3g}"
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


def _without_each(product: Tensor, outputs: int) -> Tensor:
    """Sums of a symmetric matrix that lacks one input, [n]."""
    n = len(product) // outputs
    P = product.reshape(n, outputs, n, outputs).sum((1, 3))
    left: Tensor = P.sum() - 2 * P.sum(1) + P.diagonal()
    return left


def _same_rows(K: Tensor, L: Tensor, where: str) -> None:
    if K.shape != L.shape:
        raise MeasurementError(
            "kernels of different rows", where=where, got=f"{list(K.shape)} and {list(L.shape)}"
        )


def _log_interval(value: float, left: Tensor, rounding: float, where: str) -> tuple[float, float]:
    """Of a positive ratio, from its values without each input; none where rounding is all there is."""
    if value <= rounding:
        return value, value
    # Where sums over the others are the rounding of those over all, `left` is noise.
    if not bool((left.isfinite() & (left > 1e-8 * value)).all()):
        raise _carried(where)
    theta, n = left.log(), len(left)
    centre, half = n * math.log(value) - (n - 1) * theta.mean().item(), _half_width(theta)
    return math.exp(min(centre - half, 700)), math.exp(min(centre + half, 700))


def _carried(where: str) -> MeasurementError:
    return MeasurementError(
        "one row carries a whole kernel, or all that changed",
        where=where,
        got="nothing left without it",
        do="add rows",
    )


def _half_width(left: Tensor) -> float:
    """Student's t of n - 1 times the jackknife's standard error (Tukey 1958), of the values without each input."""
    from scipy import stats  # measuring runs do without it

    n = len(left)
    se = math.sqrt((n - 1) / n * (left - left.mean()).square().sum().item())
    return float(stats.t.ppf(0.975, n - 1)) * se


def _permuted(A: Tensor, B: Tensor, outputs: int) -> float:
    """E sum A_ij B_pi(i)pi(j), input i with all its outputs: diagonal blocks meet diagonal blocks."""
    n = len(A) // outputs
    a, b = A.reshape(n, outputs, n, outputs), B.reshape(n, outputs, n, outputs)
    index = torch.arange(n, device=A.device)
    inner_a, inner_b = a[index, :, index].sum(0), b[index, :, index].sum(0)
    outer_a, outer_b = a.sum((0, 2)) - inner_a, b.sum((0, 2)) - inner_b
    return ((inner_a * inner_b).sum() / n + (outer_a * outer_b).sum() / (n * (n - 1))).item()


def _alignment(A: Tensor, B: Tensor, centred: bool, where: str) -> KernelEstimate:
    """<A, B> of two unit kernels, its mean under permutations, and its jackknife over rows."""
    n = len(A)

    def without(X: Tensor, Y: Tensor) -> Tensor:
        """<X, Y> of the kernels that lack one input, centred anew."""
        left = _without_each(X * Y, 1)
        if centred:
            # Rows of a centred X sum to 0; without input i they sum to -X_ij, and all of it to X_ii.
            own = X.diagonal() * Y.diagonal()
            left = left - 2 / (n - 1) * ((X * Y).sum(1) - own) + own / (n - 1) ** 2
        return left

    value = (A * B).sum().item()
    left = without(A, B) / (without(A, A) * without(B, B)).sqrt()
    if not bool(torch.isfinite(left).all()):
        raise _carried(where)
    half = _half_width(left)
    return KernelEstimate(value, _permuted(A, B, 1), value - half, value + half, n)
