"""Load a checkpoint of either layout, whole or not at all, into transformers' native classes."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import Florence2Config, Florence2ForConditionalGeneration, GenerationConfig

from arno.engine.checkpoints.adapter import merge_adapter, read_adapter
from arno.engine.checkpoints.assembly import assemble
from arno.engine.checkpoints.calibration import read_calibration
from arno.engine.checkpoints.config import (
    Layout,
    PixelRecipe,
    StoredConfig,
    build_config,
    read_recipe,
    read_stored_config,
    stored_vocabulary_size,
)
from arno.engine.checkpoints.folders import (
    SCALED,
    ModelFolders,
    find_model_folders,
    fingerprint,
    has_random_weights,
    with_modes,
)
from arno.engine.checkpoints.stored_weights import read_stored_weights
from arno.engine.checkpoints.tokenizer import PromptTokenizer, load_tokenizer
from arno.engine.device import use_threads, why_no_gpu
from arno.engine.interface import ModelCard
from arno.engine.layers.int8 import INT8, require_int8
from arno.engine.settings import EngineSettings
from arno.errors import ModelError
from arno.ops.process_limits import available_cpus, share_interpreter
from arno.ops.processor import read_processor
from arno.vocabulary import TokenTable

logger = logging.getLogger(__name__)

_SMALL_SIDE_PX = 256


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model that is ready to run, with everything that the engine needs beside it.

    Attributes:
        card: Identifies the model in results.
        network: The model on its device, in evaluation mode.
        tokenizer: For the engine's thread only.
        token_table: For any thread.
        recipe: How to turn images into pixels.
    """

    card: ModelCard
    network: Florence2ForConditionalGeneration
    tokenizer: PromptTokenizer
    token_table: TokenTable
    recipe: PixelRecipe


def load_checkpoint(settings: EngineSettings) -> Checkpoint:
    """Find and load the model of the settings, in either layout, with its adapters merged.

    Raises:
        ModelError: The model cannot be found or read, or is not a Florence-2.
    """
    folders = find_model_folders(
        settings.model, base_model=settings.base_model, download=settings.download
    )
    device = choose_device(settings.device)
    if settings.dtype == INT8:
        require_int8(read_processor(), device)
    stored = read_stored_config(folders.base)
    older_rows = older_vocabulary_rows(stored)
    tokenizer = load_tokenizer(folders.base, older_rows=older_rows)
    token_table = tokenizer.token_table()
    recipe = read_recipe(folders.base)
    own_side_px = recipe.side_px
    recipe = replace(recipe, side_px=settings.image_side or own_side_px)
    use_threads(settings.threads or _threads(recipe, device), device)
    if device.type == "cuda":
        share_interpreter()
    config = build_config(stored, image_token_id=tokenizer.image_token_id())
    require_side(config, recipe.side_px, own_side_px)
    dtype = choose_dtype(settings.dtype, device)
    network = load_network(folders, config, dtype, device, grow_from=older_rows)
    if vocabulary_size(network) < len(token_table.pieces):
        raise ModelError(f"model: {folders.base} has a tokenizer with more tokens than the model")
    modes = [INT8] * (settings.dtype == INT8)
    modes += [f"{recipe.side_px}px"] * (recipe.side_px != own_side_px)
    modes += [SCALED] * settings.scaled_decoding
    card = make_card(settings.model, folders, network, recipe, modes)
    logger.info("loaded model %s on %s", card.name, device, extra={"fingerprint": card.fingerprint})
    return Checkpoint(card, network, tokenizer, token_table, recipe)


def make_card(
    name: str,
    folders: ModelFolders,
    network: Florence2ForConditionalGeneration,
    recipe: PixelRecipe,
    modes: Sequence[str] = (),
) -> ModelCard:
    """Return the card that results carry; the name of a model with random weights is marked.

    Args:
        name: Of the settings.
        folders: The model's files.
        network: The model.
        recipe: What is done to pixels.
        modes: Ways in which it answers inexactly, such as `int8`; they stand before the digest.
    """
    random = any(map(has_random_weights, folders.all))
    digest = fingerprint(*folders.all)
    return ModelCard(
        name=f"{name} (random weights)" if random else name,
        fingerprint=with_modes(digest, modes),
        dtype=INT8 if INT8 in modes else str(network.dtype).removeprefix("torch."),
        position_count=position_count(network),
        image_size_px=recipe.side_px,
        calibration=read_calibration(folders.all[-1], digest),
    )


