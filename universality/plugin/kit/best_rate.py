"""The best of the learning rates that were tried."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from universality.measures import smooth_minimum
from universality.plugin.readings import need


def best_rate(losses: Mapping[float, float]) -> float:
    """ln of the rate at which ln loss is least, by rate (`measures.smooth_minimum`). An outcome without effect where fewer than
    four rates have a loss, or the least lies at an end of them."""
    need("rates that do not diverge", len(losses), at_least=4)
    found = smooth_minimum(np.log(list(losses)), np.log(list(losses.values())))
    need("rates on the side of the best that has fewer", found.beyond, at_least=1)
    return found.at
