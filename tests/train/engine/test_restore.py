"""A checkpoint is the network."""

from pathlib import Path

import numpy as np
import pytest
import torch

from universality.errors import MeasurementError
from universality.plugin import registry
from universality.plugin.registry import component
from universality.plugin.spec import Recipe, RunSpec
from universality.store.recording import Recording
from universality.store.store import Store
from universality.train.engine.loop import train
from universality.train.engine.restore import restore


@pytest.mark.parametrize(
    "address",
    [
        "mlp[width=8,centred=true]",
        "resnet[width=4,blocks=1,stages=2]",
        "mlp[width=8]+mup[base=4,rule=sgd]+output_scale[alpha=2,centred=true]",
    ],
)
def test_a_restored_network_computes_what_the_trained_one_does(address: str, tmp_path: Path) -> None:
    architecture = registry.resolve("architecture", address)
    task = registry.resolve("task", "digits[subset=64]")
    splits = task.load(np.random.default_rng(0), tmp_path)
    spec = RunSpec(component(architecture), component(task), Recipe(steps=3, lr=0.1, batch_size=16), 0)
    trained = train(spec, architecture, splits, {"weights": (0, 3)}, torch.device("cpu"))
    store = Store.create(tmp_path / "results")
    store.publish(
        Recording(
            spec=spec,
            state=trained.state,
            series=trained.series,
            arrays=trained.arrays,
            observed={"weights": (0, 3)},
            facts=trained.facts,
            seconds=0.0,
        )
    )
    run = store.trajectory(spec.id, {"weights": (0, 3)})
    assert run is not None
    inputs = splits.validation.inputs
    with torch.no_grad():
        expected = trained.net.eval()(inputs)
        assert torch.equal(restore(run, splits, 3)(inputs), expected)
        assert not torch.equal(restore(run, splits, 0)(inputs), expected)
    with pytest.raises(MeasurementError, match="no checkpoint") as caught:
        restore(run, splits, 2)
    assert "recorded steps: (0, 3)" in caught.value.got
