"""Thresholds are verified by running the optimizer; preconditioners by the step it takes next."""

from inspect import unwrap

import pytest
import torch
from torch.optim import SGD, Adam, AdamW, NAdam, Optimizer, RMSprop

from universality.errors import MeasurementError
from universality.measures import l2_decay, preconditioned, preconditioner, stability_threshold
from universality.measures.curvature.lanczos import top_eigenvalues

FROZEN = 1 - 1e-12  # a second moment that a run of a few hundred steps does not change

OPTIMIZERS = {
    "gradient descent": lambda p: SGD(p, lr=0.3),
    "gradient descent with L2 decay": lambda p: SGD(p, lr=0.3, weight_decay=0.5),
    "heavy ball": lambda p: SGD(p, lr=0.1, momentum=0.9),
    "nesterov": lambda p: SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "rmsprop": lambda p: RMSprop(p, lr=0.1, alpha=FROZEN),
    "rmsprop with momentum": lambda p: RMSprop(p, lr=0.1, alpha=FROZEN, momentum=0.8),
    "adam": lambda p: Adam(p, lr=0.1, betas=(0.9, FROZEN)),
    "adam with L2 decay": lambda p: Adam(p, lr=0.1, betas=(0.8, FROZEN), weight_decay=0.5),
    "adamw": lambda p: AdamW(p, lr=0.1, betas=(0.9, FROZEN), weight_decay=2.0),
}


def plant(optimizer: Optimizer, x: torch.Tensor, roots: torch.Tensor) -> None:
    """Give the optimizer a long past with second moment roots^2 and no momentum."""
    if isinstance(optimizer, SGD):
        return
    x.grad = torch.zeros_like(x)
    optimizer.step()
    name = "exp_avg_sq" if isinstance(optimizer, Adam) else "square_avg"
    optimizer.state[x][name].copy_(roots**2)
    optimizer.state[x]["step"].fill_(1e14)
    for momentum in ("exp_avg", "momentum_buffer"):
        if momentum in optimizer.state[x]:
            optimizer.state[x][momentum].zero_()


def growth(make, ratio: float, steps: int = 1500) -> float:
    """|x| after the run over |x| before, at curvature `ratio` times the threshold (stops beyond 1e4)."""
    x = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
    optimizer = make([x])
    plant(optimizer, x, torch.tensor([0.5, 3.0], dtype=torch.float64))
    with torch.no_grad():
        x.copy_(torch.tensor([1e-10, 1e-10]))
    P = preconditioner(optimizer, [x], [torch.zeros_like(x)])
    U = torch.tensor([[0.8, -0.6], [0.6, 0.8]], dtype=torch.float64)
    curvatures = torch.tensor([ratio, 0.4], dtype=torch.float64) * stability_threshold(optimizer)
    # P^-1/2 (H + w I) P^-1/2 = U diag(curvatures) U^T
    H = P.sqrt()[:, None] * (U * curvatures @ U.T) * P.sqrt() - l2_decay(optimizer) * torch.eye(2)
    product = preconditioned(lambda v: H @ v, P, l2_decay(optimizer))
    top = top_eigenvalues(product, 2, dtype=torch.float64).values.item()
    assert top == pytest.approx(ratio * stability_threshold(optimizer))
    size = x.detach().norm().item()
    for _ in range(steps):
        x.grad = H @ x.detach()
        optimizer.step()
        if x.detach().norm().item() > 1e4 * size:
            break
    return x.detach().norm().item() / size


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_optimizer_converges_two_percent_below_its_threshold_and_diverges_two_percent_above(name):
    assert growth(OPTIMIZERS[name], 0.98) < 1e-3
    assert growth(OPTIMIZERS[name], 1.02) > 1e4


@pytest.mark.parametrize(
    ("make", "formula"),
    [
        (lambda p: SGD(p, lr=0.1), 20.0),
        (lambda p: SGD(p, lr=0.1, momentum=0.9), 38.0),
        (lambda p: SGD(p, lr=0.1, momentum=0.9, nesterov=True), 38.0 / 2.8),
        (lambda p: RMSprop(p, lr=0.1), 20.0),
        (lambda p: Adam(p, lr=0.1), 380.0),
        (lambda p: AdamW(p, lr=torch.tensor(0.1), weight_decay=0.0), 380.0),
    ],
)
def test_thresholds_are_the_published_ones(make, formula):
    assert stability_threshold(make([torch.nn.Parameter(torch.zeros(1))])) == pytest.approx(formula)


@pytest.mark.parametrize(
    ("make", "amount"),
    [
        (lambda p: Adam(p, lr=0.1, betas=(0.0, 0.9), eps=1e-3), 0.0),
        (lambda p: Adam(p, lr=0.1, betas=(0.0, 0.9), eps=1e-3, weight_decay=0.2), 0.2),
        (lambda p: AdamW(p, lr=0.1, betas=(0.0, 0.9), eps=1e-3, weight_decay=0.0), 0.0),
        (lambda p: RMSprop(p, lr=0.1, alpha=0.9, eps=1e-3, weight_decay=0.2), 0.2),
        (lambda p: SGD(p, lr=0.1, weight_decay=0.2), 0.2),
    ],
)
def test_the_next_step_is_lr_times_the_gradient_over_the_preconditioner(make, amount):
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.nn.Parameter(torch.randn(3, generator=generator, dtype=torch.float64)) for _ in range(2))
    optimizer = make([a, b])
    for _ in range(4):  # the first step has no state yet
        gradients = [torch.randn(3, generator=generator, dtype=torch.float64) for _ in range(2)]
        P = preconditioner(optimizer, [b, a], gradients[::-1])
        before = torch.cat([b, a]).detach().clone()
        a.grad, b.grad = gradients
        optimizer.step()
        step = torch.cat([b, a]).detach() - before
        expected = -0.1 * (torch.cat(gradients[::-1]) + amount * before) / P
        torch.testing.assert_close(step, expected)


