"""One step of a batch, as a function of tensors alone, so that it can be recorded or compiled."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch

from arno.engine.decoding.beam_search import BeamRows, BeamSearch
from arno.engine.decoding.cache import CachedSlots
from arno.engine.decoding.constraint_table import ConstraintRows
from arno.engine.decoding.decoder import Decoder
from arno.engine.interface import DecodingOptions

COMPILED_TOKENS: Final = 8
"""A compiled step takes lengths of answers that are multiples of this, or the longest there are."""


@dataclass(frozen=True, slots=True)
class StepState:
    """What a step reads and changes, of the first slots of a batch.

    Attributes:
        rows: Their searches.
        slots: Their keys and values.
        held: Their grammars; None if they have none.
    """

    rows: BeamRows
    slots: CachedSlots
    held: ConstraintRows | None = None

    @property
    def count(self) -> int:
        """Number of slots."""
        return len(self.rows.lengths)

    def tensors(self) -> list[torch.Tensor]:
        """Return all of it, in the order that `of` takes it; without grammars."""
        slots = self.slots
        by_layer = (slots.keys, slots.values, slots.cross_keys, slots.cross_values)
        return [
            *self.rows.tensors(),
            slots.padding,
            slots.hidden,
            *(tensor for layers in by_layer for tensor in layers),
        ]

    @classmethod
    def of(cls, tensors: Sequence[torch.Tensor]) -> StepState:
        """Return the state that these tensors are."""
        rows = len(dataclasses.fields(BeamRows))
        layers = tensors[rows + 2 :]
        each = len(layers) // 4
        by_layer = [list(layers[first : first + each]) for first in range(0, 4 * each, each)]
        keys, values, cross_keys, cross_values = by_layer
        slots = CachedSlots(keys, values, cross_keys, cross_values, *tensors[rows : rows + 2])
        return cls(BeamRows(*tensors[:rows]), slots)


StepFunction = Callable[[StepState, int, int], torch.Tensor]
"""Decodes one more token of every slot, in place; returns which searches are over, [S].

It takes the state, the tokens of the longest answer, start token included, for which there is room,
and the positions of the longest prompt.
"""


StepChoice = Callable[[DecodingOptions], StepFunction | None]
"""Returns the compiled step for batches with these options; None where there is none."""


def plain_step(decoder: Decoder, search: BeamSearch) -> StepFunction:
    """Return a step that launches its kernels one by one."""

    def step(state: StepState, longest: int, encoded: int) -> torch.Tensor:
        rows, slots = state.rows, state.slots
        # The position of an empty slot may lie beyond the width of the step.
        positions = (rows.lengths[:, 0] - 1).clamp(max=longest - 1)  # [S]
        past = slots.write(positions, longest)
        logits = decoder.step(
            ids=rows.newest(),
            positions=positions[:, None],
            cross=slots.cross(),
            padding=slots.mask(encoded),
            update_cache=past.update,
            visible=past.visible,
        )
        advance = search.update(rows, logits, longest, state.held)
        slots.inherit(advance.parents)
        return advance.finished

    return step
