"""Distance after the best rotation: orthogonal Procrustes.

n: rows. d1, d2: widths; the narrower one is thought filled up with zeros.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from universality.errors import MeasurementError
from universality.measures.ambient import measure
from universality.measures.features import centred, checked, in_range, isometric_compress


@measure
def procrustes_similarity(X: Float[Tensor, "n d1"], Y: Float[Tensor, "n d2"]) -> float:
    """|X^T Y|_* / (|X|_F |Y|_F), X and Y centred: the cosine of X Q and Y under the best rotation Q.

    The sum of singular values is max over orthogonal Q of tr(Q^T X^T Y) (Schoenemann 1966). In [0, 1];
    1 for rotated, scaled, shifted copies. Biased upwards at few rows: compare with `permutation_null`.

    Cost: n d1 d2 + d1 d2 min(d1, d2), with widths above n first reduced to n at 2 n^2 d1 or 2 n^2 d2; float64.

    Raises:
        MeasurementError: rows that do not match, n < 4 (any two rows are a rotation of any other two),
            values that are not finite, constant features.

    Source: Schoenemann 1966 (Psychometrika 31); Williams et al. 2021, arXiv:2110.14739.

    >>> X = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    >>> round(procrustes_similarity(X, 3 * X.flip(1) + 7), 6)
    1.0
    >>> round(procrustes_similarity(X, X[:, :1]), 6)  # singular value 2, norms 2 and sqrt(2)
    0.707107
    """
    checked(X, Y, where="procrustes", least=4)
    X, Y = in_range(X), in_range(Y)
    A, B = (isometric_compress(centred(Z)) for Z in (X, Y))
    for Z, given in ((A, X), (B, Y)):
        # Rounding of the mean alone leaves differences of this size in constant columns.
        if not Z.norm() > 1e-12 * given.double().norm():
            raise MeasurementError(
                "constant features have no shape",
                where="procrustes",
                got=f"norm {Z.norm().item():.3g} after centring",
                do="check for a dead layer",
            )
    A, B = A / A.norm(), B / B.norm()
    total: float = torch.linalg.svdvals(A.T @ B).sum().item()
    return total


@measure
def procrustes_distance(
    X: Float[Tensor, "n d1"],
    Y: Float[Tensor, "n d2"],
    convention: Literal["angular", "chordal", "squared"] = "angular",
) -> float:
    """Of the similarity s:

    - angular: arccos s, in [0, pi/2], a metric (Williams et al. 2021);
    - chordal: sqrt(2 - 2 s) = min over Q of |X Q - Y|_F at unit norms, in [0, sqrt 2], a metric;
    - squared: 2 - 2 s, in [0, 2], the d_Proc of Ding et al. 2021; no metric.

    Rounding leaves 1e-8 in the first two between equal features.

    Source: Williams et al. 2021, arXiv:2110.14739; Ding et al. 2021, arXiv:2108.01661.

    Cost: `procrustes_similarity`.

    Raises:
        MeasurementError: as `procrustes_similarity`; an unknown convention.

    >>> X = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    >>> [round(procrustes_distance(X, X[:, :1], c), 4) for c in ("angular", "chordal", "squared")]
    [0.7854, 0.7654, 0.5858]
    """
    s = min(1.0, procrustes_similarity(X, Y))  # it passes 1 by rounding only
    match convention:
        case "angular":
            return math.acos(s)
        case "chordal":
            return math.sqrt(2 - 2 * s)
        case "squared":
            return 2 - 2 * s
    raise MeasurementError(
        f"unknown convention '{convention}'",
        where="procrustes_distance",
        expected="angular, chordal or squared",
    )
