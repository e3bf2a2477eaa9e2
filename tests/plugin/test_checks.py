"""A phenomenon that cannot be judged is refused when it is registered, with file and line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest

from universality.errors import BadParameter, UnknownName
from universality.plugin import (
    Lines,
    Most,
    Phenomenon,
    Run,
    Trajectory,
    Within,
    at_end,
    negative,
    per_pair,
    per_seed,
    positive,
    require,
)
from universality.plugin import claim as declare
from universality.plugin.asking import ask
from universality.plugin.checks import check_phenomenon
from universality.plugin.registry import plugin_class, register

CHART = Lines({"train_loss": "loss"}, "loss")


@per_seed
def runs(self: Phenomenon, run: Run) -> Run:
    return run.trained(steps=3, lr=0.1)


@per_pair
def pairs(self: Phenomenon, a: Run, b: Run) -> dict[str, Run]:
    return {"a": a, "b": b}


def claim(bound: Any = Within(low=0.0, high=1.0), **changes: Any) -> Any:  # noqa: B008
    options = {"effect": at_end("train_loss"), "runs": runs, "title": "one", "chart": CHART, **changes}
    return declare(bound, **options)


def phenomenon(**attributes: Any) -> type[Phenomenon]:
    """A sound phenomenon with some of its attributes changed."""
    body = {
        "name": "sound",
        "sense": "number",
        "strand": "laws",
        "one": claim(),
        "reference": ("mlp", "digits"),
        "controls": (positive("p", "because"), negative("n", "because")),
        "parameter": 1,
        "__annotations__": {"parameter": "int"},
        **attributes,
    }
    return dataclass(frozen=True, kw_only=True)(type("Sound", (Phenomenon,), body))


def test_a_sound_phenomenon_conforms() -> None:
    check_phenomenon(phenomenon())


def test_the_built_in_phenomena_conform() -> None:
    for name in ("edge_of_stability", "grokking", "neural_collapse", "representation_similarity"):
        cls = plugin_class("phenomenon", name)
        check_phenomenon(cls)
        assert {setting.sign for setting in cls.controls} == {"positive", "negative"}


def test_a_phenomenon_without_titles_is_called_by_its_names() -> None:
    about = phenomenon(one=claim(title=""))().about
    assert (about.title, about.claims) == ("sound", {"one": "one"})
    about = phenomenon(title="Sound claims", one=claim(title="the first of all claims"))().about
    assert (about.title, about.claims) == ("Sound claims", {"one": "the first of all claims"})


def test_claims_are_those_of_the_class_in_their_order_and_of_its_bases() -> None:
    base = phenomenon(two=claim())
    assert list(base.claims) == ["one", "two"]
    below = dataclass(frozen=True, kw_only=True)(type("Below", (base,), {"three": claim()}))
    assert list(below.claims) == ["one", "two", "three"]
    assert list(base.claims) == ["one", "two"]


@pytest.mark.parametrize(("attribute", "value"), [("sense", "signn"), ("strand", None), ("one", None)])
def test_a_missing_or_misspelt_class_attribute_is_named(attribute: str, value: object) -> None:
    with pytest.raises(BadParameter, match="claims nothing" if attribute == "one" else attribute) as caught:
        check_phenomenon(phenomenon(**{attribute: value}))
    assert caught.value.where


@pytest.mark.parametrize(
    ("bound", "wrong"),
    [
        (Within(high=math.nan), "a bound that is no number"),
        (Within(), "no finite bound"),
        (Within(low=2.0, high=1.0), "the lower bound lies above the upper"),
        (Within(high=0.0, scale="log"), "no positive number lies inside"),
        (Most(at_least=math.nan), "no finite bound"),
    ],
)
def test_a_claim_that_cannot_be_met_or_missed_is_refused(bound: Within | Most, wrong: str) -> None:
    with pytest.raises(BadParameter, match="no effect can meet") as caught:
        check_phenomenon(phenomenon(one=claim(bound)))
    assert wrong in caught.value.got


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"bound": None}, "sound.one has no bound"),
        ({"bound": 0.05}, "sound.one has no bound"),
        ({"chart": ()}, "sound.one has no chart"),
        ({"chart": None}, "sound.one has no chart"),
        ({"chart": "lines"}, "sound.one has no chart"),
        ({"effect": None}, "sound.one measures nothing"),
        ({"runs": None}, "sound.one is bound to no runs"),
        ({"runs": runs.method}, "sound.one is bound to no runs"),
        ({"runs": pairs, "pooled": True}, "sound.one pools pairs"),
        ({"gates": [at_end("train_loss")]}, "a gate or criterion of sound.one is none"),
    ],
    ids=[
        "no bound",
        "a number for a bound",
        "charts of none",
        "no chart",
        "a word for a chart",
        "no effect",
        "no runs",
        "a method for runs",
        "pooled pairs",
        "a reading for a gate",
    ],
)
def test_an_incomplete_claim_is_refused_with_its_file_and_line(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(BadParameter) as caught:
        check_phenomenon(phenomenon(one=claim(**changes)))
    assert what in caught.value.what
    file, _, line = caught.value.where.rpartition(":")
    assert file == __file__
    assert line.isdigit()


def test_a_claim_that_no_control_judges_is_refused() -> None:
    controls = (positive("p", "because", claims=["one"]), negative("n", "because", claims=["one"]))
    with pytest.raises(BadParameter, match=r"no control judges the claim sound\.two"):
        check_phenomenon(phenomenon(two=claim(), controls=controls))
    with pytest.raises(BadParameter, match=r"no control judges the claim sound\.one"):
        check_phenomenon(phenomenon(controls=()))


@pytest.mark.parametrize(
    ("setting", "error", "told"),
    [
        (positive("p", "why", claims=["onee"]), UnknownName, "unknown claim 'onee'"),
        (positive("p", "why", paramter=2), UnknownName, "unknown parameter of phenomenon 'sound' 'paramter'"),
        ("p", BadParameter, "the controls of phenomenon 'sound' are not settings"),
    ],
    ids=["claim", "parameter", "no setting"],
)
def test_a_control_that_names_what_is_not_there_is_refused(
    setting: Any, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told) as caught:
        check_phenomenon(phenomenon(controls=(setting,)))
    if error is UnknownName:
        assert caught.value.do.startswith("did you mean")
        assert f"{__file__}:" in caught.value.where


def test_a_control_without_a_place_is_refused() -> None:
    with pytest.raises(BadParameter, match="names no task"):
        check_phenomenon(phenomenon(reference=("mlp", "")))
    check_phenomenon(
        phenomenon(reference=("", ""), controls=(positive("p", "w", architecture="mlp", task="digits"),))
    )


def test_it_is_refused_when_it_is_registered() -> None:
    with pytest.raises(BadParameter, match="has no chart"):
        register("unsound")(phenomenon(one=claim(chart=())))


def test_a_requirement_without_a_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="the requirement 'fitted' has no bound"):
        require("fitted", at_end("accuracy.train"))


def test_an_error_inside_a_plugin_names_the_plugin_and_the_method() -> None:
    def broken() -> None:
        raise ZeroDivisionError("oops")

    with pytest.raises(BadParameter, match="'sound' cannot be planned") as caught:
        ask(phenomenon()(), "runs", broken)
    assert caught.value.got == "ZeroDivisionError: oops"
    assert "runs()" in caught.value.where


def test_an_effect_may_be_any_function_of_a_run() -> None:
    def effect(run: Trajectory) -> float:
        return 1.0

    check_phenomenon(phenomenon(one=claim(effect=effect)))


@pytest.mark.parametrize(
    ("attributes", "what"),
    [
        (
            {"controls": (positive("p", "w"), positive("p", "x", parameter=2))},
            "two positive controls of phenomenon 'sound' have one name",
        ),
        ({"controls": (positive("x" * 301, "w"),)}, "the name of the control"),
        ({"controls": (positive(3, "w"),)}, "the name of the control 3"),  # type: ignore[arg-type]
        ({"version": 0}, "the version of phenomenon 'sound'"),
        ({"version": "2"}, "the version of phenomenon 'sound'"),
        ({"version": True}, "the version of phenomenon 'sound'"),
        ({"title": 5}, "the title of phenomenon 'sound'"),
        ({"title": "x" * 301}, "the title of phenomenon 'sound'"),
        ({"source": None}, "the source of phenomenon 'sound'"),
        ({"one": claim(title=None)}, "the title of the claim one"),
        ({"one": claim(Within(low=0.0, unit="x" * 301))}, "the unit of the claim one"),
        (
            {"gates": require("g", at_end("train_loss"), at_least=1)},
            "the gates of phenomenon 'sound' are no tuple",
        ),
        ({"asks": lambda cell: ""}, "the asks of phenomenon 'sound' are no tuple"),
        (
            {"one": claim(Within(low=0.0), asks=["no function"])},
            "an ask of the claim sound.one cannot be asked",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_could_not_be_stored_or_judged_after_training_is_refused_before(
    attributes: dict[str, Any], what: str
) -> None:
    with pytest.raises(BadParameter) as caught:
        check_phenomenon(phenomenon(**attributes))
    assert what in caught.value.what
    assert caught.value.where


def test_two_run_sets_of_one_name_are_refused() -> None:
    @per_seed
    def runs_runs(self: Phenomenon, run: Run) -> Run:
        return run

    with pytest.raises(BadParameter, match="two run sets of phenomenon 'sound' have one name") as caught:
        check_phenomenon(phenomenon(two=claim(runs=runs_runs)))
    assert caught.value.where.count(__file__) == 2


class Mixin:
    mixed = claim()


def test_claims_of_a_mixin_count_and_what_takes_the_place_of_a_claim_removes_it() -> None:
    base = phenomenon(two=claim())
    below = type("Below", (Mixin, base), {"two": None})
    assert set(below.claims) == {"one", "mixed"}


def test_a_run_set_of_a_subclass_takes_the_place_of_that_of_its_base() -> None:
    @per_seed
    def own(self: Phenomenon, run: Run) -> Run:
        return run.trained(steps=5, lr=0.1)

    own.method.__name__ = "runs"
    base = phenomenon(runs=runs)
    below = type("Below", (base,), {"runs": own})
    assert below.claims["one"].runs is own
    assert base.claims["one"].runs is runs
    # A set that is no attribute of the class is nobody's to replace.
    assert type("Other", (phenomenon(),), {"runs": own}).claims["one"].runs is runs
