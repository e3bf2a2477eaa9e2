"""Centred kernel alignment with the linear kernel, debiased by default.

n: rows. d1, d2: widths. a, b: numbers of representations. K, L: Gram matrices of centred features.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from universality.errors import MeasurementError, NotFinite
from universality.measures.ambient import measure
from universality.measures.features import (
    BELOW_ROUNDING,
    centred,
    checked,
    listed,
    mean_of_rows,
    no_spread,
    scaled,
    spread_out,
)

ROWS = 512
"""Rows of every representation that are held centred at a time by `cka_matrix`."""

TILE = 128
"""Columns of the Gram matrices that are held at a time; divides ROWS."""


SUM = 4096
"""Products that are summed in the precision of the tiles; sums of these are float64."""

FEW = 64
"""Rows below which products are float64 by default: rounding has too few entries to average out over."""


@measure
def gram(X: Float[Tensor, "n d"]) -> Float[Tensor, "n n"]:
    """The Gram matrix of the centred features, float64.

    Centring comes first: to centre the finished matrix would lose the digits of a common offset.

    Cost: n^2 d; memory n^2, both float64.

    Raises:
        MeasurementError: no rows, values that are not finite, half precision.

    Source: Kornblith et al. 2019, arXiv:1905.00414 (H K H of the linear kernel).

    >>> gram(torch.tensor([[1.0], [3.0]])).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    checked(X, where="gram")
    A = centred(X)
    return A @ A.T


@measure
def biased_cka(X: Float[Tensor, "n d1"], Y: Float[Tensor, "n d2"]) -> float:
    """|X^T Y|_F^2 / (|X^T X|_F |Y^T Y|_F), centred.

    Biased upwards: independent Gaussians of width d score about d/(n + d). In [0, 1].

    Cost: n (d1^2 + d2^2 + d1 d2), or n^2 (d1 + d2) with n^2 numbers where that is less; float64.

    Raises:
        MeasurementError: as `debiased_cka`.

    Source: Kornblith et al. 2019, arXiv:1905.00414.

    >>> X = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    >>> round(biased_cka(X, 3 * X.flip(1) + 7), 6), round(biased_cka(X, X[:, :1]), 6)
    (1.0, 0.707107)
    """
    checked(X, Y, where="biased_cka", least=4)
    A, B = (scaled(spread_out(X, "biased_cka")), scaled(spread_out(Y, "biased_cka")))
    (n, d1), d2 = A.shape, B.shape[1]
    if d1 * d1 + d2 * d2 + d1 * d2 <= n * (d1 + d2):
        products = A.T @ B, A.T @ A, B.T @ B
        xy, xx, yy = (product.square().sum().item() for product in products)
    else:
        K, L = A @ A.T, B @ B.T
        xy, xx, yy = (
            torch.vdot(one.flatten(), two.flatten()).item() for one, two in ((K, L), (K, K), (L, L))
        )
    _spread(xx, xx, 1e-12, "biased_cka")
    _spread(yy, yy, 1e-12, "biased_cka")
    return xy / (math.sqrt(xx) * math.sqrt(yy))


@measure
def debiased_cka(X: Float[Tensor, "n d1"], Y: Float[Tensor, "n d2"]) -> float:
    """u_XY / sqrt(u_XX u_YY), with the unbiased estimate of the Hilbert-Schmidt criterion

        u_XY = |X^T Y|_F^2 - n/(n-2) r_X.r_Y + s_X s_Y / ((n-1) (n-2)),

    X and Y centred, r the squared norms of rows, s their sum; u is n (n-3) HSIC_1 of Song et al.
    2012, written for centred features. Never clamped: about 0, of either sign, for independent
    features; 1 for equal ones. Invariant to rotation, isotropic scaling and offsets, not to other
    invertible maps. Of random pairings of the rows its mean is 0 and its standard deviation
    sqrt(2 / (n (n-3))), whatever the features (`universality.measures.similarity.nulls`).

    Cost: n (d1^2 + d2^2 + d1 d2) or n^2 (d1 + d2) / 2, whichever is less; float64.

    Raises:
        MeasurementError: rows that do not match, n < 4, values that are not finite, or features
            without an estimate of their own spread (constant, or all distances equal).

    Source: Song et al. 2012 (JMLR 13); Kornblith et al. 2019, arXiv:1905.00414; Nguyen et al. 2021,
    arXiv:2010.15327.

    >>> X = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -2.0], [2.0, 1.0]])
    >>> round(debiased_cka(X, 3 * X.flip(1) + 7), 6)
    1.0
    """
    return cka_matrix([X], [Y], dtype=torch.float64).item()


