"""Updates to a loss against the batch size: a hyperbola, and the batch size at its knee."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Real
from scipy.optimize import minimize_scalar

from universality.errors import MeasurementError
from universality.measures.ambient import measure


@dataclass(frozen=True, slots=True)
class Hyperbola:
    """`least` (1 + `critical` / B), its values at the given sizes, and `off`, the largest |ln| of one over what is fitted."""

    least: float
    critical: float
    fitted: tuple[float, ...]
    off: float


@measure
def critical_batch_size(
    batches: Real[np.ndarray, " sizes"], updates: Float[np.ndarray, " sizes"]
) -> Hyperbola:
    """Least squares of ln S against ln(S_min (1 + B_crit / B)), in ln B_crit from 1e-3 times the least B to 1e3 times the
    largest; at either end no batch size is critical in the range.

    Equivalent to (S/S_min - 1)(E/E_min - 1) = 1 with E = B S examples and E_min = S_min B_crit.

    Cost: O(n), some hundreds of times.

    Raises:
        MeasurementError: fewer than 4 sizes, sizes that repeat, or numbers that are not positive and finite.

    Source: McCandlish, Kaplan, Amodei et al. 2018, arXiv:1812.06162, section 2.3.

    >>> found = critical_batch_size(np.array([1, 4, 16, 64]), 20 * (1 + 8 / np.array([1.0, 4, 16, 64])))
    >>> round(found.least, 3), round(found.critical, 3), found.off < 1e-4
    (20.0, 8.0, True)
    """
    B, S = np.asarray(batches, np.float64), np.asarray(updates, np.float64)
    good = len(B) == len(S) >= 4 and len(set(B.tolist())) == len(B)
    if not good or not (np.isfinite([*B, *S]).all() and min(*B, *S) > 0):
        raise MeasurementError(
            "no hyperbola through these",
            where="critical_batch_size",
            got=f"{len(B)} sizes, {len(set(B.tolist()))} different, {len(S)} numbers of updates",
            expected="4 sizes or more, each once, positive and finite as the updates are",
        )

    def squares(log_critical: np.ndarray) -> np.ndarray:
        rest = np.log(S) - np.log1p(np.exp(log_critical)[:, None] / B)
        total: np.ndarray = ((rest - rest.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
        return total

    ends = math.log(1e-3 * B.min()), math.log(1e3 * B.max())
    grid = np.linspace(*ends, 200)
    start = float(grid[int(np.argmin(squares(grid)))])
    step = float(grid[1] - grid[0])
    around = max(ends[0], start - step), min(ends[1], start + step)
    found = minimize_scalar(
        lambda x: float(squares(np.array([x]))[0]), bounds=around, method="bounded", options={"xatol": 1e-9}
    )
    critical = math.exp(float(found.x))
    least = math.exp(float(np.mean(np.log(S) - np.log1p(critical / B))))
    fitted = least * (1 + critical / B)
    return Hyperbola(least, critical, tuple(map(float, fitted)), float(np.abs(np.log(S / fitted)).max()))
