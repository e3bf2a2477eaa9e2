"""Representation similarity: independently trained networks agree more than what they share by default."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import torch
from torch import Tensor

from universality import plugin as u
from universality.measures import calibrated, cka_matrix, debiased_cka, mutual_knn, within_class

MARGIN = 0.10
ROWS = 512

_SOURCE = "Kornblith et al. 2019, arXiv:1905.00414; Huh et al. 2024, arXiv:2405.07987"


@u.register("representation_similarity", source=_SOURCE)
@dataclass(frozen=True, kw_only=True)
class RepresentationSimilarity(u.Phenomenon):
    """Penultimate representations of two trained networks are closer than every null, by 0.10.

    Compared on 512 held-out inputs, globally (debiased linear CKA) and locally (mutual k nearest
    neighbours, k = 10, calibrated to 0 at chance); between seeds of one architecture and between
    architectures. Effect: s(trained) - max(s(untrained), s(random labels), s(through the inputs)).

    The last is what two networks share only because each keeps some geometry of the raw inputs x:
    s(a, x) s(b, x). Linear CKA is a cosine between centred Gram matrices; where what a and b add to
    x is orthogonal, cos(a, b) = cos(a, x) cos(b, x). Mutual neighbours likewise: if a and b keep a
    neighbour of x independently, both keep it with the product of the probabilities.

    Gates: both networks fit their training set (accuracy >= 0.9), and the weaker one's validation
    accuracy is at least 0.9 of the stronger one's. The same two with permuted rows, and similarity
    within classes, are in the details.

    Args:
        steps, lr, batch_size: of Adam, whose steps are scaled alike in every architecture.
        labels: `random` trains the pair itself on random labels, against a null of other random
            labels; only the negative control does.
    """

    steps: int = 600
    lr: float = 2e-3
    batch_size: int = 128
    labels: Literal["true", "random"] = "true"

    title = "Representation similarity"
    version = 1
    strand = "universality"
    sense = "sign"
    claims = {
        f"{measure}_{scope}": u.Within(low=MARGIN, unit=f"{text} above the largest null")
        for measure, text in (("cka", "debiased CKA"), ("knn", "mutual kNN"))
        for scope in ("seeds", "architectures")
    }
    claim_titles = {
        f"{measure}_{scope}": f"{scope} agree, {how}"
        for measure, how in (("cka", "globally"), ("knn", "locally"))
        for scope in ("seeds", "architectures")
    }

    def applies(self, cell: u.Cell) -> str:
        if cell.task.family == "algorithmic":
            return "the reference inputs of an algorithmic task include training rows"
        if cell.signature.reference_rows < ROWS:
            return f"needs {ROWS} reference inputs, the task has {cell.signature.reference_rows}"
        return ""

    def groups(self, cell: u.Cell, cross: u.Cross) -> Sequence[u.Group]:
        a = cell.architecture
        between_seeds = [
            self._pair(f"seeds/s{i}-s{j}", cell.task, (a, i), (a, j)) for i, j in combinations(cross.seeds, 2)
        ]
        between_architectures = [
            self._pair(f"architectures/{k}/s{seed}", cell.task, (a, seed), (b, seed))
            for k, b in enumerate(cross.partners)
            for seed in cross.seeds
        ]
        return [*between_seeds, *between_architectures]

    def _pair(
        self, key: str, task: u.Task, a: tuple[u.Architecture, int], b: tuple[u.Architecture, int]
    ) -> u.Group:
        recipe = u.Recipe(steps=self.steps, optimizer="adam", lr=self.lr, batch_size=self.batch_size)
        observe = (u.Observe("taps", u.At(0, 1)), u.Observe("accuracy", u.Every(10)))
        random = replace(task, random_labels=True)
        trained, shift = (task, 0) if self.labels == "true" else (random, 1000)

        def request(which: tuple[u.Architecture, int], on: u.Task, more: int = 0) -> u.Request:
            return u.Request(which[0], on, recipe, which[1] + more, observe)

        runs = {
            "a": request(a, trained),
            "b": request(b, trained),
            "a_random": request(a, random, shift),
            "b_random": request(b, random, shift),
        }
        return u.Group(key, runs, tuple(sorted({f"s{a[1]}", f"s{b[1]}"})))

    def measure(self, runs: Mapping[str, u.Trajectory]) -> Mapping[str, u.Outcome]:
        a, b = runs["a"], runs["b"]
        scope = "seeds" if a.spec.architecture == b.spec.architecture else "architectures"
        end = a.spec.recipe.steps
        train = [r.series("accuracy.train").at(end) for r in (a, b)]
        validation = [r.series("accuracy.validation").at(end) for r in (a, b)]
        relative = min(validation) / max(max(validation), 1e-12)
        fitted = u.Check("training accuracy of the weaker", min(train), at_least=0.9)
        equal = u.Check("validation accuracy, weaker over stronger", relative, at_least=0.9)
        # On random labels both validation accuracies are chance, and their ratio is noise.
        gates = (fitted, equal) if self.labels == "true" else (fitted,)
        pairs = {
            "trained": (penultimate(a, end), penultimate(b, end)),
            "untrained": (penultimate(a, 0), penultimate(b, 0)),
            "random_labels": (penultimate(runs["a_random"], end), penultimate(runs["b_random"], end)),
        }
        x, y = pairs["trained"]
        inputs = features(a, "inputs", 0)
        shuffled = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(0))]
        classes = torch.from_numpy(a.array("taps.labels", 0))
        inside = within_class(x, classes), within_class(y, classes)
        layers = {}
        # For pictures, of one pair of seeds: all layers of all pairs cost most of the measuring.
        pictured = (a.spec.seed, b.spec.seed) in ((0, 1), (0, 0))
        with contextlib.suppress(u.MeasurementError):  # a dead layer leaves out the picture
            layers = {
                kind: layer_similarity(a, b, t)
                for kind, t in (("trained", end), ("untrained", 0))
                if pictured
            }

        def compare(
            similarity: Callable[[Tensor, Tensor], float], matrices: Mapping[str, u.Matrix]
        ) -> u.Outcome:
            try:
                s = {kind: similarity(*pair) for kind, pair in pairs.items()}
                to_inputs = similarity(x, inputs), similarity(y, inputs)
                s["through_inputs"] = to_inputs[0] * to_inputs[1]
                null = max(s["untrained"], s["random_labels"], s["through_inputs"])
                more = {
                    "a_to_inputs": to_inputs[0],
                    "b_to_inputs": to_inputs[1],
                    "permuted_rows": similarity(x, shuffled),
                    "within_class": similarity(*inside),
                }
            except u.MeasurementError as error:
                comparable = u.Check("representations can be compared", 0.0, at_least=1)
                return u.Outcome(effect=None, gates=(*gates, comparable), label=error.what)
            return u.Outcome(
                effect=s["trained"] - null, gates=gates, details={**s, **more}, matrices=matrices
            )

        return {
            f"cka_{scope}": compare(debiased_cka, layers),
            f"knn_{scope}": compare(_calibrated_knn, {}),
        }

    def speaks_to(self, key: str, claim: str) -> bool:
        return claim.endswith(key.partition("/")[0])

    def controls(self) -> Sequence[u.Control]:
        network, task = "mlp[width=64,depth=2]", "digits[subset=1000]"
        wider = "mlp[width=96,depth=2]"
        return [
            u.Control(
                name="two seeds, two widths of one network",
                sign="positive",
                phenomenon=RepresentationSimilarity(),
                architecture=network,
                task=task,
                expects=dict.fromkeys(self.claims, frozenset({"present"})),
                partners=(wider,),
                why="Kornblith et al. 2019: CKA identifies layers across initialisations",
            ),
            u.Control(
                name="trained on unrelated random labels",
                sign="negative",
                # Few rows and more steps, so that random labels are fitted and no gate answers.
                phenomenon=RepresentationSimilarity(labels="random", steps=1000),
                architecture=network,
                task="digits[subset=400]",
                expects=dict.fromkeys(self.claims, u.NOT_SHOWN),
                partners=(wider,),
                why="nothing common was there to be learnt",
            ),
        ]


def features(run: u.Trajectory, tap: str, step: int) -> Tensor:
    """Stored representation `[n, d]` in float64."""
    return torch.from_numpy(run.array(f"taps.{tap}", step)).double()


def penultimate(run: u.Trajectory, step: int) -> Tensor:
    return features(run, "penultimate", step)


def layer_similarity(a: u.Trajectory, b: u.Trajectory, step: int) -> u.Matrix:
    """Debiased CKA between every tap of one network and every tap of the other."""
    rows, columns = (tuple(run.facts["taps"]) for run in (a, b))
    values = cka_matrix([features(a, t, step) for t in rows], [features(b, t, step) for t in columns])
    return u.Matrix(rows, columns, tuple(tuple(float(v) for v in row) for row in values))


def _calibrated_knn(x: Tensor, y: Tensor) -> float:
    return calibrated(mutual_knn(x, y, k=10), k=10, n=len(x))
