"""How often `present` is said where nothing is there: every phenomenon under its own null, by simulation.

Two kinds of null. On the bound: groups as the phenomenon plans them, gates and criteria met, and the true
mean exactly on a bound of the claim, which is the null that is hardest to tell from the claim. Measured:
trajectories without the phenomenon go through its own `measure`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.phenomena import test_edge_of_stability as edge
from tests.phenomena import test_grokking as grok
from tests.phenomena import test_neural_collapse as collapse
from tests.phenomena import test_representation_similarity as similarity
from tests.phenomena.test_contract import BUILT_IN, cell_of, phenomenon
from universality.judge.decide import decide
from universality.measures import layers_identified, neural_collapse
from universality.phenomena.edge_of_stability import EdgeOfStability
from universality.plan.groups import groups_of
from universality.plugin import registry
from universality.plugin.bounds import Bound, Most, Within
from universality.plugin.outcome import Outcome
from universality.plugin.phenomenon import Cross, controls_of
from universality.store.cells import CellRecord, GroupRecord

Units = Sequence[tuple[str, ...]]

CLAIMS = [(name, claim) for name in BUILT_IN for claim in phenomenon(name).claims]
BOUNDS = [
    (name, claim, bound)
    for name, claim in CLAIMS
    if isinstance(within := phenomenon(name).claims[claim].bound, Within)
    for bound in (within.low, within.high)
    if math.isfinite(bound)
]


def verdict(claim: Bound, units: Units, outcomes: Sequence[Outcome]) -> str:
    groups = tuple(
        GroupRecord(key=str(i), units=unit, runs={"run": str(i)}, state="done", outcome=outcome)
        for i, (unit, outcome) in enumerate(zip(units, outcomes, strict=True))
    )
    record = CellRecord(
        phenomenon="p", version=1, claim_name="c", claim=claim, architecture="a", task="t", groups=groups
    )
    return decide(record).verdict


@functools.cache
def planned(name: str, claim: str, seeds: int) -> tuple[tuple[str, ...], ...]:
    """The units of the groups that speak to a claim, in the setting of the positive control."""
    known = phenomenon(name)
    control = next(c for c in controls_of(known) if c.sign == "positive")
    partners = [registry.resolve("architecture", p) for p in control.partners]
    groups = groups_of(known, cell_of(control), Cross(range(seeds), partners))
    return tuple(group.units for group in groups if group.bears_on(known.claims[claim]))


def rate(trials: int, draw: Callable[[], str]) -> float:
    return sum(draw() == "present" for _ in range(trials)) / trials


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(("name", "claim_name", "bound"), BOUNDS, ids=str)
def test_on_the_bound_of_a_claim_presence_is_rare(
    name: str, claim_name: str, bound: float, seeds: int
) -> None:
    """Each seed has its own effect, each group noise of half its size; normal on the claim's scale."""
    claim, units = phenomenon(name).claims[claim_name].bound, planned(name, claim_name, seeds)
    assert isinstance(claim, Within)
    assert len(units) >= seeds
    rng = np.random.default_rng(100 + seeds)
    log = claim.scale == "log"
    centre = math.log(bound) if log else bound
    wide = claim.high - claim.low
    sd = 0.1 * wide if math.isfinite(wide) else 0.1

    def draw() -> str:
        seed = dict(zip(sorted({u for unit in units for u in unit}), rng.normal(size=99), strict=False))
        effects = [centre + sd * (np.mean([seed[u] for u in unit]) + rng.normal() / 2) for unit in units]
        return verdict(claim, units, [Outcome(effect=float(np.exp(e) if log else e)) for e in effects])

    # One side of a 95 % interval: 2.5 %. Three standard errors of 1,000 draws are 1.5 %.
    assert rate(1000, draw) <= 0.04


@pytest.mark.parametrize("seeds", range(3, 11))
def test_a_claim_on_most_runs_that_hold_by_a_coin_is_rarely_present(seeds: int) -> None:
    """Exactly, over all outcomes."""
    claim = phenomenon("grokking").claims["delay"].bound
    assert isinstance(claim, Most)
    units = planned("grokking", "delay", seeds)
    present = sum(
        math.comb(seeds, k)
        for k in range(seeds + 1)
        if verdict(
            claim, units, [Outcome(effect=claim.at_least * (2 if i < k else 0.5)) for i in range(seeds)]
        )
        == "present"
    )
    assert present / 2**seeds <= 0.05


# What `measure` makes of trajectories without the phenomenon.


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("claim_name", ["gd", "adam"])
def test_sharpness_that_settles_anywhere_is_rarely_at_the_edge(claim_name: str, seeds: int) -> None:
    """No law: at every rate, a run settles at a level of its own between half and four times the threshold."""
    rng = np.random.default_rng(seeds)
    claim, units = EdgeOfStability.claims[claim_name].bound, planned("edge_of_stability", claim_name, seeds)

    def draw() -> str:
        levels = np.exp(rng.uniform(math.log(0.5), math.log(4.0), size=(len(units), 2)))
        return verdict(claim, units, [edge.settle(edge.at_levels(*pair)) for pair in levels])

    assert rate(300, draw) <= 0.05


def test_sharpness_that_takes_no_notice_of_the_rate_is_never_present() -> None:
    """Gradient flow knows no threshold: relative to it, sharpness halves with the rate, and lies within the bounds at
    the smallest rate that reaches it by chance."""
    rng = np.random.default_rng(0)
    claim, units = EdgeOfStability.claims["gd"].bound, planned("edge_of_stability", "gd", 5)

    def draw() -> str:
        highest = rng.uniform(
            3.8, 4.6, size=len(units)
        )  # over the threshold of the largest rate, at which it starts below
        return verdict(claim, units, [edge.settle(edge.at_levels(h, h / 2, h / 4)) for h in highest])

    assert rate(60, draw) == 0


