"""A phenomenon of one's own in one file: does the first update point to where training ends?

    universality check first_step_is_kept --plugins examples/phenomenon
    python examples/phenomenon/first_step_is_kept.py

Every `.py` file of a folder that `plugins` names is loaded. docs/extending.md explains each line.
"""

from __future__ import annotations

import torch

from universality import plugin as u


def weights(run: u.Trajectory, step: int) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in run.network(step).parameters()]).double()
