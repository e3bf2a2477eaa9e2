"""Spectral bias: lower frequencies are fitted first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau

from universality import plugin as u

SOURCE = "Rahaman et al. 2019, arXiv:1806.08734; Xu et al. 2019, arXiv:1901.06523"
LEFT = 0.2
"""Share of a component that may be missing where it counts as fitted."""

ORDER = u.Within(low=0.8, unit="Kendall tau of frequency and time", ceiling=1.0)
DELAY = u.Within(low=4.0, unit="T of the highest / T of the lowest", scale="log")
TIMES = u.Curves({"times": ""}, "frequency", "update at which it is fitted", "y")
MISSING = u.Curves({"missing": "frequency"}, "update", "share of the component that is missing", "x")


def sum_of_waves(cell: u.Cell) -> str:
    return "" if cell.task.name == "sines" else "needs a target whose frequencies are known"


@u.register("spectral_bias", source=SOURCE)
@dataclass(frozen=True, kw_only=True)
class SpectralBias(u.Phenomenon):
    """On a sum of sines of frequencies k = 1 .. K, T_k is the first record at which |F_k(f - y)| <= 0.2 |F_k(y)|, F the
    discrete Fourier transform over the grid of training inputs.

    Effects: Kendall's tau of k and T_k, at least 0.8; T_K / T_1, at least 4, each of times counted from 1. Gate: every
    component is fitted within the budget.

    Args:
        steps, lr: of Adam, full batch.
    """

    steps: int = 5000
    lr: float = 1e-3

    title, version, strand, sense = "Spectral bias", 2, "universality", "sign"
    dispute = (
        "a tendency, not a rule: some initialisations remove it; frequency is ambiguous in many dimensions"
    )
    asks = (sum_of_waves,)

    @u.per_seed
    def run(self, run: u.Run) -> u.Run:
        run = run.trained(steps=self.steps, optimizer="adam", lr=self.lr, loss="mse")
        return run.observing(outputs=u.LogSpaced(dense=20, per_decade=40))

    @u.claim(ORDER, runs=run, title="low frequencies first", chart=TIMES)
    def order(self, run: u.Trajectory) -> u.Outcome:
        times, points = fitting_times(run)
        tau = kendalltau(range(len(times)), times)[0] if np.ptp(times) else 0.0
        return u.Outcome(effect=tau, points=points)

    @u.claim(DELAY, runs=run, title="high frequencies much later", chart=MISSING)
    def delay(self, run: u.Trajectory) -> u.Outcome:
        times, points = fitting_times(run)
        return u.Outcome(effect=max(times[-1], 1) / max(times[0], 1), points=points)

    reference = "mlp", "sines"
    controls = (
        u.positive("ReLU network on six sines", "Rahaman et al. 2019"),
        # Of the delay alone: pilots of the same setting had tau from 0.73 to 0.87, on either side of the bound.
        u.positive("amplitudes like k", "not by amplitude", claims=["delay"], task="sines[rising=true]"),
        u.negative("Fourier features", "Tancik et al. 2020, arXiv:2006.10739", task="sines[fourier=true]"),
    )


def fitting_times(run: u.Trajectory) -> tuple[np.ndarray, dict[str, u.Points]]:
    """T_k of every wave, with what is missing of each component at every record."""
    steps = np.array(run.steps("outputs.logits"))
    waves = np.arange(1, int(dict(run.spec.task.params)["waves"]) + 1)
    target = run.splits().reference.targets[:, 0].double().numpy()
    outputs = np.stack([run.array("outputs.logits", step)[:, 0] for step in steps])
    missing = (np.abs(np.fft.rfft(outputs - target)) / np.abs(np.fft.rfft(target)).clip(1e-12))[:, waves]
    u.need("least that was missing, of the slowest component", missing.min(0).max(), at_most=LEFT)
    times = steps[np.argmax(missing <= LEFT, axis=0)]
    points = {f"missing:{k}": u.Points.of(steps[1:], missing[1:, k - 1]) for k in waves}
    return times, points | {"times": u.Points.of(waves, times.clip(1))}
