"""Representations before they are compared: residuals within classes, lossless compression, nulls.

n: rows (the same inputs in every representation). d: width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from universality.errors import MeasurementError, NotFinite
from universality.measures.ambient import measure


@measure
def within_class(X: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
    """X less the mean of each row's class, in float64: what two nets share beyond the labels.

    A class with one row leaves a row of zeros, which has no direction for neighbours.

    Cost: n d, float64.

    Raises:
        MeasurementError: labels that do not match or are no classes, values that are not finite.

    Source: Papyan, Han and Donoho 2020, arXiv:2008.08186 (the noise h - mu_y).

    >>> within_class(torch.tensor([[1.0], [3.0], [10.0]]), torch.tensor([0, 0, 1])).flatten().tolist()
    [-1.0, 1.0, 0.0]
    """
    checked(X, where="within_class")
    if labels.shape != X.shape[:1] or labels.is_floating_point() or labels.is_complex():
        raise MeasurementError(
            "one label for each row, of a class",
            where="within_class",
            got=f"{list(X.shape)} features, {list(labels.shape)} labels of {labels.dtype}",
        )
    _, classes = torch.unique(labels, return_inverse=True)
    counts = torch.bincount(classes).double()
    sums = torch.zeros(len(counts), X.shape[1], dtype=torch.float64, device=X.device)
    means = sums.index_add_(0, classes, X.double()) / counts[:, None]
    return X.double() - means[classes]


@measure
def isometric_compress(X: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
    """Features of width m = min(n, d) with the Gram matrix of X, to its dtype's rounding.

    Distances, angles, CKA and neighbours of rows, and those of any subset of the rows, are
    unchanged. With X^T = Q R, X X^T = R^T R: the result is R^T.

    Cost: 2 n^2 (d - n / 3) where d > n, else nothing.

    Raises:
        MeasurementError: as `checked`.

    Source: QR of the transpose (Golub and Van Loan 2013, section 5.2).

    >>> X = torch.tensor([[3.0, 0.0, 4.0], [1.0, 2.0, 3.0]])
    >>> Z = isometric_compress(X)
    >>> list(Z.shape), (Z @ Z.T).round(decimals=4).tolist()
    ([2, 2], [[25.0, 15.0], [15.0, 14.0]])
    """
    checked(X, where="isometric_compress")
    n, d = X.shape
    if d <= n:
        return X
    # Not from the eigenvectors of the Gram matrix: squaring would lose what is 1e-8 of the largest.
    _, R = torch.linalg.qr(X.double().T, mode="r")
    Z: Tensor = R.T.to(X.dtype).contiguous()
    return Z


@dataclass(frozen=True, slots=True)
class Null:
    """Mean and standard deviation of a similarity over random pairings of the rows."""

    mean: float
    std: float


@measure
def permutation_null(
    similarity: Callable[[Tensor, Tensor], float],
    X: Float[Tensor, "n d1"],
    Y: Float[Tensor, "n d2"],
    permutations: int,
    generator: torch.Generator,
) -> Null:
    """The similarity of X with the rows of Y permuted: chance, at this n and these widths.

    Cost: `permutations` evaluations.

    Raises:
        MeasurementError: fewer than 2 permutations, a similarity that is not finite, and what it refuses.

    Source: Fisher 1935 (the permutation of pairs).

    >>> from universality.measures import debiased_cka
    >>> X = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    >>> null = permutation_null(debiased_cka, X, X, 50, torch.Generator().manual_seed(1))
    >>> abs(null.mean) < 0.01, null.std < 0.02
    (True, True)
    """
    if permutations < 2:
        raise MeasurementError(
            "a null needs permutations", where="permutation_null", got=str(permutations), expected=">= 2"
        )
    values = []
    for _ in range(permutations):
        order = torch.randperm(len(Y), generator=generator, device=generator.device)
        values.append(similarity(X, Y[order.to(Y.device)]))
    sample = torch.tensor(values, dtype=torch.float64, device="cpu")
    if not bool(torch.isfinite(sample).all()):
        raise MeasurementError(
            "a similarity that is not finite has no null",
            where="permutation_null",
            got=f"{int((~torch.isfinite(sample)).sum())} of {permutations} permutations without a number",
        )
    return Null(sample.mean().item(), sample.std().item())


def mean_of_rows(X: Float[Tensor, "n d"]) -> Float[Tensor, " d"]:
    """In float64, without a float64 copy of X.

    >>> mean_of_rows(torch.tensor([[1.0], [3.0]])).tolist()
    [2.0]
    """
    total = torch.zeros(X.shape[1], dtype=torch.float64, device=X.device)
    for piece in torch.split(X, 128):
        total += piece.double().sum(0)
    return total / len(X)


def centred(X: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """X less its mean row, in float64.

    >>> centred(torch.tensor([[1.0], [3.0]])).flatten().tolist()
    [-1.0, 1.0]
    """
    return X.double() - mean_of_rows(X)


BELOW_ROUNDING = 1e-13
"""Spread over size, in float64, that rounding of the mean explains: of constant rows 1e-16 to 1e-14 was left."""


def spread_out(X: Float[Tensor, "n d"], where: str) -> Float[Tensor, "n d"]:
    """`centred`, unless rounding is all that is left.

    >>> spread_out(torch.tensor([[1.0], [3.0]]), "").flatten().tolist()
    [-1.0, 1.0]
    """
    A, largest = centred(X), X.double().abs().amax()
    # Over the largest entry, whose square may leave the range.
    if not bool((A / largest).norm() > BELOW_ROUNDING * (X / largest).norm()):
        raise no_spread(A.abs().amax().item(), where)
    return A


def no_spread(size: float, where: str) -> MeasurementError:
    """The error for features that are one row, repeated."""
    return MeasurementError(
        "features without spread cannot be aligned",
        where=where,
        got=f"size {size:.3g} after centring",
        do="check for a dead layer; constant or mutually equidistant rows have no alignment",
    )


def scaled(A: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """A at mean square 1 of its rows, so that fourth powers stay in range; zeros as they are.

    >>> scaled(torch.tensor([[3e-200, 4e-200], [0.0, 0.0]], dtype=torch.float64)).norm(dim=1).round(decimals=6).tolist()
    [1.414214, 0.0]
    """
    # The largest entry comes first: squares of what is below 1e-160 or above 1e150 leave the range.
    largest = A.abs().amax()
    if not bool(largest > 0):
        return A
    A = A / largest
    unit: Tensor = A * (len(A) ** 0.5 / A.norm())
    return unit


def largest_entry(X: Tensor) -> float:
    """The largest absolute value, without a copy of X.

    >>> largest_entry(torch.tensor([1.0, -3.0]))
    3.0
    """
    low, high = X.detach().aminmax()
    return max(-low.item(), high.item())


def power_of_two(size: float) -> float:
    """1 where fourth powers of numbers of this size keep within double precision, else the power of two
    that brings it to [0.5, 1): a factor that rounds nothing.

    >>> power_of_two(3e7), power_of_two(2.0**-600) * 2.0**-600
    (1.0, 0.5)
    """
    if size == 0 or 1e-50 < size < 1e50:
        return 1.0
    # A subnormal number would ask for a power beyond the range.
    return math.ldexp(1.0, min(-math.frexp(size)[1], 1023))


def in_range(X: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """X, or where squares of its entries would leave double precision, X times a power of two.

    >>> in_range(torch.tensor([[2.0**-600, 2.0**-601]], dtype=torch.float64)).tolist()
    [[0.5, 0.25]]
    """
    factor = power_of_two(largest_entry(X))
    return X if factor == 1 else X * factor


def listed(Xs: Sequence[Tensor] | Tensor, Ys: Sequence[Tensor] | Tensor | None, where: str) -> list[Tensor]:
    """The Xs, then the Ys, of a function that takes sequences of representations."""
    if isinstance(Xs, Tensor) or isinstance(Ys, Tensor):
        raise MeasurementError(
            "a tensor where a sequence of representations belongs",
            where=where,
            got=", ".join(f"{list(Z.shape)}" for Z in (Xs, Ys) if isinstance(Z, Tensor)),
            expected="sequences of [n, d]",
            do="write [X] and [Y]",
        )
    if not Xs or (Ys is not None and not Ys):
        raise MeasurementError("no representations to compare", where=where)
    return [*Xs, *(Ys or [])]


def checked(*representations: Tensor, where: str, least: int = 1, finite: bool = True) -> None:
    """Raise unless all are float32 or float64 matrices of the same number of rows, at least `least`, and finite.

    Of half precision every digit counts as given, and ranks, ties and neighbours are those of its
    rounding: whoever converts it has seen that. `finite=False` leaves that to a caller who sees it
    in sums that it needs anyway.
    """
    shapes = [list(X.shape) for X in representations]
    rows = {X.shape[0] for X in representations if X.ndim == 2}
    if any(X.ndim != 2 or X.shape[1] == 0 for X in representations) or len(rows) != 1:
        raise MeasurementError(
            "representations do not match",
            where=where,
            got=", ".join(map(str, shapes)),
            expected="[n, d] each, with the same n rows",
        )
    other = [str(X.dtype) for X in representations if X.dtype not in (torch.float32, torch.float64)]
    if other:
        raise MeasurementError(
            "features of another precision than is compared",
            where=where,
            got=", ".join(other),
            expected="float32 or float64",
            do="convert with .float(); half precision better already in the network",
        )
    if min(rows) < least:
        raise MeasurementError("too few rows", where=where, got=str(min(rows)), expected=f">= {least}")
    for shape, X in zip(shapes, representations, strict=True):
        if finite and not bool(torch.isfinite(X).all()):
            raise NotFinite("features are not finite", where=where, got=f"NaN or infinity in {shape}")
