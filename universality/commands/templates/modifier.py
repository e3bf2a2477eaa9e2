"""Only the last layer is trained."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from universality import plugin as u


@u.register("example", source="Rahimi and Recht 2007")
@dataclass(frozen=True, kw_only=True)
class Example(u.Modifier):
    """Every weight but those of the readout keeps its initial value: random features of any architecture."""

    # Edits the network that `architecture` has just built, or returns a module around it.
    def modify(
        self, net: nn.Module, architecture: u.Architecture, inputs: u.InputSpec, outputs: int
    ) -> nn.Module:
        net.requires_grad_(False)
        architecture.readout(net).requires_grad_(True)
        return net
