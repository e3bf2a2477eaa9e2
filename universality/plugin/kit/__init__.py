"""What plugins build with: blocks of networks here, `kit.data` for tasks, `kit.losses` and `kit.updates` for probes."""

from universality.plugin.kit.activations import Activation, Quadratic, activation, activation_name
from universality.plugin.kit.adapters import (
    FlatAdapter,
    ImageAdapter,
    SequenceAdapter,
    flat_adapter,
    image_adapter,
    sequence_adapter,
)
from universality.plugin.kit.chains import links
from universality.plugin.kit.fixed_draws import fixed_draws
from universality.plugin.kit.found import Found, found
from universality.plugin.kit.memory_format import channels_last, global_average
from universality.plugin.kit.patches import Chunks, Patches, Rows, patch_side
from universality.plugin.kit.reparametrised import Multiplier, Reparametrised
from universality.plugin.kit.scaling import ScaledOutput, recentre, scale_parameters, unscaled
from universality.plugin.kit.widths import require_at_least, scaled_width, scaling_axis
