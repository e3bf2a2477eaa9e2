"""`universality.watch` as a callback of Lightning.

from universality.watching.lightning import WatchCallback

watching = WatchCallback(data=(x, y), phenomena=["neural_collapse"], network=lambda module: module.net)
lightning.Trainer(callbacks=[watching], ...).fit(module, loader)
print(watching.watch.report())
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from universality.errors import BadParameter
from universality.watching.attached import Attached, missing

try:
    from lightning.pytorch import Callback
except ImportError as error:
    raise missing("lightning", error) from None

if TYPE_CHECKING:
    from torch import Tensor, nn

    from universality.watching.session import Watch


class WatchCallback(Callback):  # type: ignore[misc]
    """Observes the training that `Trainer.fit` makes, of one optimizer, on the process of rank 0.

    Args:
        network: from the module to the network inside that returns logits; by default the module itself.
        options: of `universality.watch`, but network, optimizer and steps, which follow from the trainer.

    Attributes:
        watch: the session, from the start of the first `fit` on.
    """

    def __init__(self, *, network: Callable[[Any], nn.Module] | None = None, **options: Any) -> None:
        self._attached = Attached(network, options)

    @property
    def watch(self) -> Watch | None:
        return self._attached.watch

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Raises what `watch` raises, and `BadParameter` for several optimizers or a training without end."""
        if not trainer.is_global_zero:
            return
        steps, optimizers = trainer.estimated_stepping_batches, trainer.optimizers
        if len(optimizers) != 1 or steps == float("inf"):
            raise BadParameter(
                "a training that cannot be watched",
                where="WatchCallback",
                got=f"{len(optimizers)} optimizers, {steps} updates",
                expected="one optimizer, and max_steps or max_epochs",
            )
        left = int(steps) - trainer.global_step
        size = getattr(trainer.train_dataloader, "batch_size", None)
        rows = size * trainer.accumulate_grad_batches * trainer.world_size if isinstance(size, int) else None
        self._attached.start(pl_module, optimizers[0], max(1, left), rows)

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        # Lightning has divided it by the batches that an update accumulates, and multiplied it by the scale of half
        # precision, which stays on the device.
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        scale = 1 if scaler is None else scaler.scale(loss.detach().new_ones(()))
        self._attached.loss(loss.detach() * trainer.accumulate_grad_batches / scale)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._attached.end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._attached.end()
