"""Describe a checkpoint and list its faults, without loading it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arno.engine.checkpoints.adapter import read_adapter
from arno.engine.checkpoints.assembly import assemble, layout_of_names
from arno.engine.checkpoints.config import (
    StoredConfig,
    build_config,
    read_recipe,
    read_stored_config,
)
from arno.engine.checkpoints.folders import ModelFolders, fingerprint, has_random_weights
from arno.engine.checkpoints.load import empty_network, older_vocabulary_rows
from arno.engine.checkpoints.stored_weights import StoredTensor, read_stored_weights, weight_files
from arno.engine.checkpoints.tokenizer import load_tokenizer
from arno.errors import ModelError


@dataclass(slots=True)
class Inspection:
    """What a checkpoint holds; a part that cannot be read is None and has a line in `faults`.

    Attributes:
        folder: The folder of the model.
        adapters: Folders of LoRA adapters that are merged into it.
        fingerprint: The digest that every result carries.
        random_weights: Whether the model was never trained.
        config_layout: `native` or `older`.
        weights_layout: The layout of the weights' names.
        files: Names of the files of weights, with their sizes in bytes.
        parameter_count: Numbers in the weights, as stored.
        dtypes: How many weights have each number format.
        position_count: Longest prompt and answer, in tokens.
        image_size_px: Side of the image that the model sees.
        token_count: Tokens of the tokenizer, markers included.
        faults: The reasons why it cannot be served, one sentence each.
    """

    folder: str
    adapters: tuple[str, ...] = ()
    fingerprint: str | None = None
    random_weights: bool = False
    config_layout: str | None = None
    weights_layout: str | None = None
    files: dict[str, int] = field(default_factory=dict)
    parameter_count: int | None = None
    dtypes: dict[str, int] = field(default_factory=dict)
    position_count: int | None = None
    image_size_px: int | None = None
    token_count: int | None = None
    faults: list[str] = field(default_factory=list)


def inspect_model(folders: ModelFolders) -> Inspection:
    """Look at every part of a model, even after broken ones. Values of weights are not read."""
    found = Inspection(
        folder=str(folders.base),
        adapters=tuple(map(str, folders.adapters)),
        fingerprint=fingerprint(*folders.all),
        random_weights=any(map(has_random_weights, folders.all)),
    )
    stored = _config(found, folders.base)
    weights = _weights(found, folders.base)
    with _Noting(found):
        found.image_size_px = read_recipe(folders.base).side_px
    if stored is not None:
        image_token_id = _tokenizer(found, folders.base, stored)
        with _Noting(found):
            _check_weights(found, stored, weights, image_token_id)
    for adapter in folders.adapters:
        with _Noting(found):
            read_adapter(adapter)
    return found


def _config(found: Inspection, folder: Path) -> StoredConfig | None:
    with _Noting(found):
        stored = read_stored_config(folder)
        found.config_layout = stored.layout.value
        return stored
    return None


def _weights(found: Inspection, folder: Path) -> Mapping[str, StoredTensor]:
    with _Noting(found):
        found.files = {path.name: path.stat().st_size for path in weight_files(folder)}
        stored = read_stored_weights(folder)
        layout = layout_of_names(stored)
        found.weights_layout = layout and layout.value
        found.dtypes = dict(Counter(tensor.dtype for tensor in stored.values()))
        found.parameter_count = sum(map(_count, stored.values()))
        return stored
    return {}


def _count(tensor: StoredTensor) -> int:
    count = 1
    for side in tensor.shape:
        count *= side
    return count


def _tokenizer(found: Inspection, folder: Path, stored: StoredConfig) -> int:
    """Return the id of the image's token, or -1 without one."""
    with _Noting(found):
        tokenizer = load_tokenizer(folder, older_rows=older_vocabulary_rows(stored))
        found.token_count = len(tokenizer.token_table().pieces)
        return tokenizer.image_token_id()
    return -1


def _check_weights(
    found: Inspection,
    stored: StoredConfig,
    weights: Mapping[str, StoredTensor],
    image_token_id: int,
) -> None:
    config = build_config(stored, image_token_id=image_token_id)
    text: Any = config.text_config
    found.position_count = text.max_position_embeddings
    network = empty_network(config)
    if weights:
        expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        tied, rows = config.tie_word_embeddings, older_vocabulary_rows(stored)
        assemble(stored.path.parent, weights, expected, tied=tied, grow_from=rows)
    if found.token_count and found.token_count > text.vocab_size:
        raise ModelError(
            f"model: {stored.path.parent} has a tokenizer with more tokens than the model"
        )


class _Noting:
    """Notes an error as a fault and continues after the block."""

    def __init__(self, found: Inspection) -> None:
        self._found = found

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> bool:
        if not isinstance(error, ModelError):
            return False
        self._found.faults.append(error.message)
        return True
