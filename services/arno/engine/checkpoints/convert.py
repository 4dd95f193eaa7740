"""Write any checkpoint, adapters merged, in the native layout."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from arno.engine.checkpoint import Checkpoint, load_checkpoint
from arno.engine.checkpoints.layout import read_stored_config
from arno.engine.checkpoints.stored_weights import read_stored_weights
from arno.engine.checkpoints.write import write_checkpoint
from arno.engine.find_model import find_model_folders
from arno.engine.fingerprint import RANDOM_FIELD
from arno.engine.settings import EngineSettings

STORED = "stored"
"""Stands for the number format that the weights have in their files."""

_FORMATS = ("float32", "bfloat16", "float16")


def convert_checkpoint(settings: EngineSettings, out: Path, *, dtype: str = STORED) -> Checkpoint:
    """Load a model as a worker would, write it in the native layout, and return it.

    Args:
        settings: Which model.
        out: A folder that is not there yet, or empty.
        dtype: Number format to write; `stored` keeps that of most weights.

    Raises:
        ModelError: The model cannot be loaded, or the folder not written.
    """
    folders = find_model_folders(
        settings.model, base_model=settings.base_model, download=settings.download
    )
    if dtype == STORED:
        dtype = stored_dtype(folders.base)
    loading = settings.model_copy(update={"device": "cpu", "dtype": dtype})
    checkpoint = load_checkpoint(loading)
    mark = read_stored_config(folders.base).fields.get(RANDOM_FIELD)
    write_checkpoint(
        out,
        checkpoint.network.config,
        checkpoint.network.state_dict(),
        checkpoint.tokenizer.wrapped,
        checkpoint.recipe,
        marks={RANDOM_FIELD: mark} if mark else {},
    )
    return checkpoint


def stored_dtype(folder: Path) -> str:
    """Return the format of most weights of a folder; float32 for one that Arno does not compute in.

    Raises:
        ModelError: They cannot be read.
    """
    counts = Counter(tensor.dtype for tensor in read_stored_weights(folder).values())
    commonest = counts.most_common(1)[0][0]
    return commonest if commonest in _FORMATS else "float32"
