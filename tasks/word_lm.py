"""The next word of a text, as classification."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from universality.plugin import register
from universality.plugin.kit import require_at_least
from universality.plugin.kit.texts import NextToken, first_tokens

UNKNOWN = 0
WORD = re.compile(r"<unk>|\w+(?:['\u2019-]\w+)*|[^\w\s]")
"""A word with its apostrophes and hyphens, or one sign. WikiText writes <unk> itself."""
BODY = re.compile(r"\*\*\* ?START OF [^\n]*\n(.*)\*\*\* ?END OF ", re.DOTALL)
"""Of a book of Project Gutenberg, whose licence stands before and after it."""


@register("word_lm", family="text", source="Mikolov et al. 2010; Karpathy 2015 (tiny shakespeare)")
@dataclass(frozen=True, kw_only=True)
class WordLM(NextToken):
    """Windows of `context` words; the class is the word that follows.

    Words and signs are lower-cased. Token 0 is every word that is not one of the `vocabulary` most frequent of
    the first 90 % of the text (ties in alphabetical order), 14 % of the words of tiny shakespeare; the others follow by
    falling frequency, so that classes are as unequal as words are. Training windows are distinct draws from that part,
    validation windows are evenly spaced over the rest. What Project Gutenberg writes around a book is left out.

    Args:
        path: a UTF-8 text, absolute or relative to the data root.
        context: words in a window.
        vocabulary: words that are told apart.
        rows, validation_rows: numbers of windows.
    """

    unit = "words"

    context: int = 16
    vocabulary: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(1, where="word_lm", vocabulary=self.vocabulary)

    def tokens(self, text: str) -> tuple[NDArray[Any], int]:
        body = BODY.search(text)
        words = WORD.findall((body[1] if body else text).lower())
        count = Counter(words[: first_tokens(len(words))])
        del count["<unk>"]
        frequent = sorted(count, key=lambda word: (-count[word], word))[: self.vocabulary]
        token = {word: index for index, word in enumerate(frequent, start=UNKNOWN + 1)}
        return np.array([token.get(word, UNKNOWN) for word in words], dtype=np.int64), len(frequent) + 1
