"""The vision transformer of torchvision."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor, nn

from universality.plugin import Architecture, BadParameter, InputSpec, register
from universality.plugin.kit import patch_side, require_at_least, scaled_width


class SelfAttention(nn.MultiheadAttention):
    """`nn.MultiheadAttention` without its inference kernel.

    That kernel, taken in eval mode, has neither a forward derivative nor a batching rule: `jvp` of
    the network raises there.
    """

    def forward(  # type: ignore[override]
        self, query: Tensor, key: Tensor, value: Tensor, *, need_weights: bool
    ) -> tuple[Tensor, None]:
        x = query.transpose(0, 1)
        mixed, _ = nn.functional.multi_head_attention_forward(
            x,
            x,
            x,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            bias_k=None,
            bias_v=None,
            add_zero_attn=False,
            dropout_p=0.0,
            out_proj_weight=self.out_proj.weight,
            out_proj_bias=self.out_proj.bias,
            need_weights=need_weights,
        )
        return mixed.transpose(0, 1), None


@register(
    "vit",
    family="attention",
    accepts={"image"},
    refuses={
        "vector": "a vector has no patches",
        "tokens": "patches are cut from images; `transformer` takes tokens",
        "sequence": "patches are cut from images; `transformer` takes sequences",
    },
    source="Dosovitskiy et al. 2021, arXiv:2010.11929",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class ViT(Architecture):
    """torchvision's `VisionTransformer` without dropout, on square images with any number of channels.

    The readout starts as a truncated normal of standard deviation 1/sqrt(dim). torchvision starts
    it at zero, as fine-tuning wants; trained from scratch that makes the initialisation degenerate:
    no gradient reaches the body and the Hessian of the body's weights vanishes there, so that
    initial sharpness, learning rates derived from it and untrained baselines would describe the
    readout alone.

    Args:
        patch: side of a patch; 0 takes about a quarter of the image's side.
        dim: width of the residual stream; the scaling axis, a multiple of `heads`.
        mlp_ratio: hidden width of the feed-forward blocks over `dim`.
    """

    patch: int = 0
    dim: int = 64
    depth: int = 2
    heads: int = 4
    mlp_ratio: int = 2

    def __post_init__(self) -> None:
        require_at_least(0, where="vit", patch=self.patch)
        require_at_least(
            1, where="vit", dim=self.dim, depth=self.depth, heads=self.heads, mlp_ratio=self.mlp_ratio
        )
        if self.dim % self.heads:
            raise BadParameter(
                "heads do not divide dim", where="vit", got=f"dim={self.dim}, heads={self.heads}"
            )

    def reject(self, inputs: InputSpec) -> str:
        if reason := Architecture.reject(self, inputs):
            return reason
        _, height, width = inputs.shape
        if height != width:
            return f"takes square images, not {height}x{width}"
        if self.patch and height % self.patch:
            return f"patches of side {self.patch} do not tile images of side {height}"
        return ""

    def build(self, inputs: InputSpec, outputs: int) -> nn.Module:
        from torchvision.models import VisionTransformer

        channels, side, _ = inputs.shape
        patch = self.patch or patch_side(side)
        net: nn.Module = VisionTransformer(
            image_size=side,
            patch_size=patch,
            num_layers=self.depth,
            num_heads=self.heads,
            hidden_dim=self.dim,
            mlp_dim=self.mlp_ratio * self.dim,
            num_classes=outputs,
        )
        # torchvision fixes three channels; the initialisation is its own.
        stem = nn.Conv2d(channels, self.dim, patch, stride=patch)
        nn.init.trunc_normal_(stem.weight, std=(channels * patch**2) ** -0.5)
        assert stem.bias is not None
        nn.init.zeros_(stem.bias)
        net.conv_proj = stem
        for block in net.get_submodule("encoder.layers").children():
            block.self_attention = SelfAttention(self.dim, self.heads, batch_first=True)
        nn.init.trunc_normal_(self.readout(net).weight, std=self.dim**-0.5)
        return net

    def taps(self, net: nn.Module) -> dict[str, nn.Module]:
        layers = net.get_submodule("encoder.layers").children()
        return {f"block{i}": block for i, block in enumerate(layers, start=1)}

    def readout(self, net: nn.Module) -> nn.Linear:
        head = net.get_submodule("heads.head")
        assert isinstance(head, nn.Linear)
        return head

    def scaled(self, factor: float) -> ViT:
        return replace(self, dim=scaled_width(self.dim, factor, multiple=self.heads))
