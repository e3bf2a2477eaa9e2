"""Hidden units of one network in the order of another's."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from universality.errors import MeasurementError
from universality.measures.ambient import measure

Pairs = Sequence[tuple[nn.Linear, nn.Linear]]
"""Linear layers with one layer of hidden units between them, and an activation of each unit by itself."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """A copy of the second network, the share of its units that `moved`, and the `sweeps` over layers that it took."""

    net: nn.Module
    moved: float
    sweeps: int


@measure
def match_weights(
    first: nn.Module,
    second: nn.Module,
    pairs: Callable[[nn.Module], Pairs],
    generator: torch.Generator | None = None,
    max_sweeps: int = 100,
) -> Alignment:
    """`second` with its hidden units reordered, which changes no output, so that its weights are close to those of
    `first`: layer after layer, in random order, until none changes, the permutation that maximises

        sum_i  <W_i, W'_p(i)> + b_i b'_p(i) + <V_i, V'_p(i)>

    with W_i the weights into unit i, b_i its bias and V_i the weights out of it: a linear assignment. The sum over
    layers never falls; its maximum over all layers at once is not found in general.

    Args:
        pairs: the layers (before, after) of each layer of hidden units of a network.
        generator: of the order of layers; None is a fixed seed.

    Cost: O(d h^2 + h^3) for each sweep and each layer of h hidden units that have d weights each; sweeps are few.

    Raises:
        MeasurementError: networks without such layers or of other shapes, or weights that are not finite.

    Source: Ainsworth, Hayase, Srinivasa 2022, arXiv:2209.04836, algorithm 1.

    >>> ends = lambda net: [(net[0], net[2])]
    >>> net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    >>> other = permute_units(net, ends, torch.Generator().manual_seed(0)).net
    >>> torch.equal(match_weights(net, other, ends).net[0].weight, net[0].weight)
    True
    """
    made = copy.deepcopy(second)
    ours, theirs = list(pairs(first)), list(pairs(made))
    _check(ours, theirs)
    generator = generator or torch.Generator("cpu").manual_seed(0)
    places = [torch.arange(before.out_features, device="cpu") for before, _ in theirs]
    for sweep in range(1, max_sweeps + 1):  # noqa: B007
        changed = False
        for number in torch.randperm(len(ours), generator=generator, device="cpu").tolist():
            likeness = _rows(*ours[number]) @ _rows(*theirs[number]).T
            order = torch.from_numpy(linear_sum_assignment(likeness.numpy(), maximize=True)[1])
            at = torch.arange(len(order), device="cpu")
            # Ties are left as they are, else two orders of equal sums could alternate.
            if bool(likeness[at, order].sum() > likeness.trace() + 1e-9 * likeness.abs().sum()):
                before, after = theirs[number]
                _reorder(before, after, order)
                places[number], changed = places[number][order], True
        if not changed:
            break
    return Alignment(made, _moved(places), sweep)


@measure
def permute_units(
    net: nn.Module, pairs: Callable[[nn.Module], Pairs], generator: torch.Generator
) -> Alignment:
    """`net` with the hidden units of each layer in random order, which changes no output: the null of `match_weights`.

    Cost: O(P) for P weights.

    Raises:
        MeasurementError: a network without such layers.

    Source: Hecht-Nielsen 1990 (the symmetry).

    >>> net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    >>> other = permute_units(net, lambda n: [(n[0], n[2])], torch.Generator().manual_seed(0)).net
    >>> torch.allclose(net(torch.ones(3)), other(torch.ones(3)), atol=1e-6)
    True
    """
    made = copy.deepcopy(net)
    layers = list(pairs(made))
    _check(layers, layers)
    places = [torch.randperm(before.out_features, generator=generator, device="cpu") for before, _ in layers]
    for (before, after), order in zip(layers, places, strict=True):
        _reorder(before, after, order)
    return Alignment(made, _moved(places), 1)


def _check(ours: Pairs, theirs: Pairs) -> None:
    shapes, others = (
        [(before.weight.shape, before.bias is None, after.weight.shape) for before, after in layers]
        for layers in (ours, theirs)
    )
    if not shapes or shapes != others:
        raise MeasurementError(
            "no hidden units to match",
            where="match_weights",
            got=f"{len(shapes)} and {len(others)} layers of hidden units",
            expected="linear layers that feed each other, of equal shapes in both networks",
        )
    if not all(bool(_rows(*layer).isfinite().all()) for layer in (*ours, *theirs)):
        raise MeasurementError("weights are not finite", where="match_weights", got="NaN or infinity")


def _rows(before: nn.Linear, after: nn.Linear) -> Float[Tensor, "units weights"]:
    """All weights of each unit, float64, on the CPU."""
    parts = [before.weight, after.weight.T, *([] if before.bias is None else [before.bias[:, None]])]
    return torch.cat([part.detach().double().cpu() for part in parts], dim=1)


@torch.no_grad()
def _reorder(before: nn.Linear, after: nn.Linear, order: Int[Tensor, " units"]) -> None:
    before.weight.copy_(before.weight[order])
    if before.bias is not None:
        before.bias.copy_(before.bias[order])
    after.weight.copy_(after.weight[:, order])


def _moved(places: Sequence[Tensor]) -> float:
    """Share of the units that are not where they were."""
    return (
        torch.cat([place != torch.arange(len(place), device="cpu") for place in places])
        .double()
        .mean()
        .item()
    )
