"""What became of every sampled frame, in order, although only some of them are sent.

A frame is sent, or held (it shows what the last one sent shows), or skipped (there is no time for
it). Results come for those that were sent, in their order; the others wait for their turn between.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final

from arno.api.v1 import vision_pb2
from arno.client import FrameResult, InferResult
from arno.ingest.videos.frames import SampledFrame

_PICTURES_MAX: Final = 256
"""Pictures that wait for their results at most; of further frames only the results are printed."""


class Fate(Enum):
    """What is done with a sampled frame."""

    SENT = auto()
    HELD = auto()
    SKIPPED = auto()


@dataclass(frozen=True, slots=True)
class Told:
    """A frame of which the outcome is known.

    Attributes:
        frame: The frame; its content is empty where pictures are not kept, or too many waited.
        result: The outcome; of a held frame that of the frame it repeats.
        held_from: The number of the frame that is repeated; None where it was not held.
        latency_s: From sending to the result; None where it was not sent.
    """

    frame: SampledFrame
    result: FrameResult
    held_from: int | None = None
    latency_s: float | None = None


@dataclass(frozen=True, slots=True)
class _Entry:
    frame: SampledFrame
    fate: Fate
    at_s: float


class FrameLedger:
    """The frames whose outcome is not told yet. One thread adds, another one settles."""

    def __init__(self, *, keep_pictures: bool) -> None:
        """Begin empty; pictures are kept only where they are drawn on."""
        self._keep_pictures = keep_pictures
        self._lock = threading.Lock()
        self._entries: deque[_Entry] = deque()
        self._picture_count = 0
        self._last: FrameResult | None = None

    def __len__(self) -> int:
        """Return the number of frames whose outcome is not told yet."""
        return len(self._entries)

    def add(self, frame: SampledFrame, fate: Fate) -> None:
        """Note the next frame. Before a frame is sent, as its result may come at once."""
        with self._lock:
            kept = self._keep_pictures and self._picture_count < _PICTURES_MAX
            self._picture_count += kept
            noted = frame if kept else replace(frame, content=b"")
            self._entries.append(_Entry(noted, fate, time.monotonic()))

    def settle(self, result: FrameResult) -> Iterator[Told]:
        """Yield what is known with the result of a sent frame: others before it, and itself."""
        yield from self._unsent()
        entry = self._pop()
        if entry.frame.sequence != result.sequence:
            raise RuntimeError(f"frame {entry.frame.sequence} was answered as {result.sequence}")
        latency_s = time.monotonic() - entry.at_s
        if isinstance(result.outcome, InferResult):
            self._last = result
        yield Told(entry.frame, result, latency_s=latency_s)
        # Those after it repeat it, and nothing they wait for is under way.
        yield from self._unsent()

    def rest(self) -> Iterator[Told]:
        """Yield what is left when no more results come."""
        yield from self._unsent()

    def _unsent(self) -> Iterator[Told]:
        while (entry := self._pop_unsent()) is not None:
            yield self._without_result(entry)

    def _pop_unsent(self) -> _Entry | None:
        with self._lock:
            if not self._entries or self._entries[0].fate is Fate.SENT:
                return None
            return self._popped()

    def _pop(self) -> _Entry:
        with self._lock:
            return self._popped()

    def _popped(self) -> _Entry:
        entry = self._entries.popleft()
        self._picture_count -= bool(entry.frame.content)
        return entry

    def _without_result(self, entry: _Entry) -> Told:
        frame, last = entry.frame, self._last
        if entry.fate is Fate.HELD and last is not None:
            repeated = replace(last, sequence=frame.sequence, timestamp_ms=frame.timestamp_ms)
            return Told(frame, repeated, held_from=last.sequence)
        message = vision_pb2.InferStreamResponse(
            sequence=frame.sequence,
            timestamp_ms=frame.timestamp_ms,
            dropped=vision_pb2.DroppedFrame(policy=vision_pb2.STREAM_POLICY_LATEST),
        )
        return Told(frame, FrameResult(frame.sequence, frame.timestamp_ms, None, message))
