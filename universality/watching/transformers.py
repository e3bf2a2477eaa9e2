"""`universality.watch` as a callback of the trainer of Hugging Face.

from universality.watching.transformers import WatchCallback

watching = WatchCallback(data=(tokens, labels), probes={"displacement": Every(20)})
transformers.Trainer(model, ..., callbacks=[watching]).train()
print(watching.watch.report())
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from universality.watching.attached import Attached, Hook, missing

try:
    from transformers import TrainerCallback
except ImportError as error:
    raise missing("transformers", error) from None

if TYPE_CHECKING:
    from universality.watching.session import Watch


class Logits(nn.Module):
    """A model of the library as a function of one tensor: `model(inputs=x).logits`.

    Args:
        inputs: what the tensor is called: `input_ids`, `pixel_values`, `input_values`.
    """

    def __init__(self, model: nn.Module, inputs: str) -> None:
        super().__init__()
        self.model, self.inputs = model, inputs

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(**{self.inputs: x}).logits
        return logits


class WatchCallback(TrainerCallback):  # type: ignore[misc]
    """Observes the training that `Trainer.train` makes, on the process of rank 0.

    The loss of an update is the mean over what the model returned as `loss` since the last one.

    Args:
        network: from the model to a module that returns logits `[rows, classes]`; by default `Logits`.
        inputs: the name of the tensor that the model is given, without a mask.
        options: of `universality.watch`, but network, optimizer and steps, which follow from the trainer.

    Attributes:
        watch: the session, from the start of the first `train` on.
    """

    def __init__(
        self, *, network: Callable[[Any], nn.Module] | None = None, inputs: str = "input_ids", **options: Any
    ) -> None:
        self._attached = Attached(network or partial(Logits, inputs=inputs), options)
        self._seen: Any = None

    @property
    def watch(self) -> Watch | None:
        return self._attached.watch

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, optimizer: Any = None, **_: Any
    ) -> None:
        """Raises what `watch` raises."""
        self._end()  # of a training that was interrupted
        if not state.is_world_process_zero:
            return
        while hasattr(optimizer, "optimizer"):  # the one inside that of accelerate
            optimizer = optimizer.optimizer
        rows = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        modes = [(module, module.training) for module in model.modules()]
        try:
            model.train()  # as the trainer calls it before every batch
            self._attached.start(model, optimizer, max(1, state.max_steps - state.global_step), rows)
        finally:
            for module, training in modes:
                module.training = training
        self._seen = model.register_forward_hook(Hook(self._loss))

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._end()

    def _end(self) -> None:
        self._attached.end()
        if self._seen is not None:
            self._seen.remove()
            self._seen = None

    def _loss(self, model: nn.Module, args: Any, output: Any) -> None:
        loss = getattr(output, "loss", None)
        if model.training and loss is not None:
            self._attached.loss(loss)
