"""A run as it is measured: its network and its data are those that were trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from universality.errors import MeasurementError
from universality.judge.measured_run import MeasuredRun
from universality.plugin import registry
from universality.plugin.registry import component
from universality.plugin.spec import Recipe, RunSpec, derive_seed
from universality.store.recording import Recording
from universality.store.store import Store
from universality.train.engine.loop import train

ADDRESSES = ["mlp[width=8,centred=true]", "resnet[width=4,blocks=1,stages=2]"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_measuring_gets_the_network_and_the_data_that_were_trained(address: str, tmp_path: Path) -> None:
    architecture, task = (
        registry.resolve("architecture", address),
        registry.resolve("task", "digits[subset=64]"),
    )
    spec = RunSpec(component(architecture), component(task), Recipe(steps=3, lr=0.1, batch_size=16), 5)
    splits = task.load(np.random.default_rng(derive_seed("data", "digits", 5)), tmp_path)
    observe = {"weights": (3,), "accuracy": (0, 3)}
    trained = train(spec, architecture, splits, observe, torch.device("cpu"))
    store = Store.create(tmp_path / "results")
    store.publish(
        Recording(
            spec=spec,
            state=trained.state,
            series=trained.series,
            arrays=trained.arrays,
            observed=observe,
            facts=trained.facts,
            seconds=0.0,
        )
    )
    stored = store.trajectory(spec.id, observe)
    assert stored is not None
    run = MeasuredRun(stored, tmp_path)
    assert (run.spec, run.state, dict(run.facts)) == (stored.spec, "done", dict(stored.facts))
    assert torch.equal(run.splits().train.inputs, splits.train.inputs)
    assert torch.equal(run.splits().train.targets, splits.train.targets)
    assert run.splits() is run.splits()
    net = run.network(3)
    assert not net.training
    assert net is not run.network(3)
    with torch.no_grad():
        shown = splits.validation.inputs
        assert torch.equal(net(shown), trained.net.eval()(shown))
        hits = (net(splits.train.inputs).argmax(1) == splits.train.targets).double().mean()
    assert float(hits) == run.series("accuracy.train").at(3)
    with pytest.raises(MeasurementError, match="no checkpoint") as caught:
        run.network(0)
    assert 'observe the probe "weights"' in caught.value.do
