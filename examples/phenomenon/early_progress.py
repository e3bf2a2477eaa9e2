"""A phenomenon of one's own in one file: is most of the training loss gone after a tenth of the updates?

    universality check early_progress --plugins examples/phenomenon
    universality run --plugins examples/phenomenon --phenomena early_progress --architectures mlp gru \
        --tasks 'digits[subset=300]' --seeds 3 --name early

Every `.py` file of a folder that `--plugins` names is loaded. docs/extending.md explains each line.
"""

from __future__ import annotations

from dataclasses import dataclass

from universality import plugin as u


@u.register("early_progress", source="an example")
@dataclass(frozen=True, kw_only=True)
class EarlyProgress(u.Phenomenon):
    """(L(0) - L(T/10)) / (L(0) - L(T)) >= 0.7 of the training loss L over T updates of Adam.

    Args:
        steps, lr: of Adam on all training rows.
    """

    steps: int = 300
    lr: float = 3e-3

    title, version, strand, sense = "Early progress", 1, "laws", "sign"
    # A run that learnt nothing cannot show it: inconclusive.
    gates = (u.require("loss, end over start", u.end_over_start("accuracy.train_loss"), at_most=0.9),)

    @u.per_seed
    def descent(self, run: u.Run) -> u.Run:
        run = run.trained(steps=self.steps, lr=self.lr, optimizer="adam")
        return run.observing(accuracy=u.Every(10))

    @u.claim(
        u.Within(low=0.7, unit="share of the decrease", ceiling=1.0),
        runs=descent,
        title="most of the loss goes early",
        chart=u.Lines({"accuracy.train_loss": ""}, "training loss", log="y"),
    )
    def early(self, run: u.Trajectory) -> u.Outcome:
        loss = run.series("accuracy.train_loss").values
        u.need("decrease of the loss", loss[0] - loss[-1], at_least=1e-3)
        return u.Outcome(effect=(loss[0] - loss[1]) / (loss[0] - loss[-1]))

    reference = "mlp[width=64]", "digits[subset=300]"
    controls = (
        u.positive("digits", "images tell their labels"),
        u.negative(
            "random labels", "each row is learnt by itself", task="digits[subset=300,random_labels=true]"
        ),
    )
