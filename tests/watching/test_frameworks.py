"""Callbacks of Lightning and of Hugging Face: the session that a loop by hand would have, and a training left alone."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import universality
from universality.errors import BadParameter, UniversalityError
from universality.plugin import Every
from universality.watching.attached import Attached

ROWS, BATCH, EPOCHS = 24, 8, 4
STEPS = ROWS // BATCH * EPOCHS
PROBES = {"displacement": Every(STEPS), "rotation": Every(2)}


def points() -> tuple[Tensor, Tensor]:
    y = torch.arange(ROWS) % 3
    return torch.randn(ROWS, 4, generator=torch.Generator().manual_seed(0)) + torch.eye(3, 4)[y], y


def small() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


def by_hand(net: nn.Module, accumulate: int = 1) -> tuple[Any, list[Tensor]]:
    """The session and the weights of a plain loop with a falling rate."""
    x, y = points()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.2)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.5)
    steps = STEPS // accumulate
    session = universality.watch(net, optimizer, data=(x, y), steps=steps, batch_size=BATCH, probes=PROBES)
    batches = [slice(i, i + BATCH) for i in range(0, ROWS, BATCH)] * EPOCHS
    for step in range(steps):
        parts = batches[step * accumulate : (step + 1) * accumulate]
        losses = [F.cross_entropy(net(x[part]), y[part]) for part in parts]
        optimizer.zero_grad()
        loss = sum(losses[1:], losses[0]) / len(losses)
        loss.backward()
        optimizer.step()
        session.step(loss)
        schedule.step()
    return session, [p.detach().clone() for p in net.parameters()]


def assert_alike(one: Any, other: Any) -> None:
    assert one.failures == other.failures == {}
    assert one.updates == other.updates
    for name in ("train_loss", "displacement.relative", "rotation.angle"):
        a, b = one.series(name), other.series(name)
        np.testing.assert_array_equal(a.steps, b.steps)
        np.testing.assert_allclose(a.values, b.values, rtol=1e-5, atol=1e-7, err_msg=name)
    assert one._rates == pytest.approx(other._rates)


@pytest.fixture
def noisy() -> Iterator[None]:
    """Frameworks warn of their own affairs: few workers, no logger."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.usefixtures("noisy")
def test_lightning(accumulate: int, tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning.pytorch")
    callbacks = importlib.import_module("universality.watching.lightning")

    class Module(lightning.LightningModule):  # type: ignore[name-defined,misc]
        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.net(x)
            return logits

        def training_step(self, batch: Any, _: int) -> Tensor:
            return F.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=0.2)
            schedule = torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.5)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def fit(*watching: Any) -> tuple[Any, Module]:
        module = Module(small())
        trainer = lightning.Trainer(
            max_epochs=EPOCHS,
            accumulate_grad_batches=accumulate,
            callbacks=list(watching),
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        trainer.fit(module, DataLoader(TensorDataset(*points()), BATCH))
        return trainer, module

    inside = None if accumulate > 1 else lambda module: module.net
    watching = callbacks.WatchCallback(data=points(), batch_size=BATCH, probes=PROBES, network=inside)
    assert watching.watch is None
    trainer, module = fit(watching)
    session, weights = by_hand(small(), accumulate)
    assert_alike(watching.watch, session)
    for own, other in zip(module.parameters(), weights, strict=True):
        torch.testing.assert_close(own.detach(), other)
    _, alone = fit()
    for own, other in zip(module.parameters(), alone.parameters(), strict=True):
        assert torch.equal(own, other), "to the last bit"
    assert not trainer.optimizers[0]._optimizer_step_post_hooks


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.usefixtures("noisy")
def test_transformers(accumulate: int, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    callbacks = importlib.import_module("universality.watching.transformers")
    output = importlib.import_module("transformers.modeling_outputs").SequenceClassifierOutput

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = small()

        def forward(self, features: Tensor, labels: Tensor | None = None) -> Any:
            logits = self.net(features)
            return output(loss=None if labels is None else F.cross_entropy(logits, labels), logits=logits)

    x, y = points()
    rows = [{"features": a, "labels": b} for a, b in zip(x, y, strict=True)]

    class InOrder(transformers.Trainer):  # type: ignore[name-defined,misc]
        def get_train_dataloader(self) -> Any:
            return DataLoader(rows, BATCH)  # type: ignore[arg-type]

    def train(*watching: Any) -> tuple[Any, Model]:
        model = Model()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.5)
        arguments = transformers.TrainingArguments(
            output_dir=str(tmp_path),
            num_train_epochs=EPOCHS,
            gradient_accumulation_steps=accumulate,
            max_grad_norm=0.0,
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
        )
        trainer = InOrder(model, arguments, optimizers=(optimizer, schedule), callbacks=list(watching))
        trainer.train()
        return optimizer, model

    watching = callbacks.WatchCallback(data=(x, y), batch_size=BATCH, probes=PROBES, inputs="features")
    optimizer, model = train(watching)
    session, weights = by_hand(small(), accumulate)
    assert_alike(watching.watch, session)
    for own, other in zip(model.parameters(), weights, strict=True):
        torch.testing.assert_close(own.detach(), other)
    _, alone = train()
    for own, other in zip(model.parameters(), alone.parameters(), strict=True):
        assert torch.equal(own, other), "to the last bit"
    assert not optimizer._optimizer_step_post_hooks
    assert not model._forward_hooks


def test_an_attached_session_is_that_of_a_loop_by_hand_and_copies_that_probes_train_do_not_count() -> None:
    net, attached = small(), Attached(None, {"data": points(), "batch_size": BATCH, "probes": PROBES})
    x, y = points()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.2)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.5)
    attached.start(net, optimizer, STEPS)
    for start in [*range(0, ROWS, BATCH)] * EPOCHS:
        loss = F.cross_entropy(net(x[start : start + BATCH]), y[start : start + BATCH])
        attached.loss(loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    session, _ = by_hand(small())
    assert_alike(attached.watch, session)
    attached.end()
    optimizer.step()
    assert attached.watch is not None
    assert attached.watch.updates == STEPS


def test_what_follows_from_the_training_is_not_an_option() -> None:
    with pytest.raises(BadParameter, match=r"options that follow from the training[\s\S]*steps"):
        Attached(None, {"steps": 3})


@pytest.mark.parametrize("extra", ["lightning", "transformers"])
def test_a_library_that_is_not_installed_is_named_with_its_extra(
    extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == extra]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, extra, None)
    monkeypatch.delitem(sys.modules, f"universality.watching.{extra}", raising=False)
    with pytest.raises(UniversalityError, match=rf"pip install 'universality\[{extra}\]'"):
        importlib.import_module(f"universality.watching.{extra}")
