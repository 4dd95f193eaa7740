"""Run the text encoder over images and prompts, of any lengths, in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import Florence2ForConditionalGeneration


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
    """Encode [image; prompt] of each member, from features [V, D] and prompt ids [T]."""
    untyped: Any = network
    embed = untyped.get_input_embeddings()
    device = features[0].device
    rows = [
        torch.cat([image, embed(torch.tensor(ids, device=device)).to(image.dtype)])
        for image, ids in zip(features, prompts, strict=True)
    ]
    lengths = [row.shape[0] for row in rows]
    joined = pad_sequence(rows, batch_first=True)  # [B, N, D]
    real = None
    padding = None
    if len(set(lengths)) > 1:
        places = torch.arange(joined.shape[1], device=device)
        real = places < torch.tensor(lengths, device=device)[:, None]  # [B, N]
        padding = torch.zeros_like(real, dtype=joined.dtype).masked_fill_(~real, -torch.inf)
        padding = padding[:, None, None]
    states = untyped.get_encoder()(inputs_embeds=joined, attention_mask=real).last_hidden_state
    return EncodedPrompts(states, padding)
