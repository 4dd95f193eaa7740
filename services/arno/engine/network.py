"""Load the weights into transformers' native classes, every key accounted for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import Florence2ForConditionalGeneration, GenerationConfig
from transformers.utils.logging import disable_progress_bar

from arno.errors import ModelError


def load_network(
    folder: Path, dtype: torch.dtype, device: torch.device
) -> Florence2ForConditionalGeneration:
    """Return the model on its device, ready for inference.

    Raises:
        ModelError: The files cannot be read, or the weights are not those of the configuration.
    """
    untyped_disable: Any = disable_progress_bar
    untyped_disable()  # a server's log is read by machines
    loader: Any = Florence2ForConditionalGeneration  # its types know no loading report
    try:
        network, report = loader.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,  # the other format is pickle, which runs what it holds
            dtype=dtype,
            output_loading_info=True,
        )
    except Exception as fault:  # the libraries raise nearly anything on bad files
        raise ModelError(f"model: {folder} cannot be loaded: {fault}") from fault
    faults = {
        name: sorted(map(str, report[name]))[:5]
        for name in ("missing_keys", "unexpected_keys", "mismatched_keys")
        if report.get(name)
    }
    if faults:
        raise ModelError(f"model: the weights of {folder} do not fit the model: {faults}")
    return _for_inference(network, device)


def position_count(network: Florence2ForConditionalGeneration) -> int:
    """Return how many positions encoder and decoder have."""
    text_config: Any = network.config.text_config
    return int(text_config.max_position_embeddings)


def vocabulary_size(network: Florence2ForConditionalGeneration) -> int:
    """Return how many token ids the model knows."""
    text_config: Any = network.config.text_config
    return int(text_config.vocab_size)


def _for_inference(
    network: Florence2ForConditionalGeneration, device: torch.device
) -> Florence2ForConditionalGeneration:
    # Published generation configs are wrong or lose values; `generate` would fill gaps from them.
    network.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]  # as it is
    network.requires_grad_(False)
    torch.nn.Module.to(network.train(False), device)
    return network
