"""Linear mode connectivity: early on, the noise of SGD no longer decides in which valley training ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from universality import plugin as u
from universality.measures import error_barrier

CUSTOMARY = 0.02
"""Frankle et al. 2020, section 3: below 2 % of test error two networks are called connected."""
APART = 0.1
"""Distance over norm below which a barrier has no room: two ends that near are one network."""

ABOVE = {"above": "", "allowed": "2 %"}
LINE = u.Curves(ABOVE, "from one branch to the other", "test error above the ends", theory="allowed")


def barrier(runs: u.Runs) -> u.Outcome:
    """The test error along the line between branches `a` and `b`, above the mean of the two."""
    a, b = (runs[key].network(runs[key].spec.recipe.steps) for key in ("a", "b"))
    test = runs["a"].splits().validation

    def error(net: Callable[..., Tensor]) -> float:
        return (net(test.inputs).argmax(1) != test.targets).double().mean().item()

    found = error_barrier(a, b, error)
    u.need("distance of the branches, over their norm", found.distance, at_least=APART, label="one network")
    at = [i / (len(found.errors) - 1) for i in range(len(found.errors))]
    points = {"above": u.Points.of(at, found.above)}
    points["allowed"] = u.Points.of(at, [CUSTOMARY] * len(at))
    return u.Outcome(effect=found.height, details={"distance": found.distance}, points=points)


@u.register("linear_mode_connectivity", source="Frankle et al. 2020, arXiv:1912.05671")
@dataclass(frozen=True, kw_only=True)
class LinearModeConnectivity(u.Phenomenon):
    """Two branches of one run, that see other batches after the share `fork` of the updates, are joined by a line
    without a barrier.

    Barrier: the largest test error on the line between their weights, less the mean of the two (Frankle's
    instability), at most 2 %. Networks that learnt nothing have no barrier either, nor have ends that are a tenth of their
    norm apart or less, hence the gates.

    Args:
        steps, lr, batch_size: of SGD with momentum 0.9, lr / 10 in the last quarter.
        lr_below_best: above 0, the rate is the best of a range test over it, in the place of `lr`.
        fork: share of the updates before the branches part.
        starts: `independent` takes two runs of other initialisations in the place of branches; a control does.
    """

    steps: int = 800
    lr: float = 0.05
    lr_below_best: float = 0.0
    batch_size: int = 64
    fork: float = 0.2
    starts: Literal["shared", "independent"] = "shared"

    title, version, strand, sense = "Linear mode connectivity", 2, "universality", "sign"
    dispute = "When stability begins varies with width, rate and data; tiny perturbations undo it (arXiv:2506.13234)."
    asks = (u.classes(2), u.train_rows(128))
    gates = (u.require("training accuracy of the weaker", u.at_end("accuracy.train"), at_least=0.98),)

    @u.per_seed
    def branches(self, run: u.Run) -> dict[str, u.Run]:
        rate = {"lr_below_best": self.lr_below_best} if self.lr_below_best else {"lr": self.lr}
        sgd = {"momentum": 0.9, "batch_size": self.batch_size, "milestones": (0.75,)}
        run = run.trained(steps=self.steps, **rate, **sgd).observing(weights=u.At(1), accuracy=u.Every(10))
        if self.starts == "independent":
            return {"a": run, "b": run.streams(init=run.seed + 1000, batches=run.seed + 1000)}
        return {name: run.forked(round(self.fork * self.steps), k) for k, name in enumerate("ab", 1)}

    stable = u.claim(
        u.Within(high=CUSTOMARY, unit="barrier"),
        barrier,
        runs=branches,
        title="stable to noise early on",
        chart=LINE,
    )

    reference = "mlp[width=64,depth=5]", "digits"
    permuted = "hidden units of two networks are in different order (Entezari et al. 2022, arXiv:2110.06296)"
    controls = (
        u.positive("deep network on digits", "Frankle et al. 2020: stable early in training"),
        u.negative("independent starts", permuted, starts="independent"),
    )
