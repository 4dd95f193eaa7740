"""The sequences of an engine that answers each in a single step. Imports no torch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from arno.engine.interface import SequenceFinished, SequenceRequest
from arno.ops.clock import Clock
from arno.vocabulary import FinishReason


@dataclass(slots=True)
class WaitingSequence:
    """A sequence that no step has taken yet.

    Attributes:
        request: What was asked.
        since_s: When it was submitted, in the time of `time.perf_counter`.
        cancelled: Whether it is to end at the next step.
    """

    request: SequenceRequest
    since_s: float
    cancelled: bool = False


class WaitingSequences:
    """Sequences between their submission and their only step, in order of arrival. Any thread."""

    def __init__(self, clock: Clock) -> None:
        """Start empty; deadlines are in the monotonic time of `clock`."""
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: dict[str, WaitingSequence] = {}

    def __len__(self) -> int:
        """Return the number of sequences."""
        return len(self._waiting)

    def add(self, request: SequenceRequest) -> None:
        """Queue a sequence.

        Raises:
            ValueError: A sequence with its id waits already.
        """
        with self._lock:
            if request.sequence_id in self._waiting:
                raise ValueError(f"a sequence {request.sequence_id!r} is in the engine already")
            self._waiting[request.sequence_id] = WaitingSequence(request, time.perf_counter())

    def cancel(self, sequence_id: str) -> None:
        """End a sequence as CANCELLED at the next step; unknown ids are ignored."""
        with self._lock:
            if sequence_id in self._waiting:
                self._waiting[sequence_id].cancelled = True

    def clear(self) -> None:
        """Forget all sequences."""
        with self._lock:
            self._waiting.clear()

    def take(
        self, fits: Callable[[SequenceRequest], bool]
    ) -> tuple[list[WaitingSequence], list[SequenceFinished]]:
        """Take the next batch out.

        Args:
            fits: Whether a sequence joins the batch. It is asked in order of arrival, and may count
                what it has let in.

        Returns:
            The batch, and the ends of the sequences that were cancelled or are past their deadline.
        """
        now_s = self._clock.monotonic_s()
        batch: list[WaitingSequence] = []
        cut: list[SequenceFinished] = []
        with self._lock:
            for name, one in list(self._waiting.items()):
                deadline_s = one.request.deadline_s
                if one.cancelled:
                    cut.append(_cut(name, FinishReason.CANCELLED))
                elif deadline_s is not None and now_s >= deadline_s:
                    cut.append(_cut(name, FinishReason.DEADLINE))
                elif fits(one.request):
                    batch.append(one)
                else:
                    continue
                del self._waiting[name]
        return batch, cut


def _cut(sequence_id: str, reason: FinishReason) -> SequenceFinished:
    return SequenceFinished(sequence_id, (), (), reason, encode_s=0.0, decode_s=0.0)
