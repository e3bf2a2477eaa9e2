"""Modes of the data in a linear network: how strong each is, and when it is learnt.

times: records. out, in: outputs and inputs of the network's map. modes: min(out, in).
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from universality.errors import MeasurementError
from universality.measures.ambient import measure


@measure
def mode_strengths(
    maps: Float[np.ndarray, "times out in"], correlation: Float[np.ndarray, "out in"]
) -> tuple[Float[np.ndarray, " modes"], Float[np.ndarray, "modes times"]]:
    """Singular values s_k of the correlation Y^T X / n, and strengths a_k(t) = u_k^T W(t) v_k / s_k of its modes.

    With whitened inputs the correlation is the map that fits the data, at which every strength is 1.

    Cost: O(times out in modes), and one SVD.

    Raises:
        MeasurementError: maps of another shape than the correlation, a correlation without full rank, of which a mode
            has no direction, or numbers that are not finite.

    Source: Saxe, McClelland and Ganguli 2014, arXiv:1312.6120, section 1.

    >>> s, a = mode_strengths(np.array([[[0.0, 0.0], [0.0, 0.5]]]), np.diag([4.0, 2.0]))
    >>> s.tolist(), a.tolist()
    ([4.0, 2.0], [[0.0], [0.25]])
    """
    if maps.ndim != 3 or maps.shape[1:] != correlation.shape or not np.isfinite(maps).all():
        raise MeasurementError(
            "no maps whose modes could be followed",
            where="mode_strengths",
            got=f"maps {list(maps.shape)}, correlation {list(correlation.shape)}",
            expected="finite maps [times, out, in] and a correlation [out, in]",
        )
    U, s, Vt = np.linalg.svd(correlation, full_matrices=False)
    if not s[-1] > s[0] * 1e-9:
        raise MeasurementError(
            "a mode without a direction",
            where="mode_strengths",
            got=f"singular values {s[0]:g} to {s[-1]:g}",
            expected="a correlation of full rank",
        )
    return s, np.einsum("ik,tij,kj->kt", U, maps.astype(np.float64), Vt) / s[:, None]


@measure
def passage_times(
    times: Float[np.ndarray, " times"], strengths: Float[np.ndarray, "modes times"], level: float
) -> Float[np.ndarray, " modes"]:
    """When each mode first reaches `level`, in 0 to 1; infinite for one that does not, the first time for one that is above.

    Between two records it is interpolated in ln a / (1 - a), in which a logistic is straight.

    Cost: O(modes times).

    Raises:
        MeasurementError: a level outside 0 to 1, or times that are not as many as the strengths and increasing.

    Source: the 10 to 90 % rise of a logistic of rate r is ln 81 / r.

    >>> t = np.linspace(0, 10, 11)
    >>> a = 1 / (1 + np.exp(-2 * (t - 4.3)))[None]
    >>> round(float((passage_times(t, a, 0.9) - passage_times(t, a, 0.1))[0] / (math.log(81) / 2)), 6)
    1.0
    """
    if not 0 < level < 1 or times.shape != strengths.shape[1:] or not (np.diff(times) > 0).all():
        raise MeasurementError(
            "no times at which a level is passed",
            where="passage_times",
            got=f"level {level:g}, times {list(times.shape)}, strengths {list(strengths.shape)}",
            expected="0 < level < 1, and increasing times [times] of strengths [modes, times]",
        )
    logits = np.log(strengths.clip(1e-12) / (1 - strengths).clip(1e-12))
    found = np.full(len(strengths), math.inf)
    for k, reached in enumerate(strengths >= level):
        if reached.any():
            i = int(np.argmax(reached))
            near = slice(max(i - 1, 0), i + 1)
            found[k] = np.interp(math.log(level / (1 - level)), logits[k, near], times[near])
    return found
