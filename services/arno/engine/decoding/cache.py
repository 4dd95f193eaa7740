"""Keys and values of sequences in slots: the encoded prompt once, the past of beams by a mask.

The past of a slot has one place for every beam at every position. When beams change places nothing
is copied: each beam has a mask of the places that are its own past, and attends to those alone. The
slots in use are always the first ones: the last sequence moves into the slot of one that leaves.
"""

from __future__ import annotations

from typing import Final

import torch

from arno.engine.decoding.decoder import Decoder, KeysValues, Started
from arno.engine.device import upload

_PROMPT_TOKENS: Final = 32
"""The length for prompts grows in steps of this many tokens, because growing copies everything."""

_ANSWER_TOKENS: Final = 32
"""The length for answers starts with this many tokens, and doubles."""


def slot_bytes(decoder: Decoder, beams: int, encoded: int, positions: int) -> int:
    """Return the memory of one slot, for lengths of prompt and answer in tokens."""
    token = (
        2 * decoder.layer_count * decoder.head_count * decoder.head_width * decoder.dtype.itemsize
    )
    return token * (encoded + positions * beams)


class SlotCache:
    """The cache of one batch. Memory grows with the longest prompt and answer so far.

    Shapes: L layers, S slots, H heads of width D, K beams, N encoded positions, T positions.
    """

    def __init__(self, decoder: Decoder, slots: int, beams: int) -> None:
        """Take the number of slots and of beams; memory is allocated as it is needed."""
        self._layers, self._heads, self._size = (
            decoder.layer_count,
            decoder.head_count,
            decoder.head_width,
        )
        self._slots, self._beams = slots, beams
        device, dtype = self._device, self._dtype = decoder.device, decoder.dtype
        self._cross_keys, self._cross_values = self._zeros(0)
        self._keys, self._values = self._zeros(0)
        self._padding = torch.zeros(slots, 1, 1, 0, device=device, dtype=dtype)
        self._hidden = torch.empty(slots, beams, 0, device=device, dtype=dtype)
        self._each_beam = torch.arange(beams, device=device)
        self._each_slot = torch.arange(slots, device=device)

    @property
    def size_bytes(self) -> int:
        """Memory allocated so far."""
        kept = (self._cross_keys, self._cross_values, self._keys, self._values, self._hidden)
        return sum(tensor.nbytes for tensor in kept)

    def fill(self, first: int, started: Started, lengths: list[int]) -> None:
        """Put started sequences into slots.

        Args:
            first: Slot of the first; the others follow it.
            started: The sequences.
            lengths: The length of each one's encoded prompt, without padding.
        """
        opening, longest = started.opening[0].values.shape[2], max(lengths)
        self.reserve(longest, opening, used=first)
        slots = slice(first, first + len(lengths))
        places = slice(0, opening * self._beams, self._beams)  # of the first beam
        for layer, (cross, new) in enumerate(zip(started.cross, started.opening, strict=True)):
            self._cross_keys[layer, slots, :, :, :longest] = cross.keys[..., :longest]
            self._cross_values[layer, slots, :, :longest] = cross.values[:, :, :longest]
            self._keys[layer, slots, :, :, places] = new.keys
            self._values[layer, slots, :, places] = new.values
        ends = upload(lengths, self._device)[:, None]
        beyond = torch.arange(self._padding.shape[-1], device=self._device) >= ends  # [S, N]
        self._padding[slots] = 0.0
        self._padding[slots, 0, 0].masked_fill_(beyond, -torch.inf)
        self._hidden[slots] = -torch.inf
        self._hidden[slots, :, places] = 0.0

    def move(self, sources: list[int], targets: list[int], longest: int) -> None:
        """Copy sequences into other slots; no slot is a source and a target.

        Args:
            sources: Their slots.
            targets: Their new slots.
            longest: Tokens of the longest answer among them, start token included.
        """
        origin, slots = upload(sources, self._device), upload(targets, self._device)
        answers = slice(0, longest * self._beams)
        for tensor in (
            self._cross_keys,
            self._cross_values,
            self._keys[..., answers],
            self._values[:, :, :, answers],
        ):
            tensor[:, slots] = tensor[:, origin]
        for tensor in (self._padding, self._hidden):
            tensor[slots] = tensor[origin]

    def wipe(self, slots: list[int]) -> None:
        """Zero slots that held NaN: masked values are still multiplied, by 0."""
        for tensor in (self._cross_keys, self._cross_values, self._keys, self._values):
            tensor[:, slots] = 0.0

    def inherit(self, part: slice, parents: torch.Tensor) -> None:
        """Give every beam of some slots the past of its parent beam; parents are [S, K]."""
        hidden = self._hidden[part]
        hidden.copy_(hidden.gather(1, parents[:, :, None].expand_as(hidden)))

    def cross(self, count: int, encoded: int) -> list[KeysValues]:
        """Return keys and values of each layer over the prompts of the first slots."""
        return [
            KeysValues(keys[:count, :, :, :encoded], values[:count, :, :encoded])
            for keys, values in zip(self._cross_keys, self._cross_values, strict=True)
        ]

    def padding(self, count: int, encoded: int) -> torch.Tensor:
        """Return the mask that is added to the attention over prompts, [S, 1, 1, N]."""
        return self._padding[:count, :, :, :encoded]

    def write(self, count: int, positions: torch.Tensor, longest: int) -> StepCache:
        """Return the past of the first slots for one step, with places for the new tokens.

        Args:
            count: Number of slots.
            positions: Position of the new token of each slot, [S].
            longest: One more than the largest position.
        """
        self.reserve(0, longest, used=count)
        places = positions[:, None] * self._beams + self._each_beam  # [S, K]
        hidden = self._hidden[:count, :, : longest * self._beams]
        hidden.scatter_(2, places[:, :, None], 0.0)  # each beam attends to its own new token
        return StepCache(
            keys=self._keys[:, :count, :, :, : longest * self._beams],
            values=self._values[:, :count, :, : longest * self._beams],
            slots=self._each_slot[:count, None],
            places=places,
            visible=hidden[:, None],
        )

    def reserve(self, encoded: int, positions: int, used: int) -> None:
        """Grow to the given lengths of prompt and answer where they are longer than those so far.

        If memory runs out, nothing has changed.

        Args:
            encoded: Positions of a prompt.
            positions: Tokens of an answer, start token included.
            used: Number of slots whose content is kept: the first ones.
        """
        if encoded > self._cross_values.shape[3]:
            encoded = -(-encoded // _PROMPT_TOKENS) * _PROMPT_TOKENS
            # Nothing is masked in empty slots: attention over masked positions only would be NaN.
            padding = self._padding.new_zeros(self._slots, 1, 1, encoded)
            padding[:used] = -torch.inf
            padding[..., : self._padding.shape[-1]] = self._padding
            keys, values = self._grown(self._cross_keys, self._cross_values, encoded, used)
            self._cross_keys, self._cross_values, self._padding = keys, values, padding
        needed = positions * self._beams
        if needed > self._values.shape[3]:
            length = max(needed, 2 * self._values.shape[3], _ANSWER_TOKENS * self._beams)
            hidden = self._hidden.new_full((self._slots, self._beams, length), -torch.inf)
            hidden[..., : self._hidden.shape[-1]] = self._hidden
            keys, values = self._grown(self._keys, self._values, length, used)
            self._keys, self._values, self._hidden = keys, values, hidden

    def _grown(
        self, keys: torch.Tensor, values: torch.Tensor, length: int, used: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        new_keys, new_values = self._zeros(length)
        new_keys[:, :used, :, :, : keys.shape[-1]] = keys[:, :used]
        new_values[:, :used, :, : values.shape[3]] = values[:, :used]
        return new_keys, new_values

    def _zeros(self, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        # Zeros, because masked values are still multiplied by 0; pages are allocated at first use.
        shape = (self._layers, self._slots, self._heads)
        keys = torch.zeros(*shape, self._size, length, device=self._device, dtype=self._dtype)
        values = torch.zeros(*shape, length, self._size, device=self._device, dtype=self._dtype)
        return keys, values


class StepCache:
    """The past during one step: takes the new keys and values of a layer, returns all of them."""

    def __init__(
        self,
        *,
        keys: torch.Tensor,
        values: torch.Tensor,
        slots: torch.Tensor,
        places: torch.Tensor,
        visible: torch.Tensor,
    ) -> None:
        """Take views of the cache, places of the new tokens, [S, K], and the mask, [S, 1, K, N]."""
        self._keys, self._values = keys, values
        self._slots, self._places = slots, places
        self.visible = visible

    def update(self, layer: int, new: KeysValues) -> KeysValues:
        """Write keys and values of a layer's new tokens; return those of the whole past.

        Shapes: new keys [S, H, D, K], new values [S, H, K, D].
        """
        keys, values = self._keys[layer], self._values[layer]
        # With indices on both sides of a slice, torch puts their axes first: [S, K, H, D].
        keys[self._slots, :, :, self._places] = new.keys.permute(0, 3, 1, 2)
        values[self._slots, :, self._places] = new.values.transpose(1, 2)
        return KeysValues(keys, values)
