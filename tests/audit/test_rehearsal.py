"""Checking a phenomenon rehearses it: mistakes that only a training shows are named before the real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from universality.audit.plugins.check import check_plugin
from universality.commands.new import new
from universality.errors import BadParameter
from universality.plugin import registry


def complaints(change: tuple[str, str], tmp_path: Path) -> list[str]:
    """Of the template of a phenomenon with one text replaced."""
    path = new("phenomenon", "rehearsed", into=tmp_path / "mine").path
    text = path.read_text()
    assert change[0] in text
    path.write_text(text.replace(*change))
    registry.load_plugins([path.parent])
    (answers,) = check_plugin("rehearsed", tmp_path).values()
    return [str(answer) for answer in answers if answer.wrong or answer.skipped]


@pytest.mark.usefixtures("clean_registry")
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (('u.at_end("train_loss")', 'u.at_end("accuracy.trian")'), "no series 'accuracy.trian' was recorded, only acc"),
        (('"train_loss"), at', '"accuracy.trian"), at'), "no series 'accuracy.trian' was recorded, only acc"),
        (("keys=(0.0,)", "keys=(0.1,)"), "reads a run that is not there; ke"),
        (('{"loss": "training', '{"losses": "training'), "the outcome has no points 'losses', it has loss"),
        (("loss[0.5] /", "loss[0.7] /"), "KeyError: 0.7; "),
        (("loss[0.5] / loss[0.0]", "None"), "so short a run has no effect"),
        (("loss[0.5] / loss[0.0]", "'much'"), "TypeError: an effect is a number"),
        (("(self, runs: u.Runs)", "(self)"), "TypeError: Rehearsed.slower() takes 1 positional argument"),
    ],
    ids=["series", "series of a gate", "key", "points", "key of an effect", "no effect", "text", "arguments"],
)  # fmt: skip
def test_what_measuring_would_stumble_over_is_named(
    change: tuple[str, str], expected: str, tmp_path: Path
) -> None:
    found = complaints(change, tmp_path)
    assert found or expected.startswith("so short")
    assert all(expected in text for text in found), found
    assert all(text.startswith(("wrong    ", "skipped  slower")) for text in found)


@pytest.mark.usefixtures("clean_registry")
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("lr=self.lr", "lrr=self.lr"), "unknown field of a recipe 'lrr'; did you mean 'lr'?"),
        (("label_noise=(", "label_nois=("), "unknown parameter to sweep over 'label_nois'; did you mean 'label_noise'"),
        (("run.trained", "run.trainned"), "AttributeError: 'Run' object has no attribute 'trainned'"),
        (("u.Every(10)", "10"), "'accuracy' is observed without a schedule"),
        (("0.25, 0.5)", "0.25, 5)"), "label_noise is a share"),
    ],
    ids=["recipe", "sweep", "method", "schedule", "parameter"],
)  # fmt: skip
def test_a_mistake_in_a_run_set_is_named_with_its_line(
    change: tuple[str, str], expected: str, tmp_path: Path
) -> None:
    found = complaints(change, tmp_path)
    path = tmp_path / "mine" / "rehearsed.py"
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if change[1] in text)
    assert len(found) == 2  # of both controls
    assert all(expected in text and f"{path}:{line}" in text for text in found)


@pytest.mark.usefixtures("clean_registry")
@pytest.mark.parametrize(
    ("change", "got"),
    [
        (('x="share of', 'xx="share of'), "Unexpected keyword argument 'xx'"),
        (("runs=noisy", "runs=nosy"), "name 'nosy' is not defined"),
        (("at_most=0.95, ", ""), "has no bound"),
    ],
)
def test_a_mistake_in_a_declaration_is_named_with_its_line(
    change: tuple[str, str], got: str, tmp_path: Path
) -> None:
    with pytest.raises(BadParameter, match="does not import") as caught:
        complaints(change, tmp_path)
    assert got in caught.value.got
    assert f"{tmp_path / 'mine' / 'rehearsed.py'}:" in caught.value.where


@pytest.mark.parametrize(
    "name", ["edge_of_stability", "grokking", "neural_collapse", "representation_similarity"]
)
def test_the_built_in_phenomena_can_be_rehearsed(name: str, tmp_path: Path) -> None:
    (answers,) = check_plugin(name, tmp_path).values()
    assert [str(answer) for answer in answers if answer.wrong] == []
    assert {answer.skipped for answer in answers} <= {
        "",
        "so short a run has no effect, with which they come",
    }
    claims = registry.plugin_class("phenomenon", name).claims
    assert sum("is measured after" in answer.question for answer in answers) == len(claims)
