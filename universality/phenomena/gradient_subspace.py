"""The gradient lies in the Hessian's leading eigenvectors, and what is learnt lies outside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from universality import plugin as u

SOURCE = "Gur-Ari et al. 2018, arXiv:1812.04754; Song et al. 2024, arXiv:2405.16002"
PARTS = {"sgd": "SGD", "dom": "its dominant part", "random": "its part in random directions"}
PARTS |= {"bulk": "without its dominant part", "rest": "without random directions"}
LOSSES = u.Curves({f"loss:{k}": v for k, v in PARTS.items()}, x="update since half-way", y="training loss")
SHARE, SOLVED = "|P g|^2 / |g|^2", u.at_end("projected_updates.converged")
SHARES = u.Levels("share", {"share_random": "random directions"}, SHARE)
MOST, ALL = u.Within(low=0.5, unit=SHARE, ceiling=1.0), u.Within(low=0.8, unit="share of the progress kept")
NONE = u.Within(high=0.1, unit="progress over that of random directions")


def few_classes(cell: u.Cell) -> str:
    has = cell.signature.outputs
    return "" if has <= 20 else f"takes an eigenvector for each class: at most 20, the task has {has}"


def progress(run: u.Trajectory, *drawn: str) -> tuple[dict[str, float], dict[str, u.Points]]:
    """Of every branch, over that of SGD; and the losses of those that are drawn."""
    step = int(run.series("projected_updates.share").steps[-1])
    loss = {k: run.array(f"projected_updates.loss_{k}", step) for k in (*PARTS, "random_2", "rest_2")}
    gained = {name: float(v[0] - v[-1]) for name, v in loss.items()}
    u.need("progress of SGD over the loss", gained["sgd"] / loss["sgd"][0], at_least=0.02)
    points = {f"loss:{name}": u.Points.of(np.linspace(0, 60, len(loss[name])), loss[name]) for name in drawn}
    return {name: value / gained["sgd"] for name, value in gained.items()}, points


@u.register("gradient_subspace", source=SOURCE)
@dataclass(frozen=True, kw_only=True)
class GradientSubspace(u.Phenomenon):
    """Half-way through SGD, with P the projection on the C leading eigenvectors of the training Hessian, C the number of classes,
    and progress the decrease of the loss by 60 updates on the same batches (`probes.projected_updates`):
    `share`: |P g|^2 / |g|^2 of batch gradients is at least 0.5, the larger part (Gur-Ari et al.). `dom`: progress by
    P g, over that by random directions of equal energy, is at most 0.1: none (Song et al.). `bulk`: with r random
    directions of equal energy to g - P g, (progress by g - P g, less by r) / (progress by g, less by r) is at least
    0.8: it is 1 where P g is not needed at all, 0 where it is as any part of its size.

    Args:
        steps, lr_multiple, batch_size: of SGD; 2/lr over the sharpness at initialisation.
        null: judge random directions, against other random ones.
    """

    steps: int = 600
    lr_multiple: float = 4.0
    batch_size: int = 32
    null: bool = False

    title, version, strand, sense = "Gradient in a tiny subspace", 2, "universality", "form"
    dispute = "Song et al.: the alignment is noise and oscillation, on which learning does not depend"
    asks = u.classes(2), few_classes
    gates = (u.require("share of eigenproblems that converged", SOLVED, at_least=0.95),)

    @u.per_seed
    def run(self, run: u.Run) -> u.Run:
        how = {"lr_over_stability": self.lr_multiple, "batch_size": self.batch_size}
        return run.trained(steps=self.steps, **how).observing(projected_updates=u.At(0.5))

    @u.claim(MOST, runs=run, title="most of the gradient is dominant", chart=SHARES)
    def share(self, run: u.Trajectory) -> u.Outcome:
        shares = {k: u.at_end(f"projected_updates.{k}")(run) for k in ("share", "share_random")}
        return u.Outcome(effect=shares["share_random" if self.null else "share"], details=shares)

    @u.claim(NONE, runs=run, title="the dominant part does not learn", chart=LOSSES)
    def dom(self, run: u.Trajectory) -> u.Outcome:
        of, points = progress(run, "sgd", "dom", "random")
        u.need("progress by random directions, over that of SGD", of["random"], at_least=0.05)
        judged = of["random_2" if self.null else "dom"] / of["random"]
        return u.Outcome(effect=judged, details=of, points=points)

    @u.claim(ALL, runs=run, title="the rest learns as much as all", chart=LOSSES)
    def bulk(self, run: u.Trajectory) -> u.Outcome:
        of, points = progress(run, "bulk", "rest")
        u.need("progress that random directions lose", 1 - of["rest"], at_least=0.1)
        more = of["rest_2" if self.null else "bulk"] - of["rest"]
        return u.Outcome(effect=more / (1 - of["rest"]), details=of, points=points)

    reference, relu = ("mlp[width=16,depth=1,activation=tanh]", "digits[classes=5]"), "mlp[width=32,depth=2]"
    controls = (
        u.positive("tanh network", "Song et al.: small networks under SGD", claims=["dom", "bulk"]),
        u.positive("two ReLU layers", "Gur-Ari et al.", claims=["share"], architecture=relu),
        u.negative("random directions", "none is special", null=True),
    )
