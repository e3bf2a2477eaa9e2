"""Models of timm (Wightman 2019), as an option: initialised at random, for images of any size."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from universality.plugin import Architecture, BadParameter, InputSpec, register
from universality.plugin.kit import Found, found, require_at_least


class Enlarged(nn.Module):
    """`net` on images that are enlarged to `size`, bilinearly."""

    def __init__(self, net: nn.Module, size: tuple[int, int]) -> None:
        super().__init__()
        self.net, self.size = net, size

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(nn.functional.interpolate(x, size=self.size, mode="bilinear"))
        return logits


@register(
    "timm",
    family="timm",
    accepts={"image"},
    refuses={
        "vector": "models of timm take images",
        "tokens": "models of timm take images",
        "sequence": "models of timm take images",
    },
    source="Wightman 2019, timm",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Timm(Architecture):
    """A model of the package timm, `timm[model=resnet10t]`, with random weights: none are downloaded.

    `in_chans` and `num_classes` are those of the task, and `img_size` where a model has one. Taps are the stages that
    timm lists (`feature_info`); the readout is its classifier. Activations are not done in place.

    Args:
        model: a name of `timm.list_models()`.
        side: images whose shorter side is below it are enlarged bilinearly, so that this becomes it: most models halve the
            side five times, and below 32 their last stages would see one pixel. 1 takes images as they are.
        drop, drop_path: rates of dropout before the readout, and of whole residual branches.
    """

    model: str
    side: int = 32
    drop: float = 0.0
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        require_at_least(1, where="timm", side=self.side)
        for name in ("drop", "drop_path"):
            if not 0 <= getattr(self, name) < 1:
                raise BadParameter(
                    f"{name} is a rate",
                    where="timm",
                    got=f"{getattr(self, name):g}",
                    expected="0 <= rate < 1",
                )

    def build(self, inputs: InputSpec, outputs: int) -> nn.Module:
        """Raises `BadParameter` without timm, for a name it does not know, and for a model that does not take such
        images or ends in no linear layer."""
        timm = _timm()
        if self.model not in (models := timm.list_models()):
            raise _unknown(self.model, models)
        channels, height, width = inputs.shape
        scale = max(1.0, self.side / min(height, width))
        size = round(scale * height), round(scale * width)
        # What is not given keeps the model's own default; not every model has all of these.
        options: dict[str, Any] = {
            "img_size": size if timm.get_pretrained_cfg(self.model).fixed_input_size else None,
            "drop_rate": self.drop or None,
            "drop_path_rate": self.drop_path or None,
        }
        net = timm.create_model(
            self.model,
            pretrained=False,
            in_chans=channels,
            num_classes=outputs,
            **{name: value for name, value in options.items() if value is not None},
        )
        for module in net.modules():
            if getattr(module, "inplace", False) is True:
                module.inplace = False
        enlarged = size != (height, width)
        try:
            return found(
                Enlarged(net, size) if enlarged else net,
                inputs,
                outputs,
                where=f"timm[model={self.model}]",
                stages=[f"net.{stage}" if enlarged else stage for stage in _stages(net)],
            )
        except BadParameter as error:
            error.do = f"take another model, or larger images: side={2 * max(32, *size)}"
            raise

    def taps(self, net: nn.Module) -> dict[str, nn.Module]:
        assert isinstance(net, Found)
        return {name.removeprefix("net."): module for name, module in net.taps().items()}

    def readout(self, net: nn.Module) -> nn.Linear:
        assert isinstance(net, Found)
        return net.readout()

    def scaled(self, factor: float) -> Timm:
        raise NotImplementedError("timm has no scaling axis: its models are as wide as their names say")


def _timm() -> Any:
    try:
        import timm
    except ImportError as error:
        raise BadParameter(
            "a model of timm, which is not installed",
            where="timm",
            got=str(error),
            do="pip install 'universality[timm]', or take another architecture, such as resnet",
        ) from None
    return timm


def _unknown(model: str, models: list[str]) -> BadParameter:
    close = difflib.get_close_matches(model.partition(".")[0], models, n=3)
    return BadParameter(
        "timm has no model of this name",
        where=f"timm[model={model}]",
        expected=f"one of the {len(models)} names of timm.list_models(), without a tag of weights: none are loaded",
        do=f"did you mean {' or '.join(close)}?" if close else "",
    )


def _stages(net: nn.Module) -> Iterator[str]:
    """Names of the modules that timm calls the stages of a model."""
    listed: Any = getattr(net, "feature_info", ())
    for each in getattr(listed, "info", listed):
        if name := each.get("module"):
            yield name
