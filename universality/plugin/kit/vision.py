"""torchvision, also where its compiled operators do not load."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_libraries: list[torch.library.Library] = []
"""A declared operator lives as long as its `Library` object."""


def import_torchvision() -> ModuleType:
    """The module `torchvision`.

    Beside a torch of another build (CPU torch, registry torchvision), torchvision's shared library
    does not load, and the import fails with `RuntimeError: operator torchvision::nms does not
    exist`, because shape functions are registered for operators nobody declared. Networks and data
    sets need none of them: then, and only then, they are declared without an implementation and
    the import is tried again. Any other failure is passed on.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        message = str(error)
        if not ("operator torchvision::" in message and "does not exist" in message):
            raise
    # The failed import leaves submodules behind that were only half executed.
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]
    _libraries.append(library)
    return importlib.import_module("torchvision")
