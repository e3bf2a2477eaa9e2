"""Agreement of nearest neighbours between two representations of the same inputs.

n: rows. k: neighbours. Neighbours are by cosine of the features as they are, not centred
(L2-normalised, as in Huh et al. 2024); centre them first for a measure that ignores offsets.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from universality.errors import MeasurementError
from universality.measures.ambient import measure
from universality.measures.features import checked, in_range, listed

ENTRIES = 2**21
"""Entries of an n x n matrix that are held at a time."""

TIE = 1e-12
"""Difference of cosines, in float64, that is none: far above its rounding (1e-15), and above what the
rounding of float32 features does to cosines near 1 (1e-14)."""

TIED = 0.01
"""Share of rows whose last neighbour may be tied with the next: a few duplicates do not move an overlap."""


@measure
def nearest_neighbours(
    X: Float[Tensor, "n d"], k: int = 10, *, ties: torch.Generator | None = None
) -> Int[Tensor, "n k"]:
    """The k other rows of largest cosine, for each row.

    Which of two rows at one cosine comes first depends on their order alone, which two representations
    share: ties look like agreement. A row is tied where its k-th and its (k+1)-th largest cosines differ by
    at most 1e-12; up to 1 % of such rows (duplicates among the inputs) are let pass. Inputs of symbols are tied
    nearly everywhere, at whole numbers of symbols in common. There `ties` draws among equals: neighbours of two
    representations that draw independently agree by their ties as often as by chance.

    Args:
        ties: on the CPU; draws by noise of 1e-11, in place of refusing.

    Cost: n^2 d, float64. Memory: a float64 copy of X and about 2 million numbers.

    Raises:
        MeasurementError: n < 4, k outside 1 .. n-2 (with all n-1 others every answer agrees), a row of
            zeros (no direction), more than 1 % of rows tied (constant, one-hot or 1-dimensional
            features), values that are not finite.

    Source: Huh et al. 2024, arXiv:2405.07987.

    >>> nearest_neighbours(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]]), 1).flatten()
    tensor([1, 0, 3, 2])
    """
    checked(X, where="nearest_neighbours")
    n = len(X)
    _check_k(k, n)
    unit = in_range(X).double()
    norms = unit.norm(dim=1, keepdim=True)
    if not bool((norms > 0).all()):
        raise MeasurementError(
            "a row of zeros has no direction",
            where="nearest_neighbours",
            got=f"{int((norms == 0).sum())} of {n} rows",
            do="check for a dead layer",
        )
    unit = unit / norms
    found, tied = [], 0
    for start, stop in _blocks(n):
        cosines = unit[start:stop] @ unit.T
        cosines[:, start:stop].fill_diagonal_(-torch.inf)
        if ties is not None:
            noise = torch.rand(cosines.shape, generator=ties, dtype=cosines.dtype, device="cpu")
            cosines += 10 * TIE * noise.to(cosines.device)
        largest = cosines.topk(k + 1, dim=1)
        tied = tied + (largest.values[:, k - 1] - largest.values[:, k] <= TIE).sum()
        found.append(largest.indices[:, :k])
    if ties is None and int(tied) > TIED * n:
        raise MeasurementError(
            "neighbours are tied: which come first would depend on the order of the rows",
            where="nearest_neighbours",
            got=f"{int(tied)} of {n} rows with equal cosines at neighbours {k} and {k + 1}",
            expected=f"at most {TIED:.0%} of the rows",
            do="check for constant, one-hot or 1-dimensional features and duplicate inputs, or compare by CKA",
        )
    return torch.cat(found)


@measure
def neighbour_overlap(first: Int[Tensor, "n k"], second: Int[Tensor, "n k"]) -> float:
    """Mean share of common neighbours, from two results of `nearest_neighbours`.

    1/(n k) sum over rows i of |N_i intersected with N'_i|. In [0, 1]; by chance k/(n-1).

    Cost: n k log k to check the lists, n k look-ups in tables of n^2 bytes, which are filled.

    Raises:
        MeasurementError: different shapes, rows that do not list k different others.

    Source: Huh et al. 2024, arXiv:2405.07987.

    >>> neighbour_overlap(torch.tensor([[1, 2], [0, 2], [0, 1]]), torch.tensor([[2, 1], [2, 0], [1, 0]]))
    1.0
    """
    if first.shape != second.shape:
        raise MeasurementError(
            "neighbours of different rows",
            where="neighbour_overlap",
            got=f"{list(first.shape)} and {list(second.shape)}",
        )
    for neighbours in (first, second):
        check_neighbours(neighbours, "neighbour_overlap")
    return _overlaps(first, [second])[0]


@measure
def mutual_knn(X: Float[Tensor, "n d1"], Y: Float[Tensor, "n d2"], k: int = 10) -> float:
    """Mean over rows of |N_k^X(i) intersected with N_k^Y(i)| / k, self excluded. In [0, 1].

    Chance is k/(n-1): state n and k with the number, or use `calibrated`.

    Source: Huh et al. 2024, arXiv:2405.07987.

    Cost: n^2 (d1 + d2), float64.

    Raises:
        MeasurementError: as `nearest_neighbours`, and rows that do not match.

    >>> X = torch.randn(50, 5, generator=torch.Generator().manual_seed(0))
    >>> mutual_knn(X, -2 * X)
    1.0
    """
    checked(X, Y, where="mutual_knn")
    return neighbour_overlap(nearest_neighbours(X, k), nearest_neighbours(Y, k))


@measure
def mutual_knn_matrix(
    Xs: Sequence[Float[Tensor, "n _"]], Ys: Sequence[Float[Tensor, "n _"]] | None = None, k: int = 10
) -> Float[Tensor, "a b"]:
    """`mutual_knn` of every X with every Y (of every two of the Xs without Ys), float64 on the CPU.

    Cost: n^2 (sum of the widths of a + b representations, whose neighbours are found once); for the pairs, the
    look-ups of `neighbour_overlap`.

    Raises:
        MeasurementError: as `mutual_knn`, no representations, a tensor in place of a sequence.

    Source: Huh et al. 2024, arXiv:2405.07987.

    >>> X = torch.randn(50, 5, generator=torch.Generator().manual_seed(0))
    >>> mutual_knn_matrix([X, X + 9]).diagonal().tolist()
    [1.0, 1.0]
    """
    return overlaps(*neighbours_of_all(Xs, Ys, k, "mutual_knn_matrix"))


def neighbours_of_all(
    Xs: Sequence[Tensor] | Tensor, Ys: Sequence[Tensor] | Tensor | None, k: int, where: str
) -> tuple[list[Tensor], list[Tensor]]:
    """Neighbours [n k] of every X and of every Y (of the Xs without Ys), found once for each."""
    checked(*listed(Xs, Ys, where), where=where)
    first = [nearest_neighbours(X, k) for X in Xs]
    return first, first if Ys is None else [nearest_neighbours(Y, k) for Y in Ys]


def overlaps(first: Sequence[Tensor], second: Sequence[Tensor]) -> Float[Tensor, "a b"]:
    """Mean share of common neighbours of all pairs."""
    return torch.tensor([_overlaps(one, second) for one in first], dtype=torch.float64, device="cpu")


@measure
def calibrated(score: float, k: int, n: int) -> float:
    """(s - c) / (1 - c) with chance c = k/(n-1): 0 for unrelated representations, 1 for equal ones.

    Raises:
        MeasurementError: k outside 1 .. n-2, a score outside [0, 1] by more than 1e-9.

    Source: Groeger et al. 2026, arXiv:2602.14486.

    Cost: none.

    >>> calibrated(1.0, 10, 101), calibrated(0.1, 10, 101)
    (1.0, 0.0)
    """
    _check_k(k, n)
    if not -1e-9 <= score <= 1 + 1e-9:
        raise MeasurementError(
            "a score that is no share of neighbours",
            where="calibrated",
            got=str(score),
            expected="in [0, 1]",
            do="pass the result of mutual_knn",
        )
    chance = k / (n - 1)
    return (score - chance) / (1 - chance)


def check_neighbours(neighbours: Int[Tensor, "n k"], where: str) -> None:
    """Raise unless every row lists k different other rows."""
    n, k = neighbours.shape
    good = k > 0 and n > 0 and int(neighbours.min()) >= 0 and int(neighbours.max()) < n
    if good:
        own = torch.arange(n, device=neighbours.device)[:, None]
        ordered = neighbours.sort(dim=1).values
        good = not bool((neighbours == own).any() | (ordered[:, 1:] == ordered[:, :-1]).any())
    if not good:
        raise MeasurementError(
            "no lists of neighbours",
            where=where,
            got=f"shape {[n, k]}"
            + (f", rows {int(neighbours.min())} to {int(neighbours.max())}" if n * k else ""),
            expected="in each of the n rows, k different numbers of other rows, 0 .. n-1",
            do="pass results of nearest_neighbours",
        )


def _overlaps(first: Tensor, others: Sequence[Tensor]) -> list[float]:
    """Mean share of neighbours that each of `others` has in common with `first`."""
    n, k = first.shape
    common = torch.zeros(len(others), dtype=torch.long, device=first.device)
    for start, stop in _blocks(n):
        member = torch.zeros(stop - start, n, dtype=torch.bool, device=first.device)
        member.scatter_(1, first[start:stop], True)
        common += torch.stack([member.gather(1, other[start:stop]).sum() for other in others])
    shares: list[float] = (common.double() / (n * k)).tolist()
    return shares


def _blocks(n: int) -> list[tuple[int, int]]:
    step = max(1, ENTRIES // n)
    return [(start, min(start + step, n)) for start in range(0, n, step)]


def _check_k(k: int, n: int) -> None:
    if not 1 <= k < n - 1 or n < 4:
        raise MeasurementError(
            "a number of neighbours that says nothing",
            where="mutual kNN",
            got=f"k={k} of n={n} rows",
            expected="1 <= k < n - 1, n >= 4",
        )
