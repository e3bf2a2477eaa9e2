"""What a training will cost, from a timed gradient."""

from __future__ import annotations

import time

import torch

from universality.plugin.kit.losses import objective
from universality.plugin.runs import Request
from universality.plugin.task import Signature

OPTIMIZER_SECONDS = 1e-4
"""What an update costs beside its gradient: dispatching the optimizer's elementwise operations."""


def gradient_seconds(request: Request, signature: Signature, rows: int) -> float:
    """CPU seconds of one gradient over `rows` rows here; 0 for a network that cannot run."""
    spec = signature.inputs
    # Beyond some hundred rows the time is proportional to them.
    scale = max(1.0, rows / 512)
    rows = min(rows, 512)
    with torch.random.fork_rng(devices=[]):
        net = request.architecture.build(spec, signature.outputs)
        inputs = (
            torch.randint(spec.vocabulary, (rows, *spec.shape))
            if spec.kind == "tokens"
            else torch.randn(rows, *spec.shape)
        )
    shape, kind = (
        ((rows, signature.outputs), torch.float32) if signature.regression else ((rows,), torch.int64)
    )
    targets = torch.zeros(shape, dtype=kind)
    loss_of, best = objective(request.recipe), float("inf")
    try:
        for _ in range(2):
            start = time.process_time()
            loss_of(net(inputs), targets).backward()  # type: ignore[no-untyped-call]
            best = min(best, time.process_time() - start)
    except Exception:
        # A network that cannot run fails its own runs, with its traceback; its cost is unknown.
        return 0.0
    return scale * best
