"""Sweeps are found from full parameters, and only a changed verdict makes a boundary."""

from msgspec.structs import replace

from tests.judge.toy_cells import PHENOMENA, cell, effects, plan_of
from universality.judge.boundary import boundaries
from universality.judge.controls import judge
from universality.judge.summary import summarise
from universality.plugin.phenomenon import ControlId
from universality.plugin.spec import Component

PRESENT, ABSENT, OPEN = [0.5, 0.5, 0.6], [5.0, 5.1, 5.2], [0.5, 1.0, 1.6]
DIGITS = Component("digits", (("rows", 100),), "digits")


def network(scale: float, label: str, act: str = "tanh") -> Component:
    return Component("mlp", (("act", act), ("bias", True), ("scale", scale)), label)


NETWORKS = {
    "a": network(1.0, "mlp"),  # the default, which its address does not name
    "b": network(10.0, "mlp[scale=10]"),
    "c": network(30.0, "mlp[scale=30]"),
    "d": network(100.0, "mlp[scale=100]"),
}
PLAN = plan_of(components=[(part, DIGITS) for part in NETWORKS.values()])


def told(**values: list[float]) -> list[str]:
    records = [cell(effects(*v), architecture=str(NETWORKS[k])) for k, v in values.items()]
    return [str(b) for b in boundaries(judge(records), PLAN)]


def test_a_verdict_that_changes_has_its_boundary_between_the_neighbouring_values() -> None:
    assert told(d=ABSENT, a=PRESENT, b=PRESENT) == [
        "changes between 10 and 100: present at 1, present at 10, absent at 100"
    ]
    assert told(a=PRESENT, b=ABSENT, d=PRESENT) == [
        "changes between 1 and 10 and again between 10 and 100: present at 1, absent at 10, present at 100"
    ]


def test_undecided_values_do_not_place_a_boundary() -> None:
    assert told(a=PRESENT, c=OPEN, d=ABSENT) == [
        "changes between 1 and 100: present at 1, absent at 100 (not decided at 30)"
    ]
    assert told(a=PRESENT, c=OPEN) == []
    assert told(a=PRESENT, d=PRESENT) == ["no change in this range: present at 1, present at 100"]


def test_nothing_is_swept_where_more_than_one_parameter_differs() -> None:
    plan = plan_of(
        components=[(NETWORKS["a"], DIGITS), (network(10.0, "mlp[act=relu,scale=10]", "relu"), DIGITS)]
    )
    records = [cell(effects(*PRESENT)), cell(effects(*ABSENT), architecture="mlp[act=relu,scale=10]")]
    assert boundaries(judge(records), plan) == []


def test_a_task_can_be_swept_and_controls_are_no_part_of_a_sweep() -> None:
    tasks = [Component("t", (("rows", n),), f"t[rows={n}]") for n in (5, 50)]
    plan = plan_of(components=[(NETWORKS["a"], task) for task in tasks])
    records = [cell(effects(*v), task=str(t)) for t, v in zip(tasks, (ABSENT, PRESENT), strict=True)]
    control = replace(records[0], control=ControlId("negative", "few rows"), expects=("absent",))
    (boundary,) = boundaries(judge([*records, control]), plan)
    assert (boundary.of, boundary.parameter, boundary.beside) == ("t", "rows", "mlp")
    assert boundary.changes == ((5.0, 50.0),)
    assert boundary.undecided == ()


def test_a_parameter_of_the_phenomenon_is_swept_with_its_default_among_the_values() -> None:
    settings = [
        Component("edge", (("decay", 1.0), ("steps", 10)), "edge"),
        Component("edge", (("decay", 0.1), ("steps", 10)), "edge[decay=0.1]"),
        Component("edge", (("decay", 0.0), ("steps", 10)), "edge[decay=0.0]"),
        Component("edge", (("decay", 0.0), ("steps", 20)), "edge[decay=0.0,steps=20]"),
    ]
    effects_of = zip(settings, (PRESENT, OPEN, ABSENT, PRESENT), strict=True)
    records = [cell(effects(*v), variant=str(part), swept=part != settings[0]) for part, v in effects_of]
    plan = plan_of(settings=settings, components=[(NETWORKS["a"], DIGITS)])
    boundary, other = boundaries(judge(records), plan)
    assert (other.parameter, other.example, other.changes) == ("steps", "edge[decay=0.0]", ((10.0, 20.0),))
    assert (boundary.of, boundary.parameter, boundary.beside) == ("edge", "decay", "mlp, digits")
    assert str(boundary) == ("changes between 0 and 1: absent at 0, present at 1 (not decided at 0.1)")


def test_swept_cells_are_judged_by_the_controls_and_not_counted() -> None:
    counted = cell(effects(*PRESENT), variant="edge")
    further = cell(effects(*ABSENT), variant="edge[decay=0]", swept=True)
    failing = replace(counted, control=ControlId("negative", "none"), expects=("absent",))
    right = replace(failing, groups=tuple(effects(*ABSENT)))
    first, second, _ = judge([counted, further, right])
    assert (first.counted, second.counted, second.verdict) == (True, False, "absent")
    (row,) = summarise([first, second], PHENOMENA)
    assert (row.counts["present"], row.counts["absent"]) == (1, 0)
    assert second.p_holm is None
    assert judge([counted, further, failing])[1].verdict == "invalid"


def test_a_plan_that_holds_no_parameters_has_no_boundaries() -> None:
    verdicts = judge([cell(effects(*PRESENT)), cell(effects(*ABSENT), architecture="mlp[scale=10]")])
    assert boundaries(verdicts, PLAN)[0].changes == ((1.0, 10.0),)
    assert boundaries(verdicts, plan_of()) == []


def test_a_parameter_of_a_modifier_is_swept_like_one_of_the_architecture() -> None:
    def lazy(alpha: float, base: int = 8) -> Component:
        scale = Component(
            "output_scale", (("alpha", alpha), ("centred", True)), f"output_scale[alpha={alpha:g}]"
        )
        mup = Component("mup", (("base", base),), f"mup[base={base}]")
        return Component("mlp", (("width", 8),), "mlp", (scale, mup))

    plain = Component("mlp", (("width", 8),), "mlp")
    networks = [lazy(1), lazy(10), lazy(100, base=4), plain]
    plan = plan_of(components=[(net, DIGITS) for net in networks])
    values = zip(networks, (PRESENT, ABSENT, PRESENT, PRESENT), strict=True)
    verdicts = judge([cell(effects(*v), architecture=str(net)) for net, v in values])
    (boundary,) = boundaries(verdicts, plan)
    assert (boundary.of, boundary.parameter, boundary.changes) == ("output_scale", "alpha", ((1.0, 10.0),))
    assert boundary.example == "mlp+output_scale[alpha=1]+mup[base=8]"