def _threads(recipe: PixelRecipe, device: torch.device) -> int:
    """Return the best number of threads: one for products as small as those of arno-tiny.

    Beside a GPU one, too, because processors have images to prepare there.
    """
    if device.type == "cuda" or recipe.side_px <= _SMALL_SIDE_PX:
        return 1
    return available_cpus()


def older_vocabulary_rows(stored: StoredConfig) -> int | None:
    """Return the stored rows of an embedding matrix that must grow, None for the native layout."""
    return stored_vocabulary_size(stored) if stored.layout is Layout.OLDER else None


def choose_device(name: str) -> torch.device:
    """Return the device of a name; `auto` takes a GPU if there is one.

    Raises:
        ModelError: The machine has no such GPU.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda" if count else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= count:
        found = (
            f"its last GPU is cuda:{count - 1}"
            if count
            else f"it has no usable GPU: {why_no_gpu()}"
        )
        raise ModelError(f"device: {name} was asked for of this machine, and {found}")
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the number format of a name; `auto` is float32 on CPU and bfloat16 on GPU."""
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    if name == INT8:
        return torch.float32  # of what is not multiplied in 8 bits
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]


def load_network(
    folders: ModelFolders,
    config: Florence2Config,
    dtype: torch.dtype,
    device: torch.device,
    *,
    grow_from: int | None = None,
) -> Florence2ForConditionalGeneration:
    """Return the model on its device, ready for inference, with adapters merged.

    Args:
        folders: The folders with the weights.
        config: The configuration that the weights have to fit.
        dtype: Number format to compute in.
        device: Where the model runs.
        grow_from: Rows of the stored embedding matrix, if the model needs more.

    Raises:
        ModelError: The files cannot be read, the weights do not fit the configuration, or one of
            them is NaN or infinite.
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
    """Return a model whose weights have shapes but take no memory.

    Raises:
        ModelError: No model can be built from the configuration.
    """
    try:
        with torch.device("meta"):
            return Florence2ForConditionalGeneration(config)
    except Exception as fault:  # layers raise nearly anything on sizes that do not fit
        raise ModelError(f"model: no model can be built from config.json: {fault}") from fault


def require_side(config: Florence2Config, side_px: int, own_side_px: int) -> None:
    """Return if a vision encoder takes images of this side.

    Raises:
        ModelError: It is larger than the model's own, or its last stage would have a part of a
            position.
    """
    vision: Any = config.vision_config
    step_px = math.prod(vision.patch_stride)
    if side_px != own_side_px and (side_px > own_side_px or side_px % step_px):
        raise ModelError(
            f"image_side: {side_px} was sent; this model takes multiples of {step_px}, up to "
            f"{own_side_px}"
        )


def position_count(network: Florence2ForConditionalGeneration) -> int:
    """Return how many positions encoder and decoder have."""
    text_config: Any = network.config.text_config
    return int(text_config.max_position_embeddings)


def vocabulary_size(network: Florence2ForConditionalGeneration) -> int:
    """Return how many token ids the model has."""
    text_config: Any = network.config.text_config
    return int(text_config.vocab_size)


def _place(
    folder: Path, weights: dict[str, torch.Tensor], dtype: torch.dtype, device: torch.device
) -> dict[str, torch.Tensor]:
    placed: dict[int, torch.Tensor] = {}  # weights that share a matrix keep sharing it
    for name, tensor in weights.items():
        if id(tensor) in placed:
            continue
        moved = tensor.to(device=device, dtype=dtype).contiguous()
        # One sum finds any NaN or infinity, at the speed of reading.
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
    # Published generation configs are wrong or incomplete, and `generate` would read them.
    network.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]  # as it is
    network.requires_grad_(False)
    network.train(False)
    return network
