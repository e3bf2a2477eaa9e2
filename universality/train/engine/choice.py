"""How the members of a stack are stepped: which engine, and why not another."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any

import torch

from universality.measures import preserved
from universality.train.engine.ensemble import CannotStack, Ensemble, Separate
from universality.train.engine.fused_steps import Capture, FusedSteps
from universality.train.engine.loop_steps import LoopSteps
from universality.train.engine.run import MemberRun
from universality.train.messages import Engine

MIN_FUSED = 4
"""Members from which on a GPU may take their gradients at once."""

TIMING_REPEATS = 3
"""Times that either way is timed."""


def choose_engine(
    members: Sequence[MemberRun], engine: Engine, capture: Capture | None
) -> tuple[Ensemble | Separate, LoopSteps | FusedSteps, dict[str, Any]]:
    """The networks with their optimizers, how they are stepped, and facts that spoke for it.

    Raises:
        CannotStack: the networks cannot share one storage.
    """
    parts = [m.net for m in members], [m.recipe for m in members], [m.rate for m in members]
    if engine == "separate":
        separate = Separate(*parts)
        return separate, LoopSteps(separate, members, alone=len(members) == 1), {}
    ensemble = Ensemble(*parts)
    loop = LoopSteps(ensemble, members, alone=len(members) == 1)
    if engine == "loop" or (engine == "auto" and not _may_fuse(members)):
        return ensemble, loop, {}
    try:
        fused = FusedSteps(ensemble, members, capture)
    except CannotStack as error:
        return ensemble, loop, {"fallback": str(error)}
    facts = {}
    if engine == "auto":
        loop_seconds, fused_seconds = time_gradients(loop, fused, members)
        facts = {"loop_seconds": loop_seconds, "fused_seconds": fused_seconds}
        if loop_seconds < fused_seconds:
            return ensemble, loop, {**facts, "fallback": "the loop is faster"}
    if capture is not None:
        ensemble.keep_on_device()
    return ensemble, fused, facts


def _may_fuse(members: Sequence[MemberRun]) -> bool:
    first = members[0]
    return first.recipe.steps > 0 and first.data.targets.is_cuda and len(members) >= MIN_FUSED


def time_gradients(loop: LoopSteps, fused: FusedSteps, members: Sequence[MemberRun]) -> tuple[float, float]:
    """Seconds of the gradients of one update in either way, the least of `TIMING_REPEATS`.

    Which of them is faster follows from no rule: a grouped convolution can take longer than its
    members one after another. Weights, buffers and random numbers are as before.
    """
    device, least = members[0].data.targets.device, []
    with contextlib.ExitStack() as stack:
        for member in members:
            stack.enter_context(preserved(member.net))
        for way in (loop, fused):
            take, seconds = way.gradients(), []
            take()
            for _ in range(TIMING_REPEATS):
                _synchronize(device)
                start = time.perf_counter()
                take()
                _synchronize(device)
                seconds.append(time.perf_counter() - start)
            least.append(min(seconds))
    return least[0], least[1]


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
