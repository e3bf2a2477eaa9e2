"""Settings of torch that a training does not take from its caller, or from a plugin that sets them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from universality.measures.ambient import own_settings


@contextmanager
def default_settings() -> Iterator[None]:
    """Inside, torch is as it starts: float32 and the CPU where nothing else is named, gradients on, no autocast, no
    inference mode; afterwards it is as it was.

    >>> with torch.inference_mode(), default_settings():
    ...     torch.ones(1, requires_grad=True).exp().requires_grad
    True
    """
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    elsewhere = device.type != "cpu"
    torch.set_default_dtype(torch.float32)
    if elsewhere:
        torch.set_default_device(None)
    try:
        with own_settings(), torch.enable_grad():
            yield
    finally:
        torch.set_default_dtype(dtype)
        if elsewhere:
            torch.set_default_device(device)
