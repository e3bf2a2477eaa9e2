"""The learning curve of kernel regression from the eigensystem of the kernel, and as it is measured.

M: eigenmodes. N: rows of the population. C: outputs.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq

from universality.errors import MeasurementError
from universality.measures.ambient import measure


@measure
def eigenlearning_error(
    eigenvalues: Float[np.ndarray, " M"], power: Float[np.ndarray, " M"], n: int, ridge: float
) -> float:
    """Mean squared error of kernel ridge regression after n rows, averaged over the population and draws of rows.

        MSE = n / (n - sum_i L_i^2) sum_i (1 - L_i)^2 v_i^2,    L_i = l_i / (l_i + k),    sum_i L_i + ridge / k = n,

    with l_i the eigenvalues of the kernel under the population and v_i^2 the `power` of the target in mode i. Derived
    for coefficients of the modes that are as if independent and Gaussian. The learnabilities L_i sum to n at no ridge.

    Cost: O(M), about 50 times.

    Raises:
        MeasurementError: numbers that are negative or not finite, arrays that differ in length, or n that the kernel
            fits exactly (no ridge, and as many rows as eigenvalues above 0): there is no k.

    Source: Simon, Dickens, Karkada and DeWeese 2023, arXiv:2110.03922, equations 4 to 8.

    >>> round(eigenlearning_error(np.full(100, 0.3), np.full(100, 0.01), 25, 0.0), 9)  # flat: (1 - n / M) |v|^2
    0.75
    """
    both = np.stack([eigenvalues, power]) if eigenvalues.shape == power.shape else np.array([-1.0])
    if both.min() < 0 or not np.isfinite([both.max(), ridge]).all() or ridge < 0 or n < 1:
        raise MeasurementError(
            "no eigensystem that could be learnt from",
            where="eigenlearning_error",
            got=f"eigenvalues {list(eigenvalues.shape)}, power {list(power.shape)}, n = {n}, ridge = {ridge:g}",
            expected="as many powers as eigenvalues, all finite and not negative, and n >= 1",
        )
    if not ridge and n >= (eigenvalues > 0).sum():
        raise MeasurementError(
            "without a ridge, as many rows as modes are fitted exactly",
            where="eigenlearning_error",
            got=f"n = {n}, {int((eigenvalues > 0).sum())} eigenvalues above 0",
            do="take fewer rows, or a ridge",
        )

    def surplus(log_k: float) -> float:
        k = np.exp(log_k)
        return float((eigenvalues / (eigenvalues + k)).sum() + ridge / k - n)

    # All terms are below (sum l + ridge) / k: at that k they sum to less than 1.
    high = np.log(eigenvalues.sum() + ridge)
    k = np.exp(brentq(surplus, high - 100, high, xtol=1e-12))
    L = eigenvalues / (eigenvalues + k)
    return float(n / (n - (L**2).sum()) * ((1 - L) ** 2 @ power))


@measure
def kernel_regression_error(
    K: Float[np.ndarray, "N N"],
    Y: Float[np.ndarray, "N C"],
    n: int,
    ridge: float,
    rng: np.random.Generator,
    *,
    draws: int = 100,
) -> float:
    """Mean over draws of n different rows of |f - y|^2 on the whole population, the rows among it, for
    f(x) = K(x, rows) (K(rows, rows) + ridge)^-1 Y(rows).

    Rows are not drawn twice: no continuous population has repeated rows, and drawn with replacement from N = 512 they
    leave the error 20 % above the theory at n = N / 4.

    Cost: draws (n^3 + N n C).

    Raises:
        MeasurementError: shapes that do not match, or n outside 1 to N. `numpy.linalg.LinAlgError` where a draw is singular.

    Source: Simon, Dickens, Karkada and DeWeese 2023, arXiv:2110.03922, appendix on experiments.

    >>> K, Y = np.eye(64), np.ones((64, 1))  # rows that say nothing of others: 1 - n / N
    >>> kernel_regression_error(K, Y, 16, 0.0, np.random.default_rng(0))
    0.75
    """
    N = len(K)
    if K.shape != (N, N) or Y.ndim != 2 or len(Y) != N or not 1 <= n <= N:
        raise MeasurementError(
            "no regression of these rows",
            where="kernel_regression_error",
            got=f"K {list(K.shape)}, Y {list(Y.shape)}, n = {n}",
            expected="K [N, N], Y [N, C], 1 <= n <= N",
        )
    errors = []
    for rows in (rng.permutation(N)[:n] for _ in range(draws)):
        fitted = K[:, rows] @ np.linalg.solve(K[np.ix_(rows, rows)] + ridge * np.eye(n), Y[rows])
        errors.append(((fitted - Y) ** 2).sum(1).mean())
    return float(np.mean(errors))
