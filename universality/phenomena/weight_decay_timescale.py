"""AdamW's steady state: size and rotation of weights, and how fast they come, follow from rate and decay alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from universality import plugin as u

SIZE, ANGLE = "rotation.size", "rotation.angle"
START = 3.0  # of the size, over that of the steady state
SIZES = u.Lines({SIZE: ""}, "root mean square of the weights", log="y")
ANGLES = u.Lines({ANGLE: ""}, "radians per update", log="y")
SOURCE = "Kosson et al. 2024, arXiv:2305.17212; Wang and Aitchison 2024, arXiv:2405.13698"
TENTH = u.Within(low=0.9, high=1.1, scale="log", unit="measured / theory")
FIFTH = u.Within(low=0.8, high=1.25, scale="log", unit="measured / theory")


def second_half(run: u.Trajectory, name: str) -> float:
    return float(run.series(name).since(run.spec.recipe.steps // 2).values.mean())


@u.register("weight_decay_timescale", source=SOURCE)
@dataclass(frozen=True, kw_only=True)
class WeightDecayTimescale(u.Phenomenon):
    """Weights of AdamW are a walk of random unit steps that forgets in 1/(lr decay) updates. Where their size does not
    matter, as before a normalisation (here of any network, `modifiers.normalised`), they end, whatever the data, with

        root mean square of the elements   sqrt(lr / (2 decay))     (also Fan et al. 2025, arXiv:2510.15262)
        angle of a row per update          sqrt(2 lr decay (1 - beta1) / (1 + beta1))

    to 10 % in the mean of the second half of 4/(lr decay) updates; and from 3 times that size, the mean square has gone
    1 - 1/e of the way to where it ends after 1/(2 lr decay) updates, to 25 %.

    Args:
        lr, decay, batch_size, beta2: of AdamW; 1/(1 - beta2) far below 1/(lr decay), so that its unit follows the gradient.
        decoupled: `false` takes Adam with L2 in place of AdamW.
        normalised: `false` trains the network as it is.
    """

    lr: float = 3e-3
    decay: float = 1.0
    batch_size: int = 8
    beta2: float = 0.99
    decoupled: bool = True
    normalised: bool = True

    title, version, strand, sense = "AdamW's steady state and timescale", 1, "hyperparameters", "number"
    dispute = (
        "gradients are no random walk where they push back, nor orthogonal to weights without normalisation"
    )
    asks = (u.classes(2), u.train_rows(64))

    @u.per_seed
    def run(self, run: u.Run) -> u.Run:
        optimizer, steps = "adamw" if self.decoupled else "adam", round(4 / (self.lr * self.decay))
        run = run.trained(optimizer=optimizer, steps=steps, lr=self.lr, weight_decay=self.decay)
        if self.normalised:
            run = run.modified("normalised", rms=START * math.sqrt(self.lr / (2 * self.decay)))
        return run.trained(batch_size=self.batch_size, beta2=self.beta2).observing(rotation=u.Every(40))

    @u.claim(TENTH, runs=run, title="size of the weights", chart=SIZES)
    def size(self, run: u.Trajectory) -> float:
        return second_half(run, SIZE) / math.sqrt(self.lr / (2 * self.decay))

    @u.claim(TENTH, runs=run, title="angle of an update", chart=ANGLES)
    def angle(self, run: u.Trajectory) -> float:
        beta = run.spec.recipe.beta1
        return second_half(run, ANGLE) / math.sqrt(2 * self.lr * self.decay * (1 - beta) / (1 + beta))

    @u.claim(FIFTH, runs=run, title="time to get there", chart=SIZES)
    def timescale(self, run: u.Trajectory) -> float:
        size, end = run.series(SIZE), second_half(run, SIZE) ** 2
        u.need("size at the start over the end", size.values[0] / math.sqrt(end), at_least=2)
        left = (size.values**2 - end) / (size.values[0] ** 2 - end)
        k = int(np.argmax(left <= 1 / math.e))  # the first record below
        updates = np.interp(-1 / math.e, -left[k - 1 : k + 1], size.steps[k - 1 : k + 1])
        return 2 * self.lr * self.decay * float(updates)

    reference = "mlp[width=32,activation=tanh]", "digits[label_noise=0.3]"
    radial, walk = "gradients along the weights move their size", ("size", "angle")
    controls = (
        u.positive("noisy digits", "Kosson et al.: normalised networks; noise keeps the gradients random"),
        u.negative("Adam with L2", "decay is divided by the gradient's size", decoupled=False),
        u.negative("without normalisation", radial, claims=walk, normalised=False),
    )
