"""The network inside what others wrap around it."""

from __future__ import annotations

from torch import nn

_INSIDE = {"_orig_mod": "torch.compile", "module": "data parallelism"}
"""Names under which a wrapper holds its only child, and what it is of."""


def unwrapped(net: nn.Module) -> tuple[nn.Module, list[str]]:
    """The network that `torch.compile`, `DistributedDataParallel` and `DataParallel` wrap, and what each wrapper is.

    Wrapper and network share their weights. Probes take the network itself: a compiled one has no second derivatives
    and tells of none of its layers, and one that is distributed waits for the others.

    Cost: none.
    """
    wrappers = []
    while (inside := _inside(net)) is not None:
        wrappers.append(f"{type(net).__name__} ({_INSIDE[inside]})")
        net = net.get_submodule(inside)
    return net, wrappers


def _inside(net: nn.Module) -> str | None:
    """By name and not by class: importing the compiler takes seconds."""
    if type(net).__name__ not in ("OptimizedModule", "DistributedDataParallel", "DataParallel"):
        return None
    children = [name for name, _ in net.named_children()]
    return children[0] if len(children) == 1 and children[0] in _INSIDE else None
