"""Agreement of nearest neighbours between two representations of the same inputs.

n: rows. k: neighbours. Neighbours are by cosine of the features as they are, not centred
(L2-normalised, as in Huh et al. 2024); centre them first for a measure that ignores offsets.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from universality.errors import MeasurementError
from universality.measures.features import checked


def nearest_neighbours(X: Float[Tensor, "n d"], k: int = 10) -> Int[Tensor, "n k"]:
    """The k other rows of largest cosine, for each row. Equal cosines are broken arbitrarily.

    Cost: n^2 d, float64; n^2 numbers of memory.

    Raises:
        MeasurementError: k outside 1 .. n-2 (with all n-1 others every answer agrees), a row of
            zeros (no direction), values that are not finite.

    >>> nearest_neighbours(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]]), 1).flatten()
    tensor([1, 0, 3, 2])
    """
    checked(X, where="nearest_neighbours")
    n = len(X)
    _check_k(k, n)
    norms = X.double().norm(dim=1, keepdim=True)
    if not bool((norms > 0).all()):
        raise MeasurementError(
            "a row of zeros has no direction",
            where="nearest_neighbours",
            got=f"{int((norms == 0).sum())} of {n} rows",
            do="check for a dead layer",
        )
    unit = X.double() / norms
    cosines: Tensor = unit @ unit.T
    return cosines.fill_diagonal_(-torch.inf).topk(k, dim=1).indices


def neighbour_overlap(first: Int[Tensor, "n k"], second: Int[Tensor, "n k"]) -> float:
    """Mean share of common neighbours, from two results of `nearest_neighbours`.

    >>> neighbour_overlap(torch.tensor([[1, 2], [0, 2], [0, 1]]), torch.tensor([[2, 1], [2, 0], [1, 0]]))
    1.0
    """
    if first.shape != second.shape:
        raise MeasurementError(
            "neighbours of different rows",
            where="neighbour_overlap",
            got=f"{list(first.shape)} and {list(second.shape)}",
        )
    n = len(first)
    member: Bool[Tensor, "n n"] = torch.zeros(n, n, dtype=torch.bool, device=first.device)
    member.scatter_(1, first, True)
    return member.gather(1, second).double().mean().item()


def mutual_knn(X: Float[Tensor, "n d1"], Y: Float[Tensor, "n d2"], k: int = 10) -> float:
    """Mean over rows of |N_k^X(i) intersected with N_k^Y(i)| / k, self excluded. In [0, 1].

    Chance is k/(n-1): state n and k with the number, or use `calibrated`.

    Source: Huh et al. 2024, arXiv:2405.07987.

    >>> X = torch.randn(50, 5, generator=torch.Generator().manual_seed(0))
    >>> mutual_knn(X, -2 * X)
    1.0
    """
    checked(X, Y, where="mutual_knn")
    return neighbour_overlap(nearest_neighbours(X, k), nearest_neighbours(Y, k))


def calibrated(score: float, k: int, n: int) -> float:
    """(s - c) / (1 - c) with chance c = k/(n-1): 0 for unrelated representations, 1 for equal ones.

    Source: Groeger et al. 2026, arXiv:2602.14486.

    >>> calibrated(1.0, 10, 101), calibrated(0.1, 10, 101)
    (1.0, 0.0)
    """
    _check_k(k, n)
    chance = k / (n - 1)
    return (score - chance) / (1 - chance)


def _check_k(k: int, n: int) -> None:
    if not 1 <= k < n - 1:
        raise MeasurementError(
            "a number of neighbours that says nothing",
            where="mutual kNN",
            got=f"k={k} of n={n} rows",
            expected="1 <= k < n - 1",
        )
