"""Every public measure: the caller's settings change no number, and what is no tensor is refused in one way."""

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import is_dataclass
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from universality import measures
from universality.errors import MeasurementError
from universality.measures.ambient import own_settings


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=dtype, device="cpu")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(seed)


X, Y = normal(70, 6), normal(70, 5, seed=1)
LABELS = torch.arange(70) % 3
INPUTS, TARGETS = normal(60, 4, seed=2), torch.arange(60) % 3
SPECTRUM = 100.0 * torch.arange(1, 201, dtype=torch.float64) ** -1.5
MATRIX = normal(60, 8, seed=3)
KERNEL, OTHER = X @ X.T, Y @ Y.T
OPERATOR = torch.linspace(1, 2, 60)
SIZES = 2.0 ** torch.arange(5, 13, dtype=torch.float64)
LOSSES = (3 * SIZES[:, None] ** -0.4 + 0.1) * (1 + 0.01 * normal(8, 3, seed=4, dtype=torch.float64))
STEPS = np.arange(0, 1001, 10)
TRAIN, VALIDATION = np.clip(STEPS / 50, 0, 1), np.clip(STEPS / 600, 0, 1)
DELAYS, CENSORED = np.array([0.5, 0.8, 1.2, 1.1]), np.array([False, False, True, False])
NEIGHBOURS = torch.stack([(torch.arange(30) + shift) % 30 for shift in (1, 2, 5)], 1)


