"""Turn the name of a model into a folder. Nothing is downloaded, ever."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

from arno.errors import ModelError

TINY_MODEL = "tiny"


def find_model(name: str) -> Path:
    """Return the folder of a model: the bundled one, a folder, or a snapshot in the hub's cache.

    Raises:
        ModelError: There is no such folder, or the hub id is not in the local cache.
    """
    if name == TINY_MODEL:
        folder = Path(str(importlib.resources.files("arno.engine") / TINY_MODEL))
    elif Path(name).expanduser().is_dir():
        folder = Path(name).expanduser()
    elif _is_hub_id(name):
        folder = _cached_snapshot(name)
    else:
        raise ModelError(f"model: there is no folder {name!r}", model=name)
    if not (folder / "config.json").is_file():
        raise ModelError(f"model: {folder} is no model, it has no config.json", model=name)
    return folder


def _is_hub_id(name: str) -> bool:
    owner, _, repository = name.partition("/")
    return bool(owner and repository) and "/" not in repository and not name.startswith((".", "~"))


def _cached_snapshot(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError) as fault:
        raise ModelError(
            f"model: {name!r} is neither a folder nor in the local hub cache; download it first "
            f"with: hf download {name}",
            model=name,
        ) from fault
