"""The loss of a batch: many questions over one encoding of each image, and the auxiliary heads.

Matrix products run in bfloat16 where the processor has them, which makes a step 1.5 times as fast.
Weights, sums, attention and losses stay in float32. Attention does because torch's backward pass of
it in bfloat16 on a CPU takes eight times as long as in float32 (measured: torch 2.15, AVX-512).
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import torch
from arno.training.trainer.batches import IGNORED
from arno.training.trainer.objective import Loss, Step, decoder_inputs
from torch import nn
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    Florence2ForConditionalGeneration,
    PreTrainedTokenizerFast,
)
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from models.arno_tiny.architecture import GRID_WIDTH, IMAGE_TOKENS, WIDTH, normalise
from models.arno_tiny.auxiliary_heads import (
    DenseHead,
    LetterHead,
    answer_losses,
    cell_targets,
    soft_bins,
)
from models.arno_tiny.scene_batches import TASKS, Inquiries, SceneBatch

_TOKEN_HEAD_WEIGHT: Final = 0.5
_WIDE_ATTENTION: Final = "arno_float32_sdpa"
_SIGMA_START, _SIGMA_END = 20.0, 4.0
"""Softness of location targets in bins, at the start and at the end."""


class _Losses(NamedTuple):
    """What is minimised, and its parts."""

    total: torch.Tensor
    parts: dict[str, torch.Tensor]


class TaughtModel(nn.Module):
    """The model with the auxiliary heads: everything that is trained."""

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

    def forward(self, batch: SceneBatch, *, dense: bool, sigma: float) -> _Losses:
        """Return the losses of a batch.

        Args:
            batch: Scenes and questions.
            dense: Leave out the language model and train DaViT and its heads alone: cheap, and what
                everything else builds on.
            sigma: Standard deviation of location targets, in bins.
        """
        if dense:
            return self._dense(batch, self._grid(batch))
        return self._full(batch, soft_bins(sigma, batch.pixels.device))

    def _full(self, batch: SceneBatch, softness: torch.Tensor) -> _Losses:
        grid = self._grid(batch)
        dense = self._dense(batch, grid)
        image = self.model.model.multi_modal_projector(grid)  # [B, V, D]
        answers, tokens, tasks = [], [], []
        for inquiries in batch.inquiries:
            encoded, mask = self._encode(image, inquiries)
            tokens.append(
                self.token_head(
                    encoded[:, 1:IMAGE_TOKENS], cell_targets(inquiries.items), ordered=True
                )
                * len(encoded)
            )
            answers.append(self._answer(encoded, mask, inquiries.answers, softness))
            tasks.append(inquiries.tasks)
        losses, asked = torch.cat(answers), torch.cat(tasks)
        lengths = torch.cat([(one.answers != IGNORED).sum(dim=1) for one in batch.inquiries])
        # Between "every answer counts alike" and "every token does".
        weights = lengths.sqrt()
        answer = (losses * weights).sum() / weights.sum()
        token = torch.stack(tokens).sum() / len(losses)
        total = answer + dense.total + _TOKEN_HEAD_WEIGHT * token
        named = {"token": token.detach(), "answer": answer.detach()}
        return _Losses(total, dense.parts | named | _by_task(losses.detach(), asked))

    def _dense(self, batch: SceneBatch, grid: torch.Tensor) -> _Losses:
        cells = grid.flatten(2).transpose(1, 2)
        dense = self.grid_head(cells, cell_targets(batch.items), ordered=False)
        letters = self.letter_head(cells, batch.letters)
        return _Losses(dense + letters, {"grid": dense.detach(), "letters": letters.detach()})

    def _grid(self, batch: SceneBatch) -> torch.Tensor:
        output: torch.Tensor = self.model.model.vision_tower(
            normalise(batch.pixels)
        ).last_hidden_state
        return output  # [B, C, 8, 8]

    def _encode(
        self, image: torch.Tensor, inquiries: Inquiries
    ) -> tuple[torch.Tensor, torch.Tensor]:
        prompts = self.model.get_input_embeddings()(inquiries.prompts)
        inputs = torch.cat([image[inquiries.images], prompts], dim=1)  # [S, V + P, D]
        seen = inquiries.prompt_mask.new_ones(len(prompts), IMAGE_TOKENS)
        mask = torch.cat([seen, inquiries.prompt_mask], dim=1)
        encoded: torch.Tensor = self.model.model.language_model.encoder(
            inputs_embeds=inputs, attention_mask=mask
        ).last_hidden_state
        return encoded, mask

    def _answer(
        self,
        encoded: torch.Tensor,
        mask: torch.Tensor,
        labels: torch.Tensor,
        softness: torch.Tensor,
    ) -> torch.Tensor:
        hidden = self.model.model.language_model.decoder(
            input_ids=decoder_inputs(labels),
            encoder_hidden_states=encoded,
            encoder_attention_mask=mask,
            use_cache=False,
        ).last_hidden_state
        return answer_losses(self.model.lm_head(hidden), labels, self.first_location_id, softness)


def _by_task(losses: torch.Tensor, tasks: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the mean loss of each task; not a number for a task that was not asked."""
    summed = losses.new_zeros(len(TASKS)).index_add(0, tasks, losses)
    counted = losses.new_zeros(len(TASKS)).index_add(0, tasks, torch.ones_like(losses))
    return dict(zip(TASKS, (summed / counted).unbind(), strict=True))


