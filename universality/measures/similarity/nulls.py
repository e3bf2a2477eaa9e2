"""What similarities are by chance: moments over all pairings of the rows in closed form, and the maximum
over pairs of representations.

n: rows. a, b: numbers of representations. K, L: their Gram matrices, centred. p: a random permutation.

**Moments.** The statistics here are T = sum over i, j of K_ij L_p(i)p(j). The permutations of rows act on
the n x n matrices; split those into irreducible parts V, of which no two that occur are equivalent. By
Schur's lemma the mean over p of <K_V, p L_V>^2 is |K_V|^2 |L_V|^2 / dim V, and different parts are
uncorrelated, so that

    mean T = the product of the parts that all permutations fix,
    var T = sum over the other parts of |K_V|^2 |L_V|^2 / dim V.

Centred symmetric matrices have three parts: tr K / (n-1) times the centring matrix; what the squared norms
of rows r determine, of squared norm v = n/(n-2) (r.r - (sum r)^2 / n) and dimension n-1; and matrices with
zero diagonal and zero row sums, of squared norm u (that of `debiased_cka`) and dimension n (n-3) / 2.
The result is that of Kazi-Aoual et al. 1995.

The distribution itself is skewed, the more the fewer directions carry the features: read z as a distance
in standard deviations, and take p-values from permutations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from universality.errors import MeasurementError
from universality.measures.ambient import measure
from universality.measures.features import Null, centred, scaled
from universality.measures.similarity.cka import Alignments, alignments
from universality.measures.similarity.neighbours import check_neighbours, neighbours_of_all, overlaps

PAIRS = 2**18
"""Pairs of rows whose entries are gathered at a time."""


@dataclass(frozen=True, slots=True)
class NullMatrix:
    """A similarity of all pairs, with its mean and standard deviation over random pairings of the rows."""

    value: Float[Tensor, "a b"]
    mean: Float[Tensor, "a b"]
    std: Float[Tensor, "a b"]

    @property
    def z(self) -> Float[Tensor, "a b"]:
        """(value - mean) / std; infinite or NaN where every pairing gives one value."""
        return (self.value - self.mean) / self.std


@measure
def cka_null(
    Xs: Sequence[Float[Tensor, "n _"]],
    Ys: Sequence[Float[Tensor, "n _"]] | None = None,
    *,
    debiased: bool = True,
    dtype: torch.dtype | None = None,
) -> NullMatrix:
    """`cka_matrix` with the exact mean and standard deviation of each entry over all n! pairings.

    - debiased: mean 0, standard deviation sqrt(2 / (n (n-3))), whatever the features.
    - biased: mean tr K tr L / ((n-1) |K|_F |L|_F), variance
      (v_K v_L / (n-1) + 2 u_K u_L / (n (n-3))) / (|K|_F^2 |L|_F^2).

    Cost, errors and `dtype`: `cka_matrix`.

    Source: Kazi-Aoual et al. 1995 (Computational Statistics and Data Analysis 20), derived above.

    >>> X = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    >>> null = cka_null([X], [X + 1])
    >>> null.mean.item(), round(null.std.item(), 6), round(null.z.item(), 2)
    (0.0, 0.014359, 69.64)
    """
    found = alignments(Xs, Ys, dtype=dtype, where="cka_null")
    n = found.r.shape[1]
    if debiased:
        value = found.debiased().cpu()
        return NullMatrix(value, torch.zeros_like(value), torch.full_like(value, (2 / (n * (n - 3))) ** 0.5))
    return _biased_null(found)


def _biased_null(found: Alignments) -> NullMatrix:
    n, s = found.r.shape[1], found.r.sum(1)
    total = found.inner()[1]
    v = n / (n - 2) * (found.r - s[:, None] / n).square().sum(1)
    trace, v, u = s / total.sqrt(), v / total, found.own / total
    mean = torch.outer(trace[found.left], trace[found.right]) / (n - 1)
    variance = torch.outer(v[found.left], v[found.right]) / (n - 1)
    variance += 2 / (n * (n - 3)) * torch.outer(u[found.left], u[found.right])
    return NullMatrix(found.biased().cpu(), mean.cpu(), variance.sqrt().cpu())


@measure
def neighbour_null(first: Int[Tensor, "n k"], second: Int[Tensor, "n k"]) -> Null:
    """Exact mean and standard deviation of `neighbour_overlap` over all n! pairings of the rows.

    The overlap is T / (n k) of the 0/1 matrices A of "j is among the neighbours of i". Less its mean,
    such a matrix has zero diagonal and zero row sums, and three parts: with g the number of rows that
    have j as a neighbour, less k, and m the number of mutual neighbours (i of j and j of i),

        in-degrees       c = (n-1) / (n (n-2)) g.g,                       dimension n-1,
        symmetric        (t + w) / 2,                                     dimension n (n-3) / 2,
        antisymmetric    (t - w) / 2,                                     dimension (n-1) (n-2) / 2,

    t = n k (1 - k/(n-1)) - c, w = m - n k^2 / (n-1) - g.g / (n (n-2)). The mean is k/(n-1).

    Cost: n k log(n k).

    Raises:
        MeasurementError: different shapes, fewer than 4 rows, rows that do not list k different others.

    Source: derived at the top of this module, as Kazi-Aoual et al. 1995 for symmetric matrices.

    >>> ring = torch.stack([torch.arange(1, 9) % 8, torch.arange(-1, 7) % 8], 1)
    >>> null = neighbour_null(ring, ring)
    >>> round(null.mean, 6), round(null.std, 6)  # 2/7; sqrt(5) / 14
    (0.285714, 0.159719)
    """
    n, k = first.shape
    if first.shape != second.shape or n < 4:
        raise MeasurementError(
            "no null of these neighbours",
            where="neighbour_null",
            got=f"{list(first.shape)} and {list(second.shape)}",
            expected="one shape, at least 4 rows",
        )
    for neighbours in (first, second):
        check_neighbours(neighbours, "neighbour_null")
    (c1, s1, a1), (c2, s2, a2) = _parts(first), _parts(second)
    variance = c1 * c2 / (n - 1) + 2 * s1 * s2 / (n * (n - 3)) + 2 * a1 * a2 / ((n - 1) * (n - 2))
    return Null(k / (n - 1), math.sqrt(variance) / (n * k))


def _parts(neighbours: Tensor) -> tuple[float, float, float]:
    """Squared norms of the three parts that permutations move."""
    n, k = neighbours.shape
    g2 = (neighbours.flatten().bincount(minlength=n) - k).double().square().sum().item()
    row = torch.arange(n, device=neighbours.device)[:, None].expand(n, k)
    edges, reversed_edges = (row * n + neighbours).flatten(), (neighbours * n + row).flatten()
    mutual = int(torch.isin(edges, reversed_edges).sum())
    c = (n - 1) / (n * (n - 2)) * g2
    t = n * k * (1 - k / (n - 1)) - c
    w = mutual - n * k * k / (n - 1) - g2 / (n * (n - 2))
    return c, max(0.0, (t + w) / 2), max(0.0, (t - w) / 2)  # 0 up to rounding where a part is absent


@measure
def mutual_knn_null(
    Xs: Sequence[Float[Tensor, "n _"]], Ys: Sequence[Float[Tensor, "n _"]] | None = None, k: int = 10
) -> NullMatrix:
    """`mutual_knn_matrix` with `neighbour_null` of each entry.

    Cost: `mutual_knn_matrix`, and `neighbour_null` of each of the pairs.

    Raises:
        MeasurementError: as `mutual_knn_matrix`.

    Source: Kazi-Aoual et al. 1995, extended to directed neighbours at the top of this module.

    >>> X = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    >>> null = mutual_knn_null([X], [X])
    >>> null.value.item(), round(null.mean.item(), 6), null.z.item() > 50
    (1.0, 0.10101, True)
    """
    first, second = neighbours_of_all(Xs, Ys, k, "mutual_knn_null")
    nulls = [[neighbour_null(one, two) for two in second] for one in first]
    mean, std = (
        torch.tensor(
            [[getattr(null, name) for null in row] for row in nulls], dtype=torch.float64, device="cpu"
        )
        for name in ("mean", "std")
    )
    return NullMatrix(overlaps(first, second), mean, std)


@dataclass(frozen=True, slots=True)
class MaxNull:
    """The largest similarity of any X with any Y, against the largest under random pairings of the rows.

    One pairing serves all pairs of representations, so the dependence between layers of one network is
    that of the data. scores: the similarities. maxima: the largest one of each permutation, as drawn.
    """

    scores: Float[Tensor, "a b"]
    maxima: Float[Tensor, " permutations"]

    @property
    def observed(self) -> float:
        return self.scores.max().item()

    @property
    def p_value(self) -> float:
        """(1 + number of permutations that reach the observed maximum) / (1 + permutations)."""
        return self.adjusted.min().item()

    @property
    def adjusted(self) -> Float[Tensor, "a b"]:
        """The p-value of each pair, adjusted for the choice among all of them (Westfall and Young 1993)."""
        # A permutation that changes nothing must count in spite of rounding.
        reached = (self.maxima >= self.scores[..., None] - 1e-6).sum(-1)
        return (1 + reached).double() / (1 + len(self.maxima))

    def quantile(self, level: float) -> float:
        """Of the maxima: the score that chance exceeds with probability 1 - level.

        Raises:
            MeasurementError: a level outside [0, 1), or beyond what so few permutations can tell.
        """
        if not 0 <= level < 1 or (1 + len(self.maxima)) * (1 - level) < 1 - 1e-9:
            raise MeasurementError(
                "a quantile that these permutations do not show",
                where="MaxNull.quantile",
                got=f"level {level} of {len(self.maxima)} permutations",
                expected="0 <= level <= permutations / (1 + permutations)",
            )
        return self.maxima.quantile(level).item()


@measure
@torch.no_grad()
def max_cka_null(
    Xs: Sequence[Float[Tensor, "n _"]],
    Ys: Sequence[Float[Tensor, "n _"]],
    permutations: int,
    generator: torch.Generator,
) -> MaxNull:
    """The null of the maximum of the debiased CKA over all pairs. All pairs have one null standard
    deviation (`cka_null`), so the largest score is the most significant one too.

    Cost: permutations times n^2 b / 2 numbers gathered (each as dear as 20 multiplications) and n^2 a b / 2
    multiplications; or, where that is less, n (sum of d1) (sum of d2) multiplications and n (sum of d2) numbers
    copied, each as dear as about 100. Memory: 4 n^2 (a/2 + b) bytes; or 8 n (sum of widths). Errors of the
    maxima below 1e-6.

    Raises:
        MeasurementError: as `cka_matrix`; no permutation.

    Source: Westfall and Young 1993 (the maximum over pairs).

    >>> X = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    >>> null = max_cka_null([X, X[:, :1]], [X, X[:, 1:]], 99, torch.Generator().manual_seed(1))
    >>> round(null.observed, 6), null.p_value, 0.01 < null.quantile(0.95) < 0.1
    (1.0, 0.01, True)
    """
    found = alignments(Xs, Ys, dtype=torch.float64, where="max_cka_null")
    scores = found.debiased()
    orders = _orders(len(Xs[0]), permutations, generator, "max_cka_null").to(scores.device)
    n, a, b = len(Xs[0]), len(Xs), len(Ys)
    by_features = 2 * sum(X.shape[1] for X in Xs) * sum(Y.shape[1] for Y in Ys) <= n * b * (a + _GATHER)
    maxima = (_feature_maxima if by_features else _gram_maxima)(Xs, Ys, orders)
    return MaxNull(scores.cpu(), maxima.cpu())


@measure
@torch.no_grad()
def max_knn_null(
    Xs: Sequence[Float[Tensor, "n _"]],
    Ys: Sequence[Float[Tensor, "n _"]],
    permutations: int,
    generator: torch.Generator,
    k: int = 10,
) -> MaxNull:
    """The null of the maximum of the mutual kNN over all pairs.

    Cost: neighbours once, as `mutual_knn_matrix`; for all permutations, permutations n k a b look-ups. Memory: n^2 bytes, and 8 n b k.

    Raises:
        MeasurementError: as `mutual_knn_matrix`; no permutation.

    Source: Westfall and Young 1993 (the maximum over pairs).

    >>> X = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    >>> null = max_knn_null([X, X[:, :2]], [X, X[:, 1:]], 99, torch.Generator().manual_seed(1))
    >>> null.observed, null.p_value, null.quantile(0.95) < 0.3
    (1.0, 0.01, True)
    """
    first, second = neighbours_of_all(Xs, Ys, k, "max_knn_null")
    n = len(Xs[0])
    orders = _orders(n, permutations, generator, "max_knn_null").to(Xs[0].device)
    others = torch.stack(second)
    best = torch.zeros(permutations, dtype=torch.long, device=orders.device)
    for own in first:
        member = torch.zeros(n, n, dtype=torch.bool, device=own.device)
        member.scatter_(1, own, True)
        for at, order in enumerate(orders):
            # Row i is paired with row p(i) of Y; a neighbour of that is paired with the inverse of p.
            moved = order.argsort()[others[:, order]]
            common = member.gather(1, moved.movedim(0, 1).flatten(1)).view(n, len(Ys), k).sum((0, 2))
            best[at] = torch.maximum(best[at], common.max())
    return MaxNull(overlaps(first, second), (best.double() / (n * k)).cpu())


_GATHER = 20
"""Cost of gathering a number, in multiplications."""


def _feature_maxima(Xs: Sequence[Tensor], Ys: Sequence[Tensor], orders: Tensor) -> Tensor:
    """Largest debiased CKA after each permutation, from u as in `debiased_cka`."""
    (A, r, widths, own), (B, t, others, own_others) = (_joined(side) for side in (Xs, Ys))
    n = len(A)
    bias = torch.outer(r.sum(1), t.sum(1)) / ((n - 1) * (n - 2))
    maxima = []
    for order in orders:
        squares = (A.T @ B[order]).square()
        inner = torch.stack([part.sum(0) for part in torch.split(squares, widths)])
        inner = torch.stack([part.sum(1) for part in torch.split(inner, others, 1)], 1)
        u = inner - n / (n - 2) * (r @ t[:, order].T) + bias
        maxima.append((u / torch.outer(own, own_others).sqrt()).max())
    return torch.stack(maxima)


def _joined(Xs: Sequence[Tensor]) -> tuple[Tensor, Tensor, list[int], Tensor]:
    """Centred features side by side at mean square 1, norms of their rows, widths, and u of each with itself."""
    parts = [scaled(centred(X)) for X in Xs]
    r = torch.stack([part.square().sum(1) for part in parts])
    n, s = len(parts[0]), r.sum(1)
    inner = torch.stack([(part.T @ part).square().sum() for part in parts])
    own = inner - n / (n - 2) * r.square().sum(1) + s * s / ((n - 1) * (n - 2))
    return torch.cat(parts, 1), r, [part.shape[1] for part in parts], own


def _gram_maxima(Xs: Sequence[Tensor], Ys: Sequence[Tensor], orders: Tensor) -> Tensor:
    """The same from matrices without diagonal and row sums, whose entries move with the rows."""
    n = len(Xs[0])
    rows, columns = torch.triu_indices(n, n, 1, device=orders.device)
    # [pairs of rows, representations]: one gather moves the entries of all the Ys.
    K = torch.stack([_scored(X)[rows, columns] for X in Xs], 1)
    L = torch.stack([_scored(Y).flatten() for Y in Ys], 1)
    maxima = []
    for order in orders:
        total = torch.zeros(len(Xs), len(Ys), dtype=torch.float64, device=orders.device)
        for start in range(0, len(rows), PAIRS):
            piece = slice(start, start + PAIRS)
            moved = L[order[rows[piece]] * n + order[columns[piece]]]
            total += 2 * (K[piece].T @ moved).double()
        maxima.append(total.max())
    return torch.stack(maxima)


def _scored(X: Tensor) -> Tensor:
    """K~ of `cka_matrix`, [n, n] at Frobenius norm 1, in float32."""
    A = scaled(centred(X))
    n, r = len(A), A.square().sum(1)
    q = (r - r.sum() / (2 * (n - 1))) / (n - 2)
    K = A @ A.T + q + q[:, None]
    K.fill_diagonal_(0)
    unit: Tensor = (K / K.norm()).float()
    return unit


def _orders(
    n: int, permutations: int, generator: torch.Generator, where: str
) -> Int[Tensor, "permutations n"]:
    if permutations < 1:
        raise MeasurementError(
            "a null needs permutations", where=where, got=str(permutations), expected=">= 1"
        )
    return torch.stack(
        [torch.randperm(n, generator=generator, device=generator.device) for _ in range(permutations)]
    )
