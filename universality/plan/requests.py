"""From what a phenomenon requests to the run that it names, or why there is no such run."""

from __future__ import annotations

from collections.abc import Callable

from universality.errors import BadParameter
from universality.plugin.registry import Plugin, component
from universality.plugin.runs import Request
from universality.plugin.sources import sources_of
from universality.plugin.spec import Component, RunSpec
from universality.plugin.streams import Streams
from universality.plugin.task import Signature


def spec_of(
    request: Request, signature: Signature, describe: Callable[[Plugin], Component] = component
) -> RunSpec:
    """The run that is requested. `signature`: of its task; `describe`: `component`, or what remembers its answers.

    Raises:
        BadParameter: a loss of classes for a task without, other batches or a fork for a run that sees no
            batches, or what `RunSpec` and `Streams` refuse.
    """
    architecture, task = describe(request.architecture), describe(request.task)
    spec = RunSpec(
        architecture,
        task,
        request.recipe,
        request.seed,
        signature.content,
        sources=sources_of(("architecture", architecture), ("task", task)),
        streams=Streams.of(request.streams, request.fork),
    )
    where = f"{spec.architecture} on {spec.task}, seed {spec.seed}"
    if signature.regression and request.recipe.loss != "mse":
        raise BadParameter(
            "a loss of classes, and a task of regression",
            where=where,
            got=f"loss={request.recipe.loss}",
            expected="loss=mse",
        )
    if not (request.recipe.steps and request.recipe.sees_batches(signature.train_rows)):
        asked = [f"fork={spec.fork}"] if spec.fork else []
        if spec.seed_of("batches") != spec.seed:
            asked.append(f"batches of seed {spec.seed_of('batches')}")
        if asked:
            raise BadParameter(
                "other batches for a run that sees no batches: the same training under another name",
                where=where,
                got=f"{', '.join(asked)}, batch_size={request.recipe.batch_size}, steps={request.recipe.steps}",
                expected=f"steps >= 1, and a batch_size from 1 to {signature.train_rows - 1}",
            )
    return spec
