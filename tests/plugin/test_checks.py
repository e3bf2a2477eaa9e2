"""A phenomenon that cannot be judged is refused before anything is trained."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from universality.errors import BadParameter, UnknownName
from universality.plugin import Cell, Control, Cross, Group, Outcome, Phenomenon, Trajectory, Within
from universality.plugin.checks import ask, check_groups, check_phenomenon
from universality.plugin.bounds import Most
from universality.plugin.registry import resolve


@dataclass(frozen=True, kw_only=True)
class Sound(Phenomenon):
    name = "sound"
    sense = "number"
    strand = "laws"
    claims = {"one": Within(low=0.0, high=1.0)}  # noqa: RUF012
    expects: Any = None

    def applies(self, cell: Cell) -> str:
        return ""

    def groups(self, cell: Cell, cross: Cross) -> Sequence[Group]:
        return []

    def measure(self, runs: Mapping[str, Trajectory]) -> Mapping[str, Outcome]:
        return {}

    def controls(self) -> Sequence[Control]:
        return [Control("c", "positive", self, "mlp", "digits", self.expects, "because")]


def test_the_built_in_phenomena_conform() -> None:
    for name in ("edge_of_stability", "grokking", "neural_collapse", "representation_similarity"):
        controls = check_phenomenon(resolve("phenomenon", name))
        assert {c.sign for c in controls} == {"positive", "negative"}


def test_a_phenomenon_without_titles_is_called_by_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (Sound().about.title, Sound().about.claims) == ("sound", {"one": "one"})
    monkeypatch.setattr(Sound, "claim_titles", {"one": "the first of all claims", "gone": "no claim"})
    monkeypatch.setattr(Sound, "title", "Sound claims")
    assert Sound().about.title == "Sound claims"
    assert Sound().about.claims == {"one": "the first of all claims"}


def test_a_control_that_expects_an_unknown_claim_gets_a_suggestion() -> None:
    with pytest.raises(UnknownName, match="unknown claim 'onee'") as caught:
        check_phenomenon(Sound(expects={"onee": {"present"}}))
    assert caught.value.do == "did you mean 'one'?"


def test_a_control_that_expects_an_unknown_verdict_gets_a_suggestion() -> None:
    with pytest.raises(UnknownName, match="unknown verdict 'presnt'") as caught:
        check_phenomenon(Sound(expects={"one": {"presnt"}}))
    assert caught.value.do.startswith("did you mean 'present'")


@pytest.mark.parametrize(("attribute", "value"), [("sense", "signn"), ("strand", None), ("claims", {})])
def test_a_missing_or_misspelt_class_attribute_is_named(
    attribute: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sound, attribute, value)
    with pytest.raises(BadParameter, match="claims nothing" if attribute == "claims" else attribute):
        check_phenomenon(Sound(expects={}))


@pytest.mark.parametrize(
    ("claim", "wrong"),
    [
        (Within(high=math.nan), "a bound that is no number"),
        (Within(), "no finite bound"),
        (Within(low=2.0, high=1.0), "the lower bound lies above the upper"),
        (Within(high=0.0, scale="log"), "no positive number lies inside"),
        (Most(at_least=math.nan), "no finite bound"),
    ],
)
def test_a_claim_that_cannot_be_met_or_missed_is_refused(
    claim: Within | Most, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sound, "claims", {"one": claim})
    with pytest.raises(BadParameter, match="no effect can meet") as caught:
        check_phenomenon(Sound(expects={}))
    assert wrong in caught.value.got


def test_an_error_inside_a_plugin_names_the_plugin_and_the_method() -> None:
    def broken() -> None:
        raise ZeroDivisionError("oops")

    with pytest.raises(BadParameter, match="'sound' cannot be planned") as caught:
        ask(Sound(), "groups", broken)
    assert caught.value.got == "ZeroDivisionError: oops"
    assert "groups()" in caught.value.where


@pytest.mark.parametrize(
    "groups",
    [
        [Group("a", {}, ("s0",)), Group("a", {}, ("s1",))],
        [Group("a", {}, ())],
        [Group("a", {}, "s0")],  # type: ignore[arg-type]
    ],
    ids=["twice one key", "no units", "units as text"],
)
def test_groups_that_cannot_be_told_apart_are_refused(groups: list[Group]) -> None:
    with pytest.raises(BadParameter, match="malformed group"):
        check_groups(Sound(), groups)
