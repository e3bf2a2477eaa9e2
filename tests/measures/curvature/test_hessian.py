"""Hessian products against central differences of the gradient, float64, on nets with each kind of layer."""

import pytest
import torch
from torch import Tensor, nn

from universality.errors import MeasurementError
from universality.measures import HessianOperator, top_eigenvalues
from universality.measures.ambient import own_settings
from universality.measures.curvature.hessian import _without_cudnn


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(4, 12), nn.Linear(4, 3)

    def forward(self, x):
        q, k, v = self.qkv(x.view(-1, 3, 4)).chunk(3, dim=-1)
        return self.out(nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True).mean(1))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.out = nn.LSTM(4, 3, batch_first=True), nn.Linear(3, 3)

    def forward(self, x):
        return self.out(self.cell(x.view(-1, 3, 4))[0][:, -1])


NETS = {
    "mlp": lambda: nn.Sequential(nn.Linear(12, 6), nn.Tanh(), nn.Linear(6, 3)),
    "conv": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 3, 4)), nn.Conv2d(1, 3, 2), nn.GELU(), nn.Flatten(), nn.Linear(18, 3)
    ),
    "layernorm": lambda: nn.Sequential(nn.Linear(12, 6), nn.LayerNorm(6), nn.Tanh(), nn.Linear(6, 3)),
    "batchnorm in train mode": lambda: nn.Sequential(
        nn.Linear(12, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)
    ),
    "fused attention": Attention,
    "encoder layer in eval mode": lambda: nn.Sequential(
        nn.Unflatten(1, (3, 4)),
        nn.TransformerEncoderLayer(4, 2, 6, activation="gelu", batch_first=True),
        nn.Flatten(),
        nn.Linear(12, 3),
    ).eval(),
    "lstm": Recurrent,
}


@pytest.fixture(params=NETS)
def problem(request):
    torch.manual_seed(0)
    net = NETS[request.param]().double()
    x, y = torch.randn(10, 12, dtype=torch.float64), torch.arange(10) % 3
    return net, lambda: nn.functional.cross_entropy(net(x), y)


def differenced_hessian(loss, parameters, step=1e-5):
    """Columns (g(x + h e) - g(x - h e)) / 2h; error about 1e-10 relative."""
    flat = nn.utils.parameters_to_vector(parameters).detach()
    columns = []
    for i in range(len(flat)):
        sides = []
        for sign in (1, -1):
            moved = flat.clone()
            moved[i] += sign * step
            nn.utils.vector_to_parameters(moved, parameters)
            sides.append(torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss(), parameters)]))
        columns.append((sides[0] - sides[1]) / (2 * step))
    nn.utils.vector_to_parameters(flat, parameters)
    return torch.stack(columns, dim=1)


def test_products_and_top_eigenvalues_match_the_differenced_hessian(problem):
    net, loss = problem
    parameters = list(net.parameters())
    dense = differenced_hessian(loss, parameters)
    operator = HessianOperator(loss, parameters)
    columns = torch.stack([operator(e) for e in torch.eye(operator.dim, dtype=torch.float64)], dim=1)
    torch.testing.assert_close(columns, dense, rtol=0, atol=1e-7)
    result = top_eigenvalues(operator, operator.dim, k=2, tolerance=1e-8, dtype=torch.float64)
    assert result.converged
    torch.testing.assert_close(result.values, torch.linalg.eigvalsh(dense).flip(0)[:2], rtol=1e-6, atol=1e-7)


def test_batches_weighted_by_size_give_the_hessian_of_all_rows():
    torch.manual_seed(0)
    net = NETS["mlp"]().double()
    x, y = torch.randn(10, 12, dtype=torch.float64), torch.arange(10) % 3
    parameters = list(net.parameters())
    whole = HessianOperator(lambda: nn.functional.cross_entropy(net(x), y), parameters)
    parts = [slice(0, 7), slice(7, 10)]
    split = HessianOperator(
        [lambda s=s: nn.functional.cross_entropy(net(x[s]), y[s]) for s in parts],
        parameters,
        weights=[0.7, 0.3],
    )
    v = torch.randn(whole.dim, dtype=torch.float64)
    torch.testing.assert_close(split(v), whole(v))
    assert split.loss == pytest.approx(whole.loss)
    for a, b in zip(split.gradients, whole.gradients, strict=True):
        torch.testing.assert_close(a, b)


