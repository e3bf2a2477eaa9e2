"""Representational similarity analysis: do the same pairs of inputs lie far apart?

n: rows. d1, d2: widths. m = n (n-1) / 2: pairs of rows, in the order (0, 1), (0, 2), ... (n-2, n-1).
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from universality.errors import MeasurementError
from universality.measures.ambient import measure
from universality.measures.features import centred, checked, in_range, largest_entry, power_of_two


@measure
def dissimilarities(
    X: Float[Tensor, "n d"], distance: Literal["correlation", "euclidean"] = "correlation"
) -> Float[Tensor, " m"]:
    """Of all pairs of rows, float64: the upper triangle of the dissimilarity matrix.

    - correlation: 1 - Pearson's correlation of the two rows across the features, in [0, 2]. It sees
      every row less its own mean over the features and at unit length: not invariant to rotation.
    - euclidean: the distance of the rows.

    Cost: n^2 d. Memory: n^2 float64 numbers.

    Raises:
        MeasurementError: values that are not finite; for correlation, fewer than 3 features (all
            correlations would be 1 or -1) or a row that is constant across the features.

    Source: Kriegeskorte, Mur, Bandettini 2008 (Frontiers in Systems Neuroscience 2).

    >>> X = torch.tensor([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [3.0, 2.0, 1.0]])
    >>> dissimilarities(X).round(decimals=6).tolist()
    [0.0, 2.0, 2.0]
    """
    checked(X, where="dissimilarities", least=2)
    n, d = X.shape
    if distance == "euclidean":
        # Differences, not |x|^2 + |y|^2 - 2 x.y, which would lose the digits of close rows.
        factor = power_of_two(largest_entry(X))
        return torch.nn.functional.pdist(centred(X if factor == 1 else X * factor)) / factor
    if distance != "correlation":
        raise MeasurementError(
            f"unknown distance '{distance}'", where="dissimilarities", expected="correlation or euclidean"
        )
    X = in_range(X)
    rows = X.double() - X.double().mean(1, keepdim=True)
    norms = rows.norm(dim=1, keepdim=True)
    flat = norms.flatten() <= 1e-12 * X.double().norm(dim=1)
    if d < 3 or bool(flat.any()):
        raise MeasurementError(
            "rows without a pattern across features have no correlation",
            where="dissimilarities",
            got=f"{d} features, {int(flat.sum())} of {n} rows constant",
            expected="at least 3 features and no constant row",
            do="use distance='euclidean'",
        )
    unit = rows / norms
    upper = torch.triu_indices(n, n, 1, device=X.device)
    found: Tensor = 1 - (unit @ unit.T)[upper[0], upper[1]]
    return found


@measure
def rsa(
    X: Float[Tensor, "n d1"],
    Y: Float[Tensor, "n d2"],
    distance: Literal["correlation", "euclidean"] = "correlation",
    compare: Literal["spearman", "pearson"] = "spearman",
) -> float:
    """Correlation, over pairs of rows, of the dissimilarities of X and of Y. In [-1, 1].

    Default: correlation distance and Spearman's rank correlation (ties share their mean rank; neighbours
    in order within 1e-12 of the largest dissimilarity are ties, since equal ones differ by rounding), as
    Kriegeskorte et al. 2008 propose where no linear relation of the dissimilarities is to be assumed.
    Invariances are those of the distance, and positive scaling. About 0 for unrelated features.

    Cost: n^2 (d1 + d2) and sorting n^2 numbers. Memory: n^2 float64 numbers.

    Raises:
        MeasurementError: as `dissimilarities`; n < 4; rows all at one distance.

    Source: Kriegeskorte, Mur, Bandettini 2008 (Frontiers in Systems Neuroscience 2).

    >>> X = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    >>> round(rsa(X, -5 * X + 2, "euclidean"), 6)
    1.0
    """
    checked(X, Y, where="rsa", least=4)
    if compare not in ("spearman", "pearson"):
        raise MeasurementError(f"unknown comparison '{compare}'", where="rsa", expected="spearman or pearson")
    first, second = (dissimilarities(Z, distance) for Z in (X, Y))
    for values in (first, second):
        if not values.max() - values.min() > 1e-12 * values.abs().max():
            raise MeasurementError(
                "rows all at one distance cannot be compared",
                where="rsa",
                got=f"distance {values[0].item():.3g} of all pairs",
            )
    if compare == "spearman":
        first, second = _ranks(first), _ranks(second)
        if not all(bool(ranks.max() > ranks.min()) for ranks in (first, second)):
            raise MeasurementError(
                "rows all at one distance, up to rounding, have no ranks", where="rsa", do="compare='pearson'"
            )
    first, second = first - first.mean(), second - second.mean()
    correlation: float = (first @ second / (first.norm() * second.norm())).item()
    return correlation


def _ranks(values: Tensor) -> Tensor:
    """Mean rank among values that are equal up to rounding, from 1."""
    rising, order = values.sort()
    place = torch.zeros_like(order)
    # Not to a grid of values, whose borders would split some ties all the same.
    place[order[1:]] = (rising.diff() > 1e-12 * rising.abs().amax()).cumsum(0)
    count = place.bincount()
    last = count.cumsum(0).double()
    ranks: Tensor = (last - (count - 1) / 2)[place]
    return ranks
