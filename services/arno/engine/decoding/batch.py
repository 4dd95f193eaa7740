"""One continuous batch: sequences with equal options, which join and leave between steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from arno.engine.decoding.beam_table import OPENING, BeamTable, Hypothesis
from arno.engine.decoding.cache import SlotCache
from arno.engine.decoding.constraint_table import ConstraintTable, TokenKinds
from arno.engine.decoding.decoder import Decoder, Started
from arno.engine.decoding.stepping import Stepping, StepShape, choose_stepping
from arno.engine.interface import DecodingOptions
from arno.vocabulary.grammar import Grammar


@dataclass(slots=True)
class _Slot:
    sequence_id: str
    length: int
    encoded: int


@dataclass(frozen=True, slots=True)
class Joining:
    """A sequence that is about to decode.

    Attributes:
        sequence_id: Its name.
        encoded: The length of its encoded prompt.
        limit: Most tokens of its answer, the end included: 2 at least.
        grammar: What its answer is held to, in a batch that holds to grammars.
    """

    sequence_id: str
    encoded: int
    limit: int
    grammar: Grammar | None = None


class DecodeBatch:
    """Sequences in slots. A step gives each of them one more token, whatever its length."""

    def __init__(
        self,
        decoder: Decoder,
        options: DecodingOptions,
        most: StepShape,
        *,
        kinds: TokenKinds | None = None,
        stepping: Stepping | None = None,
    ) -> None:
        """Start empty.

        Args:
            decoder: The model.
            options: Of every sequence, but for its limit.
            most: Sequences, tokens of an answer and places of a prompt, at most.
            kinds: Makes it a batch whose members are held to grammars.
            stepping: How steps are launched; by default what suits the device.
        """
        self._decoder = decoder
        self._beams = options.num_beams
        constraints = ConstraintTable(kinds, most.count, self._beams) if kinds else None
        width = most.longest + 1
        self._table = BeamTable(options, most.count, width, decoder.device, constraints)
        self._cache = SlotCache(decoder, most.count, self._beams)
        self._slots: list[_Slot] = []
        self._stepping = stepping or choose_stepping(decoder.device)
        self._most = most
        if self.reserves:
            self._cache.reserve(most.encoded, most.longest, used=0)

    @property
    def slot_count(self) -> int:
        """Sequences that it can hold."""
        return self._most.count

    @property
    def reserves(self) -> bool:
        """Whether it takes the memory of all slots at once, and not with those that join."""
        return self._stepping.few_shapes

    def __len__(self) -> int:
        """Return how many decode."""
        return len(self._slots)

    @property
    def sequence_ids(self) -> list[str]:
        """Those that decode."""
        return [slot.sequence_id for slot in self._slots]

    def token_count(self, sequence_id: str) -> int:
        """Return how many tokens a sequence has."""
        return self._slots[self._place(sequence_id)].length - 1

    def join(self, started: Started, joining: Sequence[Joining]) -> list[str]:
        """Take sequences in, and give each its first own token.

        Returns:
            The ids of those that are over already.
        """
        first = len(self._slots)
        try:
            for member, each in enumerate(joining):
                self._cache.fill(first + member, started, member, each.encoded)
                self._table.open(first + member, each.limit + 1, each.grammar)
                self._slots.append(_Slot(each.sequence_id, len(OPENING), each.encoded))
            logits = started.logits[:, None].expand(-1, self._beams, -1)
            joined = self._slots[first:]
            part = slice(first, len(self._slots))
            return self._told(joined, self._update(part, logits, len(OPENING)))
        except Exception:
            del self._slots[first:]  # those who were here before notice nothing
            raise

    def step(self) -> list[str]:
        """Give every sequence one more token.

        Returns:
            The ids of those that are over: read what they found with `leave`.
        """
        shape = StepShape(
            count=len(self._slots),
            longest=max(slot.length for slot in self._slots),
            encoded=max(slot.encoded for slot in self._slots),
        )
        if self._stepping.few_shapes:
            shape = shape.rounded(self._most)
        finished = self._stepping.run(shape, self._launch)
        return self._told(self._slots, finished[: len(self._slots)])

    def _launch(self, shape: StepShape) -> torch.Tensor:
        """Do a step's work on the device; return which searches are over, [S]."""
        count, encoded = shape.count, shape.encoded
        # What a slot that holds nobody comes to may lie beyond the step's room.
        positions = self._table.positions(count).clamp(max=shape.longest - 1)  # [S]
        step = self._cache.write(count, positions, shape.longest)
        logits = self._decoder.step(
            ids=self._table.newest(count),
            positions=positions[:, None],
            cross=self._cache.cross(count, encoded),
            padding=self._cache.padding(count, encoded),
            remember=step.remember,
            visible=step.visible,
        )
        return self._update(slice(0, count), logits, shape.longest)

    def best(self, sequence_id: str) -> Hypothesis:
        """Return the best that a sequence has found so far."""
        place = self._place(sequence_id)
        return self._table.best(place, self._slots[place].length)

    def leave(self, sequence_id: str) -> Hypothesis:
        """Let a sequence go, with the best that it found; its slot is free at once."""
        place = self._place(sequence_id)
        best = self._table.best(place, self._slots[place].length)
        last = len(self._slots) - 1
        if place != last:
            self._cache.move(last, place)
            self._table.move(last, place)
            self._slots[place] = self._slots[last]
        elif any(map(math.isnan, best.logprobs)):
            self._cache.wipe(place)
        self._slots.pop()
        return best

    def _update(self, part: slice, logits: torch.Tensor, longest: int) -> torch.Tensor:
        advance = self._table.update(part, logits, longest)
        self._cache.inherit(part, advance.parents)
        return advance.finished

    @staticmethod
    def _told(slots: Sequence[_Slot], over: torch.Tensor) -> list[str]:
        """Note that slots have one more token; return the ids of those that are over."""
        for slot in slots:
            slot.length += 1
        finished = over.tolist()  # the one wait for the device
        return [slot.sequence_id for slot, over in zip(slots, finished, strict=True) if over]

    def _place(self, sequence_id: str) -> int:
        return next(
            place for place, slot in enumerate(self._slots) if slot.sequence_id == sequence_id
        )
