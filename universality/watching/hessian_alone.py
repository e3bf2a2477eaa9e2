"""Sharpness beside an optimizer that no stability threshold is known of: the Hessian needs none."""

from __future__ import annotations

import torch
from torch import nn

from universality.errors import MeasurementError
from universality.measures import l2_decay

OF_THE_OPTIMIZER = ("threshold", "ratio")
"""What the probe records that is then no number."""


def without_threshold(optimizer: torch.optim.Optimizer) -> str:
    """What no stability threshold is known of; empty where one is.

    >>> weight = torch.nn.Parameter(torch.zeros(1))
    >>> without_threshold(torch.optim.Adagrad([weight])), without_threshold(torch.optim.Adam([weight]))
    ('Adagrad', '')
    """
    try:
        l2_decay(optimizer)  # it asks for the same settings, and for no rate
    except MeasurementError as error:
        return error.got
    return ""


def is_sharpness(address: str) -> bool:
    """
    >>> is_sharpness("sharpness[audit=5]"), is_sharpness("batch_sharpness")
    (True, False)
    """
    return address.partition("[")[0] == "sharpness"


def plain_descent(net: nn.Module) -> torch.optim.Optimizer:
    """What the probe is given in the place of such an optimizer: its preconditioner is 1 and its decay 0, so that the value is
    lambda_1 of the Hessian. Its threshold is nobody's. Makes no update.

    Cost: none.
    """
    return torch.optim.SGD([each for each in net.parameters() if each.requires_grad], lr=1.0)
