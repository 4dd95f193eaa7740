"""The loss of one batch: many questions over one encoding of each image, and the aids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import nn
from transformers import Florence2ForConditionalGeneration, PreTrainedTokenizerFast

from models.arno_tiny.architecture import GRID_WIDTH, IMAGE_TOKENS, WIDTH, normalise
from models.arno_tiny.auxiliary_heads import (
    DenseHead,
    LetterHead,
    answer_losses,
    cell_targets,
    soft_bins,
)
from models.arno_tiny.batches import IGNORED, TASKS, Batch, Inquiries

_TOKEN_HEAD_WEIGHT: Final = 0.5
_START, _PAD = 2, 1


@dataclass(frozen=True, slots=True)
class Losses:
    """The parts of the loss; ``total`` is what is minimised."""

    total: torch.Tensor
    parts: dict[str, float]


class Objective(nn.Module):
    """Owns the dense heads; holds the model that it trains."""

    def __init__(
        self, model: Florence2ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        """Make the heads for ``model``."""
        super().__init__()
        self.model = model
        self.grid_head = DenseHead(GRID_WIDTH)
        self.letter_head = LetterHead(GRID_WIDTH)
        self.token_head = DenseHead(WIDTH)
        self.first_location_id = tokenizer.get_vocab()["<loc_0>"]
        self._softness = soft_bins(8.0)

    def soften(self, sigma: float) -> None:
        """Set how far location targets spread, in bins."""
        self._softness = soft_bins(sigma)

    def dense(self, batch: Batch) -> Losses:
        """Return the loss of DaViT and its heads alone: cheap, and what the rest builds on."""
        return self._dense(batch, self._grid(batch))

    def full(self, batch: Batch) -> Losses:
        """Return the loss of everything."""
        grid = self._grid(batch)
        dense = self._dense(batch, grid)
        image = self.model.model.multi_modal_projector(grid)  # [B, V, D]
        answers, aids, tasks = [], [], []
        for inquiries in batch.inquiries:
            encoded, mask = self._encode(image, inquiries)
            aids.append(
                self.token_head(
                    encoded[:, 1:IMAGE_TOKENS], cell_targets(inquiries.items), ordered=True
                )
                * len(encoded)
            )
            answers.append(self._answer(encoded, mask, inquiries.answers))
            tasks.append(inquiries.tasks)
        losses, asked = torch.cat(answers), torch.cat(tasks)
        lengths = torch.cat([(one.answers != IGNORED).sum(dim=1) for one in batch.inquiries])
        # Between "every answer counts alike" and "every token does".
        weights = lengths.sqrt()
        answer = (losses * weights).sum() / weights.sum()
        token = torch.stack(aids).sum() / len(losses)
        total = answer + dense.total + _TOKEN_HEAD_WEIGHT * token
        parts = dense.parts | {"token": token.item(), "answer": answer.item()}
        return Losses(total, parts | _by_task(losses.detach(), asked))

    def _dense(self, batch: Batch, grid: torch.Tensor) -> Losses:
        cells = grid.flatten(2).transpose(1, 2)
        dense = self.grid_head(cells, cell_targets(batch.items), ordered=False)
        letters = self.letter_head(cells, batch.letters)
        return Losses(dense + letters, {"grid": dense.item(), "letters": letters.item()})

    def _grid(self, batch: Batch) -> torch.Tensor:
        output: torch.Tensor = self.model.model.vision_tower(
            normalise(batch.pixels)
        ).last_hidden_state
        return output  # [B, C, 8, 8]

    def _encode(
        self, image: torch.Tensor, inquiries: Inquiries
    ) -> tuple[torch.Tensor, torch.Tensor]:
        prompts = self.model.get_input_embeddings()(inquiries.prompts)
        inputs = torch.cat([image[inquiries.images], prompts], dim=1)  # [S, V + P, D]
        seen = torch.ones(len(prompts), IMAGE_TOKENS, dtype=torch.int64)
        mask = torch.cat([seen, inquiries.prompt_mask], dim=1)
        encoded: torch.Tensor = self.model.model.language_model.encoder(
            inputs_embeds=inputs, attention_mask=mask
        ).last_hidden_state
        return encoded, mask

    def _answer(
        self, encoded: torch.Tensor, mask: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        shifted = labels.new_full(labels.shape, _START)
        shifted[:, 1:] = labels[:, :-1]
        shifted[shifted == IGNORED] = _PAD
        # Padding stands after the answer, where a causal decoder cannot see it.
        hidden = self.model.model.language_model.decoder(
            input_ids=shifted,
            encoder_hidden_states=encoded,
            encoder_attention_mask=mask,
            use_cache=False,
        ).last_hidden_state
        return answer_losses(
            self.model.lm_head(hidden), labels, self.first_location_id, self._softness
        )


def _by_task(losses: torch.Tensor, tasks: torch.Tensor) -> dict[str, float]:
    return {
        TASKS[task]: losses[tasks == task].mean().item() for task in torch.unique(tasks).tolist()
    }
