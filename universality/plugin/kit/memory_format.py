"""Images with the channels of a pixel side by side in memory, torch's `channels_last`.

oneDNN's convolutions and torch's normalisations are faster on them: small networks of both take 3/4
to all of the time on a CPU. Every layer keeps the format it is given, unless a gradient arrives in
the other one. On a GPU in single precision nothing is gained, so images there stay as they are.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def channels_last(x: Float[Tensor, "rows channels height width"]) -> Tensor:
    """`x.to(memory_format=torch.channels_last)` where that is a gain; `vmap` knows this form.

    Of one channel `.contiguous` would do nothing, and convolutions would take it for the other format.

    >>> import torch
    >>> channels_last(torch.zeros(2, 3, 4, 4)).stride()
    (48, 1, 12, 3)
    """
    if x.device.type != "cpu":
        return x
    pixels = x.permute(0, 2, 3, 1)
    rows, *shape = pixels.shape
    return pixels.flatten(1).view(rows, *shape).permute(0, 3, 1, 2)


def global_average(x: Float[Tensor, "rows channels height width"]) -> Float[Tensor, "rows channels"]:
    """The mean over all pixels.

    `x.mean((2, 3))` is the same, but spreads its gradient in torch's other format, and what comes
    before it would work on two formats at once, a twentieth slower in all.
    """
    average: Tensor = x.permute(0, 2, 3, 1).mean((1, 2))
    return average