class Net(nn.Module):
    """Built from tensors that exist: its weights do not depend on the default dtype and device."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(normal(8, 4, seed=5)), nn.Parameter(normal(3, 8, seed=6))
        self.body, self.head = nn.Tanh(), nn.Identity()

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.body(nn.functional.linear(inputs, self.first.to(inputs.dtype)))
        outputs: Tensor = self.head(nn.functional.linear(hidden, self.second.to(inputs.dtype)))
        return outputs


NET = Net().eval()
LAYERS = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
for number, tensor in enumerate(LAYERS.state_dict().values()):
    tensor.copy_(normal(*tensor.shape, seed=8 + number))
PARAMETERS = list(NET.parameters())
GRADIENTS = [normal(*p.shape, seed=7) for p in PARAMETERS]
ADAM = torch.optim.Adam(PARAMETERS, lr=0.1)


def loss_of(inputs: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(NET(inputs), targets)


def loss() -> Tensor:
    return loss_of(INPUTS, TARGETS)


def product(v: Tensor) -> Tensor:
    return OPERATOR * v


def stream(kind: Any) -> Tensor:
    found = kind()
    for first, second in zip(X.split(35), Y.split(35), strict=True):
        found.update([first], [second])
    result: Tensor = found.result()
    return result


def operator() -> Tensor:
    hessian = measures.HessianOperator(loss, PARAMETERS)
    return hessian(torch.linspace(-1, 1, hessian.dim, dtype=torch.float32, device="cpu"))


def preserved() -> bool:
    with measures.preserved(NET):
        NET.train()
    return NET.training


def hvp() -> bool:
    return measures.check_hvp(NET, lambda net: net(INPUTS.double()).pow(2).sum()).ok


def ends(net: Any) -> list[tuple[nn.Linear, nn.Linear]]:
    return [(net[0], net[2])]


m = measures
SETTLED = {1.0: m.Settling(5.0, 0.8, 1.4, 1.0, 1.3, 1.3), 2.0: m.Settling(9.0, 0.6, 1.3, 1.0, 1.2, 1.2)}
CALLS: dict[str, Callable[[], Any]] = {
    "HessianOperator": operator,
    "MinibatchCKA": lambda: stream(m.MinibatchCKA),
    "StreamingCKA": lambda: stream(m.StreamingCKA),
    "across_rates": lambda: m.across_rates(SETTLED, low=0.9, high=1.15, left=0.3),
    "against_defaults": lambda: m.against_defaults(m.debiased_cka, (X, Y), (Y, X), (X, X), X, LABELS),
    "batch_losses": lambda: (
        m.HessianOperator(*m.batch_losses(loss_of, INPUTS, TARGETS, 25)[:1], PARAMETERS).loss
    ),
    "batch_sharpness": lambda: m.batch_sharpness(lambda i: loss_of(INPUTS[i], TARGETS[i]), 60, 5, PARAMETERS),
    "batched_collapse": lambda: m.batched_collapse(lambda: [(X, LABELS)], normal(3, 6)),
    "biased_cka": lambda: m.biased_cka(X, Y),
    "calibrated": lambda: m.calibrated(0.5, 5, 70),
    "canonical_correlations": lambda: m.canonical_correlations(X, Y),
    "capture": lambda: m.capture(NET, {"body": NET.body}, NET.head, INPUTS)["body"],
    "chance_nc1": lambda: m.chance_nc1(600, 23, 3),
    "central_flow": lambda: m.central_flow(
        lambda w: 0.5 * w[1] * w[0] ** 2 - 0.1 * w[1], OPERATOR[:2].double(), lr=0.5, updates=2
    ),
    "check_hvp": hvp,
    "cka_matrix": lambda: m.cka_matrix([X], [Y]),
    "cka_null": lambda: m.cka_null([X], [Y], debiased=False),
    "class_means": lambda: m.class_means(X, LABELS, 3),
    "compare_scaling": lambda: m.compare_scaling(SIZES, LOSSES),
    "critical_batch_size": lambda: m.critical_batch_size(np.arange(1, 6), np.arange(9.0, 4, -1)),
    "curve_collapse": lambda: m.curve_collapse(np.arange(1.0, 41).reshape(2, 2, 10)).ratio,
    "debiased_cka": lambda: m.debiased_cka(X, Y),
    "delay_summary": lambda: m.delay_summary(DELAYS, CENSORED),
    "dissimilarities": lambda: m.dissimilarities(X),
    "effective_rank": lambda: m.effective_rank(MATRIX),
    "eigenlearning_error": lambda: m.eigenlearning_error(np.ones(40), np.ones(40), 10, 0.1),
    "empirical_ntk": lambda: m.empirical_ntk(NET, INPUTS[:6]),
    "error_barrier": lambda: m.error_barrier(NET, Net().eval(), lambda net: float(net(INPUTS).sum())),
    "error_consistency": lambda: m.error_consistency(LABELS, LABELS // 2, torch.zeros_like(LABELS)),
    "fit_scaling": lambda: m.fit_scaling(SIZES, LOSSES),
    "fit_tail": lambda: m.fit_tail(SPECTRUM, seeded(), draws=50),
    "fragility": lambda: m.fragility(STEPS, TRAIN, VALIDATION, budget=1000, chance=0.1),
    "gap_area": lambda: m.gap_area(STEPS, TRAIN, VALIDATION),
    "gram": lambda: m.gram(X),
    "grokking_times": lambda: m.grokking_times(STEPS, TRAIN, VALIDATION, budget=1000, chance=0.1),
    "gradient_noise_scale": lambda: m.gradient_noise_scale(
        lambda i: loss_of(INPUTS[i], TARGETS[i]), 60, 5, PARAMETERS
    ),
    "hessian_trace": lambda: m.hessian_trace(product, 60, sketch=3),
    "isometric_compress": lambda: m.isometric_compress(X[:4]),
    "kernel_change": lambda: m.kernel_change(KERNEL, OTHER),
    "kernel_distance": lambda: m.kernel_distance(KERNEL, OTHER),
    "kernel_regression_error": lambda: m.kernel_regression_error(
        np.eye(20), np.ones((20, 1)), 5, 0.1, np.random.default_rng(0), draws=3
    ),
    "layers_identified": lambda: m.layers_identified(KERNEL),
    "l2_decay": lambda: m.l2_decay(ADAM),
    "log_slope": lambda: m.log_slope(SIZES, LOSSES),
    "max_cka_null": lambda: m.max_cka_null([X], [Y], 9, seeded()).maxima,
    "max_knn_null": lambda: m.max_knn_null([X], [Y], 9, seeded()).maxima,
    "match_weights": lambda: m.match_weights(LAYERS, LAYERS, ends).net[0].weight,
    "mean_cca": lambda: m.mean_cca(X, Y),
    "mean_cca_matrix": lambda: m.mean_cca_matrix([X], [Y]),
    "mode_strengths": lambda: [a.tolist() for a in m.mode_strengths(np.ones((3, 2, 2)), np.diag([2.0, 1.0]))],
    "mutual_knn": lambda: m.mutual_knn(X, Y),
    "mutual_knn_matrix": lambda: m.mutual_knn_matrix([X], [Y]),
    "mutual_knn_null": lambda: m.mutual_knn_null([X], [Y]),
    "nearest_mean_mismatch": lambda: m.nearest_mean_mismatch(X, normal(3, 6), normal(3, 6, seed=1)),
    "nearest_neighbours": lambda: m.nearest_neighbours(X, 5),
    "neighbour_null": lambda: m.neighbour_null(NEIGHBOURS, NEIGHBOURS),
    "neighbour_overlap": lambda: m.neighbour_overlap(NEIGHBOURS, NEIGHBOURS),
    "neural_collapse": lambda: m.neural_collapse(X, LABELS, normal(3, 6)),
    "participation_ratio": lambda: m.participation_ratio(MATRIX),
    "passage_times": lambda: m.passage_times(
        np.arange(5.0), np.linspace(0.1, 0.9, 10).reshape(2, 5), 0.5
    ).tolist(),
    "permutation_logrank": lambda: m.permutation_logrank(
        DELAYS, CENSORED, DELAYS + 1, CENSORED, np.random.default_rng(0)
    ),
    "permutation_null": lambda: m.permutation_null(m.debiased_cka, X, Y, 5, seeded()),
    "permuted_collapse": lambda: m.permuted_collapse(X, LABELS, normal(3, 6), None, seeded()),
    "permute_units": lambda: m.permute_units(LAYERS, ends, seeded()).net[0].weight,
    "preconditioned": lambda: m.preconditioned(product, OPERATOR)(OPERATOR),
    "preconditioner": lambda: m.preconditioner(ADAM, PARAMETERS, GRADIENTS),
    "preserved": preserved,
    "feature_matrices": lambda: measures.feature_matrices(LAYERS, LAYERS[2], INPUTS),
    "traceless_cosine": lambda: measures.traceless_cosine(KERNEL, OTHER),
    "procrustes_distance": lambda: m.procrustes_distance(X, Y),
    "procrustes_similarity": lambda: m.procrustes_similarity(X, Y),
    "pseudo_ntk": lambda: m.pseudo_ntk(NET, INPUTS[:6]),
    "pwcca": lambda: m.pwcca(X, Y),
    "random_feature_errors": lambda: m.random_feature_errors(
        np.eye(20) + 0.1, np.arange(20.0)[:, None], 5, np.array([2, 8]), np.random.default_rng(0), draws=3
    ).tolist(),
    "rsa": lambda: m.rsa(X, Y),
    "sampled_spectrum": lambda: m.sampled_spectrum(MATRIX, m.participation_ratio, blocks=10),
    "settling": lambda: m.settling(STEPS, TRAIN, np.ones(1000), level=0.5),
    "smooth_minimum": lambda: m.smooth_minimum(np.arange(6.0), (np.arange(6.0) - 2.2) ** 2),
    "spectral_decay": lambda: m.spectral_decay(SPECTRUM, 5, 150),
    "spectral_density": lambda: m.spectral_density(product, 60, probes=2, order=10),
    "stability_threshold": lambda: m.stability_threshold(ADAM),
    "stable_rank": lambda: m.stable_rank(MATRIX),
    "sustained": lambda: m.sustained(STEPS, TRAIN, 0.9),
    "svcca": lambda: m.svcca(X, Y),
    "target_alignment": lambda: m.target_alignment(KERNEL, Y),
    "top_eigenvalues": lambda: m.top_eigenvalues(product, 60, start=torch.eye(60, 2, device="cpu").float()),
    "trace_ntk": lambda: m.trace_ntk(NET, INPUTS[:6]),
    "within_class": lambda: m.within_class(X, LABELS),
    "wrong_alike": lambda: m.wrong_alike(LABELS, LABELS // 2 + 1, torch.zeros_like(LABELS)),
}
CLASSES = ("HessianOperator", "MinibatchCKA", "StreamingCKA")
MEASURES = sorted(
    name for name in measures.__all__ if inspect.isfunction(getattr(measures, name)) or name in CLASSES
)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def matmul_in_bfloat16() -> Iterator[None]:
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision("highest")


@contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


SETTINGS: dict[str, Callable[[], Any]] = {
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "default device": lambda: torch.device("meta"),
    "default dtype float64": lambda: default_dtype(torch.float64),
    "default dtype bfloat16": lambda: default_dtype(torch.bfloat16),
    "inference mode": torch.inference_mode,
    "no grad": torch.no_grad,
    "float32 products in bfloat16": matmul_in_bfloat16,
    "deterministic algorithms": deterministic,
    "numpy raises": lambda: np.errstate(all="raise"),
}


def numbers(found: Any) -> Any:
    """Results as nested lists, bit for bit."""
    if is_dataclass(found) and not isinstance(found, type):
        return numbers({name: getattr(found, name) for name in found.__dataclass_fields__})
    if isinstance(found, dict):
        return {str(key): numbers(value) for key, value in found.items()}
    if isinstance(found, Tensor):
        return [str(found.dtype), str(found.device), found.detach().cpu().double().numpy().tobytes()]
    if isinstance(found, list | tuple):
        return [numbers(each) for each in found]
    return "NaN" if isinstance(found, float) and math.isnan(found) else found


def test_every_measure_has_a_call_here() -> None:
    assert sorted(CALLS) == sorted(MEASURES)


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    return {name: numbers(call()) for name, call in CALLS.items()}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", MEASURES)
def test_no_setting_of_the_caller_changes_a_number(name: str, setting: str, plain: dict[str, Any]) -> None:
    with SETTINGS[setting]():
        found = CALLS[name]()
    assert numbers(found) == plain[name]
    assert not any(t.is_inference() for t in tensors_of(found)) or setting != "inference mode"


def tensors_of(found: Any) -> list[Tensor]:
    if isinstance(found, Tensor):
        return [found]
    if is_dataclass(found) and not isinstance(found, type):
        return [each for name in found.__dataclass_fields__ for each in tensors_of(getattr(found, name))]
    return []


def test_the_settings_of_the_caller_come_back_also_after_an_error() -> None:
    with ExitStack() as stack:
        for enter in (SETTINGS["autocast"], SETTINGS["inference mode"], SETTINGS["numpy raises"]):
            stack.enter_context(enter())
        stack.enter_context(matmul_in_bfloat16())
        stack.enter_context(torch.autocast("cuda", enabled=False))
        with own_settings():
            assert not torch.is_autocast_enabled("cpu")
            assert not torch.is_inference_mode_enabled()
            assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"
            assert np.geterr()["over"] == "warn"
        with pytest.raises(MeasurementError):
            measures.gram(X / 0)
        assert torch.is_autocast_enabled("cpu")
        assert torch.is_inference_mode_enabled()
        assert torch.get_float32_matmul_precision() == "medium"
        assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"
        assert np.geterr()["over"] == "raise"


def test_a_loss_that_enters_autocast_by_itself_is_measured_as_it_is() -> None:
    def rounded() -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return loss()

    value = measures.HessianOperator(rounded, PARAMETERS).loss
    assert value != measures.HessianOperator(loss, PARAMETERS).loss
    assert value == pytest.approx(loss().item(), rel=1e-2)


def test_the_trace_within_autocast_is_exact_for_a_diagonal() -> None:
    diagonal = torch.linspace(1, 2, 1000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = measures.hessian_trace(lambda v: diagonal * v, 1000)
    assert found.value == pytest.approx(1500, abs=1e-4)  # 1504 in bfloat16


def test_signatures_and_docstrings_are_those_of_the_measures() -> None:
    for name in MEASURES:
        measure = getattr(measures, name)
        assert inspect.getdoc(measure)
        assert "args" not in inspect.signature(measure).parameters
        assert getattr(measure, "__name__", name) == name


# ------------------------------------------------------------------------------------- what is no tensor


def is_tensor(parameter: inspect.Parameter) -> bool:
    """Whether an argument is a tensor or a sequence of them."""
    return "Tensor" in str(parameter.annotation) and "Callable" not in str(parameter.annotation)


ARGUMENTS = [
    (name, parameter.name)
    for name in MEASURES
    if name not in CLASSES
    for parameter in inspect.signature(getattr(measures, name)).parameters.values()
    if is_tensor(parameter)
]


def called_with(name: str, argument: str, value: Any) -> Any:
    """The measure of that name with arguments of the right kinds, but for one."""
    function = getattr(measures, name)
    given: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        text = str(parameter.annotation)
        if parameter.name == argument:
            given[parameter.name] = value
        elif parameter.default is inspect.Parameter.empty:
            given[parameter.name] = [X] if "Sequence" in text else X
    return function(**given)


@pytest.mark.parametrize(("name", "argument"), ARGUMENTS)
def test_a_numpy_array_in_place_of_a_tensor_is_refused_in_one_way(name: str, argument: str) -> None:
    with pytest.raises(
        MeasurementError,
        match=rf"a torch tensor is expected(.|\n)*where: +{name}, {argument}\n"
        r" *got: +a numpy array, float64 \[70, 6\](.|\n)*torch.from_numpy",
    ):
        called_with(name, argument, X.double().numpy())


@pytest.mark.parametrize(("name", "argument"), ARGUMENTS)
@pytest.mark.parametrize("value", [[1.0, 2.0], 1.0, "X"], ids=str)
def test_what_else_is_no_tensor_is_refused_in_one_way(name: str, argument: str, value: Any) -> None:
    with pytest.raises(
        MeasurementError, match=rf"a torch tensor is expected(.|\n)*where: +{name}, {argument}"
    ):
        called_with(name, argument, value)


@pytest.mark.parametrize(("name", "argument"), ARGUMENTS)
def test_a_sparse_tensor_is_refused_in_one_way(name: str, argument: str) -> None:
    with pytest.raises(
        MeasurementError, match=rf"a dense tensor is expected(.|\n)*where: +{name}, {argument}(.|\n)*to_dense"
    ):
        called_with(name, argument, X.to_sparse())


ARRAYS = [
    (name, parameter.name)
    for name in MEASURES
    if name not in CLASSES
    for parameter in inspect.signature(getattr(measures, name)).parameters.values()
    if "ndarray" in str(parameter.annotation)
]


@pytest.mark.parametrize(("name", "argument"), ARRAYS)
@pytest.mark.parametrize(("value", "do"), [(X, "tensor.numpy"), ([1.0, 2.0], "np.array"), (1.0, "np.array")])
def test_what_is_no_array_is_refused_in_one_way(name: str, argument: str, value: Any, do: str) -> None:
    others = inspect.signature(getattr(measures, name)).parameters.values()
    given = {each.name: X.numpy() for each in others if each.default is inspect.Parameter.empty}
    with pytest.raises(
        MeasurementError, match=rf"a numpy array is expected(.|\n)*where: +{name}, {argument}(.|\n)*{do}"
    ):
        getattr(measures, name)(**given | {argument: value})


@pytest.mark.parametrize("kind", [measures.StreamingCKA, measures.MinibatchCKA])
def test_batches_of_arrays_are_refused_like_arrays(kind: Any) -> None:
    with pytest.raises(MeasurementError, match=rf"{kind.__name__}.update, Xs\[0\](.|\n)*a numpy array"):
        kind().update([X.numpy()])


BAD = {
    "NaN": lambda X: X.clone().fill_(math.nan),
    "infinity": lambda X: X.clone().fill_(math.inf),
    "complex": lambda X: X.to(torch.complex64),
    "no entries": lambda X: X[:0],
    "three axes": lambda X: X[None, None].expand(2, 2, *X.shape),
}
DATA = {
    "biased_cka": X, "canonical_correlations": X, "cka_matrix": [X], "cka_null": [X], "debiased_cka": X,
    "dissimilarities": X, "effective_rank": MATRIX, "gram": X, "isometric_compress": X, "kernel_change": KERNEL,
    "kernel_distance": KERNEL, "mean_cca": X, "mean_cca_matrix": [X], "layers_identified": KERNEL, "mutual_knn": X, "mutual_knn_matrix": [X], "mutual_knn_null": [X],
    "participation_ratio": MATRIX, "procrustes_distance": X, "procrustes_similarity": X, "pwcca": X, "rsa": X,
    "spectral_decay": SPECTRUM, "stable_rank": MATRIX, "svcca": X, "target_alignment": KERNEL, "fit_tail": SPECTRUM,
    "nearest_neighbours": X, "within_class": X, "class_means": X, "neural_collapse": X, "sampled_spectrum": MATRIX,
    "fit_scaling": SIZES, "compare_scaling": SIZES, "log_slope": SIZES, "permuted_collapse": X,
    "nearest_mean_mismatch": X,
}  # fmt: skip
"""The first argument of measures of data."""
REST: dict[str, dict[str, Any]] = {
    "spectral_decay": {"first": 5, "last": 150},
    "fit_tail": {"generator": seeded(), "draws": 50},
    "sampled_spectrum": {"statistic": measures.participation_ratio, "blocks": 10},
    "within_class": {"labels": LABELS},
    "class_means": {"labels": LABELS, "classes": 3},
    "neural_collapse": {"labels": LABELS, "weight": normal(3, 6)},
    "permuted_collapse": {"labels": LABELS, "weight": normal(3, 6), "bias": None, "generator": seeded()},
    "nearest_mean_mismatch": {"means": normal(3, 6), "weight": normal(3, 6)},
    "fit_scaling": {"losses": LOSSES},
    "compare_scaling": {"losses": LOSSES},
    "log_slope": {"y": LOSSES},
    "target_alignment": {"targets": Y},
    "kernel_change": {"reference": KERNEL},
    "kernel_distance": {"L": KERNEL},
}


@pytest.fixture
def unchecked() -> Iterator[None]:
    """As users call it: shapes of signatures are checked in tests only."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("name", DATA)
def test_numbers_without_meaning_are_refused(name: str, kind: str) -> None:
    function, data = getattr(measures, name), DATA[name]
    first, *others = inspect.signature(function).parameters.values()
    wrong = [BAD[kind](each) for each in data] if isinstance(data, list) else BAD[kind](data)
    given = {first.name: wrong} | REST.get(name, {})
    for parameter in others:
        if parameter.default is inspect.Parameter.empty and parameter.name not in given:
            given[parameter.name] = data
    with pytest.raises(MeasurementError):
        function(**given)
