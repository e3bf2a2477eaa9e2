"""What lets nearly every architecture take nearly every kind of input: flat, as an image, as a sequence.

Tokens become one-hot vectors or learned embeddings, images patches or rows, vectors chunks, and
the steps of a sequence stay steps, so that architectures cross with tasks without special pairs. Axes: rows = examples.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from universality.errors import BadParameter
from universality.plugin.architecture import InputSpec
from universality.plugin.kit.memory_format import channels_last
from universality.plugin.kit.patches import Chunks, Patches, Rows


class OneHot(nn.Module):
    """Tokens `[rows, length]` -> `[rows, length, vocabulary]`, in the floating type of the network.

    An empty buffer carries that type, so that `.double()` reaches a module without parameters.
    """

    like: Tensor

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.register_buffer("like", torch.empty(0), persistent=False)

    def forward(self, tokens: Int[Tensor, "rows length"]) -> Float[Tensor, "rows length vocabulary"]:
        return nn.functional.one_hot(tokens, self.vocabulary).to(self.like.dtype)


class FlatAdapter(nn.Module):
    """Any input -> `[rows, features]`."""

    def __init__(self, embed: nn.Module, features: int) -> None:
        super().__init__()
        self.embed = embed
        self.features = features

    def forward(self, x: Shaped[Tensor, "rows ..."]) -> Float[Tensor, "rows features"]:
        embedded: Tensor = self.embed(x)
        return embedded.flatten(1)


class ImageAdapter(nn.Module):
    """Images, or the steps of a sequence as an image of height 1: -> `[rows, channels, height, width]`.

    On a CPU in the format that is fast there, `universality.plugin.kit.channels_last`.

    Args:
        steps: makes `[rows, length, channels]` of an input; None for images.
    """

    def __init__(self, steps: nn.Module | None, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.steps = steps
        self.channels, self.height, self.width = shape

    def forward(self, x: Shaped[Tensor, "rows ..."]) -> Float[Tensor, "rows channels height width"]:
        if self.steps is None:
            return channels_last(x)
        steps: Tensor = self.steps(x)
        return steps.transpose(1, 2).unsqueeze(2)


class SequenceAdapter(nn.Module):
    """Any input -> `[rows, length, dim]`: cut into pieces, then embed each piece alike."""

    def __init__(self, cut: nn.Module, embed: nn.Module, *, length: int, dim: int) -> None:
        super().__init__()
        self.cut = cut
        self.embed = embed
        self.length = length
        self.dim = dim

    def forward(self, x: Shaped[Tensor, "rows ..."]) -> Float[Tensor, "rows length dim"]:
        embedded: Tensor = self.embed(self.cut(x))
        return embedded


def flat_adapter(inputs: InputSpec, *, embedding: int = 0) -> FlatAdapter:
    """Flatten; tokens one-hot, or with one learned table of `embedding` numbers shared by all positions.

    Raises `BadParameter` for an embedding of anything but tokens.
    """
    if embedding and inputs.kind != "tokens":
        raise BadParameter("only tokens are embedded", got=f"{inputs.kind} inputs, embedding={embedding}")
    if embedding:
        return FlatAdapter(nn.Embedding(inputs.vocabulary, embedding), inputs.shape[0] * embedding)
    embed = OneHot(inputs.vocabulary) if inputs.kind == "tokens" else nn.Identity()
    return FlatAdapter(embed, inputs.size)


def image_adapter(inputs: InputSpec) -> ImageAdapter:
    """Images unchanged; a sequence as a 1 x length image, tokens with one channel per entry of the vocabulary.

    Raises `BadParameter` for vectors.
    """
    if inputs.kind == "vector":
        raise BadParameter("a vector has no spatial arrangement", got=f"vector of {inputs.size} numbers")
    if inputs.kind == "tokens":
        return ImageAdapter(OneHot(inputs.vocabulary), (inputs.vocabulary, 1, inputs.shape[0]))
    if inputs.kind == "sequence":
        length, channels = inputs.shape
        return ImageAdapter(nn.Identity(), (channels, 1, length))
    channels, height, width = inputs.shape
    return ImageAdapter(None, (channels, height, width))


def sequence_adapter(
    inputs: InputSpec, dim: int, *, images: Literal["patches", "rows"] = "patches"
) -> SequenceAdapter:
    """Tokens by a learned embedding; steps of a sequence, patches or rows of an image and chunks of a vector by one
    linear map.

    Positions are left to the architecture.
    """
    if inputs.kind == "tokens":
        embedding = nn.Embedding(inputs.vocabulary, dim)
        return SequenceAdapter(nn.Identity(), embedding, length=inputs.shape[0], dim=dim)
    if inputs.kind == "sequence":
        length, channels = inputs.shape
        return SequenceAdapter(nn.Identity(), nn.Linear(channels, dim), length=length, dim=dim)
    cut: Patches | Rows | Chunks
    if inputs.kind == "vector":
        cut = Chunks(inputs.size)
    else:
        channels, height, width = inputs.shape
        cut = (Patches if images == "patches" else Rows)(channels, height, width)
    return SequenceAdapter(cut, nn.Linear(cut.size, dim), length=cut.length, dim=dim)
