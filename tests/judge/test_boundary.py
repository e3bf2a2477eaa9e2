"""Sweeps are found from full parameters, and only a changed verdict makes a boundary."""

from dataclasses import replace

from tests.judge.test_verdicts import cell, effects
from universality.judge.boundary import boundaries, parameters_of, swept
from universality.judge.verdicts import judge, universality

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
    return [str(b) for b in boundaries(judge(records), *parameters_of({"specs": SPECS}))]


def test_a_verdict_that_changes_has_its_boundary_between_the_neighbouring_values() -> None:
    assert found(d=ABSENT, a=PRESENT, b=PRESENT) == [
        "changes between 10 and 100: present at 1, present at 10, absent at 100"
    ]
    assert found(a=PRESENT, b=ABSENT, d=PRESENT) == [
        "changes between 1 and 10 and again between 10 and 100: present at 1, absent at 10, present at 100"
    ]


def test_undecided_values_do_not_place_a_boundary() -> None:
    assert found(a=PRESENT, c=OPEN, d=ABSENT) == [
        "changes between 1 and 100: present at 1, absent at 100 (not decided at 30)"
    ]
    assert found(a=PRESENT, c=OPEN) == []
    assert found(a=PRESENT, d=PRESENT) == ["no change in this range: present at 1, present at 100"]


def test_nothing_is_swept_where_more_than_one_parameter_differs() -> None:
    specs = {**SPECS, "b": spec("mlp[scale=10]", 10.0)}
    specs["b"]["architecture"]["params"]["act"] = "relu"  # type: ignore[index]
    records = [cell(effects(*PRESENT)), cell(effects(*ABSENT), architecture="mlp[scale=10]")]
    assert boundaries(judge(records), *parameters_of({"specs": specs})) == []


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
    (boundary,) = boundaries(judge([*records, control]), *parameters_of({"specs": specs}))
    assert (boundary.of, boundary.parameter, boundary.beside) == ("t", "rows", "mlp")
    assert boundary.changes == ((5.0, 50.0),)
    assert boundary.undecided == ()


def test_a_parameter_of_the_phenomenon_is_swept_with_its_default_among_the_values() -> None:
    variants = {
        "edge": {"name": "edge", "params": {"decay": 1.0, "steps": 10}},
        "edge[decay=0.1]": {"name": "edge", "params": {"decay": 0.1, "steps": 10}},
        "edge[decay=0.0]": {"name": "edge", "params": {"decay": 0.0, "steps": 10}},
        "edge[decay=0.0,steps=20]": {"name": "edge", "params": {"decay": 0.0, "steps": 20}},
    }
    known = zip(variants, (PRESENT, OPEN, ABSENT, PRESENT), strict=True)
    records = [replace(cell(effects(*v)), variant=address, swept=address != "edge") for address, v in known]
    boundary, other = swept(judge(records), {"variants": variants, "specs": SPECS})
    assert (other.parameter, other.example, other.changes) == ("steps", "edge[decay=0.0]", ((10.0, 20.0),))
    assert (boundary.of, boundary.parameter, boundary.beside) == ("edge", "decay", "mlp, digits")
    assert str(boundary) == ("changes between 0 and 1: absent at 0, present at 1 (not decided at 0.1)")


def test_swept_cells_are_judged_by_the_controls_and_not_counted() -> None:
    counted = replace(cell(effects(*PRESENT)), variant="edge")
    further = replace(cell(effects(*ABSENT)), variant="edge[decay=0]", swept=True)
    failing = replace(cell(effects(*PRESENT)), control="negative: none", expects=("absent",), variant="edge")
    right = replace(failing, expects=("present",))
    first, second, _ = judge([counted, further, right])
    assert (first.counted, second.counted, second.verdict) == (True, False, "absent")
    (row,) = universality([first, second], {})
    assert (row.counts["present"], row.counts["absent"]) == (1, 0)
    assert second.p_holm is None
    assert judge([counted, further, failing])[1].verdict == "invalid"


def test_a_plan_without_usable_specs_has_no_boundaries() -> None:
    verdicts = judge([cell(effects(*PRESENT)), cell(effects(*ABSENT), architecture="mlp[scale=10]")])
    assert swept(verdicts, {"specs": SPECS})[0].changes == ((1.0, 10.0),)
    for broken in ({}, {"specs": {"a": {}}}, {"specs": [1]}, {"specs": {"a": {"architecture": 3}}}):
        assert swept(verdicts, broken) == []
