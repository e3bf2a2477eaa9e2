"""Handwritten digits of 8x8 pixels, carried inside scikit-learn: real images without a network."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from universality.plugin import BadParameter, InputSpec, Split, Splits, Task, register
from universality.plugin.kit.data import REFERENCE_ROWS, split, standardised


@register("digits", family="image", source="Alpaydin and Kaynak 1998 (scikit-learn load_digits)")
@dataclass(frozen=True, kw_only=True)
class Digits(Task):
    """1,797 images of digits, `[1, 8, 8]`, levels 0 to 16.

    Every third image of each class, in the order of the file, is validation; the split is the
    same for every seed. `classes` keeps the digits below it.
    """

    tier = "small real"
    licence = "CC BY 4.0"

    classes: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.classes <= 10:
            raise BadParameter(
                "digits has ten classes", where="digits", got=f"classes={self.classes}", expected="2 to 10"
            )

    def read(self, rng: np.random.Generator, root: Path) -> Splits:
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        kept = labels < self.classes
        pixels, labels = images[kept].reshape(-1, 8, 8).astype(np.uint8), labels[kept]
        turn = np.zeros(len(labels), dtype=np.int64)
        for digit in range(self.classes):
            turn[labels == digit] = np.arange((labels == digit).sum())
        held = turn % 3 == 2
        train, validation = standardised(pixels[~held], pixels[held])
        check = split(validation, labels[held])
        reference = Split(check.inputs[:REFERENCE_ROWS], check.targets[:REFERENCE_ROWS])
        return Splits(
            split(train, labels[~held]), check, reference, InputSpec("image", (1, 8, 8)), self.classes
        )
