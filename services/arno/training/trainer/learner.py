"""What is trained: the network, which of its weights learn, and LoRA around it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

from arno.engine.checkpoints import Checkpoint, load_checkpoint
from arno.engine.checkpoints.load import choose_device
from arno.engine.settings import EngineSettings
from arno.training.trainer.batches import Collator
from arno.training.trainer.ranks import Ranks
from arno.training.trainer.settings import TrainSettings

_LANGUAGE: Final = r".*language_model\..*\.(q_proj|k_proj|v_proj|out_proj|fc1|fc2)"
_PROJECTION: Final = r".*multi_modal_projector\.image_projection"
_VISION: Final = r".*vision_tower\..*\.(qkv|proj|fc1|fc2)"


@dataclass(frozen=True, slots=True)
class Learner:
    """A model that learns, and all that belongs to it.

    Attributes:
        checkpoint: What it started from.
        network: In float32 on its device, with LoRA around it where that is asked for.
        device: Where it is.
        lora: Whether only LoRA's matrices learn.
    """

    checkpoint: Checkpoint
    network: Any
    device: torch.device
    lora: bool

    def collator(self) -> Collator:
        """Return what makes batches for this model."""
        config: Any = self.checkpoint.network.config
        return Collator(
            tokenizer=self.checkpoint.tokenizer,
            recipe=self.checkpoint.recipe,
            image_token_id=config.image_token_id,
            image_token_count=self._image_token_count(),
            position_count=self.checkpoint.card.position_count,
        )

    def learning(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the weights that learn, with their names, in the network's order."""
        return ((name, one) for name, one in self.network.named_parameters() if one.requires_grad)

    def optimiser(self, settings: TrainSettings) -> torch.optim.AdamW:
        """Return AdamW; matrices decay, norms and biases do not."""
        matrices = [one for _, one in self.learning() if one.dim() > 1]
        others = [one for _, one in self.learning() if one.dim() <= 1]
        groups: list[dict[str, Any]] = [
            {"params": matrices, "weight_decay": settings.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(
            [group for group in groups if group["params"]], lr=settings.peak_learning_rate
        )

    @torch.no_grad()
    def _image_token_count(self) -> int:
        side = self.checkpoint.recipe.side_px
        pixels = torch.zeros(1, 3, side, side, device=self.device)
        features: Any = self.checkpoint.network.get_image_features(pixels)
        return int(features.pooler_output.shape[1])


def load_learner(settings: TrainSettings, ranks: Ranks) -> Learner:
    """Load the model that a run starts from, and decide what of it learns.

    Raises:
        ModelError: It cannot be found or read.
    """
    device = choose_device(settings.device)
    if device.type == "cuda":
        device = torch.device("cuda", device.index if ranks.count == 1 else ranks.local_rank)
        torch.cuda.set_device(device)
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
    network: Any = checkpoint.network
    for weight in network.parameters():
        # Loaded weights may be a map of their file.
        weight.data = weight.data.clone()
    network.requires_grad_(True)
    if settings.gradient_checkpointing:
        network.gradient_checkpointing_enable({"use_reentrant": False})
    if settings.lora_rank:
        return Learner(checkpoint, _with_lora(network, settings), device, lora=True)
    if settings.freeze_vision:
        network.model.vision_tower.requires_grad_(False)
    return Learner(checkpoint, network, device, lora=False)


def _with_lora(network: Any, settings: TrainSettings) -> PeftModel:
    targets = [_LANGUAGE, _PROJECTION] + ([] if settings.freeze_vision else [_VISION])
    torch.manual_seed(settings.seed)
    with warnings.catch_warnings():
        # It asks whether a tied matrix is a target; none is.
        warnings.filterwarnings("ignore", message=".*tie_word_embeddings.*")
        # It reads a property by the name of transformers 4.
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
