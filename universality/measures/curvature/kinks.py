"""A network that sits on a kink: its gradient jumps at the weights themselves, and has no derivative there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

NEAR, NEARER = 1e-11, 1e-12
"""Distances from the weights, as shares of their norm, between which the gradient does not change by less if it jumps."""

LEAST = 1e-6
"""Jump, as a share of the gradient, from which weights count as lying on a kink: far above rounding in float64. That one of
a million units of all rows lies so near to its kink by chance has a probability of about 1e-6."""

STEP = 1e-4
"""Length of the step off a kink, as a share of the norm of the weights."""


def gradient_jump(gradient: Callable[[], Tensor], parameters: Sequence[nn.Parameter]) -> float:
    """|g(w + h v) - g(w - h v)| / (|g(w + h v)| + |g(w - h v)|) as h -> 0, v a random direction; 0 where it vanishes.

    Of a smooth loss the difference is 2h |H v|, and of ReLU networks elsewhere about as many units as h is long change
    sign, each of 1/rows of the gradient. On a kink, where many units get exactly zero (a residual branch that begins at
    zero behind a dead shortcut), it is as large however small h is: at NEARER more than half of that at NEAR, and at
    least `LEAST` of the gradient. 1/h of it is the error of a finite difference there, while products H v stay
    symmetric: they are those of the piece that the convention relu'(0) = 0 takes.

    Args:
        gradient: at the parameters as they are, one vector in float64, and the same at every call (`flat_gradient`).
        parameters: are moved, and put back.

    Cost: four gradients. Raises nothing of its own.

    Source: derived above.

    >>> w = nn.Parameter(torch.zeros(3, dtype=torch.float64))
    >>> gradient_jump(lambda: w.detach().sign(), [w]), gradient_jump(lambda: w.detach().sin(), [w])
    (1.0, 0.0)
    """
    start = nn.utils.parameters_to_vector(parameters).detach().clone()
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(len(start), generator=generator, dtype=start.dtype).to(start.device)
    direction *= (start.norm().item() or 1.0) / direction.norm()
    apart, size = [], 0.0
    for distance in (NEAR, NEARER):
        sides = []
        for sign in (1, -1):
            nn.utils.vector_to_parameters(start + sign * distance * direction, parameters)
            sides.append(gradient())
        apart.append((sides[0] - sides[1]).norm().item())
        size = sides[0].norm().item() + sides[1].norm().item()
    nn.utils.vector_to_parameters(start, parameters)
    jump = apart[1] / size if size else 0.0
    return jump if apart[1] > apart[0] / 2 and jump >= LEAST else 0.0


def step_off(gradient: Callable[[], Tensor], parameters: Sequence[nn.Parameter]) -> None:
    """Move the parameters by `STEP` of their norm down the gradient: to the side of a kink that training goes to.

    What vanishes at the weights gets the sign that the first update gives it, and a size far above rounding in float32;
    what does not changes by 1e-4 of itself. Where the gradient is zero nothing moves.

    Cost: a gradient. Raises nothing of its own.

    >>> weight = nn.Parameter(torch.tensor([3.0, 0.0]))
    >>> step_off(lambda: torch.tensor([0.0, 2.0]), [weight])
    >>> round(weight[1].item(), 7)
    -0.0003
    """
    downhill = gradient()
    size = downhill.norm()
    if size > 0:
        start = nn.utils.parameters_to_vector(parameters).detach()
        nn.utils.vector_to_parameters(start - STEP * start.norm() / size * downhill, parameters)