@measure
def cka_matrix(
    Xs: Sequence[Float[Tensor, "n _"]],
    Ys: Sequence[Float[Tensor, "n _"]] | None = None,
    *,
    debiased: bool = True,
    dtype: torch.dtype | None = None,
) -> Float[Tensor, "a b"]:
    """`debiased_cka` of every X with every Y (of every two of the Xs without Ys), float64 on the CPU.

    Each Gram matrix is formed once, in tiles; a tile of all of them is flattened, and one product of
    the flattened tiles adds to every pair. From about n > 2 x width on, products of features are
    cheaper and are formed instead, whichever costs less in all.

    Args:
        debiased: False for `biased_cka` of all pairs.
        dtype: of the products. By default float64 where a representation is float64 or there are fewer
            than 64 rows, else float32: features are centred in float64 first, sums over tiles are
            float64, so a common offset costs nothing, and what float32 would lose to cancellation is
            computed again in float64. The error then measured, of 64 to 256 Gaussian rows of width
            2,000 and 20,000, is 1e-9 to 3e-7; no bound is proven. (Of 5 rows of width 20,000 it would be 2e-5.)

    Cost: n^2 (sum of widths + a b) / 2 multiplications, and the tiles of each of the a + b representations as
    dear as about 150 of its widths; or n (products of widths) of the pairs where that is less. Memory beyond the features: 512 rows of all of them and 65,536 numbers for each,
    in `dtype`; or, for products of features, those of one X with all Ys.

    Source: as `debiased_cka`.

    Raises:
        MeasurementError: as `debiased_cka`, no representations, a tensor in place of a sequence, another dtype.

    >>> X = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -2.0], [2.0, 1.0]])
    >>> cka_matrix([X, X[:, :1]]).diagonal().round(decimals=6).tolist()
    [1.0, 1.0]
    """
    found = alignments(Xs, Ys, dtype=dtype, where="cka_matrix")
    return (found.debiased() if debiased else found.biased()).cpu()


@dataclass(frozen=True, slots=True)
class Alignments:
    """Numerators of the CKA of all pairs; the scale of each representation is arbitrary.

    u: u_XY of the pairs. own: u_XX of the `a` Xs, then of the Ys (the same Xs without Ys).
    r: squared norms of centred rows, in the same order. left, right: the Xs and the Ys in that order.
    """

    u: Float[Tensor, "a b"]
    own: Float[Tensor, " m"]
    r: Float[Tensor, "m n"]
    left: slice
    right: slice

    def debiased(self) -> Float[Tensor, "a b"]:
        root = self.own.sqrt()
        return self.u / (root[self.left, None] * root[None, self.right])

    def biased(self) -> Float[Tensor, "a b"]:
        inner, own = self.inner()
        root = own.sqrt()
        return inner / (root[self.left, None] * root[None, self.right])

    def inner(self) -> tuple[Float[Tensor, "a b"], Float[Tensor, " m"]]:
        """sum(K * L) of the pairs, and sum(K * K) of each."""
        n, s = self.r.shape[1], self.r.sum(1)
        pairs = self.u + _bias(
            n, self.r[self.left] @ self.r[self.right].T, s[self.left, None] * s[None, self.right]
        )
        return pairs, self.own + _bias(n, self.r.square().sum(1), s * s)


