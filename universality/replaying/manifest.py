"""What is known of a stored series beside its files: `manifest.json` in its folder, which may be left out."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec

from universality.errors import BadParameter, MeasurementError, unknown_name
from universality.plugin.spec import Loss, Recipe
from universality.store.untrusted import UntrustedFile, converted, parse, read_bytes

NAME = "manifest.json"
NOT_TOLD = ("steps", "lr_over_stability", "lr_below_best", "memory", "fitted")
"""Fields of a recipe that follow from the series, or that a rate and a decay were derived from."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One training.

    Args:
        schema: of this form, 1.
        seed: replicates of a claim are seeds; None numbers series as they are given.
        network: its name, where series of several networks are compared.
        random_labels: it was trained on labels drawn at random, as nulls are.
        fork: (step, branch): up to `step` it is the training of its seed, then it saw batches of its own.
        recipe: fields of `universality.plugin.Recipe` but `steps`; without it, what a gate reads of rate, decay or
            batches is not known.
        taps: names of stored features from input to output; None sorts them.
    """

    schema: int
    seed: int | None = None
    network: str = ""
    random_labels: bool = False
    fork: tuple[int, int] | None = None
    recipe: dict[str, Any] | None = None
    taps: tuple[str, ...] | None = None


def read_manifest(folder: Path) -> Manifest:
    """That of a folder, or the defaults. Raises `BadParameter` for one that is damaged, or of another schema."""
    path = folder / NAME
    if not path.exists():
        return Manifest(schema=1)
    try:
        manifest = converted(parse(read_bytes(path)), Manifest)
    except UntrustedFile as error:
        raise BadParameter(
            "a manifest that cannot be read",
            where=str(path),
            got=str(error),
            do="docs/your_own_training.md has its fields",
        ) from None
    if manifest.schema != 1:
        raise BadParameter(
            "a manifest of another schema", where=str(path), got=str(manifest.schema), expected="1"
        )
    known = [entry.name for entry in fields(Recipe) if entry.name not in NOT_TOLD]
    for name in manifest.recipe or ():
        if name not in known:
            raise unknown_name("field of a recipe", name, known, where=str(path))
    return manifest


class UnknownRecipe:
    """In place of a `Recipe`, of a training of which only length and loss are known: reading more of it is an error."""

    def __init__(self, steps: int, loss: Loss) -> None:
        self.steps, self.loss = steps, loss

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise MeasurementError(
            f"it needs the {name} of the training, which nobody told",
            do=f'"recipe": {{"{name}": ...}} in {NAME}',
        )


def recipe_of(manifest: Manifest, steps: int, loss: Loss, *, where: str) -> Recipe | UnknownRecipe:
    """The recipe of so many updates. Raises `BadParameter` for one that is none."""
    if manifest.recipe is None:
        return UnknownRecipe(steps, loss)
    try:
        return Recipe(**{"loss": loss, **manifest.recipe}, steps=steps)
    except BadParameter as error:
        error.where = f"{where}, recipe"
        raise
    except (TypeError, ValueError) as error:
        raise BadParameter(
            "a recipe of other types",
            where=f"{where}, recipe",
            got=str(error),
            expected="numbers and texts as `Recipe` has them",
        ) from None
