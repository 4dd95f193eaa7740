"""The loss of one batch: detections and captions over one encoding of each image, and the aids."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from transformers import Florence2ForConditionalGeneration, PreTrainedTokenizerFast

from arno.tasks import CATALOGUE, Task
from arno.training.tiny.aids import DenseHead, cell_targets, sequence_loss, soft_bins
from arno.training.tiny.architecture import GRID_WIDTH, IMAGE_TOKENS, WIDTH, normalise
from arno.training.tiny.batches import IGNORED, Batch

# Every fourth image is described too: captions need far fewer examples than boxes.
_CAPTION_PART = 4
_CAPTION_WEIGHT = 0.5
_START, _PAD = 2, 1


@dataclass(frozen=True, slots=True)
class Losses:
    """The parts of the loss; ``total`` is what is minimised."""

    total: torch.Tensor
    parts: dict[str, float]


class Objective(nn.Module):
    """Owns the dense heads and the prompts; holds the model that it trains."""

    def __init__(
        self, model: Florence2ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        """Make the heads for ``model``."""
        super().__init__()
        self.model = model
        self.grid_head = DenseHead(GRID_WIDTH, ordered=False)
        self.token_head = DenseHead(WIDTH, ordered=True)
        self.first_location_id = tokenizer.get_vocab()["<loc_0>"]
        self._prompts = {
            task: torch.tensor(tokenizer(CATALOGUE[task].prompt).input_ids)
            for task in (Task.OD, Task.CAPTION)
        }
        self._softness = soft_bins(8.0)

    def soften(self, sigma: float) -> None:
        """Set how far location targets spread, in bins."""
        self._softness = soft_bins(sigma)

    def dense(self, batch: Batch) -> Losses:
        """Return the loss of DaViT and its head alone: cheap, and what the rest builds on."""
        grid = self._grid(batch)
        loss = self.grid_head(
            grid.flatten(2).transpose(1, 2), cell_targets(batch.boxes, batch.classes)
        )
        return Losses(loss, {"grid": loss.item()})

    def full(self, batch: Batch) -> Losses:
        """Return the loss of everything."""
        targets = cell_targets(batch.boxes, batch.classes)
        grid = self._grid(batch)
        grid_loss = self.grid_head(grid.flatten(2).transpose(1, 2), targets)
        image = self.model.model.multi_modal_projector(grid)  # [B, V, D]
        encoded = self._encode(image, Task.OD)
        token_loss = self.token_head(encoded[:, 1:IMAGE_TOKENS], targets)
        detection_loss = self._answer(encoded, batch.detections)
        described = math.ceil(len(image) / _CAPTION_PART)
        caption_loss = self._answer(
            self._encode(image[:described], Task.CAPTION), batch.captions[:described]
        )
        total = detection_loss + _CAPTION_WEIGHT * caption_loss + grid_loss + token_loss
        parts = {
            "grid": grid_loss.item(),
            "token": token_loss.item(),
            "od": detection_loss.item(),
            "caption": caption_loss.item(),
        }
        return Losses(total, parts)

    def _grid(self, batch: Batch) -> torch.Tensor:
        output: torch.Tensor = self.model.model.vision_tower(
            normalise(batch.pixels)
        ).last_hidden_state
        return output  # [B, C, 8, 8]

    def _encode(self, image: torch.Tensor, task: Task) -> torch.Tensor:
        prompt = self.model.get_input_embeddings()(self._prompts[task]).expand(len(image), -1, -1)
        inputs = torch.cat([image, prompt], dim=1)  # [B, V + T, D]
        encoded: torch.Tensor = self.model.model.language_model.encoder(
            inputs_embeds=inputs
        ).last_hidden_state
        return encoded

    def _answer(self, encoded: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        shifted = labels.new_full(labels.shape, _START)
        shifted[:, 1:] = labels[:, :-1]
        shifted[shifted == IGNORED] = _PAD
        # Padding stands after the answer, where a causal decoder cannot see it: no mask is needed.
        hidden = self.model.model.language_model.decoder(
            input_ids=shifted, encoder_hidden_states=encoded, use_cache=False
        ).last_hidden_state
        return sequence_loss(
            self.model.lm_head(hidden), labels, self.first_location_id, self._softness
        )
