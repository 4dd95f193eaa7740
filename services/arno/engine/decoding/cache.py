"""Keys and values of sequences in slots: the encoded prompt once, the past of beams by a mask.

The past of a slot has one place for every beam at every position. When beams change places nothing
is copied: each beam has a mask of the places that are its own past, and attends to those alone. The
slots in use are always the first ones: the last sequence moves into the slot of one that leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch

from arno.engine.decoding.decoder import Decoder, KeysValues, Started
from arno.engine.device import moves, upload

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
        answers = slice(0, longest * self._beams)
        by_layer = (
            self._cross_keys,
            self._cross_values,
            self._keys[..., answers],
            self._values[:, :, :, answers],
        )
        for source, target in moves(sources, targets, self._device):
            for tensor in by_layer:
                tensor[:, target] = tensor[:, source]
            for tensor in (self._padding, self._hidden):
                tensor[target] = tensor[source]

    def wipe(self, slots: list[int]) -> None:
        """Zero slots that held NaN: masked values are still multiplied, by 0."""
        for tensor in (self._cross_keys, self._cross_values, self._keys, self._values):
            tensor[:, slots] = 0.0

    def slots(self, part: slice) -> CachedSlots:
        """Return some of the slots, a slice with step 1; it is valid until they move."""
        return CachedSlots(
            keys=list(self._keys[:, part].unbind()),
            values=list(self._values[:, part].unbind()),
            cross_keys=list(self._cross_keys[:, part].unbind()),
            cross_values=list(self._cross_values[:, part].unbind()),
            padding=self._padding[part],
            hidden=self._hidden[part],
        )

    def inherit(self, part: slice, parents: torch.Tensor) -> None:
        """Give every beam of some slots the past of its parent beam; parents are [S, K]."""
        _inherit(self._hidden[part], parents)

    def reserve(self, encoded: int, positions: int, used: int) -> bool:
        """Grow to the given lengths of prompt and answer where they are longer than those so far.

        If memory runs out, nothing has changed. Returns whether slots moved.

        Args:
            encoded: Positions of a prompt.
            positions: Tokens of an answer, start token included.
            used: Number of slots whose content is kept: the first ones.
        """
        moved = False
        if encoded > self._cross_values.shape[3]:
            encoded = -(-encoded // _PROMPT_TOKENS) * _PROMPT_TOKENS
            # Nothing is masked in empty slots: attention over masked positions only would be NaN.
            padding = self._padding.new_zeros(self._slots, 1, 1, encoded)
            padding[:used] = -torch.inf
            padding[..., : self._padding.shape[-1]] = self._padding
            keys, values = self._grown(self._cross_keys, self._cross_values, encoded, used)
            self._cross_keys, self._cross_values, self._padding = keys, values, padding
            moved = True
        needed = positions * self._beams
        if needed > self._values.shape[3]:
            length = max(needed, 2 * self._values.shape[3], _ANSWER_TOKENS * self._beams)
            hidden = self._hidden.new_full((self._slots, self._beams, length), -torch.inf)
            hidden[..., : self._hidden.shape[-1]] = self._hidden
            keys, values = self._grown(self._keys, self._values, length, used)
            self._keys, self._values, self._hidden = keys, values, hidden
            moved = True
        return moved

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


@dataclass(frozen=True, slots=True)
class CachedSlots:
    """Slots of the cache, the same memory.

    Attributes:
        keys, values: Of answers, by layer, [S, H, D, T * K] and [S, H, T * K, D].
        cross_keys, cross_values: Of prompts, by layer, [S, H, D, N] and [S, H, N, D].
        padding: Mask added to the attention over prompts, [S, 1, 1, N].
        hidden: Mask added to the attention over answers, [S, K, T * K].
    """

    keys: list[torch.Tensor]
    values: list[torch.Tensor]
    cross_keys: list[torch.Tensor]
    cross_values: list[torch.Tensor]
    padding: torch.Tensor
    hidden: torch.Tensor

    def cross(self) -> list[KeysValues]:
        """Return keys and values of each layer over prompts."""
        return list(map(KeysValues, self.cross_keys, self.cross_values))

    def mask(self, encoded: int) -> torch.Tensor:
        """Return the mask that is added to the attention over prompts, [S, 1, 1, N]."""
        return self.padding[..., :encoded]

    def write(self, positions: torch.Tensor, longest: int) -> StepCache:
        """Return the past for one step, with places for the new tokens.

        Args:
            positions: Position of the new token of each slot, [S].
            longest: One more than the largest position; there is room for it.
        """
        count, beams, _ = self.hidden.shape
        each_beam = torch.arange(beams, device=positions.device)
        places = positions[:, None] * beams + each_beam  # [S, K]
        # Each beam attends to its own new token.
        self.hidden.scatter_(2, places[:, :, None], 0.0)
        return StepCache(
            keys=self.keys,
            values=self.values,
            slots=torch.arange(count, device=positions.device)[:, None],
            places=places,
            visible=self.hidden[:, None, :, : longest * beams],
        )

    def inherit(self, parents: torch.Tensor) -> None:
        """Give every beam the past of its parent beam; parents are [S, K]."""
        _inherit(self.hidden, parents)


@dataclass(frozen=True, slots=True)
class StepCache:
    """The past during one step: takes the new keys and values of a layer, returns all of them.

    Attributes:
        keys, values: Of the slots, as in `CachedSlots`.
        slots: Numbers of the slots, [S, 1].
        places: Where the new tokens go, [S, K].
        visible: Mask added to the attention over the past, [S, 1, K, N].
    """

    keys: list[torch.Tensor]
    values: list[torch.Tensor]
    slots: torch.Tensor
    places: torch.Tensor
    visible: torch.Tensor

    def update(self, layer: int, new: KeysValues) -> KeysValues:
        """Write keys and values of a layer's new tokens; return those of the past, and its room.

        Shapes: new keys [S, H, D, K], new values [S, H, K, D].
        """
        keys, values = self.keys[layer], self.values[layer]
        # With indices on both sides of a slice, torch puts their axes first: [S, K, H, D].
        # The operator itself, because an assignment asks on the way whether sizes are 1.
        put: Any = torch.ops.aten.index_put_
        put(keys, [self.slots, None, None, self.places], new.keys.permute(0, 3, 1, 2))
        put(values, [self.slots, None, self.places], new.values.transpose(1, 2))
        return KeysValues(keys, values)


def _inherit(hidden: torch.Tensor, parents: torch.Tensor) -> None:
    hidden.copy_(hidden.gather(1, parents[:, :, None].expand_as(hidden)))
