"""What torch leaves out of a gradient without a word: refused by name, in every measure that differentiates."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from universality.errors import MeasurementError
from universality.measures import (
    HessianOperator,
    batch_sharpness,
    check_hvp,
    empirical_ntk,
    pseudo_ntk,
    top_eigenvalues,
    trace_ntk,
)

X = torch.randn(64, 10, generator=torch.Generator().manual_seed(0))
TOKENS = torch.arange(256).reshape(64, 4) % 7
Y = torch.arange(64) % 3


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool | None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.reentrant = nn.Linear(10, 20), nn.Linear(20, 3), reentrant

    def forward(self, x: Tensor) -> Tensor:
        if self.reentrant is None:
            return self.last(self.front(x))
        return self.last(checkpoint(self.front, x.clone().requires_grad_(), use_reentrant=self.reentrant))

    def front(self, x: Tensor) -> Tensor:
        return torch.tanh(self.first(x))


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return 3 * ctx.saved_tensors[0] ** 2 * gradient


class Cubed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return Cube.apply(x)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(10, 24)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).view(1, 1, -1, 24).split(8, -1)
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            return nn.functional.scaled_dot_product_attention(q, k, v)[0, 0, :, :3]


def loss_of(net: nn.Module, inputs: Tensor) -> Tensor:
    parameter = next(net.parameters())
    return nn.functional.cross_entropy(
        net(inputs.to(parameter.dtype) if inputs.is_floating_point() else inputs), Y
    )


def operator(net: nn.Module, inputs: Tensor) -> HessianOperator:
    return HessianOperator(lambda: loss_of(net, inputs), list(net.parameters()))


def sharpness(net: nn.Module) -> float:
    hessian = operator(net, X)
    return top_eigenvalues(hessian, hessian.dim).values.item()


def test_a_checkpoint_that_is_not_reentrant_changes_no_number() -> None:
    plain = sharpness(Checkpointed(None))
    assert sharpness(Checkpointed(False)) == pytest.approx(plain, rel=1e-5)


REENTRANT = r"reentrant checkpoint(.|\n)*parameters 0 \[20, 10\], 1 \[20\]\n(.|\n)*use_reentrant=False"


def test_parameters_behind_a_reentrant_checkpoint_are_named() -> None:
    """As constants they would leave a sharpness too small, converged."""
    net = Checkpointed(True)
    parameters = list(net.parameters())
    with pytest.raises(MeasurementError, match=REENTRANT):
        operator(net, X)
    with pytest.raises(MeasurementError, match=REENTRANT):
        batch_sharpness(lambda rows: nn.functional.cross_entropy(net(X[rows]), Y[rows]), 64, 4, parameters)
    with pytest.raises(MeasurementError, match=REENTRANT):
        check_hvp(net, lambda n: loss_of(n, X))


@pytest.mark.parametrize("kernel", [empirical_ntk, trace_ntk, pseudo_ntk])
def test_a_kernel_of_a_reentrant_checkpoint_is_refused_like_a_hessian(kernel) -> None:
    with pytest.raises(MeasurementError, match=REENTRANT):
        kernel(Checkpointed(True).eval(), X[:4])


def test_a_checkpoint_of_inputs_without_gradients_hides_its_parameters_as_well() -> None:
    net = Checkpointed(None)

    def loss() -> Tensor:
        return nn.functional.cross_entropy(net.last(checkpoint(net.front, X, use_reentrant=True)), Y)

    with (
        pytest.warns(UserWarning, match="None of the inputs"),
        pytest.raises(MeasurementError, match=r"does not reach(.|\n)*parameters 0 \[20, 10\], 1 \[20\]\n"),
    ):
        HessianOperator(loss, list(net.parameters()))


ONCE = {
    "EmbeddingBag": (lambda: nn.Sequential(nn.EmbeddingBag(7, 5), nn.Linear(5, 3)), TOKENS, "nn.Embedding"),
    "sparse=True": (
        lambda: nn.Sequential(nn.Embedding(7, 5, sparse=True), nn.Flatten(), nn.Linear(20, 3)),
        TOKENS,
        r"\(7, 5\)(.|\n)*sparse=False",
    ),
    "compiled module": (
        lambda: torch.compile(nn.Sequential(nn.Linear(10, 3)), backend="aot_eager"),
        X,
        "the module that was compiled",
    ),
    "differentiable once": (
        lambda: nn.Sequential(nn.Linear(10, 3), Cubed()),
        X,
        r"CubeBackward(.|\n)*once_differentiable",
    ),
    "fused attention": (Attention, X, "sdpa_kernel off"),
}


@pytest.mark.filterwarnings("ignore")  # torch.compile's own
@pytest.mark.parametrize("name", ONCE)
def test_an_operation_without_a_second_derivative_is_named_with_the_way_out(name) -> None:
    build, inputs, way_out = ONCE[name]
    net = build()
    with pytest.raises(MeasurementError, match=rf"{name}(.|\n)*where: +HessianOperator(.|\n)*{way_out}"):
        operator(net, inputs)
    with pytest.raises(MeasurementError, match=rf"{name}(.|\n)*{way_out}"):
        check_hvp(net, lambda n: loss_of(n, inputs))


def test_what_was_made_in_inference_mode_is_refused_and_what_was_made_before_is_measured() -> None:
    net = Checkpointed(None)
    with torch.inference_mode():
        inside, late = X * 1, nn.Linear(10, 3)
        assert operator(net, X).loss == operator(net, X).loss
        with pytest.raises(MeasurementError, match=r"made in inference mode(.|\n)*clone"):
            operator(net, inside)
        with pytest.raises(
            MeasurementError, match=r"parameters that were made in inference mode(.|\n)*outside"
        ):
            operator(late, X)
