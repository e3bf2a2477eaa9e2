"""A network tried on a batch before it is trained: what no update would reach, what it keeps or hides from torch, what
has no second derivative."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from universality.errors import MeasurementError, first_line
from universality.measures import HessianOperator, preserved
from universality.measures.network.gradients import nodes
from universality.plugin.randomness import Draws

ROWS = 64
"""Rows of a trial, which asks what is reached, not how far."""

ATTEMPTS = 64
"""Batches without a gradient after which a parameter counts as never reached: a network may leave out layers at
random, or send rows to experts."""

NEAR = 1e-4
"""Relative distance up to which two gradients of one batch count as one: sums on a GPU are not made in one order."""

Loss = Callable[[Tensor, Tensor], Tensor]


def try_network(
    net: nn.Module, loss_of: Loss, inputs: Tensor, targets: Tensor, *, where: str, curvature: bool = False
) -> None:
    """Take gradients of the loss and, where `curvature` will be asked for, a Hessian-vector product.

    The network and the inputs are left as they were.

    Cost: two evaluations and three gradients of at most `ROWS` rows; about four more for curvature.

    Raises:
        MeasurementError: a random draw that is kept for later calls, a trainable parameter that the loss does not reach or that `forward` replaces by another, a
            gradient that is sparse, one that is another when it is taken again, inputs that `forward` writes to, a
            weight that the network does not list or, where curvature is asked for, no second derivative; it names
            the parameter or the module. What else the network raises passes on.
    """
    trained = {name: parameter for name, parameter in net.named_parameters() if parameter.requires_grad}
    if not trained:
        return

    def loss(attempt: int) -> Tensor:
        first = attempt * ROWS % len(inputs)
        rows = slice(first, first + ROWS)
        given = inputs[rows].clone()
        value = loss_of(net(given), targets[rows])
        if not torch.allclose(given, inputs[rows], rtol=0, atol=0, equal_nan=True):
            raise MeasurementError(
                "a network that writes to its inputs, which are the data of all updates and of other runs",
                where=where,
                expected="inputs that forward leaves alone",
                do="write x = x * scale, not x.mul_(scale)",
            )
        return value

    # Fused attention has no second derivative; `HessianOperator` goes without it as well.
    with preserved(net), sdpa_kernel(SDPBackend.MATH):
        _check_draws(net, lambda: loss(0), inputs.device, where)
        _check_reached(net, trained, loss, where)
        _check_repeats(net, trained, lambda: loss(0), where)
        if curvature:
            _check_curvature(net, trained, inputs[:ROWS], lambda: loss(0), where)


def _check_draws(net: nn.Module, loss: Callable[[], Tensor], device: torch.device, where: str) -> None:
    """From one state, the first call and the second draw from the same generators.

    What is drawn once and kept (`functools.lru_cache`) would be that of whatever network of the process called first.
    """
    taken = []
    for _ in range(2):
        with preserved(net), torch.no_grad():
            draws = Draws(device)
            loss()
            taken.append(draws.taken())
    if taken[0] != taken[1]:
        raise MeasurementError(
            "a network that draws once and keeps what it drew for other networks",
            where=where,
            got=f"draws from {' and '.join(taken[0]) or 'nothing'} at the first call, {' and '.join(taken[1]) or 'nothing'} "
            "at the second",
            expected="random numbers that build draws for each network, or forward at each call",
            do="draw in build and keep them with register_buffer; no functools.cache around a draw",
        )


def _check_reached(
    net: nn.Module, trained: Mapping[str, nn.Parameter], loss: Callable[[int], Tensor], where: str
) -> None:
    missing = dict(trained)
    places = {name: parameter.data_ptr() for name, parameter in trained.items()}
    for attempt in range(ATTEMPTS):
        value = loss(attempt)
        _check_in_place(net, places, where)
        if hidden := _hidden_by_checkpoint(value, trained):
            missing = hidden
            break
        _check_listed(net, value, where)
        # Without a graph nothing is reached.
        if value.requires_grad:
            gradients = torch.autograd.grad(value, list(missing.values()), allow_unused=True)
            pairs = list(zip(missing.items(), gradients, strict=True))
            if sparse := [name for (name, _), g in pairs if g is not None and g.layout != torch.strided]:
                raise MeasurementError(
                    "a gradient that is sparse",
                    where=f"{where}: {sparse[0]} of {_type_of_owner(net, sparse[0])}",
                    expected="dense gradients: updates and probes take all of a parameter at once",
                    do="build the embedding with sparse=False",
                )
            missing = {name: parameter for (name, parameter), g in pairs if g is None}
        if not missing:
            return
    first = next(iter(missing))
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    raise MeasurementError(
        "a parameter that no update would change, since the loss does not reach it",
        where=f"{where}: {first}{more} of {len(trained)}",
        expected="a gradient for all that is to be trained",
        do="pass use_reentrant=False to torch.utils.checkpoint; look for detach() and no_grad() in forward; set "
        "requires_grad_(False) in build on what is not trained, add 0 * parameter.sum() where it matters only at times",
    )


def _check_in_place(net: nn.Module, places: Mapping[str, int], where: str) -> None:
    """An update acts on the memory that parameters had when training began."""
    now = {name: parameter.data_ptr() for name, parameter in net.named_parameters()}
    for name, place in places.items():
        if now.get(name) != place:
            raise MeasurementError(
                "a parameter that forward replaces, so that no update would reach it",
                where=f"{where}: {name}",
                expected="weights that keep their memory",
                do="change them in place: parameter.data.clamp_(...), not parameter.data = ...",
            )


def _check_listed(net: nn.Module, value: Tensor, where: str) -> None:
    """Every weight behind the loss is one of the network's, which alone are trained, stored and measured."""
    listed = {id(parameter) for parameter in net.parameters()}
    leaves = [getattr(node, "variable", None) for node in nodes(value)]
    unlisted = [leaf for leaf in leaves if leaf is not None and id(leaf) not in listed]
    if unlisted:
        raise MeasurementError(
            "a weight that the network does not list, so that no update would change it",
            where=where,
            got=f"{len(unlisted)} of shape {list(unlisted[0].shape)} and others behind the loss",
            expected="nn.Parameter in an attribute, nn.ParameterList or nn.ModuleList, made in build",
            do="use nn.ModuleList in place of a list, and no layers that forward makes",
        )


