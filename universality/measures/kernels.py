"""Tangent kernels of a network, and how kernels move and align with targets.

n: rows. C: outputs of a row, flattened. k: targets. p: trainable parameters. J [n C p]: the Jacobian of
the outputs. Kernels are float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import TypeGuard

import torch
from jaxtyping import Float, Real, Shaped
from torch import Tensor, nn

from universality.errors import MeasurementError, NotFinite
from universality.measures.ambient import measure
from universality.measures.features import largest_entry
from universality.measures.network.gradients import gradients_of
from universality.measures.network.preserved import preserved

ROUNDING = {torch.float32: 2.0**-24, torch.float64: 2.0**-53}
"""Largest relative error of a rounded number, of the precisions that kernels may have."""

CARRIED = 1e-3
"""Rounding over what is left of the numbers that were rounded, at most."""


@dataclass(frozen=True, slots=True)
class KernelEstimate:
    """A number of the n inputs that were used, and what they say of infinitely many.

    value: the published definition, for these very inputs.
    chance: its mean with the inputs of one side permuted (of `kernel_change`, the root mean square).
    debiased: the same ratio of sums over pairs of different inputs alone: the estimate for infinitely many.
    low, high: the 95 % interval for infinitely many, about `debiased`: delete-one jackknife over
        inputs (Tukey 1958), Student's t of n - 1.
    rows: n.
    unknown: why there is no interval (high is infinite, `debiased` NaN where there is none either), else "".

    `value` has the n pairs of an input with itself too, which infinitely many inputs do not show. What they
    add is of order 1/n, times the mean of K_ii^2 over that of K_ij^2: little where few directions dominate the
    kernel, nearly all where directions are as many as inputs. There `value` may lie outside the interval,
    and of independent kernels an alignment is near `chance`, `debiased` near 0.

    The jackknife's variance is too large on average, up to twofold where single inputs do not differ and
    only pairs do (Efron and Stein 1981): coverage there is nearer 99 % than 95 %.
    """

    value: float
    chance: float
    debiased: float
    low: float
    high: float
    rows: int
    unknown: str = ""


@measure
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


@measure
def trace_ntk(network: nn.Module, inputs: Shaped[Tensor, "n ..."], batch: int = 256) -> Float[Tensor, "n n"]:
    """K[i, j] = sum_a J_ia . J_ja, the trace over outputs of `empirical_ntk`, not divided by C.

    Cost, memory and errors: as `empirical_ntk`, with n^2 C p operations and n^2 float64.

    Source: as `empirical_ntk`.

    >>> network = torch.nn.Linear(2, 3, bias=False).eval()
    >>> trace_ntk(network, torch.tensor([[1.0, 2.0], [3.0, 0.0]])).tolist()  # C X X^T
    [[15.0, 9.0], [9.0, 27.0]]
    """
    return _contract(network, inputs, batch, lambda J: J.flatten(1))


@measure
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


@measure
def kernel_distance(K: Float[Tensor, "N N"], L: Float[Tensor, "N N"], outputs: int = 1) -> KernelEstimate:
    """1 - <K, L> / (|K| |L|), Frobenius: 0 for proportional kernels, 1 for orthogonal ones.

    Computed as |K/|K| - L/|L||^2 / 2, which keeps the digits of small distances.

    `debiased` is the same of sums over i != j, each of which is unbiased for infinitely many inputs. The
    interval is that of its logarithm: with theta_i the logarithm where input i is left out,

        debiased exp(+- t se),    se^2 = (n-1)/n sum (theta_i - mean theta)^2,

    or from 0 to the rounding of the kernels where the distance is below it.

    Simulated coverage at a nominal 95 %, weights moved by a tenth and by all, 10, 50 and 200 inputs: linear kernels
    of isotropic Gaussian rows of 10 to 500 features, 96 to 99.6 % (by `value`, it would be 0 to 20 % from 100
    features on); of a layer of ReLUs, 95 to 99 % of Gaussian rows and such of heavy-tailed norms, 91 to 96 % of
    clustered ones (91 % for 10 inputs: a cluster that is not drawn shows nowhere); 96 % with 3 outputs.

    Args:
        outputs: rows of the kernel that belong to one input (C for `empirical_ntk`): the jackknife
            and the permutations move them together, and two of them are no pair of different inputs.

    Cost: O(N^2).

    Raises:
        MeasurementError: kernels of different sizes or fewer than three inputs, not float32 or float64, not
            symmetric, not finite, zero. No error but an estimate that is `unknown`: three inputs, no two
            that overlap beyond rounding, or none without one of them.

    Source: Fort et al. 2020, arXiv:2010.15110; of `debiased`, Hoeffding 1948 (Annals of Mathematical Statistics 19).

    >>> K = torch.eye(3) + 1
    >>> kernel_distance(K, 2 * K).value, round(kernel_distance(torch.eye(3), torch.ones(3, 3)).value, 6)
    (0.0, 0.42265)
    >>> X = torch.randn(60, 100, generator=torch.Generator().manual_seed(0))
    >>> found = kernel_distance(X * torch.linspace(1, 1.2, 100) @ X.T, X @ X.T)  # of infinitely many: 0.0014
    >>> [float(f"{number:.2g}") for number in (found.value, found.debiased, found.low, found.high)]
    [0.00055, 0.0015, 0.0013, 0.0017]
    """
    where = "kernel_distance"
    (A, _), (B, _) = _kernel(K, outputs, where), _kernel(L, outputs, where)
    _same_rows(K, L, where)
    outputs = int(outputs)  # of numpy, too
    A, B = A / A.norm(), B / B.norm()
    value, chance = (A - B).square().sum().item() / 2, 1 - _permuted(A, B, outputs)
    u, v = ROUNDING[K.dtype], ROUNDING[L.dtype]
    pairs = _pairs(A, outputs, u * _trace(A)), _pairs(B, outputs, v * _trace(B))
    return _estimate(
        value,
        chance,
        len(A) // outputs,
        _distance(*pairs, outputs) if _held(pairs) else None,
        floor=100 * max(u, v) ** 2,
    )


@measure
def kernel_change(
    K: Float[Tensor, "N N"], reference: Float[Tensor, "N N"], outputs: int = 1
) -> KernelEstimate:
    """|K - K_0| / |K_0|, Frobenius: unlike `kernel_distance` it sees a change of scale, and can exceed 1.

    Falls as 1/alpha in the lazy regime. `debiased` and the interval are as of `kernel_distance`; the
    interval has no width where the scale alone changed. Simulated coverage at 95 %, as there: 95 to 99.6 % of linear
    kernels; of ReLUs 94 to 99 % of Gaussian and heavy-tailed rows, 92 to 97 % of clustered ones, 95 % with 3 outputs.

    Args:
        outputs: as for `kernel_distance`.

    Cost: O(N^2).

    Raises:
        MeasurementError: as `kernel_distance`, and a change of more than 1e300. `unknown`: as there.

    Source: Chizat et al. 2019, arXiv:1812.07956; of `debiased`, as `kernel_distance`.

    >>> found = kernel_change(3 * torch.eye(4) + 3, torch.eye(4) + 1)
    >>> found.value, round(found.debiased, 6)
    (2.0, 2.0)
    """
    where = "kernel_change"
    (B, f), (A, e) = _kernel(reference, outputs, where), _kernel(K, outputs, where)
    _same_rows(K, reference, where)
    outputs = int(outputs)  # of numpy, too
    moved, g = _scaled(A * 2.0 ** min(e - f, 0) - B * 2.0 ** min(f - e, 0))
    g += max(e - f, 0)
    if max(g, e - f) > 1000:
        raise MeasurementError("a change beyond the range of numbers", where=where, got=f"about 2^{g}")
    factor, size = 2.0**g, B.norm()
    value = factor * (moved.norm() / size).item()
    # Over permutations p, E |pK - K_0|^2 = |K|^2 + |K_0|^2 - 2 E <pK, K_0>.
    grown = 2.0 ** (e - f) * (A.norm() / size).item()
    one = max(grown, 1.0)
    cross = grown / one / one * _permuted(A / A.norm(), B / size, outputs)
    chance = one * math.sqrt(max(0.0, (grown / one) ** 2 + (1 / one) ** 2 - 2 * cross))
    u = max(ROUNDING[K.dtype], ROUNDING[reference.dtype])
    kept, changed = _pairs(B, outputs, u * _trace(B)), _between(moved, outputs)
    return _estimate(
        value,
        chance,
        len(A) // outputs,
        None if kept is None else _change(changed, kept, outputs, factor),
        floor=10 * u,
    )


@measure
def target_alignment(
    K: Float[Tensor, "n n"], targets: Real[Tensor, "n k"], centred: bool = True
) -> KernelEstimate:
    """<K, Y Y^T> / (|K| |Y Y^T|), Frobenius, with both sides centred (H K H, H = I - 1 1^T / n) by default.

    Centring takes off what a constant shared by all rows contributes, and with it most of the value
    for networks with positive features; uncentred it is the alignment of Cristianini et al. 2001.

    `value` is biased upwards like any ratio with a diagonal, to `chance` where targets mean nothing to the
    kernel. `debiased` is u_KL / sqrt(u_KK u_LL), as of `debiased_cka`; uncentred, the same ratio of sums
    over i != j. It may be negative, and is near 0 by chance. With K~ of zero diagonal and zero row sums,

        u_KL = sum K~_ij L~_ij,    without input i: u_KL - 2 (n-2)/(n-3) sum_j K~_ij L~_ij,

    and the interval is debiased +- t se, not clamped.

    Simulated coverage at 95 %, 10, 50 and 200 rows: linear kernels of isotropic Gaussian rows of 10 to 500 features,
    96 to 100 % for two classes by the sign of one feature, 98 to 99.6 % (where the interval has 0) for classes
    that mean nothing. Of a layer of ReLUs and four unequal classes, 92 to 97 % of Gaussian clusters; with
    heavy-tailed norms (Student's t of 5) 90 to 94 % uncentred, and centred **81 to 86 %**, for 200 rows
    too, and what misses lies above. Of 10 rows in two classes by chance, 12 % have no interval.

    Args:
        targets: one-hot classes or regression targets.

    Cost: O(n^2 k).

    Raises:
        MeasurementError: rows that do not match, fewer than four (three uncentred), a kernel that is not
            float32 or float64, not symmetric or not finite, complex targets or such of half precision, a
            kernel or targets that are zero or, centred, below a thousand times their rounding. `unknown`, as
            `kernel_distance`: four rows (three uncentred), and classes without pairs: all but one row in one
            class, or after one row is left out.

    Source: Cortes, Mohri and Rostamizadeh 2012 (JMLR 13); of `debiased`, Song et al. 2012 (JMLR 13), in the
    form of Szekely and Rizzo 2014, arXiv:1310.2926.

    >>> y = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]])
    >>> round(target_alignment(y @ y.T + 5, y).value, 6), round(target_alignment(y @ y.T + 5, y, centred=False).value, 6)
    (1.0, 0.196116)
    >>> target_alignment(y @ y.T + 5, y).unknown
    'too few inputs to leave one out'
    >>> X = torch.randn(60, 100, generator=torch.Generator().manual_seed(0))
    >>> found = target_alignment(X @ X.T, X[:, :1].sign())  # of infinitely many: 0.064
    >>> [round(number, 3) for number in (found.value, found.chance, found.debiased, found.low, found.high)]
    [0.137, 0.104, 0.055, -0.015, 0.126]
    """
    where = "target_alignment"
    A, _ = _kernel(K, 1, where, least=4 if centred else 3)
    Y, precision = _targets(targets, A, where)
    u, v = ROUNDING[K.dtype], ROUNDING[precision]
    whole, trace = A, _trace(A)
    if centred:
        A = A - A.mean(0)
        A = A - A.mean(1, keepdim=True)
    # Centring is a projection: it leaves of the rounding u |K| of the entries at most that much.
    _spread(A, whole, u, where)
    centre = Y - Y.mean(0) if centred else Y
    _spread(centre, Y, v, where)
    B = centre @ centre.T
    trace, A, B = trace / A.norm().item(), A / A.norm(), B / B.norm()
    pairs = _pairs(A, 1, u * trace, centred), _pairs(B, 1, v * _trace(B), centred)
    return _estimate(
        (A * B).sum().item(),
        _permuted(A, B, 1),
        len(A),
        _alignment(*pairs, centred) if _held(pairs) else None,
        positive=False,
        fewest=5 if centred else 4,
    )


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
        raise NotFinite("gradients are not finite", where="empirical_ntk", got="NaN or infinity")
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
        keep = index + 1 < len(targets)
        found = gradients_of(target, parameters, "empirical_ntk", keep=keep)
        # An output need not depend on every parameter: of those that none does the kernel knows nothing.
        yield tuple(torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True))


def _kernel(K: object, outputs: object, where: str, least: int = 3) -> tuple[Tensor, int]:
    """A and e, K = 2^e A in float64, of a kernel of at least that many inputs."""
    if not isinstance(outputs, Integral):
        raise MeasurementError(
            "outputs of an input are counted", where=where, got=repr(outputs), expected="a whole number, >= 1"
        )
    if not isinstance(K, Tensor) or K.dtype not in ROUNDING:
        raise MeasurementError(
            "not a kernel of a precision that is compared",
            where=where,
            got=str(K.dtype) if isinstance(K, Tensor) else type(K).__name__,
            expected="a tensor, float32 or float64",
        )
    square = K.ndim == 2 and K.shape[0] == K.shape[1] and int(outputs) >= 1 and len(K) % int(outputs) == 0
    if not square or len(K) // int(outputs) < least:
        raise MeasurementError(
            "not a kernel of enough rows",
            where=where,
            got=f"{list(K.shape)} with {outputs} outputs",
            expected=f"a square matrix of at least {least} inputs",
        )
    if not bool(torch.isfinite(K).all()):
        raise NotFinite("kernel is not finite", where=where, got="NaN or infinity")
    A, e = _scaled(K.detach().double())
    # Transposed by a copy in blocks: differences across the stride of a large K miss every cache.
    asymmetry, size = (A - A.T.contiguous()).abs().max(), largest_entry(A)
    if not bool(asymmetry <= 1e-4 * size):
        raise MeasurementError(
            "a kernel is symmetric",
            where=where,
            got=f"|K - K^T| up to {asymmetry.item() / size:.3g} of the largest entry",
        )
    _spread(A, A, 0.0, where)
    return A, e


def _targets(targets: object, K: Tensor, where: str) -> tuple[Tensor, torch.dtype]:
    """Targets in float64 with the largest about 1, and the precision of what they were."""
    refused = (torch.float16, torch.bfloat16)
    if not isinstance(targets, Tensor) or targets.is_complex() or targets.dtype in refused:
        raise MeasurementError(
            "targets of another kind than is compared",
            where=where,
            got=str(targets.dtype) if isinstance(targets, Tensor) else type(targets).__name__,
            expected="a tensor, float32, float64 or of whole numbers",
        )
    fitting = targets.ndim == 2 and targets.shape[1] > 0 and len(targets) == len(K)
    if not fitting or not bool(torch.isfinite(targets).all()):
        raise MeasurementError(
            "targets do not match the kernel",
            where=where,
            got=f"kernel {list(K.shape)}, targets {list(targets.shape)}",
            expected="finite targets [n, k] for a kernel [n, n]",
        )
    precision = targets.dtype if targets.dtype in ROUNDING else torch.float64
    return _scaled(targets.detach().double())[0], precision


def _scaled(A: Tensor) -> tuple[Tensor, int]:
    """A / 2^e with the largest entry about 1, and e: fourth powers stay in range, and no digit is lost."""
    e = max(-1000, min(1000, math.frexp(largest_entry(A))[1]))
    return A * 2.0**-e, e


def _spread(A: Tensor, whole: Tensor, u: float, where: str) -> None:
    """Raise unless A, a part of rounded numbers, is more than their rounding."""
    norm, rounding = A.norm().item(), u * whole.norm().item()
    if not CARRIED * norm > rounding:
        raise MeasurementError(
            "a kernel without spread has no direction",
            where=where,
            got=f"norm {norm:.3g}, rounding up to {rounding:.3g}, largest entry scaled to 1",
            do="check for constant features or targets; take off a common offset before the kernel is formed",
        )


def _same_rows(K: Tensor, L: Tensor, where: str) -> None:
    if K.shape != L.shape:
        raise MeasurementError(
            "kernels of different rows", where=where, got=f"{list(K.shape)} and {list(L.shape)}"
        )


def _trace(A: Tensor) -> float:
    """sum |K_ii|: what an entry is rounded to goes by K_ii and K_jj, and sum_ij K_ii K_jj is its square."""
    return A.diagonal().abs().sum().item()


def _between(A: Tensor, outputs: int) -> Tensor:
    """The kernel with zeros where an input meets itself, any of its outputs."""
    n = len(A) // outputs
    index, A = torch.arange(n, device=A.device), A.clone()
    A.view(n, outputs, n, outputs)[index, :, index] = 0
    return A


def _pairs(A: Tensor, outputs: int, rounding: float, centred: bool = False) -> Tensor | None:
    """The pairs of different inputs, or None where they are no more than rounding.

    Centred, K~_ij = K_ij - k_i - k_j + s for i != j, with row sums that are 0 too.
    """
    P, n = _between(A, outputs), len(A)
    if centred:
        # n - 2: of the n - 1 pairs of i, s takes back one share.
        P -= P.sum(1, keepdim=True) / (n - 2) + P.sum(0) / (n - 2) - P.sum() / ((n - 1) * (n - 2))
        P.fill_diagonal_(0)
    return P if CARRIED * P.norm().item() > rounding else None


def _held(pairs: tuple[Tensor | None, Tensor | None]) -> TypeGuard[tuple[Tensor, Tensor]]:
    return pairs[0] is not None and pairs[1] is not None


def _of_each(product: Tensor, outputs: int) -> Tensor:
    """Of a symmetric matrix without pairs of an input with itself, the sum over those of each input, [n]."""
    P = product.reshape(len(product) // outputs, outputs, -1).sum((1, 2))
    Q = product.sum(0).reshape(-1, outputs).sum(1)
    return P + Q


def _without_each(product: Tensor, outputs: int) -> Tensor:
    """Sums of a matrix without one input, [n]."""
    return product.sum() - _of_each(product, outputs)


def _kept(squares: Tensor) -> Tensor:
    """Squared norms without each input, of norm 1 with it; NaN where all is gone and rounding is left."""
    return torch.where(squares > 1e-10, squares, math.nan)


def _distance(A: Tensor, B: Tensor, outputs: int) -> tuple[float, Tensor]:
    """The distance of the pairs of two kernels, and without each input."""
    A, B = A / A.norm(), B / B.norm()
    moved = A - B
    a, b = (_kept(_without_each(X.square(), outputs)).sqrt() for X in (A, B))
    # |a| |b| - <a, b> = (|a - b|^2 - (|a| - |b|)^2) / 2: nothing here is a difference of near equal sums.
    apart = _without_each(moved.square(), outputs)
    norms = _without_each(moved * (A + B), outputs) / (a + b)
    return moved.square().sum().item() / 2, (apart - norms.square()) / (2 * a * b)


def _change(moved: Tensor, B: Tensor, outputs: int, factor: float) -> tuple[float, Tensor]:
    """factor |moved| / |B|, and without each input."""
    size = B.norm()
    changed, kept = (_without_each(X.square(), outputs) for X in (moved / size, B / size))
    return factor * (moved.norm() / size).item(), factor * (changed.clamp_min(0) / _kept(kept)).sqrt()


def _alignment(A: Tensor, B: Tensor, centred: bool) -> tuple[float, Tensor]:
    """<A, B> at norm 1, and without each input.

    Centred: without input i, row j sums to -K_ij and all of it to 0. To make n - 1 rows sum to 0 again adds
    K_ij / (n - 3) to the entries of row and column j, which changes <K, L> by -2 / (n - 3) sum_j K_ij L_ij.
    """
    A, B, n = A / A.norm(), B / B.norm(), len(A)
    share = (n - 2) / (n - 3) if centred and n > 3 else 1.0

    def without(X: Tensor, Y: Tensor) -> Tensor:
        product = X * Y
        return product.sum() - share * _of_each(product, 1)

    left = without(A, B) / (_kept(without(A, A)) * _kept(without(B, B))).sqrt()
    return (A * B).sum().item(), left


def _estimate(
    value: float,
    chance: float,
    n: int,
    found: tuple[float, Tensor] | None,
    *,
    positive: bool = True,
    floor: float = 0.0,
    fewest: int = 4,
) -> KernelEstimate:
    """With the interval about an estimate, on the scale of logarithms where it is positive.

    found: the estimate and its values without each input. floor: what rounding makes of none.
    """
    from scipy import stats  # measuring runs do without it

    debiased, left = found or (math.nan, torch.empty(0, dtype=torch.float64, device="cpu"))
    low, high = 0.0 if positive else -math.inf, math.inf
    if found is None:
        unknown = "no two inputs that overlap beyond rounding"
    elif positive and debiased <= floor:
        return KernelEstimate(value, chance, debiased, 0.0, floor if debiased else 0.0, n)
    elif n < fewest:
        unknown = "too few inputs to leave one out"
    # Where sums over the others are the rounding of those over all, `left` is noise.
    elif not bool((left.isfinite() & (left > 1e-8 * debiased if positive else True)).all()):
        unknown = "one input carries all overlap of one side, or all that changed"
    else:
        theta = left.log() if positive else left
        se = math.sqrt((n - 1) / n * (theta - theta.mean()).square().sum().item())
        half = float(stats.t.ppf(0.975, n - 1)) * se
        if not positive:
            return KernelEstimate(value, chance, debiased, debiased - half, debiased + half, n)
        wide = math.exp(half) if half < 700 else math.inf
        return KernelEstimate(value, chance, debiased, debiased / wide, debiased * wide, n)
    return KernelEstimate(value, chance, debiased, low, high, n, unknown)


def _permuted(A: Tensor, B: Tensor, outputs: int) -> float:
    """E sum A_ij B_pi(i)pi(j), input i with all its outputs: diagonal blocks meet diagonal blocks."""
    n = len(A) // outputs
    a, b = A.reshape(n, outputs, n, outputs), B.reshape(n, outputs, n, outputs)
    index = torch.arange(n, device=A.device)
    inner_a, inner_b = a[index, :, index].sum(0), b[index, :, index].sum(0)
    outer_a, outer_b = a.sum((0, 2)) - inner_a, b.sum((0, 2)) - inner_b
    return ((inner_a * inner_b).sum() / n + (outer_a * outer_b).sum() / (n * (n - 1))).item()
