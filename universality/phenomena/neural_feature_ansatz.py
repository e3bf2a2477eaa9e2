"""Neural feature ansatz: the first layer's W^T W becomes proportional to the average gradient outer product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from universality import plugin as u

SOURCE = "Radhakrishnan et al. 2024, arXiv:2212.13881"
COSINE, ROOM = "traceless cosine of W^T W and G", 0.3
NULLS = {"start": "own start", "untrained": "untrained", "random": "random", "shuffled": "shuffled inputs"}
READ = ("cosine", "start", "random", "shuffled", "plain", "moved")
LEVELS = u.Levels("cosine", NULLS, COSINE, margin=ROOM, title="trained")
FAST: dict[str, Any] = {"steps": 1000, "lr_multiple": 2.0}
FITTED = u.end_over_start("accuracy.train_loss")


def hidden_map(cell: u.Cell) -> str:
    """The readout meets the ansatz whatever its weights are."""
    from torch import device, nn

    with device("meta"):
        net = cell.architecture.build(cell.signature.inputs, cell.signature.outputs)
    readout = cell.architecture.readout(net)
    maps = [m for m in net.modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d) and m is not readout]
    return "" if maps else "has no linear or convolutional layer before the readout"


@u.register("neural_feature_ansatz", source=SOURCE)
@dataclass(frozen=True, kw_only=True)
class NeuralFeatureAnsatz(u.Phenomenon):
    """Of the first linear map W of a trained network, with G the average outer product of the gradients at its input, the
    traceless cosine of W^T W and G is at least 0.8, and 0.3 above that of each null: the weights at the own start, the
    untrained network, random weights, and W with its inputs permuted (`probes.feature_ansatz`).

    With traces, two matrices near the identity have a cosine near 1 without training. Gates: the training loss falls to
    a twentieth, and the largest null leaves room.

    Args:
        steps, lr_multiple: of full-batch gradient descent on the squared loss; 2/lr over the initial sharpness.
    """

    steps: int = 2000
    lr_multiple: float = 4.0

    title, version, strand, sense = "Neural feature ansatz", 2, "laws", "form"
    dispute = (
        "heuristic: Boix-Adsera et al. 2025, arXiv:2507.05644, show where it fails, and need weight decay"
    )
    asks = (hidden_map,)
    gates = (u.require("loss at the end over the start", FITTED, at_most=0.05),)

    @u.per_seed
    def run(self, run: u.Run) -> u.Run:
        run = run.trained(steps=self.steps, lr_over_stability=self.lr_multiple, loss="mse")
        return run.observing(feature_ansatz=u.At(0, 1), accuracy=u.At(0, 1))

    @u.claim(u.Within(low=0.8, unit=COSINE, ceiling=1.0), runs=run, title="of the first layer", chart=LEVELS)
    def first_layer(self, run: u.Trajectory) -> u.Outcome:
        details = {name: u.at_end(f"feature_ansatz.{name}")(run) for name in READ}
        details["untrained"] = u.at_start("feature_ansatz.cosine")(run)
        largest = max(details[null] for null in NULLS)
        u.need("room above the largest null", 1 - largest, at_least=ROOM)
        above = u.Check("above the largest null", details["cosine"] - largest, at_least=ROOM)
        return u.Outcome(effect=details["cosine"], criteria=(above,), details=details)

    wide = "mlp[width=256,depth=1]+output_scale[centred=true,alpha={}]"
    reference = wide.format(0.1), "sparse_parity[bits=20,k=2,train_rows=200]"
    controls = (
        u.positive(
            "parity of two bits, small output scale", "Radhakrishnan et al.: low-rank targets", **FAST
        ),
        u.negative(
            "lazy network",
            "Chizat et al. 2019, arXiv:1812.07956: it fits, and its weights stay",
            architecture=wide.format(30),
            **FAST,
        ),
    )
