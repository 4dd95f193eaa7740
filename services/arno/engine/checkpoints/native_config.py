"""Build transformers' configuration of a checkpoint in either layout."""

from __future__ import annotations

from typing import Any, Final

from transformers import Florence2Config

from arno.engine.checkpoints.layout import Layout, StoredConfig
from arno.engine.checkpoints.older_config import stored_vocabulary_size, translate_config
from arno.errors import ModelError

_ROW_MULTIPLE: Final = 64
"""Matrices with such a number of rows are what GPUs are fastest at."""


def build_config(stored: StoredConfig, *, image_token_id: int) -> Florence2Config:
    """Return the configuration.

    Args:
        stored: What the checkpoint says.
        image_token_id: Where the tokenizer has the image's token; used for the older layout alone,
            which knows no such token.

    Raises:
        ModelError: A field is missing, or holds what it may not hold.
    """
    fields: dict[str, Any] = stored.fields
    if stored.layout is Layout.OLDER:
        rows = max(stored_vocabulary_size(stored), image_token_id + 1)
        rows += -rows % _ROW_MULTIPLE
        fields = translate_config(stored, vocabulary_rows=rows, image_token_id=image_token_id)
    try:
        config: Florence2Config = Florence2Config.from_dict(fields)
    except Exception as fault:  # its checks raise classes of their own
        raise ModelError(f"model: {stored.path}: {_on_one_line(fault)}") from fault
    for name in ("vocab_size", "d_model", "max_position_embeddings"):
        if not getattr(config.text_config, name, None):
            raise ModelError(f"model: {stored.path}: text_config.{name} is missing")
    # Weights have the format that they are loaded in, whatever the file says.
    config.dtype = None
    return config


def _on_one_line(fault: Exception) -> str:
    return " ".join(str(fault).split())