def _check_repeats(
    net: nn.Module, trained: Mapping[str, nn.Parameter], loss: Callable[[], Tensor], where: str
) -> None:
    """The gradient of one batch is the same when it is taken again, by `torch.autograd.grad` as by `backward`.

    From one state, randomness included, it is another only where something that torch does not list, and that
    `preserved` did not find, is kept from call to call, or where an operation hides a part of it from one of the two.
    """
    weights = list(trained.values())
    with preserved(net):
        value = loss()
        if not (value.requires_grad and bool(value.isfinite())):
            return
        first = torch.autograd.grad(value, weights, allow_unused=True)
    with preserved(net):
        for weight in weights:
            weight.grad = None
        loss().backward()  # type: ignore[no-untyped-call]
        again = [weight.grad for weight in weights]
    for name, a, b in zip(trained, first, again, strict=True):
        if unlike(a, b):
            raise MeasurementError(
                "a network whose gradient is another when it is taken again",
                where=f"{where}: {name}",
                expected="one gradient of one batch, weights and randomness; by torch.autograd.grad as by backward()",
                do="keep what forward or a hook changes in a buffer, draw from torch's generator, and call "
                "torch.utils.checkpoint with use_reentrant=False",
            )


def unlike(a: Tensor | None, b: Tensor | None) -> bool:
    """Whether two gradients differ by more than rounding; where a number is not finite nobody can tell."""
    if a is None or b is None:
        return a is not b
    apart = a - b
    return bool(apart.isfinite().all()) and bool(apart.norm() > NEAR * torch.maximum(a.norm(), b.norm()))


