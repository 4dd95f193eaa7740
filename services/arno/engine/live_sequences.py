"""Know which sequences are in the engine, and which of them nobody wants any more."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from dataclasses import dataclass

from arno.batching import Clock, Entry
from arno.engine.interface import SequenceRequest
from arno.tasks import FinishReason


@dataclass(slots=True)
class LiveSequence:
    """A sequence from its submission to its end.

    Attributes:
        request: What was asked.
        prompt_ids: The prompt's tokens.
        submitted_s: When.
        encode_s: Seconds that its image took in the vision encoder so far.
        cut_short: Why it was stopped while decoding; None while it was not.
    """

    request: SequenceRequest
    prompt_ids: tuple[int, ...]
    submitted_s: float
    encode_s: float = 0.0
    cut_short: FinishReason | None = None

    @property
    def group_key(self) -> Hashable:
        """Sequences that differ in it never share a batch: then no batch needs padding."""
        return self.request.options, len(self.prompt_ids)

    def entry(self) -> Entry:
        """Return what the scheduler knows of it."""
        request = self.request
        tokens = min(request.expected_token_count, request.options.max_new_tokens)
        return Entry(
            entry_id=request.sequence_id,
            lane=request.lane,
            tenant=request.tenant,
            arrived_s=self.submitted_s,
            deadline_s=request.deadline_s,
            group_key=self.group_key,
            cost=max(1, tokens) * request.options.num_beams,
        )


class LiveSequences:
    """All sequences in the engine. `cancel` from any thread, all else from the engine's own."""

    def __init__(self, clock: Clock) -> None:
        """Start with none."""
        self._clock = clock
        self._lock = threading.Lock()
        self._live: dict[str, LiveSequence] = {}
        self._cancelled: set[str] = set()

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

    def remove(self, sequence_id: str) -> LiveSequence:
        """Let one go."""
        with self._lock:
            self._cancelled.discard(sequence_id)
            return self._live.pop(sequence_id)

    def get(self, sequence_id: str) -> LiveSequence:
        """Return one that is here."""
        return self._live[sequence_id]

    def cancel(self, sequence_id: str) -> None:
        """Note that nobody wants it; unknown ids are ignored."""
        with self._lock:
            if sequence_id in self._live:
                self._cancelled.add(sequence_id)

    def cancelled_ids(self) -> list[str]:
        """Return those that are here and not wanted, in the order in which they came."""
        if not self._cancelled:  # the common case, without a copy
            return []
        with self._lock:
            return [sequence_id for sequence_id in self._live if sequence_id in self._cancelled]

    def unwanted(self, sequence: LiveSequence) -> FinishReason | None:
        """Return why a sequence should stop now, or None."""
        if sequence.request.sequence_id in self._cancelled:
            return FinishReason.CANCELLED
        deadline_s = sequence.request.deadline_s
        if deadline_s is not None and deadline_s <= self._clock.now_s():
            return FinishReason.DEADLINE
        return None

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._live.clear()
            self._cancelled.clear()
