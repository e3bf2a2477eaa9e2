"""Residual networks for small images, from torchvision's basic block."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor, nn

from universality.plugin import Architecture, InputSpec, register
from universality.plugin.kit import (
    ImageAdapter,
    global_average,
    image_adapter,
    require_at_least,
    scaled_width,
)


def group_norm(channels: int) -> nn.GroupNorm:
    """16 channels per group (Wu & He 2018, arXiv:1803.08494), one group where that does not divide.

    Groups of one channel would erase 1x1 feature maps, which the last stage has on 8x8 images.
    """
    return nn.GroupNorm(math.gcd(channels, max(1, channels // 16)), channels)


class StridedPointwise(nn.Conv2d):
    """torch's 1x1 convolution without bias and with a stride, of the pixels that the stride keeps.

    The same function as torch's. oneDNN's own strided form writes past its workspace when it takes the
    weight's gradient from channels-last images of fewer channels than a vector register has numbers: on a
    CPU with AVX2, torch 2.14, wrong gradients or the end of the process (oneDNN issue 6035).
    """

    def __init__(self, channels: int, planes: int, stride: int) -> None:
        super().__init__(channels, planes, 1, stride=stride, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        rows, columns = self.stride
        return nn.functional.conv2d(input[:, :, ::rows, ::columns], self.weight)


class ResidualNetwork(nn.Module):
    """torchvision's `ResNet` with a 3x3 stem of stride 1, without max pooling, of any width.

    torchvision fixes the first width at 64 and a stem that shrinks images fourfold. Names of
    modules, order of construction and initialisation are torchvision's, so that weights move
    between the two.
    """

    def __init__(
        self,
        adapter: ImageAdapter,
        outputs: int,
        *,
        width: int,
        blocks: int,
        stages: int,
        norm: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        from torchvision.models.resnet import BasicBlock

        self.adapter = adapter
        self.conv1 = nn.Conv2d(adapter.channels, width, 3, stride=1, padding=1, bias=False)
        self.bn1 = norm(width)
        self.relu = nn.ReLU()
        self.stages = stages
        channels = width
        for stage in range(stages):
            planes, stride = width * 2**stage, 1 if stage == 0 else 2
            layer = nn.Sequential()
            for block in range(blocks):
                shortcut = None
                if block == 0 and stage > 0:
                    shortcut = nn.Sequential(StridedPointwise(channels, planes, stride), norm(planes))
                layer.append(
                    BasicBlock(channels, planes, stride if block == 0 else 1, shortcut, norm_layer=norm)
                )
                channels = planes
            self.add_module(f"layer{stage + 1}", layer)
        self.fc = nn.Linear(channels, outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if isinstance(module, nn.ReLU):
                module.inplace = False

    def layers(self) -> list[nn.Module]:
        return [self.get_submodule(f"layer{stage + 1}") for stage in range(self.stages)]

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(self.adapter(x))))
        for layer in self.layers():
            x = layer(x)
        logits: Tensor = self.fc(global_average(x))
        return logits


@register(
    "resnet",
    family="convolutional",
    accepts={"image", "tokens", "sequence"},
    refuses={"vector": "a vector has no spatial arrangement to convolve"},
    source="He et al. 2016, arXiv:1512.03385",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class ResNet(Architecture):
    """ResNet of basic blocks with the stem for small images; the defaults are ResNet-18.

    Args:
        width: channels of the first stage, doubled by each later one; the scaling axis.
        blocks: residual blocks per stage.
        stages: 1 to 4; each after the first halves the side.
        norm: `batch`, or `group` where examples must not depend on each other.
    """

    width: int = 64
    blocks: int = 2
    stages: int = 4
    norm: Literal["batch", "group"] = "batch"

    def __post_init__(self) -> None:
        require_at_least(1, where="resnet", width=self.width, blocks=self.blocks, stages=self.stages)

    def build(self, inputs: InputSpec, outputs: int) -> nn.Module:
        return ResidualNetwork(
            image_adapter(inputs),
            outputs,
            width=self.width,
            blocks=self.blocks,
            stages=self.stages,
            norm=nn.BatchNorm2d if self.norm == "batch" else group_norm,
        )

    def taps(self, net: nn.Module) -> dict[str, nn.Module]:
        assert isinstance(net, ResidualNetwork)
        taps: dict[str, nn.Module] = {"stem": net.relu}
        for stage, layer in enumerate(net.layers(), start=1):
            taps |= {f"stage{stage}.block{i}": block for i, block in enumerate(layer.children(), start=1)}
        return taps

    def readout(self, net: nn.Module) -> nn.Linear:
        assert isinstance(net, ResidualNetwork)
        return net.fc

    def scaled(self, factor: float) -> ResNet:
        return replace(self, width=scaled_width(self.width, factor))
