"""What gradient flow conserves between neighbouring layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from universality.plugin import Link, MeasurementError, Probe, Recipe, Signature, Training, register

DEGREES = {"quadratic": 2}
"""Of positively homogeneous activations, a(c x) = c^k a(x), where k is not 1."""


@register("balance", source="Du et al. 2018, arXiv:1806.00900; Kunin et al. 2021, arXiv:2012.04728")
@dataclass(kw_only=True)
class Balance(Probe):
    """With Q the balances of all links of `Architecture.chain` and Q0 those of the first record: `drift` =
    |Q - Q0| / |Q0|, and `decayed` = <Q, Q0> / |Q0|^2, which L2 decay takes to exp(-2 wd t) at time t = lr x updates.

    Of a link x -> V a(W x + b), per hidden unit i,

        Q_i = |W_i|^2 + b_i^2 - k |V_i|^2,    k the degree of a (1 of ReLU, 2 of x^2),

    with W_i a row and V_i a column, and where a is the identity the whole matrix W W^T + b b^T - V^T V. Gradient
    flow keeps Q for homogeneous a: the rescaling of a unit, or any rotation of linear ones, leaves the network as
    it is. A step of size lr breaks it by lr^2. Of other activations the same number (k = 1) is no conserved one:
    a control reads it.

    Refused without a chain, or where neighbours balance exactly at the start. Cost: products of the weights.
    """

    _start: Tensor | None = field(default=None, init=False, repr=False)

    def cost(self, recipe: Recipe, signature: Signature) -> float:
        return 0.1

    @torch.no_grad()
    def record(self, training: Training) -> Mapping[str, float | Tensor]:
        links = training.architecture.chain(training.net)
        if not links:
            raise MeasurementError(
                "balance is of linear maps that feed each other",
                where="balance",
                got=f"{training.architecture.name}, whose chain() is empty",
                do="take an architecture with hidden linear layers, such as mlp, or give this one a chain()",
            )
        Q = torch.cat([balance(link) for link in links])
        if self._start is None:
            self._start = Q
        Q0, drift = self._start, float((Q - self._start).norm())
        if not float(Q0.norm()) > 0 or not drift < float("inf"):
            raise MeasurementError(
                "balance has no relative drift",
                where="balance",
                got=f"|Q0| = {float(Q0.norm()):g}, |Q - Q0| = {drift:g}",
                expected="layers that do not balance exactly at the start, and finite weights",
            )
        return {"drift": drift / float(Q0.norm()), "decayed": float(Q @ Q0 / (Q0 @ Q0))}


def balance(link: Link) -> Tensor:
    """Q of one link, flattened, float64."""
    W, V = link.before.weight.double(), link.after.weight.double()
    if link.before.bias is not None:
        # A bias is the weight of one more input, which is always 1.
        W = torch.cat([W, link.before.bias.double()[:, None]], dim=1)
    if link.between == "identity":
        return (W @ W.T - V.T @ V).flatten()
    return W.square().sum(1) - DEGREES.get(link.between, 1) * V.square().sum(0)
