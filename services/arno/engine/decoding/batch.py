"""One continuous batch: sequences with equal options, which join and leave between steps."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

import torch

from arno.engine.decoding.beam_table import OPENING, BeamTable, Hypothesis
from arno.engine.decoding.cache import SlotCache
from arno.engine.decoding.constraint_table import ConstraintTable, TokenKinds
from arno.engine.decoding.decoder import Decoder, Started
from arno.engine.decoding.launchers import StepLauncher, StepShape, choose_launcher
from arno.engine.decoding.step import COMPILED_TOKENS, StepFunction, StepState, plain_step
from arno.engine.interface import DecodingOptions
from arno.engine.sequences.sequence import Sequence


class DecodeBatch:
    """Sequences in slots. A step decodes one more token of each of them, whatever its length."""

    def __init__(  # noqa: PLR0913 - one for each part
        self,
        decoder: Decoder,
        options: DecodingOptions,
        limits: StepShape,
        *,
        kinds: TokenKinds | None = None,
        location_ids: range = range(0),
        launcher: StepLauncher | None = None,
        compiled: StepFunction | None = None,
    ) -> None:
        """Start empty.

        Args:
            decoder: The model.
            options: Options of all its sequences, but for their limits on tokens.
            limits: Most sequences, most tokens of an answer, most positions of a prompt.
            kinds: Classes of tokens, for a batch whose members are held to grammars.
            location_ids: Ids of the location tokens, in the order of their bins.
            launcher: How steps are launched; by default what suits the device.
            compiled: Does a step of a batch with these options, in place of the plain one.
        """
        self._decoder = decoder
        self._beams = options.num_beams
        self._constraints = ConstraintTable(kinds, limits.count, self._beams) if kinds else None
        width = limits.longest + 1
        self._table = BeamTable(
            options, limits.count, width, decoder.device, self._constraints, location_ids
        )
        self._cache = SlotCache(decoder, limits.count, self._beams)
        self._slots: list[Sequence] = []
        self._launcher = launcher or choose_launcher(decoder.device)
        self._limits = limits
        self._state: StepState | None = None
        self._step = compiled or plain_step(decoder, self._table.search)
        self._block = COMPILED_TOKENS if compiled else 1
        if self.reserves:
            self._cache.reserve(limits.encoded, limits.longest, used=0)
            self._table.reserve(limits.longest)

    @property
    def slot_count(self) -> int:
        """Sequences that it can hold."""
        return self._limits.count

    @property
    def reserves(self) -> bool:
        """Whether it takes the memory of all its slots at once, not as sequences join."""
        return self._launcher.few_shapes

    @property
    def sequences(self) -> tuple[Sequence, ...]:
        """Its sequences."""
        return tuple(self._slots)

    def __len__(self) -> int:
        """Return how many sequences it holds."""
        return len(self._slots)

    def warm(self, shapes: Iterable[StepShape]) -> None:
        """Run steps of these shapes over the empty slots, until each is recorded if any is."""
        for shape in dict.fromkeys(shape.rounded(self._limits) for shape in shapes):
            for _ in range(2):
                self.run_empty(shape)

    def run_empty(self, shape: StepShape) -> torch.Tensor:
        """Run a step of a rounded shape over the empty slots, as `step` would."""
        return self._launcher.run(shape, self._launch)

    def join(self, started: Started, sequences: list[Sequence]) -> list[Sequence]:
        """Take sequences in, and decode the first token of each.

        Args:
            started: What the decoder made of their encoded prompts, in their order.
            sequences: The sequences, each with a limit of 2 tokens at least.

        Returns:
            Those whose search is over already.
        """
        first = len(self._slots)
        self._state = None  # whose tensors may be others from now on
        try:
            self._cache.fill(first, started, [each.encoded_length for each in sequences])
            self._open(first, sequences)
            for sequence in sequences:
                sequence.token_count = len(OPENING) - 1  # the start token is none of the answer's
            self._slots += sequences
            joined = slice(first, len(self._slots))
            return self._count(self._slots[joined], self._first_update(joined, started.logits))
        except Exception:
            del self._slots[first:]  # sequences that were here before are not affected
            raise

    def _open(self, first: int, sequences: list[Sequence]) -> None:
        """Begin the searches of sequences, in the rows from the first on."""
        before = self._constraints and self._constraints.shape
        self._table.open(
            first,
            [each.token_limit + 1 for each in sequences],
            [each.grammar for each in sequences],
        )
        if self._constraints and self._constraints.shape != before:
            self._launcher.forget()

    def step(self) -> list[Sequence]:
        """Decode one more token of every sequence.

        Returns:
            Those whose search is over; read what they found with `leave`.
        """
        shape = StepShape(
            count=len(self._slots),
            longest=max(sequence.token_count for sequence in self._slots) + 1,
            encoded=max(sequence.encoded_length for sequence in self._slots),
        )
        if self._launcher.few_shapes:
            shape = shape.rounded(self._limits)
        elif self._block > 1:
            longest = -(-shape.longest // self._block) * self._block
            shape = dataclasses.replace(shape, longest=min(longest, self._limits.longest))
        finished = self._launcher.run(shape, self._launch)
        return self._count(self._slots, finished[: len(self._slots)])

    def _launch(self, shape: StepShape) -> torch.Tensor:
        """Do a step's work on the device; return which searches are over, [S]."""
        moved = self._cache.reserve(0, shape.longest, used=shape.count)
        moved |= self._table.reserve(shape.longest)
        if moved or self._state is None or self._state.count != shape.count:
            part = slice(0, shape.count)
            held = self._constraints.rows(part) if self._constraints is not None else None
            self._state = StepState(self._table.rows(part), self._cache.slots(part), held)
        return self._step(self._state, shape.longest, shape.encoded)

    def best(self, sequences: list[Sequence]) -> list[Hypothesis]:
        """Return the best hypothesis of sequences so far."""
        slots = [self._slots.index(sequence) for sequence in sequences]
        return self._table.best(slots, [sequence.token_count + 1 for sequence in sequences])

    def leave(self, sequences: list[Sequence]) -> list[Hypothesis]:
        """Take sequences out, which frees their slots; return the best hypothesis of each."""
        found = self.best(sequences)
        slots = [self._slots.index(sequence) for sequence in sequences]
        broken = [
            slot
            for slot, best in zip(slots, found, strict=True)
            if any(map(math.isnan, best.logprobs))
        ]
        if broken:
            self._cache.wipe(broken)
        self._close_gaps(slots)
        return found

    def _close_gaps(self, free: list[int]) -> None:
        """Move the last sequences into the slots that became free, so that the first are in use."""
        left = len(self._slots) - len(free)
        sources = [slot for slot in range(left, len(self._slots)) if slot not in free]
        targets = sorted(slot for slot in free if slot < left)
        if sources:
            longest = max(self._slots[slot].token_count for slot in sources) + 1
            self._cache.move(sources, targets, longest)
            self._table.move(sources, targets)
        for source, target in zip(sources, targets, strict=True):
            self._slots[target] = self._slots[source]
        del self._slots[left:]

    def _first_update(self, part: slice, logits: torch.Tensor) -> torch.Tensor:
        """Decode the first token of sequences; return which searches are over."""
        of_beams = logits[:, None].expand(-1, self._beams, -1)
        advance = self._table.update(part, of_beams, len(OPENING))
        self._cache.inherit(part, advance.parents)
        return advance.finished

    @staticmethod
    def _count(sequences: list[Sequence], over: torch.Tensor) -> list[Sequence]:
        """Count one more token of each sequence; return those whose search is over."""
        for sequence in sequences:
            sequence.token_count += 1
        finished = over.tolist()  # the only wait for the device
        return [sequence for sequence, over in zip(sequences, finished, strict=True) if over]
