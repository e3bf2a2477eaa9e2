"""A network that is built again from the same seeds: the same weights, and the same answers."""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor, nn

from universality.errors import MeasurementError
from universality.measures import preserved
from universality.plan.trial import ROWS, unlike


def check_rebuilt(net: nn.Module, again: nn.Module, inputs: Tensor, *, where: str) -> None:
    """Raise where a second network of the same seeds is another: then one id would stand for many runs.

    Args:
        net, again: both as `Architecture.build` made them, in training mode. They are left as they were.

    Cost: an evaluation and a gradient of at most `ROWS` rows for each.

    Raises:
        MeasurementError: parameters, buffers, outputs or gradients differ. What a network raises passes on.
    """
    if apart := weights_apart(net, again) or answers_apart(net, again, inputs):
        raise MeasurementError(
            "a network that is another when it is built again from the same seeds",
            where=f"{where}: {apart}",
            expected="what follows from torch's generator, random and numpy.random, which start at seeds of the run",
            do="draw from these, or seed generators of your own by them: "
            "np.random.default_rng(np.random.randint(2**31))",
        )


def weights_apart(net: nn.Module, again: nn.Module) -> str:
    """The first parameter or buffer that differs; empty for none."""
    first, second = (dict(chain(each.named_parameters(), each.named_buffers())) for each in (net, again))
    if odd := first.keys() ^ second.keys():
        return min(odd)
    return next((name for name, value in first.items() if not _equal(value, second[name])), "")


def answers_apart(net: nn.Module, again: nn.Module, inputs: Tensor) -> str:
    """What differs first for the same inputs and random numbers, of a sum of the outputs and its gradients; empty for
    nothing. The gradients tell where the last layer starts at zero."""
    first, second = (_answers(each, inputs[:ROWS]) for each in (net, again))
    return next((name for name, value in first.items() if unlike(value, second[name])), "")


def _answers(net: nn.Module, inputs: Tensor) -> dict[str, Tensor | None]:
    trained = {name: weight for name, weight in net.named_parameters() if weight.requires_grad}
    with preserved(net):
        outputs = net(inputs.clone()).flatten()
        value = outputs @ torch.linspace(1, 2, len(outputs), dtype=outputs.dtype, device=outputs.device)
        found: dict[str, Tensor | None] = {"its outputs": value.detach()}
        if value.requires_grad:
            gradients = torch.autograd.grad(value, list(trained.values()), allow_unused=True)
            found |= dict(zip(trained, gradients, strict=True))
    return found


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)
