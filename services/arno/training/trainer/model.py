"""Load the network that is trained, choose which of its weights learn, and wrap it with LoRA."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from arno.engine.checkpoints import Checkpoint, load_checkpoint
from arno.engine.checkpoints.load import choose_device
from arno.engine.checkpoints.write import image_token_count
from arno.engine.settings import EngineSettings
from arno.errors import ConfigurationError
from arno.training.trainer.batches import Collator
from arno.training.trainer.process_group import ProcessGroup
from arno.training.trainer.settings import TrainSettings

if TYPE_CHECKING:
    from peft import PeftModel

_LANGUAGE: Final = r".*language_model\..*\.(q_proj|k_proj|v_proj|out_proj|fc1|fc2)"
_PROJECTION: Final = r".*multi_modal_projector\.image_projection"
_VISION: Final = r".*vision_tower\..*\.(qkv|proj|fc1|fc2)"


@dataclass(frozen=True, slots=True)
class TrainableModel:
    """A model of which some weights are trained.

    Attributes:
        checkpoint: The loaded checkpoint that training starts from.
        network: The network, in float32 on the device; wrapped with LoRA if settings ask for it.
        device: The device of the network.
        lora: Whether LoRA's matrices are all that is trained.
    """

    checkpoint: Checkpoint
    network: Any
    device: torch.device
    lora: bool

    def collator(self) -> Collator:
        """Return the collator for this model's tokenizer and images."""
        config: Any = self.checkpoint.network.config
        return Collator(
            tokenizer=self.checkpoint.tokenizer,
            recipe=self.checkpoint.recipe,
            image_token_id=config.image_token_id,
            image_token_count=self._image_token_count(),
            position_count=self.checkpoint.card.position_count,
        )

    def trained_weights(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the trained weights with their names, in the network's order."""
        return ((name, one) for name, one in self.network.named_parameters() if one.requires_grad)

    def optimiser(self, settings: TrainSettings) -> torch.optim.AdamW:
        """Return AdamW with weight decay on matrices, and none on norms and biases."""
        matrices = [one for _, one in self.trained_weights() if one.dim() > 1]
        others = [one for _, one in self.trained_weights() if one.dim() <= 1]
        groups: list[dict[str, Any]] = [
            {"params": matrices, "weight_decay": settings.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(
            [group for group in groups if group["params"]], lr=settings.peak_learning_rate
        )

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the trained weights by name."""
        return {name: one.detach() for name, one in self.trained_weights()}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take trained weights over."""
        for name, one in self.trained_weights():
            one.copy_(state[name])

    @torch.no_grad()
    def _image_token_count(self) -> int:
        side = self.checkpoint.recipe.side_px
        pixels = torch.zeros(1, 3, side, side, device=self.device)
        features: Any = self.checkpoint.network.get_image_features(pixels)
        return int(features.pooler_output.shape[1])


def training_device(name: str, group: ProcessGroup) -> torch.device:
    """Return the device of this process of a run; each has a GPU of its own.

    Raises:
        ModelError: The machine has no such GPU.
    """
    device = choose_device(name)
    if device.type == "cuda":
        device = torch.device("cuda", device.index if group.size == 1 else group.local_rank)
        torch.cuda.set_device(device)
    return device


def load_trainable_model(settings: TrainSettings, group: ProcessGroup) -> TrainableModel:
    """Load the model that a run starts from, and choose the weights that are trained.

    Raises:
        ModelError: The model cannot be found or read.
    """
    device = training_device(settings.device, group)
    checkpoint = load_checkpoint(
        EngineSettings.model_validate(
            {
                "model": settings.model,
                "device": str(device),
                "dtype": "float32",
                "threads": settings.threads,
            }
        )
    )
    if settings.image_px:
        checkpoint = _resized(checkpoint, settings.image_px)
    network: Any = checkpoint.network
    for weight in network.parameters():
        # Loaded weights may be memory-mapped from their file, which must not change.
        weight.data = weight.data.clone()
    network.requires_grad_(True)
    if settings.gradient_checkpointing:
        network.gradient_checkpointing_enable({"use_reentrant": False})
    if settings.lora_rank:
        return TrainableModel(checkpoint, _with_lora(network, settings), device, lora=True)
    if settings.freeze_vision:
        network.model.vision_tower.requires_grad_(False)
    return TrainableModel(checkpoint, network, device, lora=False)


def _resized(checkpoint: Checkpoint, side_px: int) -> Checkpoint:
    """Return a checkpoint for images of another size.

    Raises:
        ConfigurationError: Its table of positions is too small for the grid of such images.
    """
    config: Any = checkpoint.network.config
    grid = math.isqrt(image_token_count(config, side_px) - 1)
    limit = int(config.vision_config.max_position_embeddings)
    if not 0 < grid <= limit:
        raise ConfigurationError(
            f"image_px: {side_px} pixels a side make a grid of {grid} cells a side, and the model "
            f"knows 1 to {limit}"
        )
    return replace(checkpoint, recipe=replace(checkpoint.recipe, side_px=side_px))


def _with_lora(network: Any, settings: TrainSettings) -> PeftModel:
    # Only LoRA needs it, and it takes seconds to import.
    from peft import LoraConfig, get_peft_model

    targets = [_LANGUAGE, _PROJECTION] + ([] if settings.freeze_vision else [_VISION])
    torch.manual_seed(settings.seed)
    with warnings.catch_warnings():
        # peft checks whether a tied matrix is a target; none is.
        warnings.filterwarnings("ignore", message=".*tie_word_embeddings.*")
        # peft reads a property by its name in transformers 4.
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
        wrapped: PeftModel = get_peft_model(
            network,
            LoraConfig(
                r=settings.lora_rank,
                lora_alpha=settings.lora_alpha or 2 * settings.lora_rank,  # type: ignore[arg-type]  # any number will do
                lora_dropout=settings.lora_dropout,
                target_modules="|".join(f"({target})" for target in targets),
            ),
        )
    wrapped.peft_config["default"].base_model_name_or_path = settings.model
    return wrapped
