"""Leave no trace: restore everything that evaluating a network can change."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from universality.measures.network.hidden_state import HiddenState


@contextmanager
def preserved(net: nn.Module) -> Iterator[None]:
    """Undo, on leaving, what measuring `net` may have changed; also when the block raises.

    Restored: train or eval mode of every module, buffers (running statistics of batch
    normalisation), `.grad` of every parameter, what modules keep without telling torch (`HiddenState`: a counter in
    `forward`), and the state of the global random generators of torch (CPU, and CUDA once it is in use), of `random`
    and of `numpy.random`, and weights, which a `forward` may change too (`nn.Embedding(max_norm=1.0)`, clipping).

    Cost: one copy of weights, buffers and gradients, and of each back; that of `HiddenState`.

    Raises nothing of its own; what the block raises passes on.

    Source: torch's own attributes, listed above, and Python's of a module.

    >>> net = nn.BatchNorm1d(2)
    >>> with preserved(net):
    ...     _ = net(torch.ones(4, 2)), net.eval()
    >>> net.training, net.running_mean.tolist()
    (True, [0.0, 0.0])
    """
    # First, and restored last: between them only `net` and this block draw.
    python, numpy = random.getstate(), np.random.get_state(legacy=False)
    hidden = HiddenState(net)
    modes = [(module, module.training) for module in net.modules()]
    # The object and its contents: a buffer can be rebound as well as written in place.
    buffers = [
        (module, name, buffer, None if buffer is None else buffer.detach().clone())
        for module in net.modules()
        for name, buffer in module._buffers.items()
    ]
    weights = [(parameter, parameter.detach().clone()) for parameter in net.parameters()]
    gradients = [
        (parameter, parameter.grad, None if parameter.grad is None else parameter.grad.detach().clone())
        for parameter in net.parameters()
    ]
    cpu = torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        hidden.restore()
        with torch.no_grad():
            for module, name, buffer, saved in buffers:
                module._buffers[name] = buffer
                if buffer is not None and saved is not None:
                    buffer.copy_(saved)
            for parameter, saved in weights:
                if not parameter.is_inference():
                    parameter.data.copy_(saved)  # not seen by autograd: a graph of the block's stays usable
            for parameter, gradient, saved in gradients:
                parameter.grad = gradient
                if gradient is not None and saved is not None:
                    gradient.copy_(saved)
        for module, training in modes:
            module.training = training
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)
        random.setstate(python)
        np.random.set_state(numpy)