def test_generalisation_that_is_late_by_chance_is_rarely_grokking() -> None:
    """t_gen / t_mem is 5 in the median, memorisation is clear: each run holds by a coin."""
    rng = np.random.default_rng(0)
    claim, units = phenomenon("grokking").claims["delay"].bound, planned("grokking", "delay", 5)

    def run() -> Outcome:
        memorised = int(rng.integers(50, 150))
        generalised = int(memorised * 5 * math.exp(rng.normal()))
        return grok.outcome({memorised: 1.0}, {generalised: 1.0}, budget=40_000)

    # 2^-5 = 3.1 %; three standard errors of 600 draws are 2.1 %, two 1.4 %.
    assert rate(600, lambda: verdict(claim, units, [run() for _ in units])) <= 0.05


def clusters(width: int, spread: float, seed: int, *, classes: int = collapse.CLASSES) -> dict[str, float]:
    """What is measured on classes whose means know nothing of each other, or of the readout."""
    generator = torch.Generator().manual_seed(seed)
    normal = functools.partial(torch.randn, generator=generator, dtype=torch.float64)
    means = normal(classes, width)
    labels = torch.arange(40 * classes) % classes
    features = means[labels] + spread * normal(len(labels), width)
    found = neural_collapse(features, labels, normal(classes, width), None)
    return {name: float(getattr(found, name)) for name in ("nc1", "nc2_norms", "nc2_angles", "nc3")}


def collapse_rates(width: int, spread: float, cells: int = 60, seeds: int = 5) -> Mapping[str, float]:
    """Of every claim, over cells whose gates are all met and whose networks start as they end."""
    claims, units = phenomenon("neural_collapse").claims, planned("neural_collapse", "nc1", seeds)
    present = dict.fromkeys(claims, 0)
    for cell in range(cells):
        runs = [
            collapse.measured(
                collapse.run(
                    clusters(width, spread, 2 * (seeds * cell + i)),
                    initial={**clusters(width, spread, 2 * (seeds * cell + i) + 1), "nc1": 99.0},
                )
            )
            for i in range(seeds)
        ]
        for name, claim in claims.items():
            present[name] += verdict(claim.bound, units, [outcomes[name] for outcomes in runs]) == "present"
    return {name: count / cells for name, count in present.items()}


def test_class_means_at_random_in_few_dimensions_are_rarely_a_simplex() -> None:
    assert all(share <= 0.05 for share in collapse_rates(width=16, spread=1.0).values())


@pytest.mark.parametrize("seeds", [3, 5])
def test_class_means_at_random_in_many_dimensions_are_rarely_a_simplex_by_training(seeds: int) -> None:
    """Independent directions in d dimensions are orthogonal up to 1/sqrt(d), and of equal norm: beyond a
    hundred dimensions they meet the bounds of NC2, at initialisation as well as at the end."""
    found = clusters(512, 5.0, seed=0)
    assert found["nc2_norms"] < 0.10
    assert found["nc2_angles"] < 0.08
    assert all(share <= 0.05 for share in collapse_rates(width=512, spread=5.0, seeds=seeds).values())


@pytest.mark.parametrize("kept", ["inputs", "start"])
def test_networks_that_share_no_more_than_what_they_kept_are_never_similar(kept: str) -> None:
    """60 cells of three seeds without any presence: below 5 % with 95 % confidence."""
    claims = phenomenon("representation_similarity").claims
    units, n = planned("representation_similarity", "cka_seeds", 3), 128
    for _ in range(60):
        if kept == "inputs":
            starts = [similarity.gaussian(n) for _ in range(3)]
            trained = [similarity.INPUTS[:n] + similarity.gaussian(n) for _ in range(3)]
        else:
            starts = [similarity.SIGNAL[:n] + 0.4 * similarity.gaussian(n) for _ in range(3)]
            trained = [start + 0.4 * similarity.gaussian(n) for start in starts]
        outcomes = [
            similarity.measured(similarity.group((trained[i], trained[j]), (starts[i], starts[j])))
            for i, j in combinations(range(3), 2)
        ]
        for name in ("cka_seeds", "knn_seeds"):
            assert verdict(claims[name].bound, units, [outcome[name] for outcome in outcomes]) != "present"


@pytest.mark.parametrize("taps", [3, 4])
def test_layers_in_random_places_are_rarely_identified(taps: int) -> None:
    """Three seeds whose layers are all told apart, each network's in an order of its own: all three pairs are
    identified in 1 of (L!)^2 cases, 2.8 % and 0.2 %; three standard errors of 600 draws are 2.0 %."""
    bound = phenomenon("representation_similarity").claims["layers_cka"].bound
    units = planned("representation_similarity", "layers_cka", 3)
    rng = np.random.default_rng(taps)

    def pair(a: NDArray[np.int64], b: NDArray[np.int64]) -> Outcome:
        found = layers_identified(torch.from_numpy((a[:, None] == b).astype(float)))
        return Outcome(effect=(found - 1 / taps) / (1 - 1 / taps))

    def cell() -> str:
        orders = [rng.permutation(taps) for _ in range(3)]
        return verdict(bound, units, [pair(a, b) for a, b in combinations(orders, 2)])

    assert rate(600, cell) <= 0.05
