"""The contract of an architecture: what to build, where to read, how to scale."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Self

if TYPE_CHECKING:
    from torch import nn

Kind = Literal["vector", "image", "tokens", "sequence"]


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What one example looks like: `vector` (d,), `image` (channels, height, width), `tokens` (length,), `sequence`
    (length, channels).

    Tokens are int64 in `0 .. vocabulary - 1`; all others are float32.
    """

    kind: Kind
    shape: tuple[int, ...]
    vocabulary: int = 0

    @property
    def size(self) -> int:
        """Numbers in one example when flattened; tokens count one-hot."""
        return math.prod(self.shape) * (self.vocabulary or 1)


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """Two linear maps of a network, one of which feeds the other: x -> W_after a(W_before x + b_before) + b_after.

    Nothing else reads the units between them, and nothing but the elementwise `between`, a, is done to them: unit
    i is row i of `before.weight` and column i of `after.weight`.

    Args:
        between: `identity`, or the name of an activation (`universality.plugin.kit.Activation`).
    """

    before: nn.Linear
    after: nn.Linear
    between: str


class Architecture(ABC):
    """A family of networks; its dataclass fields are its hyperparameters.

    Subclasses are frozen dataclasses registered with `universality.plugin.register`. A network maps
    `[n, *inputs.shape]` to logits `[n, outputs]`.
    """

    __slots__ = ()

    name: ClassVar[str] = ""
    family: ClassVar[str] = ""
    accepts: ClassVar[frozenset[Kind]] = frozenset()
    refuses: ClassVar[dict[Kind, str]] = {}
    """Why a kind of input makes no sense here; shown in the table as the reason."""
    stacks_over: ClassVar[frozenset[str]] = frozenset()
    """Parameters that leave names and shapes of the weights alone. Networks that differ only in them train side
    by side; a network at a default stays apart, since it may lack a part. A wrong entry costs time: the stack is
    split."""

    @abstractmethod
    def build(self, inputs: InputSpec, outputs: int) -> nn.Module:
        """A freshly initialised network; randomness comes from torch's global generator only."""

    @abstractmethod
    def taps(self, net: nn.Module) -> dict[str, nn.Module]:
        """Modules whose outputs are the representations, ordered from input to output."""

    @abstractmethod
    def readout(self, net: nn.Module) -> nn.Linear:
        """The last linear layer. Its input is the penultimate representation, its weight W of neural collapse."""

    def reject(self, inputs: InputSpec) -> str:
        """Why these inputs cannot be taken; empty where they can."""
        if inputs.kind in self.accepts:
            return ""
        return self.refuses.get(inputs.kind, f"{self.name} does not take {inputs.kind} inputs")

    def chain(self, net: nn.Module) -> tuple[Link, ...]:
        """The linear maps that feed each other, from input to output; empty where none do or it is not known.

        Known without more of networks that are an `nn.Sequential`; see `universality.plugin.kit.links`.
        """
        from torch import nn

        from universality.plugin.kit.chains import links

        return links(net) if isinstance(net, nn.Sequential) else ()

    def scaled(self, factor: float) -> Self:
        """The same family with its width multiplied by `factor` (widths are rounded)."""
        raise NotImplementedError(f"{self.name} has no scaling axis")
