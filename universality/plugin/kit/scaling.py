"""Output and initialisation scales: the two knobs between lazy and feature learning."""

from __future__ import annotations

import copy

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn


class ScaledOutput(nn.Module):
    """f(x) = alpha h(x; w), or centred, alpha (h(x; w) - h(x; w0)) with w0 the weights at construction.

    With lr proportional to alpha^-2, alpha -> infinity is the lazy limit, in which f is its
    linearisation around w0; centring keeps f finite there (Chizat et al. 2019, arXiv:1812.07956).
    w0 is held in buffers: no optimizer, weight decay or Hessian sees it, `state_dict` keeps it,
    and `.to` moves it. Centring costs a second forward pass without gradient.

    Args:
        net: the network h.
        scale: alpha.
        centred: subtract the initial output.
    """

    scale: Tensor

    def __init__(self, net: nn.Module, scale: float, *, centred: bool) -> None:
        super().__init__()
        self.net = net
        # A buffer, so that members of a stack that differ in it share the code of one forward pass.
        self.register_buffer("scale", torch.tensor(float(scale)), persistent=False)
        self.initial = _frozen_copy(net) if centred else None

    def forward(self, x: Shaped[Tensor, "rows ..."]) -> Float[Tensor, "rows outputs"]:
        h: Tensor = self.net(x)
        if self.initial is not None:
            h = h - self.initial(x)
        scaled: Tensor = self.scale * h
        return scaled


def unscaled(net: nn.Module) -> nn.Module:
    """The network h inside a `ScaledOutput`; any other network is returned as it is."""
    return net.net if isinstance(net, ScaledOutput) else net


def scale_parameters(net: nn.Module, factor: float) -> None:
    """Multiply every parameter, biases and embeddings too, w0 <- factor w0 (Liu et al. 2022, arXiv:2210.01117)."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(factor)


def recentre(net: nn.Module) -> None:
    """Make the present weights w0 of every centred output inside `net`: after its initialisation was changed."""
    for module in net.modules():
        if isinstance(module, ScaledOutput) and module.initial is not None:
            module.initial = _frozen_copy(module.net)


def _frozen_copy(net: nn.Module) -> nn.Module:
    """A deep copy whose parameters are buffers."""
    frozen = copy.deepcopy(net)
    for module in frozen.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, parameter.detach())
    return frozen
