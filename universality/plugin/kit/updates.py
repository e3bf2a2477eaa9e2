"""Updates of a forked training (`Training.fork`), for probes that ask what other updates would have done.

d: numbers of all trainable parameters, in the order of `net.parameters()`.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from universality.plugin.kit.losses import objective
from universality.plugin.probe import Training
from universality.plugin.task import Split


def as_updated(net: nn.Module) -> nn.Module:
    """The network in the mode of its updates: as it is where it is in training mode, in which a loop may hold a part of it
    in evaluation mode, such as normalisation by frozen statistics; else in training mode as a whole.

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2).eval())
    >>> [module.training for module in as_updated(net)], [module.training for module in as_updated(net.eval())]
    ([True, False], [True, True])
    """
    return net if net.training else net.train()


def main_group(optimizer: torch.optim.Optimizer) -> int:
    """The number of the group that trains most numbers, whose settings stand for the optimizer.

    >>> small, large = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(9))
    >>> main_group(torch.optim.SGD([{"params": [small]}, {"params": [large], "lr": 0.1}], lr=1.0))
    1
    """
    sizes = [sum(p.numel() for p in group["params"]) for group in optimizer.param_groups]
    return sizes.index(max(sizes))


def learning_rate(optimizer: torch.optim.Optimizer) -> float:
    """Of the next update, of its largest group."""
    return float(optimizer.param_groups[main_group(optimizer)]["lr"])


def minibatches(training: Training, batch_size: int | None = None) -> Iterator[Split]:
    """Training batches without end, as the run draws them: without replacement within an epoch, whose last,
    shorter batch is left out; the whole set each time where one batch holds it.

    Drawn from `training.generator`: forks of one record see the same batches.

    Args:
        batch_size: None takes the recipe's; 0 is the full training set.
    """
    data = training.splits.train
    size = training.recipe.batch_size if batch_size is None else batch_size
    while True:
        if not 0 < size < len(data):
            yield data
            continue
        order = torch.randperm(len(data), generator=training.generator).to(data.inputs.device)
        for begin in range(0, len(data) - size + 1, size):
            yield data.take(order[begin : begin + size])


def flat_weights(net: nn.Module) -> Float[Tensor, " d"]:
    """A copy of all trainable parameters.

    >>> net = nn.Linear(2, 1)
    >>> _ = nn.init.ones_(net.weight), nn.init.zeros_(net.bias)
    >>> flat_weights(net).tolist()
    [1.0, 1.0, 0.0]
    """
    return torch.cat([parameter.detach().flatten() for parameter in _trainable(net)])


def flat_gradient(training: Training, batch: Split) -> Float[Tensor, " d"]:
    """The gradient of the recipe's loss on a batch, without weight decay; 0 where a parameter does not matter."""
    parameters = _trainable(training.net)
    loss = objective(training.recipe)(training.net(batch.inputs), batch.targets)
    parts = torch.autograd.grad(loss, parameters, materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])


@torch.no_grad()
def shift(net: nn.Module, direction: Float[Tensor, " d"], factor: float) -> None:
    """w <- w + factor direction; with factor = -lr and a gradient, a step of gradient descent.

    >>> net = nn.Linear(2, 1, bias=False)
    >>> _ = nn.init.ones_(net.weight)
    >>> shift(net, torch.tensor([1.0, 2.0]), -0.5)
    >>> flat_weights(net).tolist()
    [0.5, 0.0]
    """
    for parameter, part in _parts(net, direction):
        parameter.add_(part, alpha=factor)


def optimizer_step(training: Training, gradient: Float[Tensor, " d"]) -> None:
    """One step of the fork's own optimizer, momentum and decay included, as if the loss had this gradient."""
    for parameter, part in _parts(training.net, gradient):
        parameter.grad = part.clone()
    training.optimizer.step()
    training.optimizer.zero_grad()


def projected(vector: Float[Tensor, " d"], basis: Float[Tensor, "d k"]) -> Float[Tensor, " d"]:
    """V V^T g, the part of a vector inside the span of orthonormal columns; g less it is the part outside.

    >>> projected(torch.tensor([3.0, 4.0]), torch.tensor([[1.0], [0.0]])).tolist()
    [3.0, 0.0]
    """
    inside: Tensor = basis @ (basis.T @ vector)
    return inside


def random_basis(d: int, k: int, generator: torch.Generator) -> Float[Tensor, "d k"]:
    """k orthonormal directions, uniform among all such, on the CPU: the null of a projection.

    >>> V = random_basis(5, 2, torch.Generator().manual_seed(0))
    >>> bool(torch.allclose(V.T @ V, torch.eye(2), atol=1e-6))
    True
    """
    Q, R = torch.linalg.qr(torch.randn(d, k, generator=generator, dtype=torch.float64))
    # Signs fixed by the Gaussian columns, else the distribution is that of the algorithm (Mezzadri 2007).
    V: Tensor = (Q * R.diagonal().sign()).float()
    return V


def random_part(vector: Float[Tensor, " d"], share: float, generator: torch.Generator) -> Float[Tensor, " d"]:
    """A part v of g in random directions with a share s of its energy: |v|^2 = g.v = s |g|^2,

        v = s g + sqrt(s (1 - s)) |g| u,    u uniform among the unit vectors orthogonal to g.

    So is the projection of g on a subspace that is uniform among those that hold this share of it. It is the null of a
    projection P of the same share, which has the same length and the same product with g: to first order in the
    learning rate, both steps decrease the loss alike.

    >>> v = random_part(torch.tensor([3.0, 0.0, 4.0]), 0.36, torch.Generator().manual_seed(0))
    >>> round(float(v @ v), 4), round(float(v @ torch.tensor([3.0, 0.0, 4.0])), 4)
    (9.0, 9.0)
    """
    size = vector.norm()
    if not float(size) > 0:
        return vector.clone()
    along = vector / size
    u = torch.randn(len(vector), generator=generator).to(vector)
    u = u - (u @ along) * along
    inside = min(max(share, 0.0), 1.0)
    v: Tensor = inside * vector + (inside * (1 - inside)) ** 0.5 * size / u.norm() * u
    return v


def _trainable(net: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in net.parameters() if parameter.requires_grad]


def _parts(net: nn.Module, vector: Tensor) -> Iterator[tuple[nn.Parameter, Tensor]]:
    parameters = _trainable(net)
    sizes = [parameter.numel() for parameter in parameters]
    for parameter, part in zip(parameters, torch.split(vector, sizes), strict=True):
        yield parameter, part.view_as(parameter)
