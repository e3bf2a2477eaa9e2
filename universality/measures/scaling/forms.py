"""Forms of laws of size, each a scale times a shape of two parameters, and their fit to log losses.

sizes: rows. seeds: columns. x = ln(N / N_ref), Y = ln losses.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

Floats = NDArray[np.float64]


Form = Literal["power", "power_offset", "exponential", "exponential_offset", "logarithmic", "bent"]


def log_shape(form: Form, x: Floats, theta: float | Floats, rho: float | Floats) -> Floats:
    """ln f(N) - ln f(N_ref) at x = ln(N / N_ref). Every form is scale x shape with two parameters:
    theta a rate, and rho the share of the offset at N_ref (in `bent`, minus q).

    NaN where f is not positive.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if form == "power":
            return np.asarray(-theta * x)
        if form == "exponential":
            return np.asarray(-theta * np.expm1(x))
        if form == "bent":
            return np.asarray(-theta * x + rho * x**2)
        if form == "logarithmic":
            return np.asarray(np.log1p(-theta * x))
        drop = theta * (x if form == "power_offset" else np.expm1(x))
        return np.asarray(np.logaddexp(np.log(rho), np.log1p(-np.asarray(rho)) - drop))


TOP = {"power_offset": 8.0, "exponential_offset": 1e4, "logarithmic": 50.0}
"""Largest rate theta by form: the exponent; e-folds and slope per size unit of the largest size."""


@lru_cache(maxsize=64)
def _grid(form: Form, x: tuple[float, ...]) -> tuple[Floats, Floats, Floats]:
    """theta, rho and the centred shapes [sizes points] on a grid; the same for every refit."""
    theta = np.geomspace(1e-2, TOP[form], 60)
    rho = np.array([0.0]) if form == "logarithmic" else np.concatenate([[0.0], np.linspace(0.02, 0.98, 33)])
    T, R = (axis.ravel() for axis in np.meshgrid(theta, rho, indexing="ij"))
    H = log_shape(form, np.asarray(x)[:, None], T, R)
    return T, R, H - H.mean(0)


class Fitted(NamedTuple):
    """ln f = c + log_shape(theta, rho)."""

    c: float
    theta: float
    rho: float
    converged: bool


def fit_form(form: Form, x: Floats, Y: Floats, huber: float | None) -> Fitted:
    """The parameters that minimise the loss of Y [sizes seeds] - c - shape."""
    y = Y.mean(1)
    if form in ("power", "exponential", "bent"):
        columns = [np.ones_like(x), log_shape(form, x, 1.0, 0.0), x**2][: 3 if form == "bent" else 2]
        design = np.stack(columns, axis=1)
        p = np.linalg.lstsq(design, y, rcond=None)[0]
        converged = True
        if huber is not None:
            p, converged = _polish(lambda p: design @ p, lambda _: design, p, Y, huber)
        return Fitted(float(p[0]), float(p[1]), float(p[2]) if form == "bent" else 0.0, converged)

    # theta = e^t and rho = sin^2 phi need no bounds, and rho = 0 lies at a finite phi.
    def parts(p: Floats) -> tuple[float, float, float]:
        theta = math.exp(min(max(float(p[1]), -12.0), math.log(TOP[form])))
        return float(p[0]), theta, math.sin(p[2]) ** 2 if len(p) == 3 else 0.0

    def model(p: Floats) -> Floats:
        c, theta, rho = parts(p)
        return c + log_shape(form, x, theta, rho)

    def jacobian(p: Floats) -> Floats:
        _, theta, rho = parts(p)
        ones = np.ones_like(x)
        free = float(-12 < p[1] < math.log(TOP[form]))
        if form == "logarithmic":
            return np.stack([ones, -free * theta * x / (1 - theta * x)], axis=1)
        drop = theta * (x if form == "power_offset" else np.expm1(x))
        h = log_shape(form, x, theta, rho)
        # f = rho + (1 - rho) e^-drop:  d ln f / dt = -(1 - rho) drop e^-drop / f,  d ln f / drho = (1 - e^-drop) / f
        falling, flat = np.exp(np.minimum(-drop - h, 700)), np.exp(-h)
        return np.stack(
            [ones, -free * (1 - rho) * drop * falling, math.sin(2 * p[2]) * (flat - falling)], axis=1
        )

    # Least squares with the scale eliminated, on a grid: sum of (y - h)^2, both centred.
    T, R, H = _grid(form, tuple(x.tolist()))
    rss = np.square((y - y.mean())[:, None] - H).sum(0)
    # One start, or for Huber's loss, which has several minima, the best point of each band of theta.
    bands = [np.arange(len(T))] if huber is None else np.array_split(np.arange(len(T)), 5)
    best, lowest = Fitted(0.0, 0.0, 0.0, False), math.inf
    if form != "logarithmic":
        # With rho = 0 the form is one of two parameters. Where that is a minimum, as d cost / d rho >= 0 there,
        # Levenberg-Marquardt would creep towards it: the column of phi vanishes.
        edge = fit_form("power" if form == "power_offset" else "exponential", x, Y, huber)
        if 1e-4 < edge.theta < TOP[form]:
            best = edge
            left = Y - edge.c - log_shape(form, x, edge.theta, 0.0)[:, None]
            lowest = cost_of(left, huber)
            drop = edge.theta * (x if form == "power_offset" else np.expm1(x))
            pull = left if huber is None else np.clip(left, -huber, huber)
            uphill = float((pull.sum(1) * np.expm1(np.minimum(drop, 700))).sum()) <= 0
            own = float(np.square(left.mean(1)).sum())
            if uphill and huber is None and rss[R > 0].min() >= own:
                return best
    for band in bands:
        i = band[rss[band].argmin()]
        phi = math.asin(math.sqrt(max(float(R[i]), 1e-3)))
        start = np.array([0.0, math.log(T[i]), phi][: 2 if form == "logarithmic" else 3])
        start[0] = (y - model(start)).mean()
        found, converged = _polish(model, jacobian, start, Y, huber)
        cost = cost_of(Y - model(found)[:, None], huber)
        if cost < lowest * (1 - 1e-9):
            best, lowest = Fitted(*parts(found), converged), cost
    return best


def _polish(
    model: Callable[[Floats], Floats],
    jacobian: Callable[[Floats], Floats],
    start: Floats,
    Y: Floats,
    huber: float | None,
) -> tuple[Floats, bool]:
    """Local minimum, and whether it is one; squares need the means over seeds only, by MINPACK's Levenberg-Marquardt."""
    columns = Y.mean(1, keepdims=True) if huber is None else Y
    result = optimize.least_squares(
        lambda p: (model(p)[:, None] - columns).T.ravel(),
        start,
        jac=lambda p: np.tile(jacobian(p), (columns.shape[1], 1)),
        method="lm" if huber is None else "trf",
        loss="linear" if huber is None else "huber",
        f_scale=1.0 if huber is None else huber,
        xtol=1e-10,
        ftol=1e-12,
        gtol=1e-12,
        max_nfev=2000,
    )
    return np.asarray(result.x, dtype=np.float64), bool(result.success)


def cost_of(residual: Floats, huber: float | None) -> float:
    size = np.abs(residual)
    if huber is None:
        return float((size**2).sum()) / 2
    return float(np.where(size <= huber, size**2 / 2, huber * (size - huber / 2)).sum())
