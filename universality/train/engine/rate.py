"""The learning rate from the sharpness at initialisation (`lr_over_stability`)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Hashable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from universality.errors import MeasurementError
from universality.measures import (
    EigenResult,
    HessianOperator,
    preserved,
    stability_threshold,
    top_eigenvalues,
)
from universality.measures.curvature.kinks import gradient_jump, step_off
from universality.measures.network.gradients import flat_gradient
from universality.plugin.kit.losses import objective
from universality.plugin.spec import SHARPNESS_ROWS, RunSpec, derive_seed
from universality.plugin.task import Split
from universality.text import beside
from universality.train.engine.optimizers import build_optimizer, trainable

MAX_PRODUCTS = 200
"""Most Hessian-vector products for the sharpness."""

SHARPNESS_TOLERANCE = 1e-2
"""Relative error of the sharpness, as left by rounding, up to which it gives a rate."""

KINK_ROWS = 64
"""Rows that tell whether weights lie on a kink: what many units do of every row."""


class Start(NamedTuple):
    """Of a network before its first update: `sharpness`, and `kink`, which is 0, or the jump of the gradient at the weights
    (`gradient_jump`), in whose place the sharpness was taken a tiny step off."""

    sharpness: float
    kink: float


class StableRates:
    """Rates of the runs of a stack. Those that start alike, as the rates of a sweep do, share the search for the sharpness."""

    def __init__(self) -> None:
        self._starts: dict[Hashable, Start] = {}

    def of(self, spec: RunSpec, net: nn.Module, train: Split) -> tuple[float, Start]:
        """The lr at which the stability threshold is `lr_over_stability` times the initial sharpness, and `start_of` the run.

        The threshold is inversely proportional to lr: its value at lr = 1, divided by `lr_over_stability` times the
        sharpness, is the rate.

        Raises:
            MeasurementError: as of `start_of`.
        """
        recipe = spec.recipe
        if spec.start not in self._starts:
            self._starts[spec.start] = start_of(spec, net, train)
        start = self._starts[spec.start]
        at_unit_rate = stability_threshold(build_optimizer(recipe, trainable(net), lr=1.0))
        return at_unit_rate / (recipe.lr_over_stability * start.sharpness), start


def start_of(spec: RunSpec, net: nn.Module, train: Split) -> Start:
    """The sharpness at initialisation.

    Costs up to 200 Hessian-vector products, twice that where they are repeated in float64; beforehand four gradients of a
    few rows in float64.

    Of weights that lie on a kink the Hessian is that of the piece of the loss that torch's convention picks, on which no
    update will be made: a residual branch that starts at zero has none of its curvature there. The sharpness is then that
    of weights a tiny step down the gradient (`step_off`). Training itself begins at the weights as they are.

    Raises:
        MeasurementError: the sharpness is not positive, or not known to a percent.
    """
    recipe = spec.recipe
    network, kink = net, _kink(spec, net, train)
    if recipe.batch_size and len(train) > SHARPNESS_ROWS:
        order = torch.Generator().manual_seed(derive_seed("stable_rate_rows", spec.seed))
        rows = torch.randperm(len(train), generator=order)[:SHARPNESS_ROWS]
        train = train.take(rows.to(train.targets.device))
    if kink:
        network = _off_kink(spec, net, train)
    top = _sharpness(spec, network, train)
    if top.matvecs < MAX_PRODUCTS and _relative_error(top) > SHARPNESS_TOLERANCE:
        # Rounding of float32 products ends the search early in some ResNets, 2 to 4 % off.
        try:
            top = _sharpness(spec, *_in_double(network, train))
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, TypeError):
            pass  # a device without float64, or code that mixes it with float32
    sharpness, error = float(top.values[0]), _relative_error(top)
    # A search that ends before its budget has settled: what then keeps it from `converged` is the
    # rounding of the products.
    settled = top.converged or (top.matvecs < MAX_PRODUCTS and error <= SHARPNESS_TOLERANCE)
    if not (settled and 0 < sharpness < math.inf):
        limits = f"found within {MAX_PRODUCTS} products and known to {SHARPNESS_TOLERANCE:g}"
        raise MeasurementError(
            "no learning rate follows from the sharpness at initialisation",
            where=f"{spec.architecture} on {spec.task}, seed {spec.seed}",
            got=f"{sharpness:.4g}, relative error estimate {beside(error, SHARPNESS_TOLERANCE, digits=2)} after {top.matvecs} products",
            expected=f"a positive number, {limits}",
            do="give the recipe `lr` in place of `lr_over_stability`",
        )
    return Start(sharpness, kink)


def _kink(spec: RunSpec, net: nn.Module, train: Split) -> float:
    """The jump of the gradient at the weights, over a few rows; 0 too where there is no copy in float64."""
    try:
        double, rows = _in_double(net, Split(train.inputs[:KINK_ROWS], train.targets[:KINK_ROWS]))
        return gradient_jump(_gradient(spec, double, rows), trainable(double))
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError):
        return 0.0


def _off_kink(spec: RunSpec, net: nn.Module, train: Split) -> nn.Module:
    off = copy.deepcopy(net)
    step_off(_gradient(spec, off, train), trainable(off))
    return off


def _gradient(spec: RunSpec, net: nn.Module, rows: Split) -> Callable[[], Tensor]:
    loss_of, parameters = objective(spec.recipe), trainable(net)

    def gradient() -> Tensor:
        with preserved(net):  # dropout draws alike at every call
            return flat_gradient(lambda: loss_of(net(rows.inputs), rows.targets), parameters, "stable_rate")

    return gradient


def _sharpness(spec: RunSpec, net: nn.Module, rows: Split) -> EigenResult:
    """The largest eigenvalue of the Hessian of the loss over these rows."""
    params, loss_of = trainable(net), objective(spec.recipe)
    with preserved(net):
        hessian = HessianOperator(lambda: loss_of(net(rows.inputs), rows.targets), params)
        return top_eigenvalues(
            hessian,
            hessian.dim,
            generator=torch.Generator().manual_seed(derive_seed("stable_rate", spec.seed)),
            tolerance=1e-3,
            max_matvecs=MAX_PRODUCTS,
            device=params[0].device,
        )


def _relative_error(top: EigenResult) -> float:
    return float(top.error_estimates[0] / top.values[0].abs())  # of tensors: 0 / 0 is NaN


def _in_double(net: nn.Module, rows: Split) -> tuple[nn.Module, Split]:
    inputs = rows.inputs.double() if rows.inputs.is_floating_point() else rows.inputs
    return copy.deepcopy(net).double(), Split(inputs, rows.targets)
