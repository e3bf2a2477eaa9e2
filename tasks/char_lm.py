"""The next character of a text, as classification."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from universality.plugin import register
from universality.plugin.kit.texts import NextToken


@register("char_lm", family="text", source="Karpathy 2015 (tiny shakespeare, char-rnn)")
@dataclass(frozen=True, kw_only=True)
class CharLM(NextToken):
    """Windows of `context` characters; the class is the character that follows.

    The vocabulary is the sorted distinct characters of the file. Training windows are distinct
    draws from the first 90 % of the text, validation windows are evenly spaced over the last
    10 %, and no character belongs to both. Read by Hugging Face `datasets`.

    Args:
        path: a UTF-8 text, absolute or relative to the data root.
        context: characters in a window.
        rows, validation_rows: numbers of windows.
    """

    unit = "characters"

    def tokens(self, text: str) -> tuple[NDArray[Any], int]:
        points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        alphabet, codes = np.unique(points, return_inverse=True)
        return codes, len(alphabet)
