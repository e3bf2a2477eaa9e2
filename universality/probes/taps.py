"""Representations of the task's reference inputs at every tap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from universality.measures.features import checked, isometric_compress
from universality.measures.network.capture import capture
from universality.plugin import Probe, Recipe, Signature, Training, register

_ONE_HOT = 1 << 25
"""Numbers, 256 MiB in float64, up to which one-hot tokens are made."""


@register("taps")
@dataclass(kw_only=True)
class Taps(Probe):
    """Features `[n, min(n, d)]` (float32) of the first `rows` reference inputs, per tap.

    Keys: the architecture's taps in order, `penultimate`, `inputs` (flattened; tokens one-hot) and
    `labels`, the targets of these inputs. Features wider than `rows` are rotated into `rows` dimensions with the same Gram
    matrix, which loses nothing to a similarity that is invariant to rotation. One-hot tokens of more than 2^25 numbers
    are not made: their Gram matrix counts the positions at which two rows agree.
    Cost: one forward pass and, per wide tap, O(d rows^2).

    Args:
        rotate: false keeps features `[n, d]` in the axes of the network's own units, so that those of two steps
            can be subtracted; it stores all d numbers of a row.
    """

    rows: int = 512
    rotate: bool = True

    def memory(self, recipe: Recipe, signature: Signature, row_bytes: float) -> float:
        rows, width = self._inputs_made(signature)
        # What is captured of each row, and of the widest in float64 a copy and its factorisation.
        return rows * row_bytes + 3 * 8 * max(rows * width, rows * row_bytes / 4)

    def stored(self, signature: Signature, row_bytes: float, parameters: int) -> float:
        # No more than all that a forward pass keeps, and the inputs; what is wider than `rows` is rotated.
        rows, width = self._inputs_made(signature)
        return rows * (row_bytes + 4.0 * (min(width, rows) if self.rotate else width))

    def _inputs_made(self, signature: Signature) -> tuple[int, int]:
        """Rows of inputs, and the numbers that are made of one."""
        spec, rows = signature.inputs, min(self.rows, signature.reference_rows)
        too_many = spec.kind == "tokens" and rows * spec.size > _ONE_HOT
        return rows, rows if too_many else spec.size

    def record(self, training: Training) -> Mapping[str, float | Tensor]:
        architecture, net = training.architecture, training.net
        reference = training.splits.reference
        inputs, labels = reference.inputs[: self.rows], reference.targets[: self.rows]
        seen = capture(net, architecture.taps(net), architecture.readout(net), inputs)
        spec = training.splits.inputs
        seen["inputs"] = one_hot(inputs, spec.vocabulary) if spec.kind == "tokens" else inputs.flatten(1)
        out: dict[str, float | Tensor] = {
            name: kept(features.double(), rotate=self.rotate).to(torch.float32)
            for name, features in seen.items()
        }
        out["labels"] = labels
        return out


def kept(features: Float[Tensor, "n d"], *, rotate: bool) -> Float[Tensor, "n _"]:
    """What is stored of features: with the same Gram matrix in at most n dimensions, or as they are."""
    if rotate:
        return isometric_compress(features)
    checked(features, where="taps")
    return features


def one_hot(tokens: Int[Tensor, "n length"], vocabulary: int) -> Float[Tensor, "n d"]:
    """Tokens as one-hot vectors, d = length * vocabulary; where these are too many, `[n, n]` with the same Gram matrix.

    G_ij is the number of positions at which rows i and j agree, an integer, so that Z = V sqrt(L) of G = V L V^T has
    it to rounding.

    Cost: n^2 length comparisons and an eigendecomposition, in memory for n^2 numbers.

    >>> one_hot(torch.tensor([[0, 1], [1, 1]]), 2).tolist()
    [[1, 0, 0, 1], [0, 1, 0, 1]]
    """
    if tokens.numel() * vocabulary <= _ONE_HOT:
        return F.one_hot(tokens, vocabulary).flatten(1)
    G = torch.zeros(len(tokens), len(tokens), dtype=torch.float64, device=tokens.device)
    for position in tokens.T:
        G += position[:, None] == position
    L, V = torch.linalg.eigh(G)
    Z: Tensor = V * L.clamp(min=0).sqrt()
    return Z
