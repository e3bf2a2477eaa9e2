"""Representation similarity on features whose similarity is known in closed form."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import combinations
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from universality.judge.outcomes import outcome_of
from universality.phenomena.representation_similarity import RepresentationSimilarity
from universality.plan.groups import Group, groups_of
from universality.plugin import registry
from universality.plugin.cell import Cell
from universality.plugin.outcome import Outcome
from universality.plugin.phenomenon import Cross
from universality.plugin.readings import Runs
from universality.plugin.registry import component
from universality.plugin.task import Signature
from universality.plugin.trajectory import Series

registry.load_plugins()

END, WIDTH, CLASSES, ROWS = 600, 16, 4, 512
Features = NDArray[np.float64]
RNG = np.random.default_rng(0)


def gaussian(rows: int = ROWS) -> Features:
    return RNG.normal(size=(rows, WIDTH))


SIGNAL, INPUTS = gaussian(), gaussian()
LABELS = np.arange(ROWS) % CLASSES


@dataclass
class FakeRun:
    """A trajectory that stores the same features at its last tap and in front of the readout.

    `layers`: features of the taps before the last, before and after training.
    """

    before: Features
    after: Features
    layers: tuple[tuple[Features, Features], ...] = ()
    architecture: str = "mlp"
    train: float = 1.0
    validation: float = 0.9
    inputs: Features = field(default_factory=lambda: INPUTS)
    state: str = "done"

    def __post_init__(self) -> None:
        self.facts: dict[str, Any] = {"taps": [f"layer{i + 1}" for i in range(len(self.layers) + 1)]}
        self.spec: Any = SimpleNamespace(
            recipe=SimpleNamespace(steps=END),
            architecture=self.architecture,
            task=SimpleNamespace(params=(("random_labels", False),)),
            seed=0,
        )

    def steps(self, name: str) -> tuple[int, ...]:
        return (0, END)

    def series(self, name: str) -> Series:
        value = self.train if name == "accuracy.train" else self.validation
        return Series(np.array([0, END]), np.array([0.1, value]))

    def array(self, name: str, step: int) -> NDArray[Any]:
        n = len(self.after)
        known = {"taps.inputs": self.inputs[:n], "taps.labels": LABELS[:n]}
        layers = {f"taps.layer{i}": pair for i, pair in enumerate(self.layers, start=1)}
        before, after = layers.get(name, (self.before, self.after))
        return known.get(name, before if step == 0 else after)


def group(
    trained: tuple[Features, Features],
    untrained: tuple[Features, Features] | None = None,
    random: tuple[Features, Features] | None = None,
    **more: Any,
) -> dict[str, FakeRun]:
    n = len(trained[0])
    start = untrained or (gaussian(n), gaussian(n))
    null = random or (gaussian(n), gaussian(n))
    return {
        "a": FakeRun(start[0], trained[0], **more),
        "b": FakeRun(start[1], trained[1], **more),
        "a_random": FakeRun(gaussian(n), null[0]),
        "b_random": FakeRun(gaussian(n), null[1]),
    }


def measured(runs: dict[str, FakeRun]) -> dict[str, Outcome]:
    """The claims of its scope whose nulls are the four; those beyond labels are asked by `beyond_labels`."""
    plugin, scope = RepresentationSimilarity(), "seeds"
    if runs["a"].spec.architecture != runs["b"].spec.architecture:
        scope = "architectures"
    claims = {f"{measure}_{scope}": plugin.claims[f"{measure}_{scope}"] for measure in ("cka", "knn")}
    assert {claim.runs.name for claim in claims.values()} == {scope}
    return {name: outcome_of(plugin, claim, Runs(runs)) for name, claim in claims.items()}


def beyond_labels(runs: dict[str, FakeRun]) -> dict[str, Outcome]:
    plugin = RepresentationSimilarity()
    names = ("cka_beyond_labels", "knn_beyond_labels")
    return {name: outcome_of(plugin, plugin.claims[name], Runs(runs)) for name in names}


def noisy(s: float) -> tuple[Features, Features]:
    return SIGNAL + s * gaussian(), SIGNAL + s * gaussian()


@pytest.mark.parametrize("s", [0.25, 0.5, 1.0])
def test_cka_of_a_shared_signal_in_noise_is_the_inverse_square_of_one_plus_its_variance(s: float) -> None:
    # Isotropic: |C_xy|^2 = d, |C_xx|^2 = |C_yy|^2 = d (1 + s^2)^2.
    outcome = measured(group(noisy(s)))["cka_seeds"]
    expected = (1 + s**2) ** -2
    assert outcome.details["trained"] == pytest.approx(expected, abs=0.04)
    for null in ("untrained", "random_labels", "through_inputs", "chain", "cross", "permuted_rows"):
        assert outcome.details[null] == pytest.approx(0, abs=0.03)
    assert outcome.effect == pytest.approx(expected, abs=0.05)
    assert outcome.holds(RepresentationSimilarity.claims["cka_seeds"].bound)


def test_networks_that_share_nothing_have_no_effect() -> None:
    for name, outcome in measured(group((gaussian(), gaussian()))).items():
        assert outcome.decided()
        assert outcome.effect == pytest.approx(0, abs=0.04)
        assert not outcome.holds(RepresentationSimilarity.claims[name].bound)


def test_random_labels_that_lead_to_the_same_features_leave_no_effect() -> None:
    pair = noisy(0.5)
    for name, outcome in measured(group(pair, random=pair)).items():
        assert outcome.effect == 0.0
        assert not outcome.holds(RepresentationSimilarity.claims[name].bound)


def test_an_initial_geometry_that_training_kept_leaves_no_effect() -> None:
    """Starts alike, and what training adds to either is its own: the chain is all that is shared."""
    start = noisy(0.4)
    trained = tuple(x + 0.4 * gaussian() for x in start)
    for name, outcome in measured(group(trained, start)).items():  # type: ignore[arg-type]
        s = outcome.details
        assert s["trained"] > 0.15
        assert outcome.decided()
        assert outcome.effect <= 0.0
        assert not outcome.holds(RepresentationSimilarity.claims[name].bound)
        assert s["chain"] <= s["cross"] + 0.02


def test_the_chain_is_what_independent_changes_leave_of_a_shared_start() -> None:
    # Added in directions of its own: Gram matrices add, of norms 1 + s^2 and 1.1^2 in units of sqrt(d).
    start = noisy(0.5)
    trained = tuple(np.hstack([x, 1.1 * gaussian()]) for x in start)
    s = measured(group(trained, start))["cka_seeds"].details  # type: ignore[arg-type]
    assert s["a_to_its_start"] == pytest.approx((1 + (1.1**2 / 1.25) ** 2) ** -0.5, abs=0.05)
    assert 0.1 < s["trained"] == pytest.approx(s["chain"], abs=0.04)


def test_a_structure_that_both_learnt_is_found_although_their_starts_were_more_alike() -> None:
    """Training erases the geometry of the start: the untrained pair says nothing of what is left of it."""
    common = gaussian()
    start = common + 0.1 * gaussian(), common + 0.1 * gaussian()
    for name, outcome in measured(group(noisy(0.5), start)).items():
        assert outcome.details["untrained"] > outcome.details["trained"] + 0.1
        assert outcome.details["chain"] == pytest.approx(0, abs=0.03)
        assert outcome.decided()
        assert outcome.holds(RepresentationSimilarity.claims[name].bound)


def test_a_part_of_the_start_of_the_other_that_training_brings_out_is_its_cross_similarity() -> None:
    # Training takes away what the starts do not share: the chain, c^2, is below what is carried through, 1.
    start = noisy(0.6)
    s = measured(group((SIGNAL, SIGNAL), start))["cka_seeds"].details
    c = s["untrained"]
    assert s["trained"] == pytest.approx(1.0)
    assert s["chain"] == pytest.approx(c**2, abs=0.05)
    assert s["cross"] == pytest.approx(c**0.5, abs=0.05)


def test_no_room_above_the_largest_null_is_no_absence() -> None:
    """Even equal networks would be above a null of .93 by less than the margin."""
    start = noisy(0.03)
    for outcome in measured(group(start, start)).values():
        assert outcome.details["cross"] > 0.8
        assert outcome.details["room"] == pytest.approx(1 - outcome.details["cross"])
        assert [g.name for g in outcome.gates if not g.met] == ["room above the largest null"]
        assert not outcome.decided()
    start = noisy(0.5)
    assert all(outcome.decided() for outcome in measured(group(start, start)).values())


def layered(taps: int = 4, swap: tuple[int, int] | None = None, **more: Any) -> dict[str, FakeRun]:
    """Layers of two networks that correspond, each of a signal of its own in noise; two of b may change places."""
    signals = [gaussian() for _ in range(taps)]
    order = list(range(taps))
    if swap is not None:
        order[swap[0]], order[swap[1]] = swap[1], swap[0]
    layers = {
        "a": [(gaussian(), signals[i] + 0.5 * gaussian()) for i in range(taps)],
        "b": [(gaussian(), signals[i] + 0.5 * gaussian()) for i in order],
    }
    runs = {k: FakeRun(*of[-1], layers=tuple(of[:-1]), **more) for k, of in layers.items()}
    return {**runs, "a_random": FakeRun(gaussian(), gaussian()), "b_random": FakeRun(gaussian(), gaussian())}


def identified(runs: dict[str, FakeRun]) -> Outcome:
    plugin = RepresentationSimilarity()
    return outcome_of(plugin, plugin.claims["layers_cka"], Runs(runs))


def test_layers_that_correspond_are_identified() -> None:
    outcome = identified(layered())
    assert outcome.effect == 1.0
    assert outcome.holds(RepresentationSimilarity.claims["layers_cka"].bound)
    assert outcome.details["chance"] == 0.25
    assert outcome.details["identified"] == outcome.details["identified_by_cca"] == 1.0
    # Before training no layer has a signal, and four of four are identified in 1 of 576 cases.
    assert outcome.details["identified_untrained"] < 1
    assert set(outcome.matrices) == {"trained", "untrained"}


def test_layers_in_another_place_are_not_identified() -> None:
    outcome = identified(layered(swap=(1, 2)))
    assert outcome.details["identified"] == 0.5
    assert outcome.effect == pytest.approx((0.5 - 0.25) / 0.75)
    assert not outcome.holds(RepresentationSimilarity.claims["layers_cka"].bound)


def test_layers_that_all_resemble_the_first_are_identified_at_chance() -> None:
    """As of networks that are lazy: with depth, each layer has less of the first and more noise."""
    runs = layered()
    for run in (runs["a"], runs["b"]):
        deeper = [(x, SIGNAL + s * gaussian()) for s, (x, _) in zip((0.2, 0.5, 0.8), run.layers, strict=True)]
        run.layers, run.after = tuple(deeper), SIGNAL + gaussian()
    outcome = identified(runs)
    assert outcome.effect == pytest.approx(0, abs=1e-12)
    assert outcome.decided()


@pytest.mark.parametrize(("layers", "left_out"), [(1, {"layers_cka"}), (2, {"layers_cka"}), (3, set())])
def test_two_layers_are_too_few_to_tell_apart(layers: int, left_out: set[str]) -> None:
    assert set(RepresentationSimilarity().left_out(replace(cell_of(), layers=layers))) == left_out


def test_a_dead_layer_is_no_layer_that_was_missed() -> None:
    runs = layered()
    runs["b"].layers = ((gaussian(), np.zeros((ROWS, WIDTH))), *runs["b"].layers[1:])
    outcome = identified(runs)
    assert (outcome.effect, outcome.decided()) == (None, False)


def test_what_both_networks_have_from_the_inputs_alone_is_subtracted() -> None:
    # Against the signal itself 1 / (1 + s^2), against each other its square: the product of the two.
    outcome = measured(group(noisy(0.5), inputs=SIGNAL))["cka_seeds"]
    for side in "ab":
        assert outcome.details[f"{side}_to_inputs"] == pytest.approx(1 / 1.25, abs=0.03)
    assert outcome.details["through_inputs"] == pytest.approx(1 / 1.25**2, abs=0.04)
    assert outcome.effect == pytest.approx(0, abs=0.03)


def test_rotated_and_scaled_features_are_the_same_and_permuted_rows_are_not() -> None:
    rotation = np.linalg.qr(gaussian()[:WIDTH])[0]
    outcomes = measured(group((SIGNAL, 3 * SIGNAL @ rotation)))
    for outcome in outcomes.values():
        assert outcome.details["trained"] == pytest.approx(1.0)
        assert outcome.details["permuted_rows"] == pytest.approx(0.0, abs=0.03)
    order = RNG.permutation(ROWS)
    for outcome in measured(group((SIGNAL, SIGNAL[order]))).values():
        assert outcome.effect == pytest.approx(0.0, abs=0.04)


def test_agreement_by_class_alone_is_no_agreement_within_classes() -> None:
    means = 5 * RNG.normal(size=(CLASSES, WIDTH))
    outcome = measured(group((means[LABELS] + gaussian(), means[LABELS] + gaussian())))["cka_seeds"]
    assert outcome.details["trained"] > 0.9
    assert outcome.details["within_class"] == pytest.approx(0.0, abs=0.03)


def test_agreement_by_class_alone_is_agreement_of_seeds_and_none_beyond_their_labels() -> None:
    """Its similarity is that through the labels: rows of a class change places without a loss."""
    means = RNG.normal(size=(CLASSES, WIDTH))
    runs = group((means[LABELS] + gaussian(), means[LABELS] + gaussian()))
    cka, knn = measured(runs).values()
    assert cka.holds(RepresentationSimilarity.claims["cka_seeds"].bound)
    assert knn.effect is not None
    assert knn.effect > 0.03  # ten neighbours among the 128 of a class
    for name, outcome in beyond_labels(runs).items():
        assert outcome.decided()
        assert outcome.details["through_labels"] == pytest.approx(outcome.details["trained"], abs=0.04)
        assert not outcome.holds(RepresentationSimilarity.claims[name].bound)


def test_agreement_within_classes_is_beyond_labels_and_where_there_are_none_in_common_both_effects_are_one() -> (
    None
):
    runs = group(noisy(0.5))
    for (name, outcome), before in zip(beyond_labels(runs).items(), measured(runs).values(), strict=True):
        assert outcome.details["through_labels"] == pytest.approx(0, abs=0.04)
        assert outcome.effect == pytest.approx(before.effect, abs=0.04)
        assert outcome.holds(RepresentationSimilarity.claims[name].bound)
    means = RNG.normal(size=(CLASSES, WIDTH))
    a, b = (means[LABELS] + x for x in noisy(0.3))
    (cka, _) = beyond_labels(group((a, b))).values()
    assert 0.2 < cka.details["through_labels"] < cka.details["trained"] - 0.1


def test_a_pair_on_random_labels_has_no_null_from_which_it_could_not_differ() -> None:
    """With such a null the effect of exchangeable pairs is at most 0 in the mean, whatever they share."""
    pair = noisy(0.5)
    runs = {key: run for key, run in group(pair).items() if key in "ab"}
    for run in runs.values():
        run.spec.task.params = (("random_labels", True),)
    for name, outcome in measured(runs).items():
        assert "random_labels" not in outcome.details
        assert outcome.decided()
        assert outcome.holds(RepresentationSimilarity.claims[name].bound)


@pytest.mark.parametrize(("validation", "decided"), [(0.249, False), (0.25, True)])
def test_networks_worse_than_one_constant_answer_decide_nothing(validation: float, decided: bool) -> None:
    """Of four classes of equal size the commonest has a share of .25."""
    runs = group(noisy(0.5), validation=validation)
    for outcome in measured(runs).values():
        unmet = [g.name for g in outcome.gates if not g.met]
        assert outcome.decided() is decided
        assert unmet == (
            [] if decided else ["validation accuracy of the weaker over the share of the commonest class"]
        )
    for run in runs.values():
        run.spec.task.params = (("random_labels", True),)
    assert all(outcome.decided() for outcome in measured(runs).values())


def test_the_layers_of_both_networks_are_compared_before_and_after() -> None:
    runs = group(noisy(0.5))
    runs["b"].spec.architecture = "cnn"
    matrices = measured(runs)["cka_architectures"].matrices
    assert set(matrices) == {"trained", "untrained"}
    assert matrices["trained"].rows == matrices["trained"].columns == ("layer1",)
    assert matrices["trained"].values[0][0] == pytest.approx(1 / 1.25**2, abs=0.04)
    assert matrices["untrained"].values[0][0] == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize(("seeds", "kept"), [((0, 500), True), ((1, 501), False)])
def test_layers_are_shown_for_one_pair_of_seeds_and_the_effect_for_all(
    seeds: tuple[int, int], kept: bool
) -> None:
    runs = layered()
    runs["a"].spec.seed, runs["b"].spec.seed = seeds
    outcome = identified(runs)
    assert bool(outcome.matrices) is kept
    assert outcome.effect is not None


@pytest.mark.parametrize("seed", [0, 1])
def test_layers_of_two_architectures_are_shown_at_one_seed(seed: int) -> None:
    runs = group(noisy(0.5))
    runs["b"].spec.architecture = "cnn"
    runs["a"].spec.seed = runs["b"].spec.seed = seed
    outcome = measured(runs)["cka_architectures"]
    assert bool(outcome.matrices) is (seed == 0)
    assert outcome.effect is not None


def test_networks_of_two_architectures_speak_to_the_other_claims() -> None:
    runs = group(noisy(0.5))
    assert set(measured(runs)) == {"cka_seeds", "knn_seeds"}
    assert all(outcome.decided() for outcome in measured(runs).values())
    runs["b"].spec.architecture = "cnn"
    assert set(measured(runs)) == {"cka_architectures", "knn_architectures"}


@pytest.mark.parametrize(
    ("change", "gate"),
    [
        ({"train": 0.89}, "training accuracy of the weaker"),
        ({"validation": 0.8}, "validation accuracy, weaker over stronger"),
    ],
)
def test_networks_that_did_not_learn_alike_cannot_be_compared(change: dict[str, float], gate: str) -> None:
    runs = group(noisy(0.5))
    for name, value in change.items():
        setattr(runs["b"], name, value)
    for outcome in measured(runs).values():
        assert not outcome.decided()
        assert [g.name for g in outcome.gates if not g.met] == [gate]


def cell_of(architecture: str = "mlp[width=8]", reference_rows: int = ROWS) -> Cell:
    return Cell(
        registry.resolve("architecture", architecture),
        registry.resolve("task", "digits[subset=100]"),
        Signature(None, 10, 100, 100, reference_rows),
    )


def planned(labels: str = "true") -> list[Group]:
    partners = [registry.resolve("architecture", a) for a in ("cnn[width=4]", "mlp[width=16]")]
    phenomenon = RepresentationSimilarity(labels=labels)
    return groups_of(phenomenon, cell_of(), Cross(range(3), partners))


def test_every_pair_of_seeds_and_every_partner_is_a_group() -> None:
    seeds = [f"seeds/s{i}-s{j}" for i, j in combinations(range(3), 2)]
    partners = [f"architectures/{k}/s{s}" for k in range(2) for s in range(3)]
    apart = [f"pairs_apart/s{s}" for s in range(3)]
    groups = planned()
    assert [g.key for g in groups] == seeds + partners + apart
    assert [g.units for g in groups[:3]] == [("s0", "s1"), ("s0", "s2"), ("s1", "s2")]
    assert [g.units for g in groups[3:]] == [("s0",), ("s1",), ("s2",)] * 3
    assert all(set(g.runs) == {"a", "b", "a_random", "b_random"} for g in groups[:-3])
    assert [{run.seed for run in g.runs.values()} for g in groups[-3:]] == [{s, s + 500} for s in range(3)]


def test_the_null_of_a_pair_is_the_same_pair_trained_on_random_labels() -> None:
    for g in planned()[:-3]:
        for role in "ab":
            run, null = g.runs[role], g.runs[f"{role}_random"]
            assert null.architecture == run.architecture
            assert null.recipe == run.recipe
            assert null.task.random_labels
            assert not run.task.random_labels
            assert null.seed == run.seed  # and so of the same initialisation
        expected = "seeds" if g.runs["a"].architecture == g.runs["b"].architecture else "architectures"
        assert g.key.startswith(expected)
        assert (g.runs["a"].seed == g.runs["b"].seed) is (expected == "architectures")


def test_a_pair_on_random_labels_has_other_labels_in_either_run() -> None:
    """The labels are drawn by the seed: at one seed two architectures would memorise a task in common."""
    for g in planned("random"):
        assert set(g.runs) == {"a", "b"}
        assert all(run.task.random_labels for run in g.runs.values())
        seeds = [run.seed for run in g.runs.values()]
        assert len(set(seeds)) == 2
        if g.key.startswith("architectures"):
            assert seeds[1] == seeds[0] + 1


def test_a_group_speaks_to_the_claims_of_its_scope_only() -> None:
    for group in planned():
        scope = group.key.partition("/")[0]
        expected = {"layers_cka"} if scope == "pairs_apart" else {f"cka_{scope}", f"knn_{scope}"}
        expected |= {"cka_beyond_labels", "knn_beyond_labels"} if scope == "seeds" else set()
        bears = {name for name, claim in RepresentationSimilarity.claims.items() if group.bears_on(claim)}
        assert bears == expected


def test_partners_are_told_apart_by_their_parameters() -> None:
    a, b = (registry.resolve("architecture", x) for x in ("mlp[width=8]", "mlp[width=16]"))
    assert component(a) != component(b)


@pytest.mark.parametrize(("rows", "applies"), [(ROWS - 1, False), (ROWS, True)])
def test_the_task_must_have_enough_reference_inputs(rows: int, applies: bool) -> None:
    assert (RepresentationSimilarity().applies(cell_of(reference_rows=rows)) == "") is applies


def test_inputs_of_symbols_and_classes_of_one_input_leave_neighbours_defined(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Symbols in common are whole numbers, so that nearest inputs are tied; a class of one has no noise of its own."""
    symbols = RNG.integers(0, 4, size=(ROWS, 8))
    runs = group(noisy(0.3), inputs=np.eye(4)[symbols].reshape(ROWS, -1))
    labels = LABELS.copy()
    labels[0] = CLASSES
    monkeypatch.setitem(globals(), "LABELS", labels)
    knn = measured(runs)["knn_seeds"]
    assert knn.decided()
    assert knn.details["a_to_inputs"] == pytest.approx(0, abs=0.03)
    assert knn.details["within_class"] > 0.1
