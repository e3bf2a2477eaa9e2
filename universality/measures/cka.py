"""Centred kernel alignment with the linear kernel, debiased by default.

n: rows. d1, d2: widths. K, L: Gram matrices of centred features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from universality.errors import MeasurementError
from universality.measures.features import checked

BLOCK = 256
"""Rows of all Gram matrices that are held at a time by `cka_matrix`."""


def gram(X: Float[Tensor, "n d"]) -> Float[Tensor, "n n"]:
    """The Gram matrix of the centred features, float64.

    Centring comes first: to centre the finished matrix would lose the digits of a common offset.

    >>> gram(torch.tensor([[1.0], [3.0]])).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    checked(X, where="gram")
    centred = _centred(X)
    return centred @ centred.T


def biased_cka(X: Float[Tensor, "n d1"], Y: Float[Tensor, "n d2"]) -> float:
    """|X^T Y|_F^2 / (|X^T X|_F |Y^T Y|_F), centred (Kornblith et al. 2019, arXiv:1905.00414).

    Biased upwards: independent Gaussians of width d score about d/(n + d). In [0, 1].

    >>> X = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    >>> round(biased_cka(X, 3 * X.flip(1) + 7), 6), round(biased_cka(X, X[:, :1]), 6)
    (1.0, 0.707107)
    """
    checked(X, Y, where="biased_cka")
    A, B = _centred(X), _centred(Y)
    xy, xx, yy = _cross(A, B), _cross(A, A), _cross(B, B)
    _spread(xx, xx, "biased_cka")
    _spread(yy, yy, "biased_cka")
    return xy / math.sqrt(xx * yy)


def debiased_cka(X: Float[Tensor, "n d1"], Y: Float[Tensor, "n d2"]) -> float:
    """u_XY / sqrt(u_XX u_YY), with the unbiased estimate of the Hilbert-Schmidt criterion

        u_XY = |X^T Y|_F^2 - n/(n-2) r_X.r_Y + s_X s_Y / ((n-1) (n-2)),

    X and Y centred, r the squared norms of rows, s their sum; u is n (n-3) HSIC_1 of Song et al.
    2012, written for centred features. Never clamped: about 0, of either sign, for independent
    features; 1 for equal ones. Invariant to rotation, isotropic scaling and offsets.

    Cost: n (d1^2 + d2^2 + d1 d2) or n^2 (d1 + d2), whichever is less; float64.

    Raises:
        MeasurementError: rows that do not match, n < 4, values that are not finite, or features
            without an estimate of their own spread (constant, or all distances equal).

    Source: Song et al. 2012 (JMLR 13); Kornblith et al. 2019, arXiv:1905.00414; Nguyen et al. 2021,
    arXiv:2010.15327.

    >>> X = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -2.0], [2.0, 1.0]])
    >>> round(debiased_cka(X, 3 * X.flip(1) + 7), 6)
    1.0
    """
    return cka_matrix([X], [Y]).item()


def cka_matrix(
    Xs: Sequence[Float[Tensor, "n _"]], Ys: Sequence[Float[Tensor, "n _"]] | None = None
) -> Float[Tensor, "a b"]:
    """`debiased_cka` of every X with every Y (of every two of the Xs without Ys), float64 on the CPU.

    Each Gram matrix is formed once, in blocks of rows; a block of all of them is flattened, and one
    product of the flattened blocks adds to every pair.

    Cost: n^2 (sum of widths), or n (products of widths) of the pairs where that is less. Memory:
    256 n float64 numbers for each representation.

    >>> X = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -2.0], [2.0, 1.0]])
    >>> cka_matrix([X, X[:, :1]]).diagonal().round(decimals=6).tolist()
    [1.0, 1.0]
    """
    if not Xs or (Ys is not None and not Ys):
        raise MeasurementError("no representations to compare", where="cka_matrix")
    both = [*Xs, *(Ys or [])]
    checked(*both, where="cka_matrix", least=4)
    n, a = len(both[0]), len(Xs)
    features = [_centred(X) for X in both]
    left, right = range(a), range(a, len(both)) if Ys else range(a)
    columns = [X.shape[1] for X in both]
    by_features = n * (
        sum(columns[i] * columns[j] for i in left for j in right) + (sum(d * d for d in columns) if Ys else 0)
    )
    by_grams = n * n * (sum(columns) + len(left) * len(right)) // 2

    r = torch.stack([X.square().sum(1) for X in features])
    raw, own = (_by_features if by_features <= by_grams else _by_grams)(features, left, right)

    def debias(inner: Tensor, rr: Tensor, ss: Tensor) -> Tensor:
        return inner - n / (n - 2) * rr + ss / ((n - 1) * (n - 2))

    s = r.sum(1)
    u = debias(raw, r[left] @ r[right].T, s[left, None] * s[None, right])
    spread = debias(own, r.square().sum(1), s * s)
    for value, scale in zip(spread.tolist(), own.tolist(), strict=True):
        _spread(value, scale, "debiased CKA")
    return (u / (spread[left, None] * spread[None, right]).sqrt()).cpu()


def _by_features(features: list[Tensor], left: range, right: range) -> tuple[Tensor, Tensor]:
    """|X^T Y|_F^2 of all pairs [a b], and |X^T X|_F^2 of each representation."""
    pairs = [[_cross(features[i], features[j]) for j in right] for i in left]
    own = [pairs[i][i] for i in left] if left == right else [_cross(X, X) for X in features]
    return features[0].new_tensor(pairs), features[0].new_tensor(own)


def _by_grams(features: list[Tensor], left: range, right: range) -> tuple[Tensor, Tensor]:
    """The same as sum(K * L), from the upper triangle of blocks."""
    n = len(features[0])
    raw = torch.zeros(len(left), len(right), dtype=torch.float64, device=features[0].device)
    own = torch.zeros(len(features), dtype=torch.float64, device=features[0].device)
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        blocks = torch.stack([X[start:stop] @ X[start:].T for X in features])
        blocks[:, :, stop - start :] *= 2**0.5  # stands for its mirror image as well
        flat = blocks.flatten(1)
        raw += flat[left.start : left.stop] @ flat[right.start : right.stop].T
        own += torch.einsum("ki,ki->k", flat, flat)
    return raw, own


def _centred(X: Tensor) -> Tensor:
    return X.double() - X.double().mean(0)


def _cross(A: Tensor, B: Tensor) -> float:
    """|A^T B|_F^2 of centred features."""
    if A.shape[1] * B.shape[1] <= len(A) * (A.shape[1] + B.shape[1]):
        return (A.T @ B).square().sum().item()
    return ((A @ A.T) * (B @ B.T)).sum().item()


def _spread(value: float, scale: float, where: str) -> None:
    if not value > 1e-12 * scale:
        raise MeasurementError(
            "features without spread cannot be aligned",
            where=where,
            got=f"self-similarity {value:.3g} before normalisation",
            expected="> 0",
            do="check for a dead layer; constant or mutually equidistant rows have no alignment",
        )
