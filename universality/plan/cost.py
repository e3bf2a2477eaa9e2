"""What a training will cost, from a timed gradient; and whether it can be made at all."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass

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
"""Rows of a timed gradient, beyond which time is proportional to them."""


@dataclass(frozen=True, slots=True)
class GradientCost:
    """Of one gradient of the loss here: CPU seconds, and bytes that its forward pass keeps for each row."""

    seconds: float
    row_bytes: float


@default_settings()
def gradient_cost(request: Request, signature: Signature, rows: int) -> GradientCost:
    """Of a gradient over `rows` rows; zeros for a network that cannot run."""
    scale = max(1.0, rows / ROWS)
    net, inputs, targets = _made_up(request, signature, min(rows, ROWS))
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
    return GradientCost(scale * best, sum(kept.values()) / len(inputs))


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