def _bias(n: int, rr: Tensor, ss: Tensor) -> Tensor:
    """|X^T Y|_F^2 - u_XY."""
    return n / (n - 2) * rr - ss / ((n - 1) * (n - 2))


@torch.no_grad()
def alignments(
    Xs: Sequence[Float[Tensor, "n _"]],
    Ys: Sequence[Float[Tensor, "n _"]] | None = None,
    *,
    dtype: torch.dtype | None = None,
    where: str,
) -> Alignments:
    """What `cka_matrix` and its null are made of. Cost, memory, errors and `dtype`: see there."""
    both = listed(Xs, Ys, where)
    checked(*both, where=where, least=4, finite=False)
    if dtype not in (None, torch.float32, torch.float64):
        raise MeasurementError(
            "products of no known precision", where=where, got=str(dtype), expected="float32 or float64"
        )
    n, a = len(both[0]), len(Xs)
    low = n >= FEW and all(X.dtype != torch.float64 for X in both)
    left, right = range(a), range(a, len(both)) if Ys else range(a)
    columns = [X.shape[1] for X in both]
    if Ys:
        products = sum(columns[:a]) * sum(columns[a:]) + sum(d * d for d in columns)
    else:
        products = sum(d * sum(columns[i:]) for i, d in enumerate(columns))
    by_features = n * products <= n * n * (sum(columns) + len(left) * len(right)) // 2
    route = _by_features if by_features else _by_grams
    # From products of features, u is a difference, of fewer digits than its terms; from tiles it is
    # a sum of squares, exact until the tiles themselves are rounding errors.
    digits = 0.05 if by_features else 1e-6

    with torch.autocast(both[0].device.type, enabled=False):
        rows = _CentredRows(both, where)
        for precision in [dtype] if dtype else [torch.float32, torch.float64] if low else [torch.float64]:
            rows.dtype = precision
            u, own = route(rows, left, right)
            found = Alignments(u, own, rows.r, slice(0, a), slice(right.start, right.stop))
            total = found.inner()[1]
            if precision == torch.float64 or bool((own > digits * total).all()):
                break
    least = 1e-12 if precision == torch.float64 else 1e-6
    for value, scale in zip(own.tolist(), total.tolist(), strict=True):
        _spread(value, scale, least, where)
    return found


class _CentredRows:
    """Rows of centred representations, on request: copies of all would double the memory."""

    def __init__(self, Xs: Sequence[Tensor], where: str) -> None:
        self.Xs, self.dtype = Xs, torch.float64
        self.n = len(Xs[0])
        self.means = [mean_of_rows(X) for X in Xs]
        for X, mean in zip(Xs, self.means, strict=True):
            if not bool(mean.isfinite().all()):
                raise NotFinite(
                    "features are not finite", where=where, got=f"NaN or infinity in {list(X.shape)}"
                )
        self.where = where
        # To mean square 1: the fourth powers that follow would leave the range of float32.
        self.scales = [1.0] * len(Xs)
        self.r = torch.stack([self._to_unit(i) for i in range(len(Xs))])

    def _to_unit(self, i: int) -> Tensor:
        """Sets the scale of a representation; squared norms of its rows at that scale."""
        r = self._norms(i)
        if not 1e-200 < r.mean().item() < 1e200:  # squares left the range of float64, or are all 0
            largest = max(self(i, *span).abs().amax().item() for span in spans(self.n))
            self.scales[i] = 1 / max(largest, 1e-300) if largest else 1.0
            r = self._norms(i)
        # What is below the rounding of the mean is no spread.
        mean_norm = (self.means[i] * self.scales[i]).norm().item()
        if not r.mean().item() ** 0.5 > BELOW_ROUNDING * mean_norm:
            raise no_spread(r.mean().item() ** 0.5, self.where)
        factor = r.mean().item() ** -0.5
        self.scales[i] *= factor
        unit: Tensor = r * factor**2
        return unit

    def _norms(self, i: int) -> Tensor:
        return torch.cat([self(i, *span).square().sum(1) for span in spans(self.n)])

    def __call__(self, i: int, start: int, stop: int) -> Tensor:
        rows = self.Xs[i][start:stop].double() - self.means[i]
        if self.scales[i] != 1:
            rows *= self.scales[i]
        return rows.to(self.dtype)


