"""Ten phenomena of one claim each, whose runs differ: what `benchmarks/scale.py` plans and measures."""

from __future__ import annotations

from dataclasses import dataclass

from universality import plugin as u


@dataclass(frozen=True, kw_only=True)
class Falling(u.Phenomenon):
    """The training loss falls."""

    lr: float = 0.05

    title, version, strand, sense = "The loss falls", 1, "laws", "sign"

    @u.per_seed
    def trained(self, run: u.Run) -> u.Run:
        return run.trained(steps=150, lr=self.lr, batch_size=32).observing(accuracy=u.Every(10))

    @u.claim(
        u.Within(high=0.9, scale="log", unit="end / start"),
        runs=trained,
        title="the loss falls",
        gates=[u.require("fitted", u.at_end("accuracy.train"), at_least=0.1)],
        chart=u.Lines({"accuracy.train": "training", "accuracy.validation": "validation"}, "accuracy"),
    )
    def falls(self, run: u.Run) -> u.Outcome:
        loss = run.series("train_loss").values
        return u.Outcome(effect=float(loss[-1] / loss[0]), details={"last": float(loss[-1])})

    reference = "mlp[width=64,depth=1]", "gaussian_mixture"
    controls = (
        u.positive("separate classes", "a line tells them apart"),
        u.negative("random labels", "nothing to be learnt", task="gaussian_mixture[random_labels=true]"),
    )


for number in range(10):
    body = {"lr": 0.05 + number / 100, "__annotations__": {"lr": float}, "__module__": __name__}
    kind = type(f"Falling{number}", (Falling,), body)
    u.register(f"falling_{number}", source="none")(dataclass(frozen=True, kw_only=True)(kind))
