"""The maximal update parametrisation of any architecture with a width, by multipliers alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from universality.plugin import Architecture, BadParameter, InputSpec, Modifier, Recipe, register, unmodified
from universality.plugin.kit import (
    Multiplier,
    Reparametrised,
    fixed_draws,
    recentre,
    require_at_least,
    scaling_axis,
)

_ROUNDING = 1e-6
"""Relative difference of two initial sizes up to which they are equal: sums of float32 numbers."""

_OPTIMIZERS = {"adam": ("adam", "adamw", "rmsprop"), "sgd": ("sgd",)}


@register("mup", source="Yang et al. 2022, arXiv:2203.03466")
@dataclass(frozen=True, slots=True, kw_only=True)
class Mup(Modifier):
    """Best learning rates and the size of feature updates that do not depend on the width (muP).

    Every weight is w = m v, with v trained at the one rate of the recipe. With r the growth of the width
    over `base`, m and the initial size of w relative to those of the base network are (table 3 there,
    whose rates per layer are m lr for Adam, m^2 lr for gradient descent)

        weight                                            initial size   m, adam   m, sgd
        of a map that grows in fan-in and fan-out         r^-1/2         1/r       1
        of a map that grows in fan-in only (readout)      1/r            1/r       r^-1/2
        else with a growing axis: of a map that grows in
          fan-out only, embedding, positions, bias, norm  1              1         r^1/2
        without a growing axis                            1              1         1

    At r = 1 the network is the plain one. Which axes grow is seen by building base and doubled network
    without memory; initial sizes, whatever rule the architecture has for them, by building base and network
    with fixed draws. A map is the weight of a linear, convolutional or recurrent layer or of attention, or
    any other parameter whose two axes grow. Inner products of attention are divided by the size of a head
    in place of its square root, by a further factor on the queries; known are `nn.MultiheadAttention` and
    modules with `heads` and a linear map `qkv` whose first rows are the queries.

    Not done:
        eps: the gradient of v is m times that of w, so that under Adam the eps of the recipe weighs as
            eps / m would; keep it far below the gradients (1e-12).
        weight decay: acts on v, lr * decay of v per step in every layer; decoupled, that is the form
            which transfers. L2 inside Adam's gradient does not.
        zero initialisation of readout and queries, which the paper recommends.
        the tuned output and attention multipliers of the paper.

    Args:
        base: width of the network that it equals, in the first parameter that the scaling axis changes:
            `mlp[width=64]+mup[base=32]`, `transformer[dim=64]+mup[base=32]`.
        rule: `adam` for Adam, AdamW and RMSprop, `sgd` for gradient descent with or without momentum.
    """

    base: int
    rule: Literal["adam", "sgd"] = "adam"

    def __post_init__(self) -> None:
        require_at_least(1, where="mup", base=self.base)

    def refuses(self, architecture: Architecture, inputs: InputSpec, outputs: int) -> str:
        try:
            parameter, width = scaling_axis(architecture)
        except NotImplementedError as error:
            return str(error)
        found = getattr(unmodified(architecture.scaled(self.base / width)), parameter)
        if found != self.base:
            return f"its {parameter} cannot be {self.base}; the nearest is {found}"
        return ""

    def refuses_recipe(self, recipe: Recipe) -> str:
        if recipe.optimizer in _OPTIMIZERS[self.rule]:
            return ""
        other = next(rule for rule, names in _OPTIMIZERS.items() if recipe.optimizer in names)
        return f"optimizer={recipe.optimizer} needs rule={other}"

    def modify(
        self, net: nn.Module, architecture: Architecture, inputs: InputSpec, outputs: int
    ) -> nn.Module:
        factor = scaling_axis(architecture)[1] / self.base
        if factor == 1:
            return net
        narrow = architecture.scaled(1 / factor)
        base, doubled = (_built(a, inputs, outputs) for a in (narrow, narrow.scaled(2.0)))
        names = [name for name, _ in net.named_parameters()]
        if list(base.shapes) != names or list(doubled.shapes) != names:
            raise BadParameter(
                "networks of other widths have other parameters",
                where=f"mup[base={self.base}]",
                expected="an architecture whose scaled() changes sizes of its parameters, and not their names",
            )
        # On the meta device numbers have no size, and a network that no machine holds is not built.
        meta = any(p.is_meta for p in net.parameters())
        sizes = base.sizes if meta else _built(architecture, inputs, outputs).sizes
        maps, queries = _maps(net), _queries(net)
        multipliers: dict[str, Multiplier] = {}
        with torch.no_grad():
            trained = {}
            for name, p in net.named_parameters():
                ratio = {
                    axis: p.shape[axis] / n
                    for axis, n in enumerate(base.shapes[name])
                    if n != doubled.shapes[name][axis]
                }
                layer = _layer(ratio, maps.get(name))
                rows, head = queries.get(name, (0, 1))
                extra = (base.queries[name][1] / head) ** 0.5 if rows else 1.0
                multipliers[name] = Multiplier(layer.adam if self.rule == "adam" else layer.sgd, rows, extra)
                found, wanted = sizes[name], base.sizes[name] * layer.size
                if not meta and found > 0 and abs(wanted / found - 1) > _ROUNDING:
                    p.mul_(wanted / found)
                trained[name] = p / multipliers[name].all
                p.copy_(multipliers[name](trained[name]))
            recentre(net)
            for name, p in net.named_parameters():
                p.copy_(trained[name])
        return Reparametrised(net, multipliers)

    def unwrap(self, net: nn.Module) -> nn.Module:
        return net.net if isinstance(net, Reparametrised) else net


@dataclass(frozen=True, slots=True)
class _Layer:
    """A row of the table of `Mup`: initial size and multipliers relative to the base network."""

    size: float
    adam: float
    sgd: float


def _layer(ratio: Mapping[int, float], fan_in: int | None) -> _Layer:
    """The row of a parameter.

    Args:
        ratio: growth over the base network, by growing axis.
        fan_in: the axis of a map's inputs; None for what is not known as one.
    """
    if fan_in is None and len(ratio) == 2:
        fan_in = 1
    if fan_in is None or fan_in not in ratio:
        return _Layer(1.0, 1.0, max(ratio.values(), default=1.0) ** 0.5)
    r = ratio[fan_in]
    if len(ratio) == 1:
        return _Layer(1 / r, 1 / r, r**-0.5)
    out = next(growth for axis, growth in ratio.items() if axis != fan_in)
    return _Layer(r**-0.5, 1 / r, (out / r) ** 0.5)


@dataclass(frozen=True, slots=True)
class _Built:
    """Of a network built with fixed draws: shape and root mean square by parameter, and `_queries`."""

    shapes: Mapping[str, tuple[int, ...]]
    sizes: Mapping[str, float]
    queries: Mapping[str, tuple[int, int]]


@lru_cache(maxsize=128)
def _built(architecture: Architecture, inputs: InputSpec, outputs: int) -> _Built:
    with fixed_draws(), torch.no_grad():
        net = architecture.build(inputs, outputs)
        parameters = dict(net.named_parameters())
        return _Built(
            {name: tuple(p.shape) for name, p in parameters.items()},
            {name: float(p.double().square().mean().sqrt()) for name, p in parameters.items()},
            _queries(net),
        )


def _maps(net: nn.Module) -> dict[str, int]:
    """The axis of the inputs, by name of a weight, of every linear and convolutional layer."""
    axes = {}
    for name, module in net.named_modules():
        if isinstance(module, nn.Linear | _ConvNd):
            axes[f"{name}.weight".lstrip(".")] = 0 if isinstance(module, _ConvTransposeNd) else 1
    return axes


def _queries(net: nn.Module) -> dict[str, tuple[int, int]]:
    """By name of a parameter of attention: how many of its first rows make the queries, and the size of a head."""
    rows: dict[str, tuple[int, int]] = {}
    for name, module in net.named_modules():
        qkv = getattr(module, "qkv", None)
        if isinstance(module, nn.MultiheadAttention):
            dim, heads, prefix = module.embed_dim, module.num_heads, f"{name}.in_proj_"
        elif isinstance(qkv, nn.Linear):
            dim, heads, prefix = qkv.out_features // 3, int(module.heads), f"{name}.qkv."
        else:
            continue
        rows |= {f"{prefix}{kind}".lstrip("."): (dim, dim // heads) for kind in ("weight", "bias")}
    return rows
