"""From a stored run back to its network."""

from __future__ import annotations

import torch
from torch import nn

from universality.errors import MeasurementError
from universality.plugin import registry
from universality.plugin.settings import default_settings
from universality.plugin.task import Splits
from universality.plugin.trajectory import Recorded


def restore(run: Recorded, splits: Splits, step: int) -> nn.Module:
    """The network of `run` after `step` updates, on the CPU, in evaluation mode.

    Args:
        splits: the data of the run; only shapes are used.

    Raises:
        MeasurementError: the run observed no `weights` at this step.
    """
    architecture = registry.instantiate("architecture", run.spec.architecture)
    with default_settings(), torch.random.fork_rng(devices=[]):
        net: nn.Module = architecture.build(splits.inputs, splits.outputs)
    state = {}
    for name in net.state_dict():
        try:
            state[name] = torch.from_numpy(run.array(f"weights.{name}", step))
        except KeyError:
            raise MeasurementError(
                "the run has no checkpoint here",
                where=run.spec.id,
                got=f"{name} at step {step}; recorded steps: {run.steps(f'weights.{name}') or 'none'}",
                do='observe the probe "weights" at this step',
            ) from None
    net.load_state_dict(state)
    return net.eval()
