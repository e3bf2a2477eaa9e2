"""Canonical correlations and the similarities made of them: mean, singular-vector and projection-weighted.

n: rows. d1, d2: widths. p, q: numerical ranks of the centred features.

Two subspaces of dimensions p and q of the n-1 dimensions of centred columns meet in at least
p + q - (n-1): with n <= p + q, that many correlations are 1 whatever the features. Such input is
refused. Well above, chance is not 0 either: of independent features the mean square is
max(p, q) / (n - 1).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from universality.errors import MeasurementError
from universality.measures.ambient import measure
from universality.measures.features import BELOW_ROUNDING, centred, checked, in_range, listed


@measure
def canonical_correlations(X: Float[Tensor, "n d1"], Y: Float[Tensor, "n d2"]) -> Float[Tensor, " k"]:
    """Correlations of the min(p, q) pairs of canonical variates, falling, float64.

    The singular values of U^T V, with orthonormal bases U and V of the columns of the centred X and Y.
    Directions count up to the numerical rank: singular values above max(n, d) eps of the largest, eps
    that of the features' dtype, so that dead and duplicate units do not matter. Invariant to
    invertible linear maps within that.

    Cost: n (d1^2 + d2^2), float64.

    Raises:
        MeasurementError: n < 4 or n <= p + q (see above), rows that do not match, values that are not finite,
            constant features.

    Source: Hotelling 1936; Bjoerck and Golub 1973 (the computation).

    >>> t = torch.tensor([-3.0, -1.0, 1.0, 3.0])
    >>> x, y = torch.stack([t, t**2], 1), torch.stack([t + 4 * (t**2 - 5)], 1)
    >>> canonical_correlations(x, y).round(decimals=6).tolist()
    [1.0]
    """
    return _correlations(*_bases(X, Y, "canonical_correlations"))[1]


@measure
def mean_cca(X: Float[Tensor, "n d1"], Y: Float[Tensor, "n d2"]) -> float:
    """Mean canonical correlation, in [0, 1]. Cost and errors: `canonical_correlations`.

    Source: as `canonical_correlations`; as a similarity, Kornblith et al. 2019, arXiv:1905.00414.

    >>> x = torch.tensor([[-1.0, 1.0], [-1.0, -1.0], [1.0, 1.0], [1.0, -1.0], [0.0, 0.0]])
    >>> round(mean_cca(x, x @ torch.tensor([[1.0, 2.0], [3.0, 4.0]])), 6)
    1.0
    """
    return canonical_correlations(X, Y).mean().item()


@measure
def mean_cca_matrix(
    Xs: Sequence[Float[Tensor, "n _"]], Ys: Sequence[Float[Tensor, "n _"]]
) -> Float[Tensor, "a b"]:
    """`mean_cca` of every X with every Y, float64.

    Cost: as `canonical_correlations`. Each representation is decomposed once.

    Raises:
        MeasurementError: as `canonical_correlations`, for any pair; no representations, a tensor in place of a sequence.

    Source: as `mean_cca`.

    >>> x = torch.tensor([[-1.0, 1.0], [-1.0, -1.0], [1.0, 1.0], [1.0, -1.0], [0.0, 0.0]])
    >>> mean_cca_matrix([x, x[:, :1]], [x]).round(decimals=6).tolist()
    [[1.0], [1.0]]
    """
    where = "mean_cca_matrix"
    both = listed(Xs, Ys, where)
    checked(*both, where=where, least=4)
    bases = [_basis(in_range(X), where, 1.0) for X in both]
    left, right = bases[: len(Xs)], bases[len(Xs) :]
    values = [[_mean_of_bases(U, V, where) for V in right] for U in left]
    return torch.tensor(values, dtype=torch.float64, device="cpu")


@measure
def svcca(X: Float[Tensor, "n d1"], Y: Float[Tensor, "n d2"], variance: float = 0.99) -> float:
    """Mean canonical correlation of the leading principal components, the fewest that hold at least
    `variance` of each representation's variance. In [0, 1].

    Invariant to rotation, isotropic scaling and offsets; not to other invertible maps, which change
    what is kept. Cost: as `canonical_correlations`.

    Raises:
        MeasurementError: as `canonical_correlations`, for the components kept; a share outside (0, 1].

    Source: Raghu et al. 2017, arXiv:1706.05806.

    >>> x = torch.tensor([[-1.0, 1.0], [-1.0, -1.0], [1.0, 1.0], [1.0, -1.0], [0.0, 0.0]])
    >>> round(svcca(x, 5 * x.flip(1) + 1), 6)
    1.0
    """
    if not 0 < variance <= 1:
        raise MeasurementError(
            "a share of variance that keeps nothing", where="svcca", got=str(variance), expected="in (0, 1]"
        )
    return _correlations(*_bases(X, Y, "svcca", variance))[1].mean().item()


@measure
def pwcca(X: Float[Tensor, "n d1"], Y: Float[Tensor, "n d2"]) -> float:
    """Canonical correlations rho_i weighted by what their variates h_i carry of X:

        sum_i a_i rho_i / sum_i a_i,   a_i = sum over units j of |<h_i, x_j>|, x_j the centred columns of X.

    In [0, 1]. The weights are those of X: not symmetric. Where p > q only q variates exist, and the
    rest of X does not count. Invariant to invertible maps of Y, not of X.

    Cost and errors: `canonical_correlations`.

    Source: Morcos et al. 2018, arXiv:1806.05759.

    >>> x = torch.tensor([[-1.0, 1.0], [-1.0, -1.0], [1.0, 1.0], [1.0, -1.0], [0.0, 0.0]])
    >>> round(pwcca(x, x @ torch.tensor([[1.0, 2.0], [3.0, 4.0]])), 6)
    1.0
    """
    U, V = _bases(X, Y, "pwcca")
    left, rho = _correlations(U, V)
    weights = ((U @ left).T @ centred(X)).abs().sum(1)
    return ((weights * rho).sum() / weights.sum()).item()


def _correlations(U: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
    left, rho, _ = torch.linalg.svd(U.T @ V, full_matrices=False)
    return left, rho


def _bases(X: Tensor, Y: Tensor, where: str, variance: float = 1.0) -> tuple[Tensor, Tensor]:
    """Orthonormal bases of the columns, [n p] and [n q]."""
    checked(X, Y, where=where, least=4)
    X, Y = in_range(X), in_range(Y)
    U, V = _basis(X, where, variance), _basis(Y, where, variance)
    _check_rows(U, V, where)
    return U, V


def _mean_of_bases(U: Tensor, V: Tensor, where: str) -> float:
    _check_rows(U, V, where)
    return _correlations(U, V)[1].mean().item()


def _check_rows(U: Tensor, V: Tensor, where: str) -> None:
    (n, p), q = U.shape, V.shape[1]
    if n <= p + q:
        raise MeasurementError(
            "too few rows for canonical correlations: some are 1 whatever the features",
            where=where,
            got=f"{n} rows, ranks {p} and {q}",
            expected=f"more than {p + q} rows",
            do="use more inputs, svcca with fewer components, or debiased CKA",
        )


def _basis(X: Tensor, where: str, variance: float) -> Tensor:
    left, sizes, _ = torch.linalg.svd(centred(X), full_matrices=False)
    # Relative to the features as given: the rounding of a common offset is no direction either.
    floor = max(X.shape) * torch.finfo(X.dtype).eps * sizes[0]
    floor = torch.maximum(floor, max(torch.finfo(X.dtype).eps, BELOW_ROUNDING) * X.double().norm())
    rank = int((sizes > floor).sum())
    if rank == 0:
        raise MeasurementError(
            "constant features have no directions", where=where, got="rank 0", do="check for a dead layer"
        )
    if variance < 1:
        share = sizes[:rank].square().cumsum(0) / sizes[:rank].square().sum()
        rank = min(rank, int((share < variance).sum()) + 1)
    basis: Tensor = left[:, :rank]
    return basis
