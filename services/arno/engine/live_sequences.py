"""Know which sequences are in the engine, and which of them nobody wants any more."""

from __future__ import annotations

import heapq
import threading
from dataclasses import dataclass
from typing import Final

from arno.batching import Clock, Entry
from arno.engine.interface import SequenceRequest
from arno.vocabulary import FinishReason
from arno.vocabulary.grammar import Grammar

_SPENT_DEADLINES_MAX: Final = 256


@dataclass(slots=True)
class LiveSequence:
    """A sequence from its submission to its end.

    Attributes:
        request: What was asked.
        prompt_ids: The prompt's tokens.
        submitted_s: When.
        grammar: What its answer is held to; None leaves the model its own way.
        encode_s: Seconds that its image took in the vision encoder so far.
    """

    request: SequenceRequest
    prompt_ids: tuple[int, ...]
    submitted_s: float
    grammar: Grammar | None = None
    encode_s: float = 0.0

    @property
    def size(self) -> int:
        """Predicted tokens, in all beams."""
        options = self.request.options
        return max(1, min(self.request.expected_token_count, options.max_new_tokens)) * (
            options.num_beams
        )

    def entry(self, image_tokens: float) -> Entry:
        """Return what the scheduler knows of it.

        Args:
            image_tokens: What its image will cost, in tokens of one beam; 0 if it is there already.
        """
        request = self.request
        return Entry(
            entry_id=request.sequence_id,
            lane=request.lane,
            tenant=request.tenant,
            arrived_s=self.submitted_s,
            deadline_s=request.deadline_s,
            group_key=None,  # any mix shares a batch
            cost=self.size + image_tokens,
            size=self.size,
        )


@dataclass(frozen=True, slots=True)
class Unwanted:
    """A sequence that should stop, and why."""

    sequence_id: str
    reason: FinishReason


class LiveSequences:
    """All sequences in the engine. `cancel` from any thread, all else from the engine's own."""

    def __init__(self, clock: Clock) -> None:
        """Start with none."""
        self._clock = clock
        self._lock = threading.Lock()
        self._live: dict[str, LiveSequence] = {}
        self._cancelled: set[str] = set()
        self._deadlines: list[tuple[float, str]] = []

    def add(self, sequence: LiveSequence) -> None:
        """Take one in.

        Raises:
            ValueError: One with its id is here already.
        """
        sequence_id = sequence.request.sequence_id
        with self._lock:
            if sequence_id in self._live:
                raise ValueError(f"a sequence {sequence_id!r} is in the engine already")
            self._live[sequence_id] = sequence
        if sequence.request.deadline_s is not None:
            heapq.heappush(self._deadlines, (sequence.request.deadline_s, sequence_id))
            self._drop_spent()

    def remove(self, sequence_id: str) -> LiveSequence:
        """Let one go."""
        with self._lock:
            self._cancelled.discard(sequence_id)
            return self._live.pop(sequence_id)

    def cancel(self, sequence_id: str) -> None:
        """Note that nobody wants it; unknown ids are ignored."""
        with self._lock:
            if sequence_id in self._live:
                self._cancelled.add(sequence_id)

    def unwanted(self) -> list[Unwanted]:
        """Return those that should stop now, cancelled ones in the order in which they came."""
        found: dict[str, Unwanted] = {}
        if self._cancelled:  # rarely, so that most calls take no lock
            with self._lock:
                cancelled = [name for name in self._live if name in self._cancelled]
            found = {name: Unwanted(name, FinishReason.CANCELLED) for name in cancelled}
        now_s = self._clock.now_s()
        while self._deadlines and self._deadlines[0][0] <= now_s:
            deadline_s, name = heapq.heappop(self._deadlines)
            sequence = self._live.get(name)
            # The id may be another sequence's by now, and even have come again with its deadline.
            if sequence is not None and sequence.request.deadline_s == deadline_s:
                found.setdefault(name, Unwanted(name, FinishReason.DEADLINE))
        return list(found.values())

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._live.clear()
            self._cancelled.clear()
            self._deadlines.clear()

    def _drop_spent(self) -> None:
        """Forget deadlines of sequences that have ended: there may be a day until they come."""
        if len(self._deadlines) <= 2 * len(self._live) + _SPENT_DEADLINES_MAX:
            return
        self._deadlines = [
            (sequence.request.deadline_s, name)
            for name, sequence in self._live.items()
            if sequence.request.deadline_s is not None
        ]
        heapq.heapify(self._deadlines)
