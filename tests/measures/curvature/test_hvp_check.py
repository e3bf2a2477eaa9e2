"""The self-check passes for every registered architecture, and catches products that are wrong."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from universality.errors import MeasurementError
from universality.measures.curvature.hvp_check import check_hvp
from universality.plugin import registry
from universality.plugin.architecture import InputSpec

registry.load_plugins()

INPUTS = [
    InputSpec("image", (1, 8, 8)),
    InputSpec("image", (3, 32, 32)),
    InputSpec("vector", (20,)),
    InputSpec("tokens", (2,), 23),
    InputSpec("tokens", (32,), 65),
]


def first_accepted(name):
    """An architecture, small, built for the first input that it takes; inputs in float64."""
    architecture = registry.resolve("architecture", name).scaled(0.25)
    inputs = next(i for i in INPUTS if not architecture.reject(i))
    rng = torch.Generator().manual_seed(1)
    if inputs.kind == "tokens":
        x = torch.randint(0, inputs.vocabulary, (6, *inputs.shape), generator=rng)
    else:
        x = torch.randn(6, *inputs.shape, generator=rng, dtype=torch.float64)
    torch.manual_seed(0)
    return architecture.build(inputs, 3), x


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", registry.bare_addresses("architecture"))
def test_every_registered_architecture_passes_and_is_left_as_it_was(name, training):
    net, x = first_accepted(name)
    net.train(training)
    state, rng = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    found = check_hvp(net, lambda n: F.cross_entropy(n(x), torch.arange(6) % 3))
    assert found.ok, found
    assert found.asymmetry < 1e-9
    assert all(torch.equal(state[key], value) for key, value in net.state_dict().items())
    assert all(p.grad is None and p.dtype == torch.float32 for p in net.parameters())
    assert all(module.training == training for module in net.modules())
    assert torch.equal(torch.get_rng_state(), rng)


def test_a_relu_network_passes_where_the_longest_step_crosses_kinks():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(10, 400), nn.ReLU(), nn.Linear(400, 3))
    x = torch.randn(200, 10, dtype=torch.float64)
    found = check_hvp(net, lambda n: F.cross_entropy(n(x), torch.arange(200) % 3))
    assert found.ok, found
    assert found.step < 1e-4  # 80,000 units: some have a kink within the first step


class WrongSecond(torch.autograd.Function):
    """x^3 whose gradient is right and whose second derivative is `factor` times the right one."""

    @staticmethod
    def forward(ctx, x, factor):
        ctx.save_for_backward(x)
        ctx.factor = factor
        return x**3

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        slope = 3 * x.detach() ** 2
        if ctx.factor:  # same value, other derivative
            slope = slope + ctx.factor * (3 * x**2 - 3 * x.detach() ** 2)
        return grad * slope, None


class Cubic(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.inner, self.outer, self.factor = nn.Linear(5, 7), nn.Linear(7, 2), factor

    def forward(self, x):
        return self.outer(WrongSecond.apply(self.inner(x), self.factor))


@pytest.mark.parametrize(("factor", "right"), [(1.0, True), (0.0, False), (0.5, False), (1.01, False)])
def test_a_wrong_second_derivative_is_caught_and_the_right_one_passes(factor, right):
    torch.manual_seed(0)
    net, x = Cubic(factor), torch.randn(9, 5, dtype=torch.float64)
    found = check_hvp(net, lambda n: n(x).square().mean())
    assert found.ok is right, found
    if not right:
        assert "finite difference" in found.reason
        assert found.difference > 1e-4


class ZeroBranch(nn.Module):
    """x -> relu(x + scale * branch(x)), x >= 0: where x = 0 and the scale is 0, it sits on the kink of ReLU."""

    def __init__(self, width, branch, scale=0.0):
        super().__init__()
        self.branch, self.scale = branch, nn.Parameter(torch.full((width,), scale))

    def forward(self, x):
        return F.relu(x + self.scale * self.branch(x))


def residual(branch, scale=0.0):
    torch.manual_seed(0)
    stem = nn.Sequential(nn.Linear(10, 20), nn.ReLU())
    return nn.Sequential(stem, ZeroBranch(20, branch(), scale), nn.Linear(20, 3))


def check_residual(net):
    x = torch.randn(40, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return check_hvp(net, lambda n: F.cross_entropy(n(x), torch.arange(40) % 3))


def test_a_kink_at_the_weights_is_named_and_is_no_wrong_product():
    found = check_residual(residual(lambda: nn.Linear(20, 20)))
    assert found.ok, found
    assert found.kink > 1e-3
    assert found.difference < 1e-7
    off = check_residual(residual(lambda: nn.Linear(20, 20), scale=0.1))
    assert off.ok, off
    assert off.kink == 0


class WrongBranch(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.outer = nn.Linear(20, 7), nn.Linear(7, 20)

    def forward(self, x):
        return self.outer(WrongSecond.apply(self.inner(x), 0.5))


def test_a_wrong_product_is_caught_on_a_kink_too():
    # Where the branch has the scale 0 its own curvature does not reach the loss: only off the kink it does.
    found = check_residual(nn.Sequential(residual(WrongBranch), Cubic3()))
    assert not found.ok
    assert found.kink > 0
    assert "finite difference" in found.reason


class Cubic3(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 3)

    def forward(self, x):
        return WrongSecond.apply(self.inner(x), 0.5)


class Asymmetric(nn.Module):
    """a * b with the gradient of a detached from b: half of the mixed second derivative is lost."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor([1.0, 2.0])), nn.Parameter(torch.tensor([0.5, 3.0]))

    def forward(self):
        return OneSided.apply(self.a, self.b).sum()


class OneSided(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.saved_tensors
        return grad * b.detach(), grad * a


def test_products_that_are_not_symmetric_are_caught():
    found = check_hvp(Asymmetric(), lambda n: n())
    assert not found.ok
    assert found.asymmetry > 1e-2
    assert "v^T H u" in found.reason


@pytest.mark.parametrize("kind", ["parametrization", "hook"])
def test_weight_norm_is_caught_with_its_reason(kind):
    layer = nn.Linear(4, 3)
    if kind == "parametrization":
        layer = nn.utils.parametrizations.weight_norm(layer)
    else:
        with pytest.warns(FutureWarning):
            layer = nn.utils.weight_norm(layer)
    net = nn.Sequential(layer, nn.Tanh(), nn.Linear(3, 2))
    found = check_hvp(net, lambda n: n(torch.ones(2, 4, dtype=torch.float64)).square().sum())
    assert not found.ok
    assert "weight_norm is wrong" in found.reason


def test_the_generator_chooses_the_directions():
    net, x = Cubic(0.5), torch.ones(2, 5, dtype=torch.float64)
    a, b, c = (
        check_hvp(net, lambda n: n(x).square().mean(), torch.Generator().manual_seed(s)) for s in (1, 1, 2)
    )
    assert a == b != c


def test_dropout_and_a_loss_without_curvature_are_refused():
    net = nn.Sequential(nn.Linear(4, 50), nn.Dropout(0.5), nn.Linear(50, 2))
    x = torch.ones(3, 4, dtype=torch.float64)
    with pytest.raises(MeasurementError, match="differs from call to call"):
        check_hvp(net, lambda n: n(x).square().sum())
    line = nn.Linear(4, 1)
    with pytest.raises(MeasurementError, match="H v is zero"):
        check_hvp(line, lambda n: n(x).sum())