def _hidden_by_checkpoint(value: Tensor, trained: Mapping[str, nn.Parameter]) -> dict[str, nn.Parameter]:
    """Parameters that only a reentrant checkpoint knows of. With one in the graph torch refuses to take gradients
    with respect to given tensors, as every update and every probe does."""
    behind = nodes(value)
    if not any(node.name() == "CheckpointFunctionBackward" for node in behind):
        return {}
    listed = {id(getattr(node, "variable", None)) for node in behind}
    return {name: p for name, p in trained.items() if id(p) not in listed} or dict(trained)


def _check_curvature(
    net: nn.Module,
    trained: Mapping[str, nn.Parameter],
    inputs: Tensor,
    loss: Callable[[], Tensor],
    where: str,
) -> None:
    with torch.no_grad():
        if not bool(loss().isfinite()):
            return  # a run that has diverged says so itself
    try:
        hessian = HessianOperator(loss, list(trained.values()))
        hessian(torch.ones(hessian.dim, dtype=hessian.gradients[0].dtype, device=inputs.device))
        _differentiate_twice(loss(), list(trained.values()))
    except torch.OutOfMemoryError:
        raise
    except (MeasurementError, RuntimeError, NotImplementedError) as error:
        what, got, do = "a network without second derivatives", first_line(error), ""
        if isinstance(error, MeasurementError):
            what, got, do = error.what, error.got, error.do
        raise MeasurementError(
            what,
            where=f"{where}: {_culprit(net, inputs)}",
            got=got,
            expected="a second derivative: a probe, or lr_over_stability, asks for curvature",
            do=do
            or "nn.Embedding and a sum for nn.EmbeddingBag, no torch.compile, no once_differentiable; or leave "
            "out what asks for curvature",
        ) from error


def _culprit(net: nn.Module, inputs: Tensor) -> str:
    """The innermost module that alone has no second derivative, or the whole network."""
    calls: dict[str, tuple[Any, ...]] = {}
    with ExitStack() as hooks, torch.no_grad():
        for name, module in net.named_modules():

            def note(_module: nn.Module, args: tuple[Any, ...], name: str = name) -> None:
                calls.setdefault(name, args)

            hooks.enter_context(module.register_forward_pre_hook(note))
        net(inputs)
    modules = dict(net.named_modules())
    # Parents come first among the modules of a network.
    for name in reversed([name for name in modules if name in calls]):
        try:
            _try_module(modules[name], calls[name])
        except torch.OutOfMemoryError:
            raise
        except Exception:  # the same that the network has raised, or another of its own
            return f"{name or 'the network'} ({type(modules[name]).__name__})"
    return "the loss of the whole network"


def _try_module(module: nn.Module, args: tuple[Any, ...]) -> None:
    def leaf(value: Any) -> Any:
        floating = isinstance(value, Tensor) and value.is_floating_point()
        return value.detach().clone().requires_grad_() if floating else value

    given = tuple(map(leaf, args))
    leaves = [x for x in (*given, *module.parameters()) if isinstance(x, Tensor) and x.requires_grad]
    out = module(*given)
    while isinstance(out, tuple | list):
        out = out[0]
    if leaves and isinstance(out, Tensor) and out.requires_grad:
        _differentiate_twice(out.square().sum(), leaves)


def _differentiate_twice(value: Tensor, leaves: Sequence[Tensor]) -> None:
    slopes = torch.autograd.grad(value, leaves, create_graph=True, allow_unused=True)
    curved = [slope for slope in slopes if slope is not None and slope.requires_grad]
    if any(node.name().endswith("::Error") for node in nodes(*curved)):
        # torch would raise on the way to the operation, and passes by it in silence.
        raise RuntimeError("a function marked once_differentiable")
    if curved:
        total = torch.stack([slope.square().sum() for slope in curved]).sum()
        torch.autograd.grad(total, leaves, allow_unused=True)


def _type_of_owner(net: nn.Module, parameter: str) -> str:
    return type(net.get_submodule(parameter.rpartition(".")[0])).__name__
