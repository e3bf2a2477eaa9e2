"""Callbacks beside trainers that do what those of the libraries do, as far as the callbacks see it."""

from __future__ import annotations

import copy
import importlib
import io
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from universality.plugin import Every

ROWS, BATCH = 24, 8
PROBES, NOISE = {"accuracy": Every(2)}, {"noise_scale[batch=4]": Every(10)}


def points() -> tuple[Tensor, Tensor]:
    y = torch.arange(ROWS) % 3
    return torch.randn(ROWS, 4, generator=torch.Generator().manual_seed(0)) + torch.eye(3, 4)[y], y


@pytest.fixture
def module(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The file of a callback, with a base class in the place of the library's."""
    library, place, base = request.param
    for name in (library, place):
        stub: Any = types.ModuleType(name)
        setattr(stub, base, type(base, (), {}))
        monkeypatch.setitem(sys.modules, name, stub)
    name = f"universality.watching.{library}"
    monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module(name)
    sys.modules.pop(name)


lightning = pytest.mark.parametrize("module", [("lightning", "lightning.pytorch", "Callback")], indirect=True)
transformers = pytest.mark.parametrize(
    "module", [("transformers", "transformers", "TrainerCallback")], indirect=True
)


@lightning
def test_lightning_scales_losses_in_half_precision_and_these_are_recorded_without(module: Any) -> None:
    torch.manual_seed(1)
    net = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    trainer = types.SimpleNamespace(
        is_global_zero=True, estimated_stepping_batches=3, optimizers=[optimizer], global_step=0, world_size=2,
        accumulate_grad_batches=2, train_dataloader=DataLoader(TensorDataset(*points()), BATCH),
        precision_plugin=types.SimpleNamespace(scaler=scaler),
    )  # fmt: skip
    watching = module.WatchCallback(data=points(), probes=PROBES)
    watching.on_train_start(trainer, net)
    losses = []
    for _ in range(3):
        of_batches = []
        for part in (slice(0, 8), slice(8, 16)):
            loss = F.cross_entropy(net(points()[0][part]), points()[1][part])
            of_batches.append(loss.item())
            scaled = scaler.scale(loss / 2)
            watching.on_before_backward(trainer, net, scaled)
            scaled.backward()  # type: ignore[no-untyped-call]
        losses.append(sum(of_batches) / 2)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    watching.on_train_end(trainer, net)
    assert watching.watch.series("train_loss").values.tolist() == pytest.approx(losses)
    assert f"updates of {2 * 2 * BATCH} rows each (batch_size=32)" in watching.watch.report().notes


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.a, self.b, self.drop = nn.Linear(4, 8), nn.Linear(8, 3), nn.Dropout()

    def forward(self, input_ids: Tensor, labels: Tensor | None = None) -> Any:
        logits = self.b(self.drop(torch.tanh(self.a(input_ids))))
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return types.SimpleNamespace(logits=logits, loss=loss)


class Trainer:
    """Of Hugging Face: it sets the mode before every batch, and calls no end of what is interrupted."""

    def __init__(self, callback: Any, accumulate: int = 1) -> None:
        self.model, self.callback = Model().eval(), callback
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.args = types.SimpleNamespace(
            train_batch_size=BATCH, gradient_accumulation_steps=accumulate, world_size=1
        )
        self.state = types.SimpleNamespace(is_world_process_zero=True, max_steps=10, global_step=0)

    def begin(self) -> None:
        given = {"model": self.model, "optimizer": self.optimizer}
        self.callback.on_train_begin(self.args, self.state, None, **given)

    def updates(self, count: int) -> None:
        x, y = points()
        for _ in range(count):
            self.model.train()
            self.model(x[:BATCH], y[:BATCH]).loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()

    def end(self) -> None:
        self.callback.on_train_end(self.args, self.state, None)

    @property
    def hooks(self) -> int:
        return len(self.model._forward_hooks) + len(self.optimizer._optimizer_step_post_hooks)  # type: ignore[attr-defined]


@transformers
def test_a_training_that_was_interrupted_leaves_no_hook_in_the_next(module: Any) -> None:
    trainer = Trainer(module.WatchCallback(data=points(), probes=PROBES), accumulate=2)
    trainer.begin()
    trainer.updates(3)
    assert trainer.hooks == 2
    trainer.begin()
    trainer.updates(4)
    assert trainer.hooks == 2
    trainer.end()
    assert trainer.hooks == 0
    watch = trainer.callback.watch
    assert len(watch.series("train_loss")) == watch.updates == 4
    notes = watch.report().notes
    assert f"updates of {2 * BATCH} rows each (batch_size={2 * BATCH})" in notes
    assert not any("evaluation mode" in note for note in notes)


@transformers
def test_copies_and_pickles_of_a_model_leave_the_session_behind(module: Any) -> None:
    trainer = Trainer(module.WatchCallback(data=points(), probes=PROBES))
    trainer.begin()
    twin = copy.deepcopy(trainer.model)
    file = io.BytesIO()
    torch.save(trainer.model, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    x, y = points()
    for model in (twin, loaded):
        assert model.train()(x, y).loss is not None
        assert "universality" not in repr(list(model._forward_hooks.values()))
    trainer.updates(1)
    assert len(trainer.callback.watch.series("train_loss")) == 1


@transformers
def test_a_callback_that_nobody_holds_any_more_does_nothing(module: Any) -> None:
    trainer = Trainer(module.WatchCallback(data=points(), probes=PROBES))
    trainer.begin()
    watch = trainer.callback.watch
    trainer.callback = None
    trainer.updates(2)
    assert watch.updates == 0


@transformers
def test_the_first_record_is_of_the_mode_of_the_updates(module: Any) -> None:
    trainer = Trainer(module.WatchCallback(data=points(), probes=NOISE))
    trainer.begin()
    first = trainer.callback.watch.series("noise_scale[batch=4].value").values[0]
    assert not trainer.model.training
    trainer = Trainer(module.WatchCallback(data=points(), probes=NOISE))
    trainer.model.train()
    trainer.begin()
    assert trainer.callback.watch.series("noise_scale[batch=4].value").values[0] == first
    trainer = Trainer(module.WatchCallback(data=points(), probes=NOISE))
    trainer.model.drop.p = 0.0
    trainer.begin()
    assert trainer.callback.watch.series("noise_scale[batch=4].value").values[0] != first
