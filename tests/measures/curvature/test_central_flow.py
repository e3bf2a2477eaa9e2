"""Central flow: exact where the edge is a plane, gradient flow below it, refusals."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from universality.errors import MeasurementError, NotFinite
from universality.measures import central_flow

RISE = 0.1


def valley(w: Tensor) -> Tensor:
    """Curvature w[1] across a valley, along which the loss falls at a constant rate."""
    value: Tensor = 0.5 * w[1] * w[0] ** 2 - RISE * w[1]
    return value


def at(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(("lr", "substeps"), [(0.5, 1), (1.0, 2), (1.6, 5)])
def test_sharpness_rises_to_the_edge_and_stays_with_the_variance_that_holds_it(
    lr: float, substeps: int
) -> None:
    # dw[1]/dt = RISE - sigma^2 / 2 is 0 at the edge.
    start = at(0.0, 1.5 / lr)
    below = central_flow(valley, start, lr=lr, updates=1, substeps=substeps)
    assert below.weights.tolist() == pytest.approx([0.0, 1.5 / lr + lr * RISE])
    assert below.variance == 0
    assert below.averaged_loss == below.loss
    edge = central_flow(valley, start, lr=lr, updates=math.ceil(1 / (RISE * lr**2)), substeps=substeps)
    assert edge.sharpness == pytest.approx(2 / lr)
    assert edge.variance == pytest.approx(2 * RISE)
    assert edge.averaged_loss == pytest.approx(-RISE * 2 / lr + RISE * 2 / lr, abs=1e-9)


def test_an_infinite_threshold_is_gradient_flow() -> None:
    point = central_flow(valley, at(0.0, 1.5), lr=1.0, updates=100, threshold=math.inf)
    assert point.weights.tolist() == pytest.approx([0.0, 1.5 + 100 * RISE])
    assert point.sharpness == pytest.approx(11.5)
    assert point.variance == 0


def test_it_goes_on_from_where_it_stood() -> None:
    whole = central_flow(valley, at(0.0, 1.5), lr=1.0, updates=20)
    half = central_flow(valley, at(0.0, 1.5), lr=1.0, updates=8)
    rest = central_flow(valley, half.weights, lr=1.0, updates=12, start=half.subspace)
    assert rest.weights.tolist() == pytest.approx(whole.weights.tolist())
    start = central_flow(valley, at(0.0, 1.5), lr=1.0, updates=0)
    assert (start.weights.tolist(), start.sharpness) == ([0.0, 1.5], pytest.approx(1.5))


@pytest.mark.parametrize("bad", [{"lr": 0.0}, {"lr": math.nan}, {"updates": -1}, {"substeps": 0}])
def test_no_time_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(MeasurementError, match="a flow over no time"):
        central_flow(valley, at(0.0, 1.5), **{"lr": 1.0, "updates": 1} | bad)  # type: ignore[arg-type]


def test_a_flow_that_leaves_the_floats_is_said() -> None:
    with pytest.raises(NotFinite, match="left what floats can hold"):
        central_flow(lambda w: -(w**4).sum(), at(10.0, 10.0), lr=1.0, updates=50, threshold=math.inf)
