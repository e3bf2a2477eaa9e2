"""What tasks share that read a text and ask for its next token."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from universality.errors import BadParameter
from universality.plugin.architecture import InputSpec
from universality.plugin.kit.data import (
    REFERENCE_ROWS,
    damaged,
    fetch_command,
    missing,
    read_rows,
    sha256,
    spaced,
)
from universality.plugin.kit.download import download
from universality.plugin.task import Split, Splits, Task

TINY_SHAKESPEARE = "tinyshakespeare/input.txt"
URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"


@dataclass(frozen=True, kw_only=True)
class NextToken(Task):
    """Windows of `context` tokens; the class is the token that follows.

    Training windows are distinct draws from the first 90 % of the text, validation and reference windows are evenly
    spaced over the last 10 %, and no token belongs to both. Read by Hugging Face `datasets`.
    """

    tier = "real"
    licence = "public domain"
    digests: ClassVar[Mapping[str, str]] = {TINY_SHAKESPEARE: SHA256}
    unit: ClassVar[str]
    """What a token is, in the plural."""

    path: str = TINY_SHAKESPEARE
    context: int = 32
    rows: int = 20_000
    validation_rows: int = 2000

    @abstractmethod
    def tokens(self, text: str) -> tuple[NDArray[Any], int]:
        """The tokens of a text, 0 to V - 1, and V."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.context, self.rows, self.validation_rows) < 1:
            raise BadParameter(
                f"windows need {self.unit} and rows",
                where=self.name,
                got=f"context={self.context}, rows={self.rows}, validation_rows={self.validation_rows}",
                expected=">= 1",
            )

    def content(self, root: Path) -> str:
        # Tiny shakespeare is pinned by its own digest.
        return "" if self.path == TINY_SHAKESPEARE else sha256(root / self.path)

    def read(self, rng: np.random.Generator, root: Path) -> Splits:
        tokens, vocabulary = self.tokens(self._text(root))
        cut = first_tokens(len(tokens))
        train, held = tokens[:cut], tokens[cut:]
        starts, fits = len(train) - self.context, len(held) - self.context
        if self.rows > starts or fits < 1:
            raise BadParameter(
                "the text is too short",
                where=f"{self.name}[path={self.path}]",
                got=f"{len(tokens)} {self.unit}, rows={self.rows}, context={self.context}",
                expected=f"rows <= {max(starts, 0)} and context < {len(held)}",
            )
        return Splits(
            self._windows(train, rng.choice(starts, self.rows, replace=False)),
            self._windows(held, spaced(fits, self.validation_rows)),
            self._windows(held, spaced(fits, REFERENCE_ROWS)),
            InputSpec("tokens", (self.context,), vocabulary=vocabulary),
            vocabulary,
        )

    def fetch(self, root: Path) -> None:
        """Download tiny shakespeare; any other path must be put there."""
        file = root / self.path
        if file.is_file() and (self.path != TINY_SHAKESPEARE or sha256(file) == SHA256):
            return
        if self.path != TINY_SHAKESPEARE:
            raise missing(file, root=root, do=self._remedy(root))
        remedy = self._remedy(root)
        download(URL, TINY_SHAKESPEARE, root, name="tiny shakespeare", digest=SHA256, do=remedy)

    def _remedy(self, root: Path) -> str:
        if self.path == TINY_SHAKESPEARE:
            return fetch_command(self.name, root)
        return f"give {self.name}[path=...] a text file: absolute, or relative to --data-root"

    def _text(self, root: Path) -> str:
        file = root / self.path
        if not file.is_file():
            raise missing(file, root=root, do=self._remedy(root))
        if file.stat().st_size == 0:
            raise damaged(file, "an empty file", expected="a text", do=self._remedy(root))
        if self.path == TINY_SHAKESPEARE and (got := sha256(file)) != SHA256:
            raise damaged(file, f"sha256 {got}", expected=f"sha256 {SHA256}", do=self._remedy(root))
        try:
            rows = read_rows("text", file, ["text"], sample_by="document")
        except Exception as error:
            cause = error.__cause__ if isinstance(error.__cause__, UnicodeError) else error
            raise damaged(file, cause, expected="a UTF-8 text", do=self._remedy(root)) from error
        return str(rows["text"][0])

    def _windows(self, tokens: NDArray[Any], starts: NDArray[Any]) -> Split:
        windows = np.lib.stride_tricks.sliding_window_view(tokens, self.context + 1)[starts]
        rows = torch.from_numpy(np.ascontiguousarray(windows, dtype=np.int64))
        return Split(rows[:, :-1].contiguous(), rows[:, -1].contiguous())


def first_tokens(tokens: int) -> int:
    """How many tokens of a text are training."""
    return tokens * 9 // 10
