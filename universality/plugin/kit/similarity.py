"""Comparing the representations of two networks that the probe `taps` stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import torch
from torch import Tensor

from universality.errors import MeasurementError
from universality.measures import against_defaults, calibrated, cka_matrix, mutual_knn
from universality.plugin.outcome import Matrix, Outcome
from universality.plugin.readings import Runs, need
from universality.plugin.trajectory import Trajectory


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
    """Share of 10 nearest neighbours in common, calibrated to 0 at chance."""
    return calibrated(mutual_knn(x, y, k=10), k=10, n=len(x))


def beyond_nulls(
    runs: Runs, similarity: Callable[[Tensor, Tensor], float], nulls: Sequence[str], *, layers: bool = False
) -> Outcome:
    """How far the penultimate features of runs `a` and `b` are closer than the largest of `nulls`.

    The details are those of `measures.against_defaults`, which says what the nulls are; `a_random` and `b_random`
    are trained on random labels. An outcome without effect where a representation is dead.

    Args:
        layers: the similarity of all layers, trained and untrained, as matrices; of one pair of seeds only, since it
            costs most of the measuring.
    """
    a, b, end = runs["a"], runs["b"], runs["a"].spec.recipe.steps
    places = (a, b, end), (a, b, 0), (runs["a_random"], runs["b_random"], end)
    trained, untrained, random = (
        (features(x, "penultimate", t), features(y, "penultimate", t)) for x, y, t in places
    )
    inputs, labels = features(a, "inputs", 0), torch.from_numpy(a.array("taps.labels", 0))
    try:
        s = against_defaults(similarity, trained, untrained, random, inputs, labels)
    except MeasurementError as error:
        need("representations can be compared", 0.0, at_least=1, label=error.what)
        raise
    matrices = {}
    if layers and (a.spec.seed, b.spec.seed) in ((0, 1), (0, 0)):
        with suppress(MeasurementError):  # a dead layer leaves out the picture
            matrices = {"trained": layer_similarity(a, b, end), "untrained": layer_similarity(a, b, 0)}
    return Outcome(effect=s["trained"] - max(s[null] for null in nulls), details=s, matrices=matrices)
