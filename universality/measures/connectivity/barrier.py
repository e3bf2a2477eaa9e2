"""The error along the line between the weights of two networks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from universality.errors import MeasurementError
from universality.measures.ambient import measure


@dataclass(frozen=True, slots=True)
class Barrier:
    """`height`, the `errors` at equally spaced points from the first network to the second, and their `distance`."""

    height: float
    errors: tuple[float, ...]
    distance: float

    @property
    def above(self) -> list[float]:
        """The errors less the mean of the two ends; the largest is the height."""
        return [error - (self.errors[0] + self.errors[-1]) / 2 for error in self.errors]


@measure
def error_barrier(
    first: nn.Module, second: nn.Module, error_of: Callable[[Callable[..., Tensor]], float], points: int = 11
) -> Barrier:
    """height = max_t E((1 - t) a + t b) - (E(a) + E(b)) / 2, distance = |a - b| / sqrt(|a| |b|) of the parameters.

    At least 0 where the ends have one error. Networks that learnt nothing have none either. Floating-point buffers go
    along the line too; statistics of batch normalisation are not recomputed, without which the barrier of networks
    that have them is higher (Jordan et al. 2023, arXiv:2211.08403).

    Args:
        first, second: of the same parameters, in the mode in which they are to be evaluated; left as they are.
        error_of: of a function from inputs to outputs.
        points: t = 0, ..., 1.

    Cost: `points` evaluations of the error.

    Raises:
        MeasurementError: networks of other parameters, fewer than three points, or an error that is no number.

    Source: Frankle, Dziugaite, Roy, Carbin 2020, arXiv:1912.05671, section 2 ("instability").

    >>> def line(a: float) -> nn.Module:
    ...     net = nn.Linear(1, 1, bias=False)
    ...     _ = nn.init.constant_(net.weight, a)
    ...     return net
    >>> double_well = lambda f: (f(torch.ones(1)).item() ** 2 - 1) ** 2
    >>> error_barrier(line(-1.0), line(1.0), double_well, points=3)
    Barrier(height=1.0, errors=(0.0, 1.0, 0.0), distance=2.0)
    """
    a, b = first.state_dict(), second.state_dict()
    if points < 3 or {k: v.shape for k, v in a.items()} != {k: v.shape for k, v in b.items()}:
        raise MeasurementError(
            "no line joins these networks",
            where="error_barrier",
            got=f"{len(a)} and {len(b)} entries, {points} points",
            expected="weights of the same names and shapes, and three points or more",
        )
    errors = []
    for t in (i / (points - 1) for i in range(points)):
        weights = {k: torch.lerp(v, b[k], t) if v.is_floating_point() else v for k, v in a.items()}

        def between(*inputs: Tensor, weights: dict[str, Tensor] = weights) -> Tensor:
            outputs: Tensor = functional_call(first, weights, inputs)
            return outputs

        with torch.no_grad():
            errors.append(float(error_of(between)))
    if not all(map(math.isfinite, errors)):
        raise MeasurementError(
            "an error between two networks is no number", where="error_barrier", got=f"{errors}"
        )
    u, v = (torch.cat([p.detach().double().flatten() for p in net.parameters()]) for net in (first, second))
    distance = ((u - v).norm() / (u.norm() * v.norm()).sqrt()).item()
    return Barrier(max(errors) - (errors[0] + errors[-1]) / 2, tuple(errors), distance)
