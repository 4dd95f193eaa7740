"""The layers of the text decoder, run on Arno's own caches.

The weights are those of transformers' `BartDecoder`; the caches differ. A sequence's encoded prompt
is kept once for all its beams, and a mask decides what a beam attends to, so that nothing is copied
when beams change places.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import Florence2ForConditionalGeneration

from arno.engine.decoding.beam_table import OPENING
from arno.engine.layers.linear import Linear, has_gelu


@dataclass(frozen=True, slots=True)
class KeysValues:
    """Keys and values that one layer attends to.

    Attributes:
        keys: Transposed for the product with queries, [S, H, D, N].
        values: [S, H, N, D].
    """

    keys: torch.Tensor
    values: torch.Tensor


CacheUpdate = Callable[[int, KeysValues], KeysValues]
"""Takes a layer's number and the keys and values of new tokens; returns those of the whole past."""


@dataclass(frozen=True, slots=True)
class _Norm:
    weight: torch.Tensor
    bias: torch.Tensor
    epsilon: float

    @classmethod
    def of(cls, module: nn.LayerNorm) -> _Norm:
        return cls(module.weight.detach(), module.bias.detach(), module.eps)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.epsilon)

    def tensors(self) -> list[torch.Tensor]:
        return [self.weight, self.bias]

    def over(self, tensors: Iterator[torch.Tensor]) -> _Norm:
        return _Norm(next(tensors), next(tensors), self.epsilon)


@dataclass(frozen=True, slots=True)
class _Layer:
    self_in: Linear
    self_out: Linear
    self_norm: _Norm
    cross_in: Linear
    cross_out: Linear
    cross_norm: _Norm
    widen: Linear
    activation: nn.Module
    narrow: Linear
    norm: _Norm
    cross_keys_values: Linear

    @property
    def in_a_step(self) -> dict[str, Linear | _Norm]:
        """Its parts with weights that a step uses, by name."""
        others = ("activation", "cross_keys_values")
        names = [field.name for field in dataclasses.fields(self) if field.name not in others]
        return {name: getattr(self, name) for name in names}

    @property
    def linears(self) -> list[Linear]:
        """Its maps that a step uses."""
        return [part for part in self.in_a_step.values() if isinstance(part, Linear)]

    def over(self, tensors: Iterator[torch.Tensor]) -> _Layer:
        parts: dict[str, Any] = {name: part.over(tensors) for name, part in self.in_a_step.items()}
        return dataclasses.replace(self, **parts)


@dataclass(frozen=True, slots=True)
class Started:
    """Sequences after `OPENING`, whose tokens are the same for all beams.

    Attributes:
        cross: Keys and values over the encoded prompts, by layer.
        opening: Keys and values over the opening tokens, by layer.
        logits: Logits of the token that follows, [B, V].
    """

    cross: list[KeysValues]
    opening: list[KeysValues]
    logits: torch.Tensor


