"""What every public measure must say of itself: formula, shapes, cost, source, errors and a known answer."""

import inspect
import pkgutil
import re
from importlib import import_module

import pytest

from universality import measures

FUNCTIONS = sorted(name for name in measures.__all__ if inspect.isfunction(getattr(measures, name)))
CLASSES = ("HessianOperator", "StreamingCKA", "MinibatchCKA")
"""Classes that compute; the others are results."""

SAID = {
    "cost": r"\bCost\b",
    "source": r"\bSource\b",
    "errors": r"\bRaises\b|\berrors\b",
    "an example with its answer": r">>> ",
}


def test_every_name_that_is_offered_exists_once():
    assert len(set(measures.__all__)) == len(measures.__all__)
    # A module that is imported later takes the place of what is called like it.
    for module in pkgutil.iter_modules(measures.__path__):
        import_module(f"{measures.__name__}.{module.name}")
    assert [name for name in measures.__all__ if inspect.ismodule(getattr(measures, name))] == []


@pytest.mark.parametrize("name", [*FUNCTIONS, *CLASSES])
def test_a_measure_says_what_it_costs_where_it_is_from_and_what_it_refuses(name):
    text = inspect.getdoc(getattr(measures, name)) or ""
    assert [what for what, pattern in SAID.items() if not re.search(pattern, text)] == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_shapes_of_tensors_stand_in_the_signature(name):
    function = inspect.unwrap(getattr(measures, name))
    for parameter, annotation in inspect.get_annotations(function).items():
        assert not re.fullmatch(r"(Tensor|np\.ndarray|NDArray\[.*\])( \| None)?", str(annotation)), parameter


RESULTS = sorted(
    name for name in measures.__all__ if inspect.isclass(getattr(measures, name)) and name not in CLASSES
)


@pytest.mark.parametrize("name", RESULTS)
def test_results_are_frozen_and_say_what_they_hold(name):
    result = getattr(measures, name)
    assert result.__dataclass_params__.frozen
    assert len(inspect.getdoc(result)) > 40
