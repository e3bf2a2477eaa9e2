"""Products of the Hessian with vectors, by double backward through a cached gradient graph.

d: number of parameters, flattened in the order in which they are given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from universality.errors import MeasurementError, NotFinite
from universality.measures.ambient import measure
from universality.measures.network.gradients import check_reached, evaluated, gradients_of, operations

Loss = Callable[[], Tensor]


class HessianOperator:
    """v -> H v with H the Hessian of sum_i weights[i] * losses[i]() at the present parameters.

    The losses are evaluated once, here; every product is one more backward pass through the kept
    graph of the gradient. They are of the parameters as they were: once one was changed, in place or by
    setting its data, products raise. (Only writing through `.data` or in a storage that is shared goes unseen.)

    The caller chooses what the loss means: eval or train mode, which rows (all of them: sharpness
    of a subset is biased upwards), and restores buffers with `preserved`. Attention is evaluated
    by its unfused form, since the fused kernels have no second derivative; recurrent nets on CUDA
    without cuDNN, for the same reason.

    Args:
        losses: one closure that returns a scalar, or one for each batch.
        parameters: with respect to what; all floating, of one dtype and device, none twice.
        weights: of the batches, finite, default 1 each. For a mean over n rows pass len(batch) / n.

    Attributes:
        loss: its value.
        gradients: one tensor for each parameter.
        dim: d.

    Cost: about 1.7 gradients for each product on CPUs (2.7 if the graph were rebuilt), linear like them in
    rows and in d. Memory: two backward passes over all batches for as long as the operator lives.

    Raises:
        MeasurementError: parameters or weights are not as above, a loss is not a finite real scalar, a parameter
            that no loss depends on, or one hidden behind a reentrant checkpoint (torch would take it for a
            constant); an operation without a second derivative (EmbeddingBag, sparse embeddings, compiled
            modules, `once_differentiable`), or `weight_norm`, whose torch gets wrong; what was made in inference
            mode. On a product, a vector of another size, or parameters that changed.

    Source: Pearlmutter 1994.

    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> H = HessianOperator(lambda: (x[0] ** 2 * x[1]).sum(), [x])
    >>> H(torch.tensor([1.0, 0.0]))  # second derivatives of a^2 b: [[2b, 2a], [2a, 0]]
    tensor([4., 2.])
    """

    @measure
    def __init__(
        self,
        losses: Loss | Sequence[Loss],
        parameters: Sequence[Tensor],
        weights: Sequence[float] | None = None,
    ) -> None:
        closures = [losses] if callable(losses) else list(losses)
        scales = [1.0] * len(closures) if weights is None else list(weights)
        self.parameters = tuple(parameters)
        if not self.parameters or not closures or len(scales) != len(closures):
            raise MeasurementError(
                "a Hessian needs parameters, and losses with one weight each",
                where="HessianOperator",
                got=f"{len(self.parameters)} parameters, {len(closures)} losses, {len(scales)} weights",
            )
        if any(parameter.is_inference() for parameter in self.parameters):
            raise MeasurementError(
                "parameters that were made in inference mode have no derivative",
                where="HessianOperator",
                do="build the network outside of torch.inference_mode",
            )
        kinds = {(parameter.dtype, parameter.device) for parameter in self.parameters}
        if len(kinds) > 1 or not all(p.is_floating_point() and p.requires_grad for p in self.parameters):
            raise MeasurementError(
                "parameters that cannot be differentiated together",
                where="HessianOperator",
                got=", ".join(
                    sorted(
                        {f"{p.dtype} on {p.device}, requires_grad={p.requires_grad}" for p in self.parameters}
                    )
                ),
                expected="floating tensors of one dtype and device that require gradients",
            )
        if len({id(parameter) for parameter in self.parameters}) < len(self.parameters):
            raise MeasurementError(
                "a parameter that is given twice", where="HessianOperator", do="list each parameter once"
            )
        if not all(math.isfinite(scale) for scale in scales):
            raise MeasurementError(
                "weights of batches must be finite", where="HessianOperator", got=f"weights {scales}"
            )
        self.dim = sum(parameter.numel() for parameter in self.parameters)
        self.loss = 0.0
        # Per batch, the entries of the gradient that depend on the parameters and the graph behind them.
        self._graphs: list[list[tuple[int, Tensor]]] = []
        totals = [torch.zeros_like(parameter, requires_grad=False) for parameter in self.parameters]
        reached = [False] * len(totals)
        for closure, scale in zip(closures, scales, strict=True):
            with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
                value = scale * _evaluate(closure)
                found = gradients_of(value, self.parameters, "HessianOperator", twice=True)
            self.loss += value.item()
            gradients = [(i, gradient) for i, gradient in enumerate(found) if gradient is not None]
            self._graphs.append([(i, gradient) for i, gradient in gradients if gradient.requires_grad])
            for i, gradient in gradients:
                reached[i] = True
                totals[i] += gradient.detach()
        check_reached(reached, self.parameters, "HessianOperator")
        self.gradients = tuple(totals)
        # Setting `.data` gives a parameter another storage. Held here, the old one cannot lend its address
        # to a later one.
        self._held = [(parameter.detach(), parameter._version) for parameter in self.parameters]

    @measure
    def __call__(self, vector: Float[Tensor, " d"]) -> Float[Tensor, " d"]:
        """H v, detached."""
        if vector.shape != (self.dim,):
            raise MeasurementError(
                "a vector of another size than the parameters",
                where="HessianOperator",
                got=str(list(vector.shape)),
                expected=f"[{self.dim}]",
            )
        if any(
            p.data_ptr() != held.data_ptr() or p._version != version
            for p, (held, version) in zip(self.parameters, self._held, strict=True)
        ):
            raise MeasurementError(
                "parameters changed after their gradient was taken",
                where="HessianOperator",
                expected="the parameters at which the operator was built",
                do="build a new HessianOperator",
            )
        blocks = torch.split(vector, [parameter.numel() for parameter in self.parameters])
        directions = [b.view_as(p) for b, p in zip(blocks, self.parameters, strict=True)]
        product = torch.zeros_like(vector)
        for graph in self._graphs:
            if not graph:  # linear in every parameter
                continue
            columns = torch.autograd.grad(
                [gradient for _, gradient in graph],
                self.parameters,
                grad_outputs=[directions[i] for i, _ in graph],
                retain_graph=True,
                materialize_grads=True,
            )
            product += torch.cat([column.reshape(-1) for column in columns])
        return product


@contextmanager
def _without_cudnn() -> Iterator[None]:
    """`torch.backends.cudnn.flags` reads a flag on the way that raises within a measure's own settings."""
    before = torch.backends.cudnn.enabled
    torch.backends.cudnn.enabled = False
    try:
        yield
    finally:
        torch.backends.cudnn.enabled = before


def _evaluate(closure: Loss) -> Tensor:
    value = evaluated(closure, "HessianOperator")
    if not isinstance(value, Tensor):
        raise MeasurementError(
            "a Hessian needs a finite scalar loss that depends on the parameters",
            where="HessianOperator",
            got=type(value).__name__,
            do="return the loss as a tensor, without .item()",
        )
    if any(name.startswith("CudnnRnn") for name in operations(value)):
        # cuDNN has no double backward for recurrent nets; its flag is read in the forward pass.
        with _without_cudnn():
            value = closure()
    if value.numel() != 1 or not value.is_floating_point() or not value.requires_grad:
        raise MeasurementError(
            "a Hessian needs a finite scalar loss that depends on the parameters",
            where="HessianOperator",
            got=f"shape {list(value.shape)}, {value.dtype}, requires_grad={value.requires_grad}",
        )
    if not bool(torch.isfinite(value)):
        raise NotFinite("a loss that is not finite", where="HessianOperator", got=f"{value.item()}")
    return value.reshape(())
