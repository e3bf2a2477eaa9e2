"""A series is read at the steps that were recorded, and at no other."""

import numpy as np
import pytest

from universality.plugin.trajectory import Series


def a_series() -> Series:
    return Series(np.array([0, 10, 30]), np.array([1.0, 2.0, 3.0]))


def test_a_series_is_read_at_exactly_the_steps_that_were_recorded() -> None:
    assert [a_series().at(s) for s in (0, 10, 30)] == [1.0, 2.0, 3.0]
    assert len(a_series()) == 3


@pytest.mark.parametrize("step", [-1, 5, 29, 31])
def test_a_series_has_no_value_between_its_steps(step: int) -> None:
    with pytest.raises(KeyError, match=f"nothing was recorded at step {step}"):
        a_series().at(step)


def test_a_series_since_a_step_begins_with_it() -> None:
    assert a_series().since(10).steps.tolist() == [10, 30]
    assert a_series().since(11).values.tolist() == [3.0]
    assert len(a_series().since(31)) == 0
