"""Blocks that architectures share: adapters from every kind of input, activations, output scaling."""

from universality.plugin.kit.activations import Activation, Quadratic, activation
from universality.plugin.kit.adapters import (
    FlatAdapter,
    ImageAdapter,
    SequenceAdapter,
    flat_adapter,
    image_adapter,
    sequence_adapter,
)
from universality.plugin.kit.memory_format import channels_last, global_average
from universality.plugin.kit.patches import Chunks, Patches, Rows, patch_side
from universality.plugin.kit.scaling import ScaledOutput, scale_parameters, unscaled
from universality.plugin.kit.widths import require_at_least, scaled_width

__all__ = [
    "Activation",
    "Chunks",
    "FlatAdapter",
    "ImageAdapter",
    "Patches",
    "Quadratic",
    "Rows",
    "ScaledOutput",
    "SequenceAdapter",
    "activation",
    "channels_last",
    "flat_adapter",
    "global_average",
    "image_adapter",
    "patch_side",
    "require_at_least",
    "scale_parameters",
    "scaled_width",
    "sequence_adapter",
    "unscaled",
]