class Decoder:
    """The decoder of a model, with its weights laid out for this processor.

    Shapes: S sequences, Q tokens each (one per beam, or several of one beam), E model width, H
    heads of width D, N positions attended to, V tokens of the vocabulary.
    """

    def __init__(self, network: Florence2ForConditionalGeneration) -> None:
        """Lay out the weights of a model."""
        untyped: Any = network
        stack = untyped.model.language_model.decoder
        self._head_count = stack.layers[0].self_attn.num_heads
        self._width = stack.layers[0].embed_dim
        scale = 1.0 / math.sqrt(self._width // self._head_count)
        self._tokens: torch.Tensor = stack.embed_tokens.weight.detach()
        self._tokens_scale = float(getattr(stack.embed_tokens, "embed_scale", 1.0))
        self._places: torch.Tensor = stack.embed_positions.weight.detach()
        self._first_place = int(stack.embed_positions.offset)
        self._norm = _Norm.of(stack.layernorm_embedding)
        self._layers = [_lay_out(layer, scale) for layer in stack.layers]
        self._to_logits = Linear.of(untyped.lm_head)
        self._opening = torch.tensor(OPENING, device=self.device)

    @property
    def device(self) -> torch.device:
        """The device that it runs on."""
        return self._places.device

    @property
    def dtype(self) -> torch.dtype:
        """Number format of its weights and caches."""
        return self._places.dtype

    @property
    def layer_count(self) -> int:
        """Number of layers, each with a cache."""
        return len(self._layers)

    @property
    def position_count(self) -> int:
        """Number of positions that it has an embedding for."""
        return self._places.shape[0] - self._first_place

    @property
    def token_count(self) -> int:
        """Number of tokens with a logit, V."""
        return self._to_logits.size

    @property
    def width(self) -> int:
        """Width of the model, E."""
        return int(self._width)

    @property
    def head_count(self) -> int:
        """Number of heads, H."""
        return int(self._head_count)

    @property
    def head_width(self) -> int:
        """Width of a head, D."""
        return int(self._width // self._head_count)

    @property
    def is_small(self) -> bool:
        """Whether a step's products are so small that launching them is what takes the time."""
        maps = [self._to_logits, *(part for each in self._layers for part in each.linears)]
        return all(each.transposed for each in maps)

    def tensors(self) -> list[torch.Tensor]:
        """Return the weights that a step uses, in the order that `over` takes them."""
        parts = [self._norm, *(part for each in self._layers for part in each.in_a_step.values())]
        inner = [tensor for part in [*parts, self._to_logits] for tensor in part.tensors()]
        return [self._tokens, self._places, *inner]

    def over(self, tensors: Sequence[torch.Tensor]) -> Decoder:
        """Return a decoder whose steps use other weights of the same shapes."""
        left, other = iter(tensors), copy.copy(self)
        other._tokens, other._places = next(left), next(left)
        other._norm = self._norm.over(left)
        other._layers = [layer.over(left) for layer in self._layers]
        other._to_logits = self._to_logits.over(left)
        return other

    def start(self, states: torch.Tensor, padding: torch.Tensor | None) -> Started:
        """Run the opening tokens of new sequences.

        Args:
            states: Encoded prompts, [B, N, E].
            padding: Mask added to the attention over them, [B, 1, 1, N]; None without padding.
        """
        cross = self.cross(states)
        opening: list[KeysValues] = []

        def update_cache(_: int, new: KeysValues) -> KeysValues:
            opening.append(new)
            return new

        ids = self._opening.expand(states.shape[0], -1)
        hidden = self._run_whole(ids, cross, padding, update_cache)
        return Started(cross, opening, self._to_logits(hidden[:, -1]))

    def cross(self, states: torch.Tensor) -> list[KeysValues]:
        """Return keys and values over encoded prompts, [B, N, E], by layer."""
        return [self._split(layer.cross_keys_values(states)) for layer in self._layers]

    def read(
        self, ids: torch.Tensor, cross: list[KeysValues], padding: torch.Tensor | None
    ) -> torch.Tensor:
        """Read whole answers at once; return the hidden states after each token, [S, Q, E].

        Args:
            ids: Tokens from the start token on, [S, Q]; padding at the end changes none before it.
            cross: Keys and values over the encoded prompts, by layer.
            padding: As in `start`.
        """
        return self._run_whole(ids, cross, padding, lambda _, new: new)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the logits of the token that follows, [..., V] of [..., E]."""
        return self._to_logits(hidden)

    def step(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        cross: list[KeysValues],
        padding: torch.Tensor | None,
        update_cache: CacheUpdate,
        visible: torch.Tensor,
    ) -> torch.Tensor:
        """Return the logits of the next token of every beam, [S, K, V].

        Args:
            ids: The newest token of every beam, [S, K].
            positions: Their positions, [S, 1].
            cross: Keys and values over the encoded prompts, by layer, with room at their end.
            padding: As in `start`, of as many positions as are attended to.
            update_cache: Stores the new keys and values, and returns the past, with room at its
                end.
            visible: Mask added to the attention over the past, [S, 1, K, N], of as many positions
                as are attended to.
        """
        return self._to_logits(self._run(ids, positions, cross, padding, update_cache, visible))

    def _run_whole(
        self,
        ids: torch.Tensor,
        cross: list[KeysValues],
        padding: torch.Tensor | None,
        update_cache: CacheUpdate,
    ) -> torch.Tensor:
        """Run tokens from the first position on, each of which attends to those before it."""
        count, device = ids.shape[1], ids.device
        positions = torch.arange(count, device=device).expand(ids.shape[0], -1)
        future = torch.full((count, count), -torch.inf, dtype=self.dtype, device=device)
        return self._run(ids, positions, cross, padding, update_cache, future.triu(1))

    def _run(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        cross: list[KeysValues],
        padding: torch.Tensor | None,
        update_cache: CacheUpdate,
        visible: torch.Tensor,
    ) -> torch.Tensor:
        places = nn.functional.embedding(positions + self._first_place, self._places)
        tokens = nn.functional.embedding(ids, self._tokens)
        if self._tokens_scale != 1.0:
            tokens = tokens * self._tokens_scale
        hidden = self._norm(tokens + places)  # [S, Q, E]
        for number, layer in enumerate(self._layers):
            queries, keys_values = self._project(layer.self_in(hidden))
            past = update_cache(number, keys_values)
            attended = layer.self_out(self._attend(queries, past, visible))
            hidden = layer.self_norm(hidden + attended)
            queries = self._heads(layer.cross_in(hidden))
            attended = layer.cross_out(self._attend(queries, cross[number], padding))
            hidden = layer.cross_norm(hidden + attended)
            fed_forward = layer.narrow(layer.activation(layer.widen(hidden)))
            hidden = layer.norm(hidden + fed_forward)
        return hidden

    def _attend(
        self, queries: torch.Tensor, past: KeysValues, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Attend to the past, or to as much of it as there is a mask for."""
        count, heads, tokens, _ = queries.shape
        keys, values = past.keys.flatten(0, 1), past.values.flatten(0, 1)
        if mask is not None:
            keys, values = keys[..., : mask.shape[-1]], values[:, : mask.shape[-1]]
        weights = torch.bmm(_copied(queries).flatten(0, 1), keys).view(count, heads, tokens, -1)
        if mask is not None:
            weights += mask
        weights = weights.softmax(-1, dtype=torch.float32).to(queries.dtype)  # [S, H, Q, N]
        attended = torch.bmm(weights.flatten(0, 1), values)  # [S * H, Q, D]
        return _copied(attended.view(count, heads, tokens, -1).transpose(1, 2)).flatten(2)

    def _project(self, joined: torch.Tensor) -> tuple[torch.Tensor, KeysValues]:
        queries, keys_values = torch.split(joined, [self._width, 2 * self._width], dim=-1)
        return self._heads(queries), self._split(keys_values)

    def _split(self, joined: torch.Tensor) -> KeysValues:
        keys, values = joined.chunk(2, dim=-1)
        return KeysValues(self._heads(keys).transpose(2, 3), self._heads(values))

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        """Return [S, H, Q, D] of [S, Q, E]."""
        return x.view(*x.shape[:-1], self._head_count, -1).transpose(1, 2)


def _copied(x: torch.Tensor) -> torch.Tensor:
    """Return a copy in the order of its axes.

    Whether one is needed depends on which sizes are 1, and a compiled step must not ask for that.
    """
    return x.clone(memory_format=torch.contiguous_format)


def _lay_out(layer: Any, scale: float) -> _Layer:
    own, other, gelu = layer.self_attn, layer.encoder_attn, has_gelu(layer)
    return _Layer(
        self_in=Linear.of(_scaled(own.q_proj, scale), own.k_proj, own.v_proj),
        self_out=Linear.of(own.out_proj),
        self_norm=_Norm.of(layer.self_attn_layer_norm),
        cross_in=Linear.of(_scaled(other.q_proj, scale)),
        cross_out=Linear.of(other.out_proj),
        cross_norm=_Norm.of(layer.encoder_attn_layer_norm),
        widen=Linear.of(layer.fc1, then_gelu=gelu),
        activation=nn.Identity() if gelu else layer.activation_fn,
        narrow=Linear.of(layer.fc2),
        norm=_Norm.of(layer.final_layer_norm),
        cross_keys_values=Linear.of(other.k_proj, other.v_proj),
    )


def _scaled(queries: nn.Linear, scale: float) -> nn.Linear:
    """Return the map of queries with the scale of attention in it, which no product has to apply.

    For heads of 64, as the published models have, the scale is a power of two: nothing is rounded.
    """
    scaled = copy.deepcopy(queries)
    with torch.no_grad():
        for weight in scaled.parameters():
            weight.mul_(scale)
    return scaled