def _numbers(parts: dict[str, torch.Tensor]) -> dict[str, float]:
    """Copy the parts to the CPU at once: each copy waits for the GPU."""
    values = torch.stack([value.float() for value in parts.values()]).tolist()
    return {name: value for name, value in zip(parts, values, strict=True) if not math.isnan(value)}


class SceneObjective:
    """The objective of the recipe: first DaViT alone, then all, with ever sharper locations."""

    partly_used = True

    def __init__(
        self,
        network: TaughtModel,
        device: torch.device,
        *,
        dense_steps: int,
        sharpening_steps: int,
        bfloat16: bool,
    ) -> None:
        """Take the network on its device, and the numbers of the first steps.

        Args:
            network: The network.
            device: Where its weights are.
            dense_steps: Number of first steps that train DaViT alone.
            sharpening_steps: Number of first steps in which location targets become sharp; 0 where
                they are sharp from the start.
            bfloat16: Whether matrix products run in bfloat16.
        """
        self.network, self.device = network, device
        self._dense_steps, self._sharpening_steps = dense_steps, sharpening_steps
        self._bfloat16 = bfloat16
        if device.type == "cuda" and not bfloat16:
            # Of 23 bits of each factor 10 are used: ten times as fast, and sums stay in float32.
            torch.set_float32_matmul_precision("high")
        _widen_attention(network.model)

    def start(self) -> None:
        """Put the network into training mode."""
        self.network.train()

    def loss(self, network: Any, batch: SceneBatch, step: Step) -> Loss:
        """Return the loss of a batch."""
        sharp_at = self._sharpening_steps
        sharpened = min(1.0, step.number / sharp_at) if sharp_at else 1.0
        sigma = _SIGMA_START * (_SIGMA_END / _SIGMA_START) ** sharpened
        batch = batch.to(self.device)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self._bfloat16):
            total, parts = network(batch, dense=step.number < self._dense_steps, sigma=sigma)
        return Loss(total, _numbers(parts))


def has_bfloat16(device: str) -> bool:
    """Return whether bfloat16 makes a step faster than float32 on a kind of device.

    Not on a GPU: the steps of so small a network are bound by the number of kernels, of which
    autocast adds some; TensorFloat-32 needs none.
    """
    supported: bool = device == "cpu" and torch.cpu._is_avx512_bf16_supported()
    return supported


def _widen_attention(model: Any) -> None:
    """Let a transformers model compute its attention in float32 inside autocast blocks."""
    AttentionInterface.register(_WIDE_ATTENTION, _attention)
    AttentionMaskInterface.register(_WIDE_ATTENTION, sdpa_mask)
    model.set_attn_implementation(_WIDE_ATTENTION)


def _attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    if attention_mask is not None and attention_mask.dtype != torch.bool:
        attention_mask = attention_mask.float()
    with torch.autocast(query.device.type, enabled=False):
        output, _ = sdpa_attention_forward(
            module, query.float(), key.float(), value.float(), attention_mask, **options
        )
    return output.to(query.dtype), None
