"""Name a model by what is in it, so that an answer tells which weights gave it."""

from __future__ import annotations

import hashlib
from pathlib import Path

_PATTERNS = (
    "*.safetensors",
    "*.safetensors.index.json",
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

_CHUNK_BYTES = 1 << 20


def fingerprint(folder: Path) -> str:
    """Return the SHA-256 over names, lengths and contents of a model's files, as hex."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in _PATTERNS for path in folder.glob(pattern)}):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()
