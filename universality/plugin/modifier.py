"""The contract of a modifier: any architecture built, scaled or parametrised in another way.

`mlp[width=64]+mup[base=32]+output_scale[alpha=10]` is the network of `mlp`, modified from left to right.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from universality.errors import BadParameter
from universality.plugin.architecture import Architecture, InputSpec, Kind, Link

if TYPE_CHECKING:
    from torch import nn

    from universality.plugin.spec import Recipe


class Modifier(ABC):
    """What is done to the network of any architecture; its dataclass fields are its parameters.

    Subclasses are frozen dataclasses registered with `universality.plugin.register`. The initial weights of
    a network follow its architecture without modifiers and the seed, so that runs which differ in a
    modifier's parameters start from the same numbers.
    """

    __slots__ = ()

    name: ClassVar[str] = ""
    source: ClassVar[str] = ""
    stacks_over: ClassVar[frozenset[str]] = frozenset()
    """As of an architecture: parameters that networks trained side by side may differ in."""

    @abstractmethod
    def modify(
        self, net: nn.Module, architecture: Architecture, inputs: InputSpec, outputs: int
    ) -> nn.Module:
        """`net`, edited in place, or a module around it. Randomness comes from torch's global generator only.

        Args:
            net: freshly built by `architecture`, perhaps on the meta device, where numbers have no value.
            architecture: with the modifiers that came before.
        """

    def unwrap(self, net: nn.Module) -> nn.Module:
        """The network that `modify` was given, inside of what it returned; itself where it was edited in place."""
        return net

    def refuses(self, architecture: Architecture, inputs: InputSpec, outputs: int) -> str:
        """Why this architecture cannot be modified so; empty where it can. Such an address is an error."""
        return ""

    def refuses_recipe(self, recipe: Recipe) -> str:
        """Why a network modified so must not be trained so; empty where it may."""
        return ""

    def init_seed(self, seed: int) -> int:
        """The seed that the initial weights follow, from that of the run."""
        return seed


@dataclass(frozen=True, slots=True)
class Modified(Architecture):
    """An architecture with modifiers, in the order in which they are applied. Not registered itself.

    Raises:
        BadParameter: a modifier that is given twice.
    """

    inner: Architecture
    modifiers: tuple[Modifier, ...]

    def __post_init__(self) -> None:
        names = [modifier.name for modifier in self.modifiers]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise BadParameter(
                "a modifier is given twice",
                where=self._address,
                got=", ".join(twice),
                do="give it once",
            )

    @property
    def _address(self) -> str:
        from universality.plugin.registry import component  # knows of this class

        return str(component(self))

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.inner.name

    @property
    def family(self) -> str:  # type: ignore[override]
        return self.inner.family

    @property
    def accepts(self) -> frozenset[Kind]:  # type: ignore[override]
        return self.inner.accepts

    def build(self, inputs: InputSpec, outputs: int) -> nn.Module:
        """The modified network. Raises `BadParameter` where a modifier refuses the architecture."""
        before = [
            self.inner,
            *(Modified(self.inner, self.modifiers[:n]) for n in range(1, len(self.modifiers))),
        ]
        for modifier, architecture in zip(self.modifiers, before, strict=True):
            if reason := modifier.refuses(architecture, inputs, outputs):
                raise BadParameter(
                    f"{modifier.name} cannot modify {self.inner.name}", where=self._address, got=reason
                )
        net = self.inner.build(inputs, outputs)
        for modifier, architecture in zip(self.modifiers, before, strict=True):
            net = modifier.modify(net, architecture, inputs, outputs)
        return net

    def taps(self, net: nn.Module) -> dict[str, nn.Module]:
        return self.inner.taps(self._unwrapped(net))

    def chain(self, net: nn.Module) -> tuple[Link, ...]:
        return self.inner.chain(self._unwrapped(net))

    def readout(self, net: nn.Module) -> nn.Linear:
        return self.inner.readout(self._unwrapped(net))

    def reject(self, inputs: InputSpec) -> str:
        return self.inner.reject(inputs)

    def scaled(self, factor: float) -> Self:
        return replace(self, inner=self.inner.scaled(factor))

    def init_seed(self, seed: int) -> int:
        """The seed that the initial weights follow, from that of the run."""
        for modifier in self.modifiers:
            seed = modifier.init_seed(seed)
        return seed

    def check_recipe(self, recipe: Recipe) -> None:
        """Raises `BadParameter` where a modifier must not be trained so."""
        for modifier in self.modifiers:
            if reason := modifier.refuses_recipe(recipe):
                raise BadParameter(
                    f"{modifier.name} does not suit the recipe", where=self._address, got=reason
                )

    def _unwrapped(self, net: nn.Module) -> nn.Module:
        for modifier in reversed(self.modifiers):
            net = modifier.unwrap(net)
        return net


def unmodified(architecture: Architecture) -> Architecture:
    """The architecture without its modifiers."""
    return architecture.inner if isinstance(architecture, Modified) else architecture
