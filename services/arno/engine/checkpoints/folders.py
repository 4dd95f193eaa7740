"""Turn the name of a model into folders, and name those folders by their content.

Needs neither torch nor transformers. Nothing is downloaded unless the caller asks for it.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from arno.errors import ModelError

CONFIG_FILE: Final = "config.json"
TINY_MODEL: Final = "tiny"
ADAPTER_CONFIG_FILE: Final = "adapter_config.json"

_LENGTH_BYTES: Final = 8
_HEADER_BYTES_MAX: Final = 100_000_000
_NOTES: Final = "__metadata__"
"""The layout of a safetensors file: the header's length, the header, the tensors."""

_DOWNLOADED: Final = ("*.json", "merges.txt", "*.safetensors", "*.bin", "README.md")
"""No `.py` file: Arno runs no code of a checkpoint, so it fetches none either."""


@dataclass(frozen=True, slots=True)
class ModelFolders:
    """The folders of a model.

    Attributes:
        base: The folder with configuration, tokenizer and weights.
        adapters: Folders of LoRA adapters, to be merged in this order.
    """

    base: Path
    adapters: tuple[Path, ...] = ()

    @property
    def all(self) -> tuple[Path, ...]:
        """The base folder, then those of the adapters."""
        return self.base, *self.adapters


def find_model(name: str, *, download: bool = False) -> Path:
    """Return the folder of a model: the bundled one, a folder, or a snapshot in the hub's cache.

    Args:
        name: `tiny`, a folder, or a hub id; `OWNER/NAME@REVISION` is one version of it.
        download: Whether to fetch a hub id that is not in the cache.

    Raises:
        ModelError: There is no such folder, or the hub id is not in the local cache.
    """
    if name == TINY_MODEL:
        folder = Path(str(importlib.resources.files("arno.engine") / TINY_MODEL))
    elif Path(name).expanduser().is_dir():
        folder = Path(name).expanduser()
    elif _is_hub_id(name):
        folder = _snapshot(name, download=download)
    else:
        raise ModelError(f"model: there is no folder {name!r}", model=name)
    if not any((folder / file).is_file() for file in (CONFIG_FILE, ADAPTER_CONFIG_FILE)):
        raise ModelError(f"model: {folder} is no model, it has no {CONFIG_FILE}", model=name)
    return folder


def find_model_folders(name: str, *, base_model: str = "", download: bool = False) -> ModelFolders:
    """Return the folder of a model; of a LoRA adapter, also the folder of the model it adapts.

    Args:
        name: As for `find_model`.
        base_model: The model that an adapter adapts; if empty, the one it was trained on.
        download: As for `find_model`.

    Raises:
        ModelError: One of them cannot be found.
    """
    folder = find_model(name, download=download)
    if (folder / CONFIG_FILE).is_file():
        if base_model:
            raise ModelError(f"base_model: {folder} is no adapter, it needs no other model")
        return ModelFolders(folder)
    base = _find_base(folder, base_model or _trained_on(folder), download=download)
    if not (base / CONFIG_FILE).is_file():
        raise ModelError(f"model: {folder} adapts {base}, which is an adapter itself")
    return ModelFolders(base, (folder,))


def require_whole(folder: Path) -> None:
    """Check that no safetensors file of weights is cut short, by its header alone.

    A copy or a download that was broken off is the usual fault of a model. Found here, it costs a
    moment and no import of torch.

    Raises:
        ModelError: A file is cut short, or is no safetensors file.
    """
    for file in sorted(folder.glob("*model*.safetensors")):
        size = file.stat().st_size
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(_LENGTH_BYTES), "little")
            try:
                fields = json.loads(opened.read(length)) if length <= _HEADER_BYTES_MAX else {}
                ends = [one["data_offsets"][1] for name, one in fields.items() if name != _NOTES]
                whole = size == _LENGTH_BYTES + length + max(ends)
            except (ValueError, TypeError, KeyError, IndexError, AttributeError):
                whole = False
        if not whole:
            raise ModelError(
                f"model: {file} is cut short or no safetensors file: it has {size} bytes"
            )


def _find_base(folder: Path, name: str, *, download: bool) -> Path:
    beside = folder / name
    try:
        # A relative path starts at the adapter: the two folders may have been moved together.
        return find_model(name if not beside.is_dir() else str(beside), download=download)
    except ModelError as error:
        raise ModelError(
            f"model: {folder} is an adapter, and the model that it adapts cannot be found "
            f"({error.message}); name it: --base-model"
        ) from error


def _trained_on(folder: Path) -> str:
    path = folder / ADAPTER_CONFIG_FILE
    name = read_json(path).get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise ModelError(f"model: {path} does not say which model it adapts: name it: --base-model")
    return name


def _is_hub_id(name: str) -> bool:
    owner, _, repository = name.partition("/")
    return bool(owner and repository) and "/" not in repository and not name.startswith((".", "~"))


def _snapshot(name: str, *, download: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    repository, _, revision = name.partition("@")
    try:
        return Path(
            snapshot_download(
                repository,
                revision=revision or None,
                local_files_only=not download,
                allow_patterns=list(_DOWNLOADED) if download else None,
            )
        )
    except (LocalEntryNotFoundError, HFValidationError) as fault:
        raise ModelError(
            f"model: {name!r} is neither a folder nor in the local hub cache; download it with: "
            f"hf download {repository}, or let Arno do it: --download",
            model=name,
        ) from fault
    except Exception as fault:  # the hub's library raises its HTTP library's errors too
        raise ModelError(f"model: {name!r} cannot be downloaded: {fault}", model=name) from fault


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
"""The files that decide the answers. Arno never reads generation configs."""

_CHUNK_BYTES: Final = 1 << 20
RANDOM_PREFIX: Final = "random-"
"""Prefix of the fingerprint of a model with random weights, so that every result shows it."""

RANDOM_FIELD: Final = "arno_random_weights"
"""Field of `config.json` that marks weights as untrained and holds how they were drawn."""


def fingerprint(*folders: Path) -> str:
    """Return the SHA-256 over names, lengths and contents of a model's files, as hex.

    The files of several folders (base, then adapters) are hashed in that order. A model with random
    weights has `random-` before the digest.
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


SCALED: Final = "scaled"
"""The mode in which large JPEGs are decoded at a part of their size."""


def with_modes(digest: str, modes: Sequence[str]) -> str:
    """Return a fingerprint with the inexact modes of a run, such as `int8-`, before its digest."""
    prefix = RANDOM_PREFIX if digest.startswith(RANDOM_PREFIX) else ""
    return "".join((prefix, *(f"{mode}-" for mode in modes), digest.removeprefix(prefix)))


def has_random_weights(folder: Path) -> bool:
    """Return whether a checkpoint is marked as having random weights."""
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False  # an adapter's folder has none; loading reports what is wrong with others
    return isinstance(config, dict) and bool(config.get(RANDOM_FIELD))


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Raises:
        ModelError: It cannot be read, or holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:  # text that is not UTF-8 raises ValueError
        raise ModelError(f"model: {path} is not JSON, or cannot be read: {fault}") from fault
    if not isinstance(found, dict):
        raise ModelError(f"model: {path} holds no JSON object")
    return found
