"""Text classification from the Hugging Face hub, or from parquet files of one's own."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from universality.plugin import BadParameter, DataUnavailable, InputSpec, Splits, Task, register
from universality.plugin.kit.data import (
    REFERENCE_ROWS,
    class_count,
    damaged,
    fetch_command,
    missing,
    private_folder,
    read_rows,
    sha256,
    spaced,
    split,
)

PAD, UNKNOWN = 0, 1
SPLITS = ("train", "test")

Labelled = tuple[list[list[str]], NDArray[Any]]
"""Words by row, and labels."""


@register("hub_text", family="text", source="Zhang et al. 2015, arXiv:1509.01626 (AG News)")
@dataclass(frozen=True, kw_only=True)
class HubText(Task):
    """The first `context` words of a text, and its class.

    Words are lower-cased and split at white space. Tokens: 0 is <pad> (at the end), 1 is <unk>,
    then the most frequent words of the official training set, ties in alphabetical order.
    Validation is evenly spaced over the official test set and, like the vocabulary, the same for
    every seed. Reading never touches the network: `fetch` stores the set as parquet files below
    the data root, `<dataset>/train.parquet` and `<dataset>/test.parquet`, and any folder of
    `train*.parquet` and `test*.parquet` will do. Of a single parquet file every fifth row is
    the test set.

    Args:
        dataset: name on the hub with its owner, or a folder or parquet file, absolute or relative
            to the data root.
        text_column, label_column: names of the columns; labels are integers 0 to C-1.
        context: words in a row.
        vocabulary: words that are told apart.
        validation_rows: rows of the test set to use.
    """

    tier = "real"
    licence = "AG News: for research and other uses that are not commercial"

    dataset: str = "fancyzhx/ag_news"
    text_column: str = "text"
    label_column: str = "label"
    context: int = 64
    vocabulary: int = 1000
    validation_rows: int = 2000

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.context, self.vocabulary, self.validation_rows) < 1:
            raise BadParameter(
                "texts need words and rows",
                where="hub_text",
                got=f"context={self.context}, vocabulary={self.vocabulary}, "
                f"validation_rows={self.validation_rows}",
                expected=">= 1",
            )

    def content(self, root: Path) -> str:
        return sha256(*(file for files in self._files(root).values() for file in files))

    def read(self, rng: np.random.Generator, root: Path) -> Splits:
        (train_words, train_y), (test_words, test_y), classes = self._labelled(root)
        count = Counter(word for words in train_words for word in words)
        frequent = sorted(count, key=lambda word: (-count[word], word))[: self.vocabulary]
        token = {word: index for index, word in enumerate(frequent, start=UNKNOWN + 1)}
        train, test = self._encode(train_words, token), self._encode(test_words, token)
        rows, shown = spaced(len(test), self.validation_rows), spaced(len(test), REFERENCE_ROWS)
        return Splits(
            split(train, train_y),
            split(test[rows], test_y[rows]),
            split(test[shown], test_y[shown]),
            InputSpec("tokens", (self.context,), vocabulary=self.vocabulary + 2),
            classes,
        )

    def fetch(self, root: Path) -> None:
        """Download from the hub and store as parquet files; what is there is checked, never replaced."""
        place = root / self.dataset
        absent = [] if place.is_file() else [p for p in SPLITS if not any(place.glob(f"{p}*.parquet"))]
        if not absent:
            self._labelled(root)
            return
        if self._is_local():
            raise missing(place, root=root, do=self._remedy(root))
        import datasets

        with private_folder(root, "download") as folder:
            try:
                loaded = datasets.load_dataset(self.dataset, cache_dir=str(folder / "cache"))
                for part in absent:
                    loaded[part].to_parquet(str(folder / f"{part}.parquet"))
            except Exception as error:  # hub, network, missing split: each layer raises its own kind
                raise DataUnavailable(
                    f"the data set {self.dataset} could not be downloaded",
                    where=f"Hugging Face hub, data root {root}",
                    got=f"{type(error).__name__}: {error}",
                    expected=f"a network, or {self.dataset}/train.parquet and test.parquet under the data root",
                    do=self._remedy(root),
                ) from error
            place.mkdir(parents=True, exist_ok=True)
            for part in absent:
                (folder / f"{part}.parquet").replace(place / f"{part}.parquet")

    def _is_local(self) -> bool:
        return Path(self.dataset).is_absolute() or self.dataset.endswith(".parquet")

    def _remedy(self, root: Path) -> str:
        if self._is_local():
            return "give hub_text[dataset=...] a folder or parquet file, absolute or relative to --data-root"
        default = type(self).dataset == self.dataset
        return fetch_command(self.name if default else f"{self.name}[dataset={self.dataset}]", root)

    def _files(self, root: Path) -> dict[str, list[Path]]:
        place = root / self.dataset
        if place.is_file():
            return {"train": [place]}
        files = {part: sorted(place.glob(f"{part}*.parquet")) for part in SPLITS}
        absent = [place / f"{part}.parquet" for part in SPLITS if not files[part]]
        if absent:
            raise missing(absent, root=root, do=self._remedy(root))
        return files

    def _labelled(self, root: Path) -> tuple[Labelled, Labelled, int]:
        files = self._files(root)
        parts = {part: self._columns(paths, root) for part, paths in files.items()}
        if "test" not in parts:
            words, labels = parts["train"]
            held = np.arange(len(words)) % 5 == 4
            pick = [[words[i] for i in np.flatnonzero(rows)] for rows in (~held, held)]
            parts = {"train": (pick[0], labels[~held]), "test": (pick[1], labels[held])}
        try:
            classes = class_count(parts["train"][1], parts["test"][1])
        except ValueError as error:
            raise damaged(
                root / self.dataset,
                str(error),
                expected=f"integers 0 to C-1 in the column {self.label_column}",
                do="choose another label_column, or mend the labels",
            ) from error
        return parts["train"], parts["test"], classes

    def _columns(self, files: list[Path], root: Path) -> Labelled:
        """Words and labels, file by file so that an error names the damaged one."""
        wanted = (self.text_column, self.label_column)
        texts: list[str] = []
        labels: list[Any] = []
        for file in files:
            try:
                columns = read_rows("parquet", file, wanted)
            except KeyError as error:
                raise BadParameter(
                    "no such column", where=str(file), got=", ".join(wanted), expected=str(error.args[0])
                ) from error
            except Exception as error:  # pyarrow's own kinds, wrapped or not
                do = f"delete the file, then {self._remedy(root)}"
                raise damaged(file, error, expected="a parquet file", do=do) from error
            if not all(isinstance(text, str) for text in columns[self.text_column]):
                raise BadParameter(
                    "a column is no text",
                    where=str(file),
                    got=self.text_column,
                    expected="strings in every row",
                    do="hub_text[text_column=...]",
                )
            texts += columns[self.text_column]
            labels += columns[self.label_column]
        return [text.lower().split() for text in texts], np.asarray(labels)

    def _encode(self, rows: list[list[str]], token: dict[str, int]) -> torch.Tensor:
        encoded = np.full((len(rows), self.context), PAD, dtype=np.int64)
        for row, words in enumerate(rows):
            kept = [token.get(word, UNKNOWN) for word in words[: self.context]]
            encoded[row, : len(kept)] = kept
        return torch.from_numpy(encoded)
