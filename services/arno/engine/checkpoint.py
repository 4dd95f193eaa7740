"""Load a Florence-2 checkpoint of either layout, whole or not at all."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from transformers import Florence2ForConditionalGeneration

from arno.engine.checkpoints.layout import Layout, read_stored_config
from arno.engine.checkpoints.native_config import build_config
from arno.engine.checkpoints.older_config import stored_vocabulary_size
from arno.engine.find_model import ModelFolders, find_model_folders
from arno.engine.fingerprint import fingerprint, has_random_weights
from arno.engine.image_preparation import PixelRecipe, read_recipe
from arno.engine.interface import ModelCard
from arno.engine.network import load_network, position_count, vocabulary_size
from arno.engine.prompt_tokens import PromptTokenizer, load_tokenizer
from arno.engine.settings import EngineSettings
from arno.errors import ModelError
from arno.ops.cpus import available_cpus
from arno.vocabulary import TokenTable

logger = logging.getLogger(__name__)

_SMALL_SIDE_PX = 256


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model that is ready to run, and all that belongs to it.

    Attributes:
        card: What it is.
        network: On its device, in evaluation mode.
        tokenizer: For the engine's thread only.
        token_table: For any thread.
        recipe: How its images are prepared.
    """

    card: ModelCard
    network: Florence2ForConditionalGeneration
    tokenizer: PromptTokenizer
    token_table: TokenTable
    recipe: PixelRecipe


def load_checkpoint(settings: EngineSettings) -> Checkpoint:
    """Find and load the model of the settings, in either layout, with its adapters merged.

    Raises:
        ModelError: It cannot be found or read, or it is not a Florence-2.
    """
    folders = find_model_folders(
        settings.model, base_model=settings.base_model, download=settings.download
    )
    device = choose_device(settings.device)
    stored = read_stored_config(folders.base)
    older_rows = stored_vocabulary_size(stored) if stored.layout is Layout.OLDER else None
    tokenizer = load_tokenizer(folders.base, older_rows=older_rows)
    token_table = tokenizer.token_table()
    recipe = read_recipe(folders.base)
    torch.set_num_threads(settings.threads or _threads(recipe))
    config = build_config(stored, image_token_id=tokenizer.image_token_id())
    dtype = choose_dtype(settings.dtype, device)
    network = load_network(folders, config, dtype, device, grow_from=older_rows)
    if vocabulary_size(network) < len(token_table.pieces):
        raise ModelError(f"model: {folders.base} has a tokenizer with more tokens than the model")
    card = make_card(settings.model, folders, network, recipe)
    logger.info("loaded model %s on %s", card.name, device, extra={"fingerprint": card.fingerprint})
    return Checkpoint(card, network, tokenizer, token_table, recipe)


def make_card(
    name: str,
    folders: ModelFolders,
    network: Florence2ForConditionalGeneration,
    recipe: PixelRecipe,
) -> ModelCard:
    """Return what results say of the model; that its weights are random too, in its name."""
    random = any(map(has_random_weights, folders.all))
    return ModelCard(
        name=f"{name} (random weights)" if random else name,
        fingerprint=fingerprint(*folders.all),
        dtype=str(network.dtype).removeprefix("torch."),
        position_count=position_count(network),
        image_size_px=recipe.side_px,
    )


def _threads(recipe: PixelRecipe) -> int:
    """Return how many threads pay: products as small as arno-tiny's are over before they meet."""
    return 1 if recipe.side_px <= _SMALL_SIDE_PX else available_cpus()


def choose_device(name: str) -> torch.device:
    """Return the device of a name; `auto` takes a GPU where there is one.

    Raises:
        ModelError: A GPU is asked for that is not there.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda" if count else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= count:
        found = f"its last GPU is cuda:{count - 1}" if count else "it has no usable GPU"
        raise ModelError(f"device: {name} was asked for of this machine, and {found}")
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the number format of a name; `auto` is float32 on CPU and bfloat16 on GPU."""
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]
