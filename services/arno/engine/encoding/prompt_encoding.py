"""Run the text encoder over images and prompts, of any lengths, together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from transformers import Florence2ForConditionalGeneration

from arno.engine.checkpoints.tokenizer import PAD_ID
from arno.engine.device import upload
from arno.engine.layers.linear import Linear, has_gelu


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
    embed, encoder = untyped.get_input_embeddings(), untyped.get_encoder()
    lengths = [len(image) + len(ids) for image, ids in zip(features, prompts, strict=True)]
    if isinstance(encoder, PackedEncoder):
        words = embed(torch.tensor([token for ids in prompts for token in ids]))
        parts = zip(features, torch.split(words, [len(ids) for ids in prompts]), strict=True)
        rows = torch.cat([part.to(words.dtype) for pair in parts for part in pair])
        states = pad_sequence(list(torch.split(encoder(rows, lengths), lengths)), batch_first=True)
        return EncodedPrompts(states, _mask(_real(lengths, states), states))
    images = torch.stack(list(features))  # [B, V, D]
    longest = max(map(len, prompts))
    padded = [[*ids, *[PAD_ID] * (longest - len(ids))] for ids in prompts]
    words = embed(upload(padded, images.device, torch.long))  # [B, T, D]
    joined = torch.cat([images, words.to(images.dtype)], dim=1)  # [B, N, D]
    real = _real(lengths, joined)
    states = encoder(inputs_embeds=joined, attention_mask=real).last_hidden_state
    return EncodedPrompts(states, _mask(real, joined))


class PackedEncoder(nn.Module):
    """The text encoder for a CPU: the rows of all prompts follow one another, in one product.

    Each prompt attends to itself. No row is padding, which a tenth to a third of them is otherwise;
    a GPU takes them padded, because it waits for the launch of every kernel.
    """

    def __init__(self, encoder: Any) -> None:
        """Lay out the weights of transformers' encoder."""
        super().__init__()
        self._places, self._norm = encoder.embed_positions, encoder.layernorm_embedding
        self._layers = [_Layer(layer) for layer in encoder.layers]

    def forward(self, rows: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        """Return [R, D] of the embeddings of prompts with these numbers of rows, [R, D]."""
        places = self._places.weight[self._places.offset :]
        rows = self._norm(rows + torch.cat([places[:length] for length in lengths]))
        for layer in self._layers:
            rows = layer(rows, lengths)
        return rows


class _Layer:
    """A layer of the encoder. Shapes: R rows of all prompts, N of one, H heads of D / H."""

    def __init__(self, layer: Any) -> None:
        own, gelu = layer.self_attn, has_gelu(layer)
        self._attend_in = Linear.of(own.q_proj, own.k_proj, own.v_proj)
        self._attend_out = Linear.of(own.out_proj)
        self._widen = Linear.of(layer.fc1, then_gelu=gelu)
        self._activation = nn.Identity() if gelu else layer.activation_fn
        self._narrow = Linear.of(layer.fc2)
        self._attend_norm, self._norm = layer.self_attn_layer_norm, layer.final_layer_norm
        self._head_count: int = own.num_heads

    def __call__(self, rows: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        """Return [R, D] of [R, D]."""
        joined = torch.split(self._attend_in(rows), list(lengths))
        attended = torch.cat([self._attend(prompt) for prompt in joined])
        rows = self._attend_norm(rows + self._attend_out(attended))
        wide = self._activation(self._widen(rows))
        found: torch.Tensor = self._norm(rows + self._narrow(wide))
        return found

    def _attend(self, joined: torch.Tensor) -> torch.Tensor:
        """Return [N, D] of the queries, keys and values of one prompt, [N, 3 D]."""
        by_head = joined.view(1, len(joined), 3, self._head_count, -1).permute(2, 0, 3, 1, 4)
        queries, keys, values = by_head  # [1, H, N, D / H] each
        found = nn.functional.scaled_dot_product_attention(queries, keys, values)
        return found[0].transpose(0, 1).reshape(len(joined), -1)


def pack_encoder(network: Florence2ForConditionalGeneration) -> None:
    """Put a `PackedEncoder` in the place of a model's text encoder, where that pays. Idempotent."""
    language: Any = network.model.language_model
    # In float16 transformers keeps large states from becoming infinite, so its own layers run.
    pays = network.device.type == "cpu" and network.dtype != torch.float16
    if pays and not isinstance(language.encoder, PackedEncoder):
        language.encoder = PackedEncoder(language.encoder)


def _real(lengths: Sequence[int], states: torch.Tensor) -> torch.Tensor | None:
    """Return which positions of [B, N, D] are no padding, [B, N]; None where all are."""
    if len(set(lengths)) == 1:
        return None
    places = torch.arange(states.shape[1], device=states.device)
    return places < upload(list(lengths), states.device)[:, None]


def _mask(real: torch.Tensor | None, states: torch.Tensor) -> torch.Tensor | None:
    if real is None:
        return None
    mask = torch.zeros_like(real, dtype=states.dtype).masked_fill_(~real, -torch.inf)
    return mask[:, None, None]
