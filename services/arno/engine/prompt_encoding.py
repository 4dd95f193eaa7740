"""Run the text encoder over images and prompts, of any lengths, in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import Florence2ForConditionalGeneration

from arno.engine.checkpoints.tokenizer import PAD_ID
from arno.engine.device import upload


@dataclass(frozen=True, slots=True)
class EncodedPrompts:
    """What the decoder attends to.

    Attributes:
        states: [B, N, D], padded at the end.
        padding: Added to the attention over them, [B, 1, 1, N]; None where all are equally long.
    """

    states: torch.Tensor
    padding: torch.Tensor | None


@torch.inference_mode()
def encode_prompts(
    network: Florence2ForConditionalGeneration,
    features: Sequence[torch.Tensor],
    prompts: Sequence[Sequence[int]],
) -> EncodedPrompts:
    """Encode [image; prompt] of each member, from features [V, D] and prompt ids [T].

    All images have as many positions as the model's size gives them.
    """
    untyped: Any = network
    images = torch.stack(list(features))  # [B, V, D]
    lengths = [images.shape[1] + len(ids) for ids in prompts]
    longest = max(lengths) - images.shape[1]
    padded = [[*ids, *[PAD_ID] * (longest - len(ids))] for ids in prompts]
    words = untyped.get_input_embeddings()(upload(padded, images.device, torch.long))  # [B, T, D]
    joined = torch.cat([images, words.to(images.dtype)], dim=1)  # [B, N, D]
    real = None
    padding = None
    if len(set(lengths)) > 1:
        places = torch.arange(joined.shape[1], device=images.device)
        real = places < upload(lengths, images.device)[:, None]  # [B, N]
        padding = torch.zeros_like(real, dtype=joined.dtype).masked_fill_(~real, -torch.inf)
        padding = padding[:, None, None]
    states = untyped.get_encoder()(inputs_embeds=joined, attention_mask=real).last_hidden_state
    return EncodedPrompts(states, padding)
