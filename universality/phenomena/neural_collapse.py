"""Neural collapse: in the terminal phase, class features and classifier form a simplex ETF."""

from __future__ import annotations

from dataclasses import dataclass

from universality import plugin as u
from universality.plugin.kit.decay import decay_of, memory_of_start

Single = u.RunSet[u.Run]
NORMS, ANGLES = "std/mean of class-mean norms", "mean |cos + 1/(C-1)|"
PAIR = "a simplex of two classes is any pair of opposite vectors"
ETF = "Zhu et al. 2021: the ETF is the global minimiser"
SOURCE = "Papyan, Han, Donoho 2020, arXiv:2008.08186; Zhu et al. 2021, arXiv:2105.02375"
BESIDE = {key: u.at_end(f"collapse.{key}") for key in ("nc4", "nc1_permuted")}
BESIDE |= {"validation_accuracy": u.at_end("accuracy.validation")}
DEFINED = u.Reading("finite at both ends", "collapse.nc1", lambda s: sum(s.values[[0, -1]]) < float("inf"))


def simplex(run: u.Trajectory) -> float:
    return float(run.facts["outputs"]) - 1


def vanishes(run: Single, key: str, high: float, unit: str, title: str, left: float = 0.0) -> u.Claim:
    """One of NC1 to NC3 is small at the end, and at most the share `left` of what it was at initialisation."""
    series, bound = f"collapse.{key}", u.Within(high=high, unit=unit, scale="log")
    chart = u.Lines({series: unit}, "distance from collapse", band=True, log="y", high=100)
    more = [u.require("over its initial value", u.end_over_start(series), at_most=left)] if left else []
    return u.claim(bound, u.at_end(series), runs=run, title=title, criteria=more, beside=BESIDE, chart=chart)


@u.register("neural_collapse", source=SOURCE)
@dataclass(frozen=True, kw_only=True)
class NeuralCollapse(u.Phenomenon):
    """Far beyond 100 % training accuracy, with decay and balanced classes, NC1, NC2 and NC3 vanish.

    NC1 and NC2 also against initialisation: independent directions in many dimensions meet NC2 without training. Each is
    a claim of its own: "NC1 only" is frequent. Under imbalance minority classes collapse (Fang et al. 2021, arXiv:2101.12699).

    Args:
        steps, weight_decay, batch_size: of SGD with momentum 0.9, lr / 10 at one and two thirds.
        lr_multiple: stability threshold over the sharpness at initialisation; a warmup passes the first sharpening.
        lr_below_best: in its place, the best rate of a range test over the rate; 0 for none.
        memory: in place of weight_decay, what it leaves of the start; 0 for none. The time that decay takes is then alike in all cells.
    """

    steps: int = 5000
    lr_multiple: float = 20.0  # momentum multiplies the step by ten
    weight_decay: float = 5e-3
    batch_size: int = 128
    lr_below_best: float = 0.0
    memory: float = 0.0

    title, version, strand, sense = "Neural collapse", 3, "laws", "form"
    asks = u.classes(3, PAIR), u.balanced(1.5), u.simplex
    gates = (
        u.require("training accuracy at the end", u.at_end("accuracy.train"), at_least=0.999),
        u.require("feature dimension", u.at_end("collapse.dimension"), at_least=simplex),
        u.require("largest class over smallest", u.at_end("collapse.imbalance"), at_most=1.5),
        u.require("class means differ, so that NC1 is a number", DEFINED, at_least=1),
        u.require("memory of initialisation", memory_of_start, at_most=0.01, when=decay_of),
    )

    @u.per_seed
    def run(self, run: u.Run) -> u.Run:
        curvature = {"lr_over_stability": self.lr_multiple}
        rate = {"lr_below_best": self.lr_below_best} if self.lr_below_best else curvature
        decay = {"memory": self.memory} if self.memory else {"weight_decay": self.weight_decay}
        sgd = {"momentum": 0.9, "batch_size": self.batch_size, "milestones": (1 / 3, 2 / 3), "warmup": 0.1}
        run = run.trained(steps=self.steps, **rate, **decay, **sgd)
        return run.observing(collapse=u.Every(20), accuracy=u.Every(20))

    nc1 = vanishes(run, "nc1", 0.05, "tr(S_W S_B^+)/C", "within-class variability vanishes (NC1)", 0.1)
    nc2_norms = vanishes(run, "nc2_norms", 0.10, NORMS, "class means are equally long", 0.5)
    nc2_angles = vanishes(run, "nc2_angles", 0.08, ANGLES, "class means are equally far apart", 0.5)
    nc3 = vanishes(run, "nc3", 0.05**0.5, "|W/|W| - M/|M||", "classifier and class means align (NC3)")

    reference = "mlp[width=64,depth=3]", "gaussian_mixture[classes=4,subset=400,separation=8]"
    x2, x4 = "mlp[width=128,depth=3]", "mlp[width=256,depth=3]"
    left, hard = "variability is left", "digits[classes=4,subset=400,random_labels=true]"
    one, shape, late = ("nc1",), ("nc2_norms", "nc2_angles", "nc3"), "an ETF only in logarithmic time"
    controls = (
        # Wider, features move less: variability falls to .025, but not to a tenth of what it began with.
        u.positive("four clusters with weight decay", ETF, claims=one),
        # They sharpen more: at the full rate, or in a narrow network, they are not fitted. Their means form an ETF.
        u.negative("random labels", left, claims=one, architecture=x4, task=hard, lr_multiple=80.0, seeds=3),
        # The next two differ in decay alone. In narrower networks means form an ETF without it too.
        u.positive("twice as wide", "the same", claims=shape, architecture=x2),
        u.negative("no weight decay", late, claims=shape, architecture=x2, weight_decay=0.0),
    )