def test_gradients_are_those_of_backward_and_grad_stays_untouched():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    operator = HessianOperator(lambda: x.pow(3).sum(), [x])
    assert operator.gradients[0].tolist() == [3.0, 12.0]
    assert not operator.gradients[0].requires_grad
    assert x.grad is None


def test_a_linear_loss_has_zero_curvature():
    x, linear = torch.ones(2, requires_grad=True), torch.ones(1, requires_grad=True)
    assert HessianOperator(lambda: 3 * x.sum(), [x])(torch.ones(2)).tolist() == [0, 0]
    loss = lambda: x.pow(2).sum() + linear.sum()  # noqa: E731
    assert HessianOperator(loss, [linear, x])(torch.ones(3)).tolist() == [0, 2, 2]


def test_a_parameter_that_no_loss_reaches_is_refused_by_its_place_and_one_that_some_loss_reaches_is_not():
    x, y = torch.ones(2, requires_grad=True), torch.ones(1, requires_grad=True)
    squares = [lambda: x.pow(2).sum(), lambda: y.pow(2).sum()]
    with pytest.raises(
        MeasurementError, match=r"does not reach(.|\n)*got: +parameters 1 \[1\](.|\n)*leave out"
    ):
        HessianOperator(squares[0], [x, y])
    assert HessianOperator(squares, [x, y])(torch.ones(3)).tolist() == [2, 2, 2]


def in_place(x):
    with torch.no_grad():
        x += 1


def by_data(x):
    x.data = x.data + 1


def by_vector(x):
    nn.utils.vector_to_parameters(torch.full((2,), 2.0), [x])


@pytest.mark.parametrize("update", [in_place, by_data, by_vector])
def test_products_after_an_update_are_refused_instead_of_stale(update):
    x = nn.Parameter(torch.ones(2))
    operator = HessianOperator(lambda: x.pow(3).sum(), [x])
    assert operator(torch.ones(2)).tolist() == [6, 6]
    update(x)
    with pytest.raises(MeasurementError, match=r"parameters changed(.|\n)*build a new HessianOperator"):
        operator(torch.ones(2))


@pytest.mark.parametrize(
    ("others", "text"),
    [
        ([torch.ones(1)], "requires_grad=False"),
        ([torch.ones(1, dtype=torch.int64)], "int64"),
        ([torch.ones(1, dtype=torch.float64, requires_grad=True)], "float32(.|\n)*float64"),
    ],
    ids=["without gradient", "integer", "mixed precision"],
)
def test_parameters_that_cannot_be_differentiated_together_are_refused(others, text):
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(MeasurementError, match=text):
        HessianOperator(lambda: x.pow(2).sum(), [x, *others])


def test_weight_norm_is_refused():
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    with pytest.raises(MeasurementError, match="weight_norm is wrong"):
        HessianOperator(lambda: layer(torch.ones(1, 3)).pow(2).sum(), list(layer.parameters()))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_refused(value: float):
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(MeasurementError, match="a loss that is not finite"):
        HessianOperator(lambda: x.sum() * value, [x])


def test_a_loss_that_is_no_scalar_or_does_not_depend_on_the_parameters_is_refused():
    x = torch.ones(2, requires_grad=True)
    losses: list = [lambda: x * 2, lambda: torch.tensor(1.0), lambda: 1.0, lambda: x.sum() * 1j]
    for loss in losses:
        with pytest.raises(MeasurementError, match="finite scalar loss"):
            HessianOperator(loss, [x])


def test_a_vector_of_another_size_is_refused():
    x = torch.ones(2, requires_grad=True)
    operator = HessianOperator(lambda: x.pow(2).sum(), [x])
    vector: Tensor = torch.ones(3)
    with pytest.raises(MeasurementError, match=r"\[3\](.|\n)*\[2\]"):
        operator(vector)


@pytest.mark.parametrize("weight", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(weight):
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(MeasurementError, match="must be finite"):
        HessianOperator([lambda: x.pow(2).sum()], [x], weights=[weight])


def test_a_parameter_given_twice_is_refused():
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(MeasurementError, match="given twice"):
        HessianOperator(lambda: x.pow(2).sum(), [x, x])


def test_cudnn_can_be_left_out_within_a_measure_and_comes_back() -> None:
    before = torch.backends.cudnn.enabled
    with own_settings(), _without_cudnn():
        assert not torch.backends.cudnn.enabled
    assert torch.backends.cudnn.enabled == before
