"""Load the weights into transformers' native classes, every key accounted for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import Florence2Config, Florence2ForConditionalGeneration, GenerationConfig

from arno.engine.checkpoints.adapter import merge_adapter, read_adapter
from arno.engine.checkpoints.assembly import assemble
from arno.engine.checkpoints.stored_weights import read_stored_weights
from arno.engine.find_model import ModelFolders
from arno.errors import ModelError


def load_network(
    folders: ModelFolders,
    config: Florence2Config,
    dtype: torch.dtype,
    device: torch.device,
    *,
    grow_from: int | None = None,
) -> Florence2ForConditionalGeneration:
    """Return the model on its device, ready for inference, its adapters merged.

    Args:
        folders: Where the weights are.
        config: What the weights have to fit.
        dtype: Number format to compute in.
        device: Where to.
        grow_from: Rows of the stored embedding matrix, where the model is to get more.

    Raises:
        ModelError: The files cannot be read, or the weights are not those of the configuration, or
            hold what is not a number.
    """
    adapters = [read_adapter(folder) for folder in folders.adapters]
    network = empty_network(config)
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    stored = read_stored_weights(folders.base)
    tied = config.tie_word_embeddings
    weights = assemble(folders.base, stored, expected, tied=tied, grow_from=grow_from)
    for adapter in adapters:
        tied = merge_adapter(adapter, weights, tied=tied)
    config.tie_word_embeddings = network.config.tie_word_embeddings = tied
    placed = _place(folders.base, weights, dtype, device)
    network.load_state_dict(placed, strict=True, assign=True)
    network.tie_weights()
    return _for_inference(network)


def empty_network(config: Florence2Config) -> Florence2ForConditionalGeneration:
    """Return a model whose weights have shapes, and no memory.

    Raises:
        ModelError: No model can be built from the configuration.
    """
    try:
        with torch.device("meta"):
            return Florence2ForConditionalGeneration(config)
    except Exception as fault:  # the layers raise nearly anything on sizes that do not fit
        raise ModelError(f"model: no model can be built from config.json: {fault}") from fault


def position_count(network: Florence2ForConditionalGeneration) -> int:
    """Return how many positions encoder and decoder have."""
    text_config: Any = network.config.text_config
    return int(text_config.max_position_embeddings)


def vocabulary_size(network: Florence2ForConditionalGeneration) -> int:
    """Return how many token ids the model knows."""
    text_config: Any = network.config.text_config
    return int(text_config.vocab_size)


def _place(
    folder: Path, weights: dict[str, torch.Tensor], dtype: torch.dtype, device: torch.device
) -> dict[str, torch.Tensor]:
    placed: dict[int, torch.Tensor] = {}  # what is one matrix on disk is one in memory
    for name, tensor in weights.items():
        if id(tensor) in placed:
            continue
        moved = tensor.to(device=device, dtype=dtype).contiguous()
        # One sum tells of any value in it that is no number, at the speed of reading.
        if not bool(torch.isfinite(moved.sum(dtype=torch.float32))):
            raise ModelError(
                f"model: {folder}: {name} holds NaN or infinity"
                + ("" if tensor.dtype == dtype else f", or what {dtype} cannot hold")
            )
        placed[id(tensor)] = moved
    return {name: placed[id(tensor)] for name, tensor in weights.items()}


def _for_inference(
    network: Florence2ForConditionalGeneration,
) -> Florence2ForConditionalGeneration:
    # Published generation configs are wrong or lose values; `generate` would fill gaps from them.
    network.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]  # as it is
    network.requires_grad_(False)
    network.train(False)
    return network