def spans(n: int, step: int = TILE) -> Iterator[tuple[int, int]]:
    """The rows 0 .. n in pieces."""
    return ((start, min(start + step, n)) for start in range(0, n, step))


def _by_features(rows: _CentredRows, left: range, right: range) -> tuple[Tensor, Tensor]:
    """u of all pairs [a b], and of each representation with itself, from |X^T Y|_F^2."""
    n, m = rows.n, len(rows.Xs)
    inner = rows.r.new_zeros(m, m)
    for i in range(m):
        others = [j for j in right if i in left and (j >= i or left != right)]
        others += [] if i in others else [i]
        products = [rows.r.new_zeros(rows.Xs[i].shape[1], rows.Xs[j].shape[1]) for j in others]
        for span in spans(n, ROWS):
            X = rows(i, *span).T
            for product, j in zip(products, others, strict=True):
                product += X @ rows(j, *span)
        for product, j in zip(products, others, strict=True):
            inner[i, j] = inner[j, i] = product.square().sum()
    s = rows.r.sum(1)
    u = inner - _bias(n, rows.r @ rows.r.T, s[:, None] * s)
    return u[left.start : left.stop, right.start : right.stop], u.diagonal()


def _by_grams(rows: _CentredRows, left: range, right: range) -> tuple[Tensor, Tensor]:
    """The same as sums over i != j of K~ * L~, with the matrix that has zero diagonal and row sums,

        K~_ij = K_ij + q_i + q_j,   q_i = (r_i - s / (2 (n-1))) / (n-2):

    sum(K~ * L~) = u without subtracting anything (Szekely and Rizzo 2014, arXiv:1310.2926).
    """
    n, m = rows.n, len(rows.Xs)
    u, own = rows.r.new_zeros(len(left), len(right)), rows.r.new_zeros(m)
    q = ((rows.r - rows.r.sum(1, keepdim=True) / (2 * (n - 1))) / (n - 2)).to(rows.dtype)
    room = torch.empty(m, -(-min(n, ROWS) * TILE // SUM) * SUM, dtype=rows.dtype, device=q.device)
    for top, bottom in spans(n, ROWS):
        block = [rows(i, top, bottom) for i in range(m)]
        for start in range(top, n, TILE):
            stop = min(start + TILE, n)
            inside = start < bottom
            height = (stop if inside else bottom) - top
            size = height * (stop - start)
            tiles = room[:, :size].view(m, height, stop - start)
            for i, tile in enumerate(tiles):
                X = block[i][start - top : stop - top] if inside else rows(i, start, stop)
                torch.addmm(q[i, start:stop], block[i][:height], X.T, out=tile)
                tile += q[i, top : top + height, None]
            # What lies above the diagonal stands for its mirror image as well.
            twice = 1 if inside else 2
            if inside:
                tiles[:, start - top :].diagonal(dim1=1, dim2=2).zero_()
                tiles[:, : start - top] *= 2**0.5
            filled = -(-size // SUM) * SUM
            room[:, size:filled] = 0
            parts = room[:, :filled].view(m, -1, SUM)
            X, Y = (
                parts[left.start : left.stop].transpose(0, 1),
                parts[right.start : right.stop].permute(1, 2, 0),
            )
            u += twice * (X @ Y).double().sum(0)
            if left != right:
                own += twice * torch.linalg.vecdot(parts, parts).double().sum(1)
    return u, own if left != right else u.diagonal()


def _spread(value: float, scale: float, least: float, where: str) -> None:
    if not value > least * scale:
        raise MeasurementError(
            "features without spread cannot be aligned",
            where=where,
            got=f"self-similarity {value:.3g} before normalisation",
            expected=f"> {least * scale:.3g}",
            do="check for a dead layer; constant or mutually equidistant rows have no alignment",
        )
