"""Tell the two layouts of Florence-2 apart, and read what a folder's JSON files say."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from arno.errors import ModelError

CONFIG_FILE: Final = "config.json"
_MODEL_TYPE: Final = "florence2"
_TOP_OF_NATIVE: Final = "model."
_TOPS_OF_OLDER: Final = ("vision_tower.", "language_model.", "image_p", "visual_temporal_embed.")


class Layout(StrEnum):
    """How a checkpoint names its parts."""

    NATIVE = "native"
    OLDER = "older"


@dataclass(frozen=True, slots=True)
class StoredConfig:
    """A checkpoint's `config.json`.

    Attributes:
        path: Where it is.
        layout: Which fields it has. The weights may be named in the other layout.
        fields: As stored.
    """

    path: Path
    layout: Layout
    fields: dict[str, Any]


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Raises:
        ModelError: It cannot be read, or holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:  # text that is no UTF-8 is a ValueError too
        raise ModelError(f"model: {path} is not JSON, or cannot be read: {fault}") from fault
    if not isinstance(found, dict):
        raise ModelError(f"model: {path} holds no JSON object")
    return found


def read_stored_config(folder: Path) -> StoredConfig:
    """Read a checkpoint's configuration and say in which layout it is.

    Raises:
        ModelError: It is not there, not readable, or not that of a Florence-2.
    """
    path = folder / CONFIG_FILE
    fields = read_json(path)
    if fields.get("model_type") != _MODEL_TYPE:
        raise ModelError(
            f"model: {path}: model_type is {fields.get('model_type')!r}, not {_MODEL_TYPE!r}"
        )
    vision = fields.get("vision_config")
    if not isinstance(vision, dict) or not isinstance(fields.get("text_config"), dict):
        raise ModelError(f"model: {path} lacks vision_config or text_config")
    # A fine-tune of the older layout may have lost `auto_map`, but never this field's name.
    older = "dim_embed" in vision or ("auto_map" in fields and "embed_dim" not in vision)
    return StoredConfig(path, Layout.OLDER if older else Layout.NATIVE, fields)


def layout_of_names(names: Collection[str]) -> Layout | None:
    """Return the layout in which weights are named, None where it is neither."""
    if any(name.startswith(_TOP_OF_NATIVE) for name in names):
        return Layout.NATIVE
    if any(name.startswith(_TOPS_OF_OLDER) for name in names):
        return Layout.OLDER
    return None
