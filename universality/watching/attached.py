"""A watch on a loop that a framework makes: told of updates by the optimizer itself, of losses by the framework."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from universality.errors import BadParameter, UniversalityError
from universality.watching.watch import watch

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from universality.watching.session import Watch

OURS = ("net", "optimizer", "steps")


class Hook:
    """A hook that calls a method with its three arguments for as long as the method's owner lives. Copies and pickles of
    what it hangs on have in its place one that does nothing, of the standard library."""

    def __init__(self, method: Callable[[Any, Any, Any], None]) -> None:
        self._method = weakref.WeakMethod(method)

    def __call__(self, *given: Any) -> None:
        if (method := self._method()) is not None:
            method(*given)

    def __reduce__(self) -> Any:
        return getattr, (nullcontext(), "__exit__")


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
        self._optimizer: Any = None
        self._losses: list[Tensor] = []

    def start(
        self, trained: nn.Module, optimizer: torch.optim.Optimizer, steps: int, batch_size: int | None = None
    ) -> None:
        """Watch from here on. Raises what `watch` raises, before the first update.

        Args:
            batch_size: rows of an update, over all batches that it accumulates and all processes; None where the
                framework does not tell.
        """
        self.end()
        net = trained if self._network is None else self._network(trained)
        options = {"batch_size": batch_size, **self._options}
        self.watch, self._optimizer = watch(net, optimizer, steps=steps, **options), optimizer
        self._hook = optimizer.register_step_post_hook(Hook(self._stepped))

    def _stepped(self, by: Any, *_: Any) -> None:
        # Copies that probes train share the hook. It comes before a scheduler changes the rate.
        if by is self._optimizer and self.watch is not None:
            losses, self._losses = self._losses, []
            self.watch.step(sum(losses[1:], losses[0]) / len(losses) if losses else None)

    def loss(self, loss: Tensor) -> None:
        """The loss of a batch, of which an update may see several."""
        if self._hook is not None:
            self._losses.append(loss.detach())

    def end(self) -> None:
        """Leave the optimizer as it was."""
        if self._hook is not None:
            self._hook.remove()
        self._hook, self._optimizer, self._losses = None, None, []


def missing(extra: str, error: ImportError) -> UniversalityError:
    return UniversalityError(
        f"the callback for {extra} needs {extra}", got=str(error), do=f"pip install 'universality[{extra}]'"
    )
