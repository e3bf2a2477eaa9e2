"""A watch on a loop that a framework makes: told of updates by the optimizer itself, of losses by the framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from universality.errors import BadParameter, UniversalityError
from universality.watching.watch import watch

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from universality.watching.session import Watch

OURS = ("net", "optimizer", "steps")


class Attached:
    """What the callbacks of all frameworks share.

    Args:
        network: from what the framework trains to the module that returns logits; None takes that itself.
        options: of `universality.watch`.

    Attributes:
        watch: the session of the training that runs, or ran last; None before the first.
    """

    def __init__(self, network: Callable[[Any], nn.Module] | None, options: dict[str, Any]) -> None:
        if taken := [name for name in OURS if name in options]:
            raise BadParameter(
                "options that follow from the training",
                where="WatchCallback",
                got=", ".join(taken),
                do="leave them out",
            )
        self.watch: Watch | None = None
        self._network, self._options = network, options
        self._hook: Any = None
        self._losses: list[Tensor] = []

    def start(self, trained: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
        """Watch from here on. Raises what `watch` raises, before the first update."""
        self.end()
        net = trained if self._network is None else self._network(trained)
        self.watch = session = watch(net, optimizer, steps=steps, **self._options)

        def stepped(by: torch.optim.Optimizer, *_: Any) -> None:
            # Copies that probes train share the hook. It comes before a scheduler changes the rate.
            if by is optimizer:
                losses, self._losses = self._losses, []
                session.step(sum(losses[1:], losses[0]) / len(losses) if losses else None)

        self._hook = optimizer.register_step_post_hook(stepped)

    def loss(self, loss: Tensor) -> None:
        """The loss of a batch, of which an update may see several."""
        if self._hook is not None:
            self._losses.append(loss.detach())

    def end(self) -> None:
        """Leave the optimizer as it was."""
        if self._hook is not None:
            self._hook.remove()
        self._hook, self._losses = None, []


def missing(extra: str, error: ImportError) -> UniversalityError:
    return UniversalityError(
        f"the callback for {extra} needs {extra}", got=str(error), do=f"pip install 'universality[{extra}]'"
    )
