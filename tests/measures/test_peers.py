"""Agreement with what others have published and packaged, where the `bench` extra is installed.

Only what is right in them: PyHessian stops early, torch-cka and pytorch-cka lose digits in float32,
and kowalski's NC1 has the total covariance in the place of that between classes.
"""

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import eigsh
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from universality.measures import (
    HessianOperator,
    biased_cka,
    cka_matrix,
    debiased_cka,
    effective_rank,
    hessian_trace,
    neural_collapse,
    top_eigenvalues,
)

pytestmark = pytest.mark.filterwarnings("ignore")


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def problem():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 3)).double()
    X, T = normal(80, 6), normal(80, 3, seed=1)
    parameters = list(net.parameters())
    loss = nn.MSELoss()
    return net, X, T, HessianOperator(lambda: loss(net(X), T), parameters)


def test_eigenvalues_are_those_of_curvlinops_and_scipy(problem):
    curvlinops = pytest.importorskip("curvlinops")
    net, X, T, hessian = problem
    operator = curvlinops.HessianLinearOperator(
        net, nn.MSELoss(), list(net.parameters()), [(X, T)]
    ).to_scipy()
    values = np.sort(eigsh(operator, k=3, which="LA", tol=1e-12, return_eigenvectors=False))[::-1]
    found = top_eigenvalues(hessian, hessian.dim, k=3, tolerance=1e-9, dtype=torch.float64)
    assert found.values.tolist() == pytest.approx(values.tolist(), rel=1e-8)
    vector = normal(hessian.dim)
    torch.testing.assert_close(hessian(vector), torch.from_numpy(operator @ vector.numpy()))


def test_the_eigenvalue_and_the_trace_are_those_of_pyhessian(problem):
    pyhessian = pytest.importorskip("pyhessian")
    net, X, T, operator = problem
    peer = pyhessian.hessian(net, nn.MSELoss(), data=(X, T), cuda=False)
    torch.manual_seed(0)
    value = peer.eigenvalues(maxIter=2000, tol=1e-8)[0][0]
    found = top_eigenvalues(operator, operator.dim, tolerance=1e-6, dtype=torch.float64)
    assert found.values[0].item() == pytest.approx(value, rel=1e-4)
    samples = torch.tensor(peer.trace(maxIter=400, tol=0.0), dtype=torch.float64)
    ours = hessian_trace(operator, operator.dim, tolerance=0.01, max_matvecs=4000, dtype=torch.float64)
    noise = (samples.var() / len(samples) + ours.standard_error**2).sqrt().item()
    assert abs(samples.mean().item() - ours.value) < 4 * noise


@pytest.mark.parametrize("offset", [0.0, 10.0])
def test_alignment_is_that_of_ckatorch(offset):
    ckatorch = pytest.importorskip("ckatorch")
    X, Y = normal(60, 5), normal(60, 9, seed=1)
    Y[:, :5] += X
    for unbiased, ours in ((True, debiased_cka), (False, biased_cka)):
        expected = ckatorch.cka_base(X + offset, Y - offset, unbiased=unbiased).item()
        assert ours(X + offset, Y - offset) == pytest.approx(expected, abs=1e-10)


class Stored(nn.Module):
    """A layer that returns stored features, for peers that want networks."""

    def __init__(self, values):
        super().__init__()
        self.layer = nn.Identity()
        self.values = values

    def forward(self, x):
        return self.layer(self.values)


def test_alignment_is_that_of_torch_cka_and_pytorch_cka_near_the_origin():
    X, Y = normal(60, 5).float(), normal(60, 9, seed=1).float()
    Y[:, :5] += X
    X, Y, loader = X - X.mean(0), Y - Y.mean(0), DataLoader(TensorDataset(torch.zeros(60, 1)), batch_size=60)
    ours = cka_matrix([X], [Y]).item()
    torch_cka = pytest.importorskip("torch_cka")
    compared = torch_cka.CKA(Stored(X), Stored(Y), "a", "b", ["layer"], ["layer"], device="cpu")
    with torch.no_grad():
        compared.compare(loader, loader)
    assert compared.export()["CKA"].item() == pytest.approx(ours, abs=1e-4)
    cka = pytest.importorskip("cka")
    found, *_ = cka.compute_cka(
        Stored(X), Stored(Y), loader, layers=["layer"], model2_layers=["layer"], device="cpu", progress=False
    )
    assert found.item() == pytest.approx(ours, abs=1e-4)


def test_collapse_and_effective_rank_are_those_of_kowalski():
    collapse = pytest.importorskip("kowalski.neural_collapse")
    from kowalski.rankme import rankme

    C, d = 4, 9
    y = torch.arange(80) % C
    H, W = normal(80, d) + 3 * normal(C, d, seed=1)[y], normal(C, d, seed=2)
    ours, listed = neural_collapse(H, y, W), [H[y == c] for c in range(C)]
    assert ours.nc2_gram_weight == pytest.approx(collapse.classifier_etf_convergence(W).item(), abs=1e-7)
    assert ours.nc3_gram == pytest.approx(collapse.self_duality(listed, W).item(), abs=1e-7)
    assert ours.cdnv == pytest.approx(collapse.class_distance_normalized_variance(listed).item(), rel=1e-9)
    assert effective_rank(H) == pytest.approx(rankme(H).item(), rel=1e-4)
