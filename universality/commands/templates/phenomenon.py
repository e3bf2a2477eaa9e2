"""Noisy labels are learnt slowly."""

from __future__ import annotations

from dataclasses import dataclass

from universality import plugin as u


@u.register("example", source="Zhang et al. 2017, arXiv:1611.03530")
@dataclass(frozen=True, kw_only=True)
class Example(u.Phenomenon):
    """With every second label noisy, the training loss after `steps` updates is at least 1.5 times as high.

    Args:
        steps, lr: of Adam on all training rows.
    """

    steps: int = 150
    lr: float = 3e-3

    title, version, strand, sense = "Noise is learnt slowly", 1, "universality", "sign"
    # Asked of a cell before anything is trained; the reason for a no stands in the table.
    asks = (u.classes(2),)

    # What is trained for each seed: one run, or several by key, here by the share of noisy labels.
    @u.per_seed
    def noisy(self, run: u.Run) -> u.Sweep:
        run = run.trained(steps=self.steps, lr=self.lr, optimizer="adam")
        return run.observing(accuracy=u.Every(10)).vary(label_noise=(0.0, 0.25, 0.5))

    # The effect that the bound is about, from what one seed left.
    @u.claim(
        u.Within(low=1.5, scale="log", unit="loss with half the labels noisy / with none"),
        runs=noisy,
        title="noise slows learning",
        # Not met, the run could not have shown it: inconclusive. `criteria` would count against the claim.
        gates=[u.require("loss fell", u.end_over_start("train_loss"), at_most=0.95, keys=(0.0,))],
        chart=u.Curves({"loss": "training loss"}, x="share of noisy labels", y="loss at the end", log="y"),
    )
    def slower(self, runs: u.Runs) -> u.Outcome:
        loss = runs.read(u.at_end("train_loss"))
        return u.Outcome(effect=loss[0.5] / loss[0.0], points={"loss": u.Points.of(loss)})

    # Settings whose answer is known, run beside every suite: where one comes out wrong, the claim is void.
    reference = "mlp[width=64,depth=1]", "digits[subset=300]"
    random = "digits[subset=300,random_labels=true]"
    controls = (
        u.positive("digits", "images tell their labels"),
        u.negative("random labels", "more noise changes nothing", task=random),
    )
