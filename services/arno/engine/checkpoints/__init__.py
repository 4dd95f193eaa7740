"""Find, load, inspect, convert and write checkpoints of Florence-2.

`load_checkpoint` is the way in: it turns the settings' model into a `Checkpoint`, which an engine
runs. The other modules serve the `arno model` verbs and training. Two layouts are known: `native`,
that of transformers' own Florence-2 classes, and `older`, that of the first releases, which
otherwise needs code from the hub. No code of a checkpoint is ever run.

Of the engine around it, this package uses the settings, the model's card and where 8-bit products
pay. The two names are imported at first use, because they need torch and `folders` does not.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arno.engine.checkpoints.load import Checkpoint, load_checkpoint

__all__ = ["Checkpoint", "load_checkpoint"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.load"), name)
