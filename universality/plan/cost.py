"""What a training will cost, from a timed gradient; and whether it can be made at all."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from universality.errors import MeasurementError
from universality.plan.rebuilt import check_rebuilt
from universality.plan.trial import ROWS as TRIAL_ROWS
from universality.plan.trial import try_network
from universality.plugin.kit.losses import objective
from universality.plugin.randomness import seeded
from universality.plugin.registry import component
from universality.plugin.runs import Request
from universality.plugin.settings import default_settings
from universality.plugin.spec import RANGE_TEST, Recipe
from universality.plugin.task import Signature

OPTIMIZER_SECONDS = 1e-4
"""What an update costs beside its gradient: dispatching the optimizer's elementwise operations."""

RANGE_TEST_UPDATES = 5 * RANGE_TEST
"""Of a range test: some five short trainings."""

SHARPNESS_GRADIENTS = 100.0
"""Gradients of all rows that the sharpness at initialisation costs: 96 to 130 in convolutional, recurrent and other networks on
1,000 rows, some forty Hessian-vector products."""

ROWS = 512
"""Most rows of a timed gradient, beyond which time is proportional to them."""

FEW, LONG = 64, 0.1
"""Where a gradient of so few rows takes so many seconds, time is proportional to rows from there on."""


@dataclass(frozen=True, slots=True)
class GradientCost:
    """Of one gradient of the loss here: CPU seconds, and bytes that its forward pass keeps for each row."""

    seconds: float
    row_bytes: float


def gradient_cost(rows: int, timed: Callable[[int], GradientCost]) -> GradientCost:
    """Of a gradient over `rows` rows, from that of at most `ROWS`, or of `FEW` in a large network.

    Args:
        timed: what a gradient over so many rows costs.
    """
    of = min(rows, FEW)
    cost = timed(of)
    if of < rows and cost.seconds < LONG:
        of = min(rows, ROWS)
        cost = timed(of)
    return replace(cost, seconds=cost.seconds * rows / of)


@default_settings()
def timed_gradient(request: Request, signature: Signature, rows: int) -> GradientCost:
    """Of a gradient over `rows` rows, measured; zeros for a network that cannot run."""
    net, inputs, targets = _made_up(request, signature, rows)
    own = {p.untyped_storage().data_ptr() for p in (*net.parameters(), inputs)}
    kept: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    loss_of, best = objective(request.recipe), float("inf")
    try:
        for hooks in (torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor), nullcontext()):
            start = time.process_time()
            with hooks:
                loss = loss_of(net(inputs), targets)
            loss.backward()  # type: ignore[no-untyped-call]
            best = min(best, time.process_time() - start)
    except Exception:
        # A network that cannot run fails its own runs, with its traceback; its cost is unknown.
        return GradientCost(0.0, 0.0)
    return GradientCost(best, sum(kept.values()) / len(inputs))


@default_settings()
def try_request(request: Request, signature: Signature, recipe: Recipe, *, curvature: bool) -> None:
    """Try the network of a request on made-up inputs, as `try_network` does before it is trained.

    Raises:
        MeasurementError: as of `try_network`.
    """
    (again, *_), (net, inputs, targets) = (
        _made_up(request, signature, min(TRIAL_ROWS, signature.train_rows)) for _ in range(2)
    )
    where = f"{component(request.architecture)} on {component(request.task)}"
    try:
        try_network(net, objective(recipe), inputs, targets, where=where, curvature=curvature)
        check_rebuilt(net, again, inputs, where=where)
    except MeasurementError:
        raise
    except Exception:
        return  # fails its own runs


def _made_up(request: Request, signature: Signature, rows: int) -> tuple[nn.Module, Tensor, Tensor]:
    """A network, with inputs and targets such as its task has."""
    spec = signature.inputs
    with seeded(0):
        net = request.architecture.build(spec, signature.outputs)
        inputs = (
            torch.randint(spec.vocabulary, (rows, *spec.shape))
            if spec.kind == "tokens"
            else torch.randn(rows, *spec.shape)
        )
    shape, kind = (
        ((rows, signature.outputs), torch.float32) if signature.regression else ((rows,), torch.int64)
    )
    return net, inputs, torch.zeros(shape, dtype=kind)
