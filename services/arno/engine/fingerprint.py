"""Name a model by what is in it, so that an answer tells which weights gave it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Final

_PATTERNS: Final = (
    "*.safetensors",
    "*.safetensors.index.json",
    "pytorch_model*.bin",
    "pytorch_model.bin.index.json",
    "adapter_model.bin",
    "adapter_config.json",
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer*.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
)
"""What decides the answers. Generation configs do not: Arno never reads them."""

_CHUNK_BYTES: Final = 1 << 20
RANDOM_PREFIX: Final = "random-"
"""Begins the fingerprint of a model with random weights, so that every result shows it."""

RANDOM_FIELD: Final = "arno_random_weights"
"""In `config.json`: the weights were never trained, and how they were drawn."""


def fingerprint(*folders: Path) -> str:
    """Return the SHA-256 over names, lengths and contents of a model's files, as hex.

    Of a model with adapters: over those of all its folders, in order. A model with random weights
    has `random-` before the digest.
    """
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted({path for pattern in _PATTERNS for path in folder.glob(pattern)}):
            digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    digest.update(chunk)
    prefix = RANDOM_PREFIX if any(map(has_random_weights, folders)) else ""
    return f"{prefix}{digest.hexdigest()}"


def has_random_weights(folder: Path) -> bool:
    """Return whether a checkpoint says of itself that its weights are random."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False  # an adapter's folder has none; what is wrong with others is told elsewhere
    return isinstance(config, dict) and bool(config.get(RANDOM_FIELD))
