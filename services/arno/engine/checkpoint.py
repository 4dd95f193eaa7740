"""Load a native Florence-2 checkpoint, whole or not at all."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import Florence2ForConditionalGeneration

from arno.engine.find_model import find_model
from arno.engine.fingerprint import fingerprint
from arno.engine.image_preparation import PixelRecipe, read_recipe
from arno.engine.interface import ModelCard
from arno.engine.network import load_network, position_count, vocabulary_size
from arno.engine.prompt_tokens import PromptTokenizer, load_tokenizer
from arno.engine.settings import EngineSettings
from arno.errors import ModelError
from arno.tasks import Vocabulary

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model that is ready to run, and all that belongs to it.

    Attributes:
        card: What it is.
        network: On its device, in evaluation mode.
        tokenizer: For the engine's thread only.
        vocabulary: For any thread.
        recipe: How its images are prepared.
    """

    card: ModelCard
    network: Florence2ForConditionalGeneration
    tokenizer: PromptTokenizer
    vocabulary: Vocabulary
    recipe: PixelRecipe


def load_checkpoint(settings: EngineSettings) -> Checkpoint:
    """Find and load the model of the settings.

    Raises:
        ModelError: It cannot be found or read, or it is not a native Florence-2.
    """
    folder = find_model(settings.model)
    _check_layout(folder)
    device = choose_device(settings.device)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    tokenizer = load_tokenizer(folder)
    vocabulary = tokenizer.vocabulary()
    recipe = read_recipe(folder)
    network = load_network(folder, choose_dtype(settings.dtype, device), device)
    if vocabulary_size(network) < len(vocabulary.pieces):
        raise ModelError(f"model: {folder} has a tokenizer with more tokens than the model")
    card = ModelCard(
        name=settings.model,
        fingerprint=fingerprint(folder),
        dtype=str(network.dtype).removeprefix("torch."),
        position_count=position_count(network),
        image_size_px=recipe.side_px,
    )
    logger.info("loaded model %s on %s", card.name, device, extra={"fingerprint": card.fingerprint})
    return Checkpoint(card, network, tokenizer, vocabulary, recipe)


def choose_device(name: str) -> torch.device:
    """Return the device of a name; `auto` takes a GPU where there is one.

    Raises:
        ModelError: A GPU is asked for and there is none.
    """
    available = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if available else "cpu")
    if name.startswith("cuda") and not available:
        raise ModelError(f"device: {name} was asked for, and this machine has no usable GPU")
    return torch.device(name)


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the number format of a name; `auto` is float32 on CPU and bfloat16 on GPU."""
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]


def _check_layout(folder: Path) -> None:
    try:
        config = json.loads((folder / "config.json").read_text())
    except ValueError as fault:
        raise ModelError(f"model: {folder}/config.json is not JSON: {fault}") from fault
    if config.get("model_type") != "florence2":
        raise ModelError(
            f"model: {folder} is of type {config.get('model_type')!r}, not 'florence2'"
        )
    if "auto_map" in config:
        raise ModelError(
            f"model: {folder} is in the older layout that needs code from the hub, which is never "
            "run here; use a native checkpoint such as florence-community/Florence-2-base"
        )
