"""Fully connected networks, linear models among them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor, nn

from universality.plugin import Architecture, InputSpec, Link, register
from universality.plugin.kit import (
    Activation,
    FlatAdapter,
    ScaledOutput,
    activation,
    flat_adapter,
    links,
    require_at_least,
    scale_parameters,
    scaled_width,
    unscaled,
)


class Perceptron(nn.Module):
    """`depth` blocks (linear, activation) of one width, then the readout."""

    def __init__(
        self, adapter: FlatAdapter, outputs: int, *, width: int, depth: int, act: str, bias: bool
    ) -> None:
        super().__init__()
        self.adapter = adapter
        sizes = [adapter.features, *[width] * depth]
        self.hidden = nn.Sequential(
            *(nn.Sequential(nn.Linear(fan_in, width, bias=bias), activation(act)) for fan_in in sizes[:-1])
        )
        self.readout = nn.Linear(sizes[-1], outputs, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.readout(self.hidden(self.adapter(x)))
        return logits


@register(
    "mlp", family="feedforward", accepts={"vector", "image", "tokens", "sequence"}, source="Rosenblatt 1958"
)
@dataclass(frozen=True, slots=True, kw_only=True)
class MLP(Architecture):
    """Multilayer perceptron on the flattened input, torch's default initialisation.

    Args:
        width: neurons of each hidden layer; the scaling axis.
        depth: hidden layers; 0 is a linear model, without taps and without a scaling axis.
        output_scale: alpha of f = alpha h, see `universality.plugin.kit.ScaledOutput`.
        centred: f = alpha (h(w) - h(w0)).
        init_scale: multiplies every initial parameter, biases too.
        embedding: tokens one-hot at 0, else a learned table of this many numbers per token.
    """

    stacks_over = frozenset({"output_scale"})

    width: int = 256
    depth: int = 2
    activation: Activation = "relu"
    output_scale: float = 1.0
    centred: bool = False
    init_scale: float = 1.0
    bias: bool = True
    embedding: int = 0

    def __post_init__(self) -> None:
        require_at_least(1, where="mlp", width=self.width)
        require_at_least(0, where="mlp", depth=self.depth, embedding=self.embedding)
        require_at_least(0, where="mlp", init_scale=self.init_scale)

    def reject(self, inputs: InputSpec) -> str:
        if self.embedding and inputs.kind != "tokens":
            return "only tokens are embedded"
        return Architecture.reject(self, inputs)

    def build(self, inputs: InputSpec, outputs: int) -> nn.Module:
        net = Perceptron(
            flat_adapter(inputs, embedding=self.embedding),
            outputs,
            width=self.width,
            depth=self.depth,
            act=self.activation,
            bias=self.bias,
        )
        if self.init_scale != 1:
            scale_parameters(net, self.init_scale)
        if self.centred or self.output_scale != 1:
            return ScaledOutput(net, self.output_scale, centred=self.centred)
        return net

    def taps(self, net: nn.Module) -> dict[str, nn.Module]:
        return {f"layer{i}": block for i, block in enumerate(_core(net).hidden, start=1)}

    def readout(self, net: nn.Module) -> nn.Linear:
        return _core(net).readout

    def chain(self, net: nn.Module) -> tuple[Link, ...]:
        core = _core(net)
        return links(core.hidden, core.readout)

    def scaled(self, factor: float) -> MLP:
        if self.depth == 0:
            raise NotImplementedError("mlp[depth=0] has no scaling axis")
        return replace(self, width=scaled_width(self.width, factor))


def _core(net: nn.Module) -> Perceptron:
    core = unscaled(net)
    assert isinstance(core, Perceptron)
    return core
