"""Which linear maps of a network feed which: what laws about neighbouring layers are stated in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import nn

from universality.plugin.architecture import Link
from universality.plugin.kit.activations import activation_name


def links(*parts: nn.Module) -> tuple[Link, ...]:
    """The links of modules that run one after another, each fed by the one before and by nothing else.

    Nested `nn.Sequential`s are opened. Two linear layers are linked where at most one elementwise activation
    lies between them; any other module between ends the chain, and the next linear layer begins another.

    >>> first, second, third = nn.Linear(2, 3), nn.Linear(3, 3), nn.Linear(3, 1)
    >>> found = links(nn.Sequential(first, nn.ReLU()), nn.Sequential(second, nn.LayerNorm(3)), third)
    >>> [link.between for link in found], found[0].before is first, found[0].after is second
    (['relu'], True, True)
    """
    found: list[Link] = []
    before: nn.Linear | None = None
    between = "identity"
    for module in _opened(parts):
        name = activation_name(module)
        if isinstance(module, nn.Linear):
            if before is not None:
                found.append(Link(before, module, between))
            before, between = module, "identity"
        elif name is None or (between != "identity" and name != "identity"):
            before = None
        elif name != "identity":
            between = name
    return tuple(found)


def _opened(parts: Iterable[nn.Module]) -> Iterator[nn.Module]:
    for part in parts:
        if isinstance(part, nn.Sequential):
            yield from _opened(part)
        else:
            yield part
