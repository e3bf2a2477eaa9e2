"""Sweeps are found from full parameters, and only a changed verdict makes a boundary."""

from dataclasses import replace

from tests.test_verdicts import cell, effects
from universality.boundary import boundaries, parameters_of, swept
from universality.verdicts import judge

PRESENT, ABSENT, OPEN = [0.5, 0.5, 0.6], [5.0, 5.1, 5.2], [0.5, 1.0, 1.6]


def spec(architecture: str, scale: float, task: str = "digits") -> dict[str, object]:
    return {
        "architecture": {
            "name": "mlp",
            "params": {"scale": scale, "act": "tanh", "bias": True},
            "label": architecture,
        },
        "task": {"name": task, "params": {"rows": 100}, "label": task},
    }


SPECS = {
    "a": spec("mlp", 1.0),  # the default, which its address does not name
    "b": spec("mlp[scale=10]", 10.0),
    "c": spec("mlp[scale=30]", 30.0),
    "d": spec("mlp[scale=100]", 100.0),
}


def found(**values: list[float]) -> list[str]:
    addresses = {"a": "mlp", "b": "mlp[scale=10]", "c": "mlp[scale=30]", "d": "mlp[scale=100]"}
    records = [cell(effects(*v), architecture=addresses[k]) for k, v in values.items()]
    return [str(b) for b in boundaries(judge(records), *parameters_of(SPECS))]


def test_a_verdict_that_changes_has_its_boundary_between_the_neighbouring_values() -> None:
    assert found(d=ABSENT, a=PRESENT, b=PRESENT) == [
        "changes between 10 and 100: present at 1, present at 10, absent at 100"
    ]
    assert found(a=PRESENT, b=ABSENT, d=PRESENT) == [
        "changes between 1 and 10 and again between 10 and 100: present at 1, absent at 10, present at 100"
    ]


def test_undecided_values_do_not_place_a_boundary() -> None:
    assert found(a=PRESENT, c=OPEN, d=ABSENT) == [
        "changes between 1 and 100: present at 1, absent at 100 (1 not decided)"
    ]
    assert found(a=PRESENT, c=OPEN) == []
    assert found(a=PRESENT, d=PRESENT) == ["no change in this range: present at 1, present at 100"]


def test_nothing_is_swept_where_more_than_one_parameter_differs() -> None:
    specs = {**SPECS, "b": spec("mlp[scale=10]", 10.0)}
    specs["b"]["architecture"]["params"]["act"] = "relu"  # type: ignore[index]
    records = [cell(effects(*PRESENT)), cell(effects(*ABSENT), architecture="mlp[scale=10]")]
    assert boundaries(judge(records), *parameters_of(specs)) == []


def test_a_task_can_be_swept_and_controls_are_no_part_of_a_sweep() -> None:
    specs = {
        str(n): {
            "architecture": SPECS["a"]["architecture"],
            "task": {"name": "t", "params": {"rows": n}, "label": f"t[rows={n}]"},
        }
        for n in (5, 50)
    }
    records = [cell(effects(*v), task=f"t[rows={n}]") for n, v in ((5, ABSENT), (50, PRESENT))]
    control = replace(records[0], control="negative: few rows", expects=("absent",))
    (boundary,) = boundaries(judge([*records, control]), *parameters_of(specs))
    assert (boundary.of, boundary.parameter, boundary.beside) == ("t", "rows", "mlp")
    assert boundary.changes == ((5.0, 50.0),)
    assert boundary.undecided == 0


def test_a_plan_without_usable_specs_has_no_boundaries() -> None:
    verdicts = judge([cell(effects(*PRESENT)), cell(effects(*ABSENT), architecture="mlp[scale=10]")])
    assert swept(verdicts, {"specs": SPECS})[0].changes == ((1.0, 10.0),)
    for broken in ({}, {"specs": {"a": {}}}, {"specs": [1]}, {"specs": {"a": {"architecture": 3}}}):
        assert swept(verdicts, broken) == []
