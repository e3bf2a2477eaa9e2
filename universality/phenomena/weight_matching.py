"""Weight matching: networks that were trained apart are joined by a line, once their hidden units are in one order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from universality import plugin as u
from universality.measures import error_barrier, match_weights, permute_units
from universality.plugin import registry

CUSTOMARY = 0.02  # of test error, below which two networks are called connected (Frankle et al. 2020)
SMALL = u.Within(high=CUSTOMARY, unit="barrier")
LINES = {"trained": "as trained", "reordered": "reordered", "allowed": "2 %"}
LINE = u.Curves(LINES, "from one network to the other", "test error above the ends", theory="allowed")


def hidden(architecture: u.Architecture, net: nn.Module) -> list[tuple[nn.Linear, nn.Linear]]:
    return [(link.before, link.after) for link in architecture.chain(net)]


def in_a_chain(cell: u.Cell) -> str:
    """All weights lie between units that the chain knows; else permutations of other units would be left out."""
    with torch.device("meta"):
        net = cell.architecture.build(cell.signature.inputs, cell.signature.outputs)
    known = {id(layer.weight) for pair in hidden(cell.architecture, net) for layer in pair}
    left_out = [name for name, p in net.named_parameters() if p.ndim >= 2 and id(p) not in known]
    return f"weights outside its chain of linear layers: {left_out[0]}" if left_out or not known else ""


@u.register("weight_matching", source="Ainsworth et al. 2022, arXiv:2209.04836")
@dataclass(frozen=True, kw_only=True)
class WeightMatching(u.Phenomenon):
    """On the same data, two networks of other initialisation and batches: with the hidden units of one in the order of
    the other's, by their weights alone (`measures.match_weights`), the line between them has a barrier of at most 2 %.

    Barrier: the largest test error on the line, less the mean of its ends. Gates: as trained it is at least twice that,
    and both networks have learnt.

    Args:
        steps, lr, batch_size: of SGD with momentum 0.9, lr / 10 in the last quarter.
        order: `random` reorders the units at random in place of matching; a control does.
    """

    steps: int = 400
    lr: float = 0.05
    batch_size: int = 64
    order: Literal["matched", "random"] = "matched"

    title, version, strand, sense = "Weight matching", 1, "universality", "sign"
    dispute = "narrow networks keep a barrier, and so do some recipes (Ainsworth et al.)"
    asks = u.classes(2), u.train_rows(128), in_a_chain
    gates = (u.require("training accuracy of the weaker", u.at_end("accuracy.train"), at_least=0.98),)

    @u.per_seed
    def two(self, run: u.Run) -> dict[str, u.Run]:
        sgd = {"lr": self.lr, "momentum": 0.9, "batch_size": self.batch_size, "milestones": (0.75,)}
        run = run.trained(steps=self.steps, **sgd).observing(weights=u.At(1), accuracy=u.Every(4))
        return {"a": run, "b": run.streams(init=run.seed + 1000, batches=run.seed + 1000)}

    @u.claim(SMALL, runs=two, title="one valley but for the order", chart=LINE)
    def joined(self, runs: u.Runs) -> u.Outcome:
        a, b = (runs[key].network(self.steps) for key in ("a", "b"))
        architecture = registry.instantiate("architecture", runs["a"].spec.architecture)
        test = runs["a"].splits().validation

        def error(net: Callable[..., Tensor]) -> float:
            return (net(test.inputs).argmax(1) != test.targets).double().mean().item()

        pairs, draws = partial(hidden, architecture), torch.Generator().manual_seed(runs["a"].spec.seed)
        match = partial(match_weights, a) if self.order == "matched" else permute_units
        other = match(b, pairs, draws)
        lines = {"trained": error_barrier(a, b, error), "reordered": error_barrier(a, other.net, error)}
        u.need("barrier as trained", lines["trained"].height, at_least=2 * CUSTOMARY)
        at = [i / 10 for i in range(11)]
        points = {name: u.Points.of(at, found.above) for name, found in lines.items()}
        points["allowed"] = u.Points.of(at, [CUSTOMARY] * len(at))
        details = {"barrier as trained": lines["trained"].height, "units moved": other.moved}
        return u.Outcome(effect=lines["reordered"].height, details=details, points=points)

    reference = "mlp[width=256,depth=5]", "digits"
    controls = (
        u.positive("wide network on digits", "Ainsworth et al. 2022: wide networks on MNIST"),
        u.negative("random order", "units stay apart", order="random"),
    )
