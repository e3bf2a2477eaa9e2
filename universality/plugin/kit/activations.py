"""Elementwise nonlinearities by name. None works in place: an in-place ReLU overwrites captured features."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from universality.errors import unknown_name

Activation = Literal["relu", "tanh", "gelu", "quadratic", "identity"]


class Quadratic(nn.Module):
    """x -> x^2, for which two-layer networks on modular addition are solved in closed form
    (Gromov 2023, arXiv:2301.02679)."""

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return x.square()


_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "quadratic": Quadratic,
    "identity": nn.Identity,  # a deep linear network
}


def activation(name: str) -> nn.Module:
    """A new module for every call, so that each fires once per forward pass.

    Raises `UnknownName` for anything but relu, tanh, gelu, quadratic and identity.

    >>> import torch
    >>> activation("quadratic")(torch.tensor([-3.0]))
    tensor([9.])
    """
    if name not in _ACTIVATIONS:
        raise unknown_name("activation", name, _ACTIVATIONS)
    return _ACTIVATIONS[name]()


def activation_name(module: nn.Module) -> str | None:
    """The name of an elementwise nonlinearity, `identity` for `nn.Identity`, None for any other module.

    >>> activation_name(activation("tanh")), activation_name(nn.Identity()), activation_name(nn.Linear(1, 1))
    ('tanh', 'identity', None)
    """
    return next((name for name, kind in _ACTIVATIONS.items() if type(module) is kind), None)
