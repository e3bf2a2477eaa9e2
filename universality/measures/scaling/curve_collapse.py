"""Whether loss curves of models of different sizes are one curve, to within what seeds differ by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from universality.errors import MeasurementError
from universality.measures.ambient import measure


@dataclass(frozen=True, slots=True, eq=False)
class CurveCollapse:
    """`curves`, normalised; their `deviation` and the `noise` of seeds at each time; `ratio` of the two, see below."""

    curves: Float[np.ndarray, "sizes seeds times"]
    deviation: Float[np.ndarray, " times"]
    noise: Float[np.ndarray, " times"]
    ratio: float


@measure
def curve_collapse(losses: Float[np.ndarray, "sizes seeds times"], floor: float = 0.0) -> CurveCollapse:
    """Of losses L at equal shares x of the budget of each size, the last at x = 1, and their irreducible part L0:

        curves      l = (L(x) - L0) / (L(1) - L0) of each run
        deviation   std over sizes and seeds of l(x), over its mean
        noise       std over seeds of L(x), over the mean of L(x) - L0, of each size; root mean square over sizes
        ratio       of these, geometric mean over the second half of the times, the last left out, at which l = 1

    Supercollapse is a ratio below 1: dividing by where a run ends removes more than it adds. With noise that is
    independent in time, and collapse otherwise exact, the ratio is sqrt(2).

    Cost: O(n) for n numbers.

    Raises:
        MeasurementError: fewer than 2 sizes, 2 seeds or 5 times, or losses that are not finite and above the floor.

    Source: Qiu et al. 2025, arXiv:2507.02119, section 2.

    >>> x = np.linspace(0.1, 1, 10)
    >>> sizes, seeds = np.array([1.0, 4.0])[:, None, None], np.array([1.0, 1.1, 0.9])[None, :, None]
    >>> found = curve_collapse(sizes * seeds / x)  # what seeds differ by stays for good
    >>> bool(found.ratio < 1e-6), np.round(found.noise[0], 3).item()
    (True, 0.1)
    """
    L = np.asarray(losses, np.float64) - floor
    if L.ndim != 3 or L.shape[0] < 2 or L.shape[1] < 2 or L.shape[2] < 5:
        raise MeasurementError(
            "curves of several sizes and seeds are compared",
            where="curve_collapse",
            got=f"shape {list(L.shape)}",
            expected="[sizes, seeds, times], at least [2, 2, 5]",
        )
    if not (np.isfinite(L).all() and (L > 0).all()):
        raise MeasurementError(
            "losses at or below the irreducible one",
            where="curve_collapse",
            got=f"least {L.min():g} above {floor:g}",
        )
    curves = L / L[..., -1:]
    flat = curves.reshape(-1, L.shape[2])
    deviation = flat.std(axis=0, ddof=1) / flat.mean(axis=0)
    noise = np.sqrt(np.mean((L.std(axis=1, ddof=1) / L.mean(axis=1)) ** 2, axis=0))
    late = slice(L.shape[2] // 2, -1)
    tiny = np.finfo(np.float64).tiny
    ratio = np.exp(np.mean(np.log(np.maximum(deviation[late], tiny)) - np.log(np.maximum(noise[late], tiny))))
    return CurveCollapse(curves, deviation, noise, float(ratio))
