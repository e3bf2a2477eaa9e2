"""Comparing the representations of two networks that the probe `taps` stored."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress

import torch
from torch import Tensor

from universality.errors import MeasurementError
from universality.measures import (
    against_defaults,
    calibrated,
    cka_matrix,
    layers_identified,
    mean_cca_matrix,
    nearest_neighbours,
    neighbour_overlap,
)
from universality.plugin.charts import Matrices
from universality.plugin.kit.trained_apart import true_labels
from universality.plugin.outcome import Matrix, Outcome
from universality.plugin.readings import Runs, at_end, need, require
from universality.plugin.trajectory import Trajectory

NULLS = {
    "random_labels": "random labels",
    "through_inputs": "through the inputs",
    "chain": "through both starts",
    "cross": "with the other's start",
}
"""What a similarity must exceed, of those that `measures.against_defaults` explains, and what figures call it."""
BEYOND = NULLS | {"through_labels": "through the labels"}
"""The same of what two networks share beyond the means of their classes."""

OF = "layers of the network named"
LAYERS = Matrices(
    {"trained": "trained", "untrained": "untrained"},
    "debiased linear CKA",
    rows=f"{OF} first",
    columns=f"{OF} second",
)

PLACE = "penultimate"
MAX_FOUND = 256
"""Representations whose neighbours are kept: of a thousand rows, 80 kB each."""
_FOUND: dict[bytes, Tensor] = {}


def features(run: Trajectory, tap: str, step: int) -> Tensor:
    """The representation at a tap after `step` updates, `[n, d]` in float64; also `inputs`, and `penultimate`."""
    return torch.from_numpy(run.array(f"taps.{tap}", step)).double()


def layer_similarity(a: Trajectory, b: Trajectory, step: int) -> Matrix:
    """Debiased linear CKA between every tap of one network and every tap of the other.

    Raises `MeasurementError` where a layer is dead.
    """
    rows, columns = (tuple(run.facts["taps"]) for run in (a, b))
    values = cka_matrix([features(a, t, step) for t in rows], [features(b, t, step) for t in columns])
    return Matrix(rows, columns, tuple(tuple(float(v) for v in row) for row in values))


def nearest_in_common(x: Tensor, y: Tensor) -> float:
    """Share of 10 nearest neighbours in common, calibrated to 0 at chance; ties are drawn.

    Cost: O(n d) for representations whose neighbours were found before, as those of a run in many pairs are.
    """
    return calibrated(neighbour_overlap(_nearest(x), _nearest(y)), k=10, n=len(x))


def _nearest(x: Tensor) -> Tensor:
    key = repr(x.shape).encode() + hashlib.blake2b(x.numpy().tobytes()).digest()
    if key not in _FOUND:
        # Seeded by the content, so that equal representations draw alike and others independently.
        ties = torch.Generator("cpu").manual_seed(int.from_bytes(key[-8:], "little", signed=True))
        found = nearest_neighbours(x, k=10, ties=ties)
        if len(_FOUND) == MAX_FOUND:
            del _FOUND[next(iter(_FOUND))]
        _FOUND[key] = found
    return _FOUND[key]


def balance(runs: Runs) -> float:
    """Validation accuracy of the weaker of `a` and `b` over that of the stronger."""
    weaker, stronger = sorted(at_end("accuracy.validation")(runs[key]) for key in ("a", "b"))
    return weaker / max(stronger, 1e-12)


EVEN = require("validation accuracy, weaker over stronger", balance, at_least=0.9, when=true_labels)


def beyond_nulls(
    runs: Runs,
    similarity: Callable[[Tensor, Tensor], float],
    *,
    nulls: Collection[str] = NULLS,
    layers: bool = False,
) -> Outcome:
    """How far the penultimate features of runs `a` and `b` are closer than the largest of `nulls`.

    The details are those of `measures.against_defaults`, which says what the nulls are, and `room`, what a similarity of 1 would be above the largest. An outcome without effect
    where a representation is dead.

    Without runs `a_random` and `b_random`, which are trained on random labels, that null is left out: of a pair that is
    itself on random labels another such is a draw from the same distribution, above which no pair could be.

    Args:
        layers: the similarity of all layers, trained and untrained, as matrices; of one pair of seeds only, since it
            costs most of the measuring.
    """
    a, b, end = runs["a"], runs["b"], runs["a"].spec.recipe.steps
    trained, untrained = ((features(a, PLACE, step), features(b, PLACE, step)) for step in (end, 0))
    random = None
    if "a_random" in runs:
        random = features(runs["a_random"], PLACE, end), features(runs["b_random"], PLACE, end)
    inputs, labels = features(a, "inputs", 0), torch.from_numpy(a.array("taps.labels", 0))
    with _comparable():
        s = against_defaults(similarity, trained, untrained, random, inputs, labels)
    largest = max(s[null] for null in nulls if null in s)
    matrices = {}
    if layers and _shown(runs):
        with suppress(MeasurementError):  # a dead layer leaves out the picture
            matrices = {"trained": layer_similarity(a, b, end), "untrained": layer_similarity(a, b, 0)}
    return Outcome(effect=s["trained"] - largest, details=s | {"room": 1 - largest}, matrices=matrices)


def layers_beyond_chance(runs: Runs) -> Outcome:
    """(p - 1/L) / (1 - 1/L): 0 at chance, 1 where all L layers of `a` and `b` are identified by debiased linear CKA.

    p is the share that `measures.layers_identified` finds. In the details: p, its chance 1/L, p of the untrained
    networks, and p by mean CCA where any two layers have fewer units together than there are rows. No effect where a
    layer is dead.
    """
    a, b, end = runs["a"], runs["b"], runs["a"].spec.recipe.steps
    with _comparable():
        matrices = {"trained": layer_similarity(a, b, end)}
    with suppress(MeasurementError):  # a layer may be dead before training
        matrices["untrained"] = layer_similarity(a, b, 0)
    found, chance = layers_identified(_tensor(matrices["trained"])), 1 / len(a.facts["taps"])
    details = {"identified": found, "chance": chance}
    if "untrained" in matrices:
        details["identified_untrained"] = layers_identified(_tensor(matrices["untrained"]))
    (first, second) = ([features(run, tap, end) for tap in run.facts["taps"]] for run in (a, b))
    if max(X.shape[1] for X in first) + max(Y.shape[1] for Y in second) < len(first[0]):
        details["identified_by_cca"] = layers_identified(mean_cca_matrix(first, second))
    effect = (found - chance) / (1 - chance)
    return Outcome(effect=effect, details=details, matrices=matrices if _shown(runs) else {})


@contextmanager
def _comparable() -> Iterator[None]:
    """A measurement that is not defined becomes a gate that is not met."""
    try:
        yield
    except MeasurementError as error:
        need("representations can be compared", 0.0, at_least=1, label=error.what)
        raise


def _shown(runs: Runs) -> bool:
    """Whether the layers of this pair are a picture, as those of the first seed are."""
    return runs["a"].spec.seed == 0


def _tensor(matrix: Matrix) -> Tensor:
    return torch.tensor(matrix.values, dtype=torch.float64)
