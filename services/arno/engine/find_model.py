"""Turn the name of a model into folders. Nothing is downloaded unless it is asked for."""

from __future__ import annotations

import importlib.resources
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from arno.engine.checkpoints.layout import CONFIG_FILE, read_json
from arno.errors import ModelError

TINY_MODEL: Final = "tiny"
ADAPTER_CONFIG_FILE: Final = "adapter_config.json"

_DOWNLOADED: Final = ("*.json", "merges.txt", "*.safetensors", "*.bin", "README.md")
"""Never a `.py`: code is not run, so it is not fetched either."""


@dataclass(frozen=True, slots=True)
class ModelFolders:
    """Where a model is.

    Attributes:
        base: The folder with configuration, tokenizer and weights.
        adapters: Folders of LoRA adapters, to be merged in this order.
    """

    base: Path
    adapters: tuple[Path, ...] = ()

    @property
    def all(self) -> tuple[Path, ...]:
        """Every folder."""
        return self.base, *self.adapters


def find_model(name: str, *, download: bool = False) -> Path:
    """Return the folder of a model: the bundled one, a folder, or a snapshot in the hub's cache.

    Args:
        name: `tiny`, a folder, or a hub id; `OWNER/NAME@REVISION` is one version of it.
        download: Whether a hub id that is not in the cache is fetched.

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
    """Return the folders of a model; of a LoRA folder, also those of the model that it adapts.

    Args:
        name: As for `find_model`.
        base_model: What an adapter adapts; if empty, what it was trained on.
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


def _find_base(folder: Path, name: str, *, download: bool) -> Path:
    beside = folder / name
    try:
        # A relative path is seen from the adapter first: the two folders may have moved together.
        return find_model(name if not beside.is_dir() else str(beside), download=download)
    except ModelError as fault:
        raise ModelError(
            f"model: {folder} is an adapter, and the model that it adapts cannot be found "
            f"({fault.message}); name it: --base-model"
        ) from fault


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
