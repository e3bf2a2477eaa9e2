"""Messages arrive as they were sent."""

from __future__ import annotations

import pickle

import pytest

from universality.errors import DeviceUnavailable, UniversalityError
from universality.plan.plan import Job
from universality.plugin.spec import Component, Recipe, RunSpec
from universality.train.queue import planned

SPEC = RunSpec(
    Component("mlp", (("width", 8),), "mlp[width=8]"), Component("digits"), Recipe(steps=9, lr=0.1), 0
)


def test_a_planned_run_survives_the_pipe() -> None:
    (sent,) = planned([Job(SPEC, {"loss": (0, 10)})])
    found = pickle.loads(pickle.dumps(sent))
    assert (found, str(found.spec.architecture)) == (sent, "mlp[width=8]")


@pytest.mark.parametrize("kind", [UniversalityError, DeviceUnavailable])
def test_an_error_that_the_user_can_mend_survives_the_pipe(kind: type[UniversalityError]) -> None:
    error = kind("what", where="where", got="got", expected="expected", do="do")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error)