def test_reading_the_preconditioner_changes_nothing():
    x = torch.nn.Parameter(torch.ones(2))
    optimizer = Adam([x])
    preconditioner(optimizer, [x], [torch.ones(2)])
    assert len(optimizer.state) == 0


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda p: SGD(p, lr=0.1, momentum=0.9, dampening=0.5), r"SGD\(dampening=0.5\)"),
        (lambda p: Adam(p, amsgrad=True), r"Adam\(amsgrad=True\)"),
        (lambda p: RMSprop(p, centered=True), r"RMSprop\(centered=True\)"),
        (lambda p: SGD(p, lr=0.1, maximize=True), r"SGD\(maximize=True\)"),
        (lambda p: NAdam(p), "NAdam"),
        (
            lambda p: SGD([{"params": p}, {"params": [torch.ones(1)], "lr": 1.0}], lr=0.1),
            "2 parameter groups",
        ),
        (lambda p: SGD(p, lr=0.0), "lr=0.0"),
    ],
)
def test_optimizers_without_one_known_threshold_are_refused(make, text):
    with pytest.raises(MeasurementError, match=text) as caught:
        stability_threshold(make([torch.nn.Parameter(torch.zeros(1))]))
    assert ("rate is positive" if "lr=" in text else "Hessian alone") in caught.value.do


def test_groups_that_agree_are_one():
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(2)]
    assert stability_threshold(SGD(groups, lr=0.5)) == 4.0


def test_parameters_of_another_net_and_zero_preconditioners_are_refused():
    x, other = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    with pytest.raises(MeasurementError, match="1 not in the optimizer"):
        preconditioner(Adam([x]), [other], [torch.ones(1)])
    with pytest.raises(MeasurementError, match="must be positive"):
        preconditioned(lambda v: v, preconditioner(Adam([x], eps=0.0), [x], [torch.zeros(1)]))


class OtherStep(SGD):
    """Torch's settings, another update."""


def changed(optimizer, **settings):
    """Settings that the constructors refuse, as a schedule may leave them."""
    optimizer.param_groups[0].update(settings)
    return optimizer


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda p: OtherStep(p, lr=0.1), "OtherStep"),
        (lambda p: SGD(p, lr=float("inf")), "lr=inf"),
        (lambda p: SGD(p, lr=0.1, momentum=1.0), r"momentum 1\.0"),
        (lambda p: changed(Adam(p, lr=0.1), betas=(1.5, 0.9)), r"momentum 1\.5"),
        (lambda p: AdamW(p, lr=1.0, weight_decay=2.0), r"lr \* weight_decay = 2\.0"),
    ],
)
def test_settings_that_are_stable_at_no_curvature_are_refused(make, text):
    with pytest.raises(MeasurementError, match=text):
        stability_threshold(make([torch.nn.Parameter(torch.zeros(1))]))


@pytest.mark.parametrize("make", [lambda p: SGD(p, lr=0.1), Adam, RMSprop])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_gradients_that_are_not_finite_have_no_preconditioner(make, value):
    x = torch.nn.Parameter(torch.zeros(2))
    with pytest.raises(MeasurementError, match="gradients are not finite"):
        preconditioner(make([x]), [x], [torch.tensor([1.0, value])])


def test_parameters_that_are_given_twice_or_have_no_gradient_are_refused():
    p, q = (torch.nn.Parameter(torch.zeros(2)) for _ in range(2))
    g = torch.ones(2)
    for optimizer in (Adam([p, q]), SGD([p, q], lr=0.1)):
        with pytest.raises(MeasurementError, match="a parameter that is given twice"):
            preconditioner(optimizer, [p, p], [g, g])
        with pytest.raises(MeasurementError, match=r"without a gradient(.|\n)*NoneType at place 1, 1 in all"):
            unwrap(preconditioner)(optimizer, [p, q], [g, None])


def test_gradients_vectors_and_decays_that_do_not_fit_are_refused():
    weight = torch.nn.Parameter(torch.zeros(2))
    for gradient in (torch.tensor(1.0), torch.ones(3)):
        with pytest.raises(MeasurementError, match="gradient of the same shape"):
            preconditioner(torch.optim.Adam([weight]), [weight], [gradient])
    with pytest.raises(
        MeasurementError, match=r"another size than the preconditioner(.|\n)*\[3\](.|\n)*\[1\]"
    ):
        preconditioned(lambda v: v, torch.ones(1))(torch.ones(3))
    for decay in (-1.0, float("nan"), float("inf")):
        with pytest.raises(MeasurementError, match="no such decay"):
            preconditioned(lambda v: v, torch.ones(1), decay)
