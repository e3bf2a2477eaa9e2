"""Test error of regression on some of many random features, against their number.

N: inputs. P: features. C: outputs. widths: how many features are used.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from universality.errors import MeasurementError
from universality.measures.ambient import measure

RANK = 1e-6
"""Singular values below this share of the largest are taken for zero: features are float32."""


@measure
def random_feature_errors(
    features: Float[np.ndarray, "N P"],
    targets: Float[np.ndarray, "N C"],
    rows: int,
    widths: Int[np.ndarray, " widths"],
    rng: np.random.Generator,
    *,
    noise: float = 0.0,
    ridge: float = 0.0,
    draws: int = 20,
) -> Float[np.ndarray, " widths"]:
    """Median over draws of |f - y|^2 on the rows that are not trained on, over that of their mean, for each width.

    A draw takes `rows` of the inputs, an order of the features, of which the first `width` are used, and Gaussian noise
    on the training targets, of standard deviation `noise` times theirs. f is the solution of least norm, or with ridge
    r that of |X w - y|^2 + r s^2 |w|^2, s^2 the mean square singular value of X. Both are fitted to targets less
    their training mean. Ridgeless, the mean of the error over draws diverges at width = rows; the median does not.

    Cost: draws SVDs of [rows, width] for each width.

    Raises:
        MeasurementError: shapes that do not match, more rows than inputs less one, widths outside 1 to P, targets
            that are constant.

    Source: Hastie, Montanari, Rosset and Tibshirani 2022, arXiv:1903.08560; Belkin et al. 2019, arXiv:1812.11118.

    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((300, 200))
    >>> errors = random_feature_errors(X, X[:, :1], 20, np.array([5, 20, 200]), rng, noise=0.3)
    >>> bool(errors[1] > 3 * max(errors[0], errors[2]))
    True
    """
    N, P = features.shape
    fit = targets.ndim == 2 and len(targets) == N and 1 <= rows < N
    if not fit or not len(widths) or not 1 <= widths.min() <= widths.max() <= P or not targets.std() > 0:
        raise MeasurementError(
            "no regression on these features",
            where="random_feature_errors",
            got=f"features {list(features.shape)}, targets {list(targets.shape)}, {rows} rows, widths {widths.tolist()}",
            expected="features [N, P], targets [N, C] that vary, rows < N, and widths from 1 to P",
        )
    errors = np.empty((draws, len(widths)))
    for draw in range(draws):
        order, units = rng.permutation(N), rng.permutation(P)
        train, test = order[:rows], order[rows:]
        mean, spread = targets[train].mean(0), targets[train].std()
        y = targets[train] - mean + noise * spread * rng.standard_normal((rows, targets.shape[1]))
        left = targets[test] - mean
        for place, width in enumerate(widths):
            used = features[:, units[:width]]
            U, s, Vt = np.linalg.svd(used[train], full_matrices=False)
            kept = s > RANK * s[0]
            gain = np.where(kept, s / np.where(kept, s**2 + ridge * (s**2).mean(), 1.0), 0.0)
            fitted = used[test] @ (Vt.T @ (gain[:, None] * (U.T @ y)))
            errors[draw, place] = ((fitted - left) ** 2).sum(1).mean() / (left**2).sum(1).mean()
    return np.median(errors, axis=0)
