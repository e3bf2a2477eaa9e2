"""What a checkpoint would learn of updates that are projected on the Hessian's leading eigenvectors, or on their rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor

from universality.measures import EigenResult, HessianOperator, top_eigenvalues
from universality.plugin import Probe, Recipe, Signature, Training, register
from universality.plugin.kit.losses import objective
from universality.plugin.kit.updates import (
    as_updated,
    flat_gradient,
    flat_weights,
    learning_rate,
    minibatches,
    projected,
    random_basis,
    random_part,
    shift,
)

_PRODUCTS = 12
"""Hessian-vector products that each wanted eigenvector takes."""
NULLS = {"random": "dom", "rest": "bulk", "random_2": "dom", "rest_2": "bulk"}
"""Branches in random directions, and the branch whose share of the gradient each keeps."""


@dataclass
class Branch:
    """Of one fork: losses, shares of |g|^2 that were kept, and in random directions, and which eigenproblems converged."""

    losses: list[float]
    shares: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    solved: list[float] = field(default_factory=list)


@register(
    "projected_updates", source="Gur-Ari et al. 2018, arXiv:1812.04754; Song et al. 2024, arXiv:2405.16002"
)
@dataclass(kw_only=True)
class ProjectedUpdates(Probe):
    """The training loss before, every `refresh` and after `steps` updates w <- w - lr v of forks that see the same batches. With
    g the gradient of a batch and P the projection on the C leading eigenvectors of the training Hessian at the
    weights of the fork, solved again every `refresh` updates, C the number of outputs:

        `loss_sgd`      v = g
        `loss_dom`      v = P g
        `loss_bulk`     v = g - P g
        `loss_random`   a part of g in random directions with the share of |g|^2 that `dom` kept at this update
        `loss_rest`     the same, of the share that `bulk` kept
        `loss_random_2`, `loss_rest_2`  other draws of these: what the null differs from itself by

    `random` has the length of `dom` and its product with g (`kit.updates.random_part`): to first order in lr both
    decrease the loss of the batch alike.

    Also `share`, the mean of |P g|^2 / |g|^2 along `sgd`, `share_random`, that of C random directions, and `converged`, the
    share of eigenproblems that did. The learning rate is that of the live optimizer; its momentum and decay are left out.

    Cost: 3 steps / refresh eigenproblems, each of about 12 C Hessian-vector products.
    """

    curvature = True

    steps: int = 60
    refresh: int = 10

    def cost(self, recipe: Recipe, signature: Signature) -> float:
        batch = min(recipe.batch_size or signature.train_rows, signature.train_rows)
        products = 3 * -(-self.steps // self.refresh) * _PRODUCTS * signature.outputs
        return 2.0 * products + 7.0 * self.steps * batch / signature.train_rows

    def memory(self, recipe: Recipe, signature: Signature, row_bytes: float) -> float:
        return 3 * signature.train_rows * row_bytes

    def record(self, training: Training) -> Mapping[str, float | Tensor]:
        as_updated(training.net)
        # Not that of the forks, from which all of them draw the same batches.
        seed = int(torch.randint(2**31, (1,), generator=training.generator))
        branches = {name: self._projected(training, name, seed) for name in ("sgd", "dom", "bulk")}
        for number, (name, like) in enumerate(NULLS.items()):
            draws = torch.Generator().manual_seed(seed + 1 + number)
            branches[name] = self._random(training, branches[like].shares, draws)
        out: dict[str, float | Tensor] = {
            f"loss_{name}": torch.tensor(branch.losses, dtype=torch.float64)
            for name, branch in branches.items()
        }
        sgd = branches["sgd"]
        out["share"], out["share_random"] = mean(sgd.shares), mean(sgd.beside)
        out["converged"] = mean([solved for branch in branches.values() for solved in branch.solved])
        return out

    def _projected(self, training: Training, name: str, seed: int) -> Branch:
        fork, draws, C = training.fork(), torch.Generator().manual_seed(seed), training.splits.outputs
        axes = random_basis(len(flat_weights(fork.net)), C, draws).to(training.device)
        top: EigenResult | None = None
        branch = Branch([training_loss(fork)])
        for update, batch in enumerate(islice(minibatches(fork), self.steps)):
            if top is None or update % self.refresh == 0:
                top = leading(fork, C, top, draws)
                branch.solved.append(float(top.converged))
            g = flat_gradient(fork, batch)
            inside = projected(g, top.vectors)
            kept = g - inside if name == "bulk" else inside
            branch.shares.append(energy(kept, g))
            branch.beside.append(energy(projected(g, axes), g))
            self._step(fork, branch, update, g if name == "sgd" else kept)
        return branch

    def _random(self, training: Training, shares: list[float], draws: torch.Generator) -> Branch:
        fork = training.fork()
        branch = Branch([training_loss(fork)])
        for update, (share, batch) in enumerate(zip(shares, minibatches(fork), strict=False)):
            self._step(fork, branch, update, random_part(flat_gradient(fork, batch), share, draws))
        return branch

    def _step(self, fork: Training, branch: Branch, update: int, direction: Tensor) -> None:
        shift(fork.net, direction, -learning_rate(fork.optimizer))
        if (update + 1) % self.refresh == 0 or update + 1 == self.steps:
            branch.losses.append(training_loss(fork))


@torch.no_grad()
def training_loss(training: Training) -> float:
    data = training.splits.train
    return float(objective(training.recipe)(training.net(data.inputs), data.targets))


def leading(fork: Training, count: int, earlier: EigenResult | None, draws: torch.Generator) -> EigenResult:
    net, data, loss_of = fork.net, fork.splits.train, objective(fork.recipe)
    parameters = [p for p in net.parameters() if p.requires_grad]
    hessian = HessianOperator(lambda: loss_of(net(data.inputs), data.targets), parameters)
    return top_eigenvalues(
        hessian,
        hessian.dim,
        k=count,
        start=None if earlier is None else earlier.subspace,
        generator=draws,
        tolerance=1e-2,
        max_matvecs=max(200, 40 * count),
        device=fork.device,
    )


def energy(part: Tensor, whole: Tensor) -> float:
    """|part|^2 / |whole|^2; 0 of nothing."""
    return float((part.norm() / whole.norm().clamp(min=torch.finfo(whole.dtype).tiny)).square())


def mean(values: list[float]) -> float:
    return sum(values) / len(values)
